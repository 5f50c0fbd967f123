from __future__ import annotations

import json

import numpy as np
import onnx_ir as ir
import pytest

from zoo.converters import graph as g
from zoo.converters.bind import bind, detach
from zoo.errors import BindError

TEXT = """agraph (float[n, 3] x, float[4, 3] fc_weight, float[4] fc_bias, int64 fc_count) => (float[n, 4] y) {
    y = Gemm<transB = 1>(x, fc_weight, fc_bias)
}"""
KINDS = {"fc_weight": "parameter", "fc_bias": "parameter", "fc_count": "counter"}


@pytest.fixture
def weightless(graph):
    model = graph(TEXT)
    for value in model.graph.inputs[1:]:
        value.metadata_props[g.PARAMETER] = KINDS[value.name]
    return model


def tensors(**shapes):
    rng = np.random.default_rng(0)
    return {name: ir.tensor(rng.standard_normal(shape).astype(np.float32), name=name) for name, shape in shapes.items()}


GOOD = {"fc_weight": (4, 3), "fc_bias": (4,)}


def test_every_parameter_becomes_an_initializer_and_a_counter_that_the_file_lacks_is_zero(weightless):
    given = tensors(**GOOD)
    bound = bind(weightless, given)
    assert ["x"] == [v.name for v in bound.graph.inputs]
    assert ["fc_weight", "fc_bias", "fc_count"] == list(bound.graph.initializers)
    assert bound.graph.initializers["fc_weight"].const_value is given["fc_weight"]
    assert 0 == bound.graph.initializers["fc_count"].const_value.numpy()
    assert 4 == len(weightless.graph.inputs), "the weightless graph is not touched"


@pytest.mark.parametrize(
    ("given", "unused", "expected"),
    [
        ({"fc_weight": (4, 3)}, (), "1 missing in the file:\n    fc_bias"),
        ({"fc_weight": (4, 3), "fc_bia": (4,)}, (), r"fc_bias \(the file has fc_bia\)"),
        (GOOD | {"head": (2,)}, (), "1 left over in the file:\n    head"),
        (GOOD | {"pooler.dense": (2,)}, ("cooler.*",), "left over"),
        ({"fc_weight": (3, 4), "fc_bias": (4,)}, (), r"fc_weight: shape \[3, 4\] in the file, \[4, 3\] in the graph"),
    ],
)
def test_what_does_not_fit_is_named(weightless, given, unused, expected):
    with pytest.raises(BindError, match=expected):
        bind(weightless, tensors(**given), unused=unused)


def test_what_the_entry_declares_unused_may_be_left_over(weightless):
    bind(
        weightless,
        tensors(**GOOD, **{"pooler.dense.weight": (2,), "position_ids": (1,)}),
        unused=["pooler.*", "position_ids"],
    )


def test_published_names_are_renamed(weightless):
    bound = bind(weightless, tensors(w=(4, 3), b=(4,)), rename={"w": "fc_weight", "b": "fc_bias"})
    assert (4, 3) == tuple(bound.graph.initializers["fc_weight"].const_value.shape)


def test_two_tensors_of_one_name_after_renaming_are_refused(weightless):
    with pytest.raises(BindError, match="same name after renaming"):
        bind(weightless, tensors(w=(4, 3), fc_weight=(4, 3), fc_bias=(4,)), rename={"w": "fc_weight"})


@pytest.mark.parametrize("names", [("fc_weight",), ("tied",), ("fc_weight", "tied")])
def test_a_tied_parameter_is_filled_by_whichever_name_the_file_keeps(weightless, names):
    weightless.graph.inputs[1].metadata_props[g.TIED] = json.dumps(["tied"])
    bound = bind(weightless, tensors(**dict.fromkeys(names, (4, 3)), fc_bias=(4,)))
    assert (4, 3) == tuple(bound.graph.initializers["fc_weight"].const_value.shape)


def test_half_precision_is_widened_exactly_and_a_double_is_no_float(weightless):
    half = np.float16([[1.5] * 3] * 4)
    given = tensors(fc_bias=(4,)) | {"fc_weight": ir.tensor(half, name="fc_weight")}
    filled = bind(weightless, given).graph.initializers["fc_weight"].const_value
    assert ir.DataType.FLOAT == filled.dtype
    np.testing.assert_array_equal(filled.numpy(), half.astype(np.float32))
    double = tensors(fc_bias=(4,)) | {"fc_weight": ir.tensor(half.astype(np.float64), name="fc_weight")}
    with pytest.raises(BindError, match="dtype DOUBLE in the file, FLOAT in the graph"):
        bind(weightless, double)


def test_detach_is_the_way_back(weightless):
    bound = bind(weightless, tensors(**GOOD))
    again, given = detach(bound)
    assert {"fc_weight", "fc_bias", "fc_count"} == set(given)
    assert {"fc_weight", "fc_bias"} <= set(g.parameters(again.graph))


def test_the_statistics_of_a_batch_norm_in_a_model_file_are_buffers(graph):
    model = graph("""agraph (float[n, 2, 4] x) => (float[n, 2, 4] y)
        <float[2] s = {1, 2}, float[2] b = {0, 1}, float[2] m = {3, 4}, float[2] v = {5, 6}> {
        y = BatchNormalization (x, s, b, m, v) }""")
    weightless, _ = detach(model)
    kinds = {name: value.metadata_props[g.PARAMETER] for name, value in g.parameters(weightless.graph).items()}
    assert {"s": "parameter", "b": "parameter", "m": "buffer", "v": "buffer"} == kinds


def test_a_tie_that_the_file_spells_out_and_a_layers_counter_are_no_left_overs(graph):
    text = """agraph (float[n, 3] x, float[3] running_mean) => (float[n, 3] y) { y = Sub(x, running_mean) }"""
    model = graph(text)
    model.graph.inputs[1].name = "bn.running_mean"
    model.graph.inputs[1].metadata_props[g.PARAMETER] = "buffer"
    mean = tensors(**{"bn.running_mean": (3,)})
    twin = {"copy.running_mean": ir.tensor(mean["bn.running_mean"].numpy().copy(), name="copy.running_mean")}
    count = {"bn.num_batches_tracked": ir.tensor(np.int64(7), name="bn.num_batches_tracked")}
    bound = bind(model, mean | twin | count)
    assert 7 == bound.graph.initializers["bn.num_batches_tracked"].const_value.numpy()
    with pytest.raises(BindError, match="other.num_batches_tracked"):
        bind(model, mean | {"other.num_batches_tracked": count["bn.num_batches_tracked"]})
