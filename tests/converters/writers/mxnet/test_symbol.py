"""framework="mxnet": (symbol, arg_params, aux_params), as MXNet's own Module and SymbolBlock take them."""

from __future__ import annotations

import json

import numpy as np
import pytest

import zoo
from zoo.converters.frameworks import framework
from zoo.errors import HubError, UsageError

from .conftest import SHAPES

writer = framework("mxnet").module("writer")
import mxnet as mx  # noqa: E402 - its shims are set by the folder of the writer

FILTERED = """
agraph (float[N] x) => (float[M] y) { zero = Constant <value = float {0.0}> ()
  keeps = Greater (x, zero)  y = Compress (x, keeps) }"""


def test_module_computes_what_onnx_runtime_does(pictures, x, expected):
    symbol, arguments, states = zoo.load(pictures, framework="mxnet")
    module = mx.mod.Module(symbol, data_names=["x"], label_names=None)
    module.bind([("x", x.shape)], for_training=False)
    module.set_params(arguments, states)
    module.forward(mx.io.DataBatch([mx.nd.array(x)]), is_train=False)
    np.testing.assert_allclose(module.get_outputs()[0].asnumpy(), expected, rtol=1e-5, atol=1e-5)


def test_the_symbol_is_of_classic_operators_under_the_authors_names(pictures, weights):
    symbol, arguments, states = zoo.load(pictures, framework="mxnet")
    operators = [node["op"] for node in json.loads(symbol.tojson())["nodes"] if node["op"] != "null"]
    assert operators == [
        *("Convolution", "BatchNorm", "Activation", "Pooling", "Convolution", "Pooling"),
        *("Flatten", "Dropout", "FullyConnected"),
    ]
    assert {"stem.bn.running_mean", "stem.bn.running_var"} == set(states) == set(symbol.list_auxiliary_states())
    assert set(weights) == {*arguments, *states}


def test_the_way_back_is_bit_equal(pictures, weights):
    back = writer.tensors(zoo.load(pictures, framework="mxnet"))
    assert {name: array.tobytes() for name, array in weights.items()} == {
        name: tensor.numpy().tobytes() for name, tensor in back.items()
    }


def test_a_checkpoint_of_mxnets_own_is_read_again(pictures, x, expected, tmp_path):
    symbol, arguments, states = zoo.load(pictures, framework="mxnet")
    mx.model.save_checkpoint(str(tmp_path / "net"), 0, symbol, arguments, states)
    (got,) = zoo.runner(tmp_path / "net-symbol.json").run({"x": x}).values()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_free_sizes_stay_free_in_a_symbol(agrees):
    graph = """agraph (float[N, S, 6] x) => (float[N, S, 6] y, int64[S] places, float[N, S, S] mask) {
      three = Constant <value_ints = [0, 0, 2, 3]> ()
      apart = Reshape (x, three)
      turned = Transpose <perm = [0, 2, 1, 3]> (apart)
      back = Transpose <perm = [0, 2, 1, 3]> (turned)
      y = Reshape (back, same)
      same = Shape (x)
      s = Shape <start = 1, end = 2> (x)
      n = Shape <start = 0, end = 1> (x)
      zero = Constant <value_int = 0> () one = Constant <value_int = 1> ()
      flat = Squeeze (s)
      places = Range (zero, flat, one)
      square = Concat <axis = 0> (n, s, s)
      mask = ConstantOfShape (square)
    }""".replace("y = Reshape (back, same)\n      same = Shape (x)", "same = Shape (x)\n      y = Reshape (back, same)")
    rng = np.random.default_rng(0)
    agrees(graph, *({"x": rng.normal(size=shape).astype(np.float32)} for shape in ((2, 4, 6), (3, 5, 6))))


def test_a_loop_of_a_known_count_is_unrolled_into_the_symbol(agrees):
    graph = """agraph (float[2, 3] x) => (float[2, 3] y) {
      count = Constant <value_int = 3> () goes = Constant <value = bool {1}> ()
      y = Loop (count, goes, x) <body = inner (int64 i, bool c, float[2, 3] s) => (bool again, float[2, 3] t) {
        again = Identity (c)  t = Add (s, s) }>
    }"""
    agrees(graph, {"x": np.float32([[1, 2, 3], [4, 5, 6]])})


def test_what_a_symbol_cannot_hold_is_refused_by_node_and_still_runs(agrees):
    agrees(FILTERED, {"x": np.float32([1, -2, 3])}, {"x": np.float32([-1, 2])}, compiled=False)
    from .conftest import parsed

    with pytest.raises(HubError, match="Compress .* has to be known"):
        zoo.load(parsed(FILTERED), framework="mxnet")


def test_a_sum_beside_an_empty_axis_leaves_no_error_for_what_runs_next(agrees):
    graph = """agraph (float[2, 0, 4] x) => (float[2, 0, 1] y) { axes = Constant <value_ints = [2]> ()
      y = ReduceSum (x, axes) }"""
    agrees(graph, {"x": np.zeros((2, 0, 4), np.float32)})
    mx.nd.waitall()


@pytest.mark.parametrize(("kind", "states", "options"), [
    ("LSTM", 2, ""), ("GRU", 1, ", linear_before_reset = 1"), ("LSTM", 2, ', direction = "bidirectional"'),
])  # fmt: skip
def test_recurrent_layers_are_mxnets_fused_one(kind, states, options):
    from .conftest import parsed

    rng = np.random.default_rng(0)
    gates, ways = {"LSTM": 4, "GRU": 3}[kind], 2 if "bidirectional" in options else 1
    weights = {"W": (ways, gates * 5, 3), "R": (ways, gates * 5, 5), "B": (ways, 2 * gates * 5)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in weights.items()}
    graph = f"""agraph (float[T, N, 3] x) => (float[T, D, N, 5] y) {{
      y = {kind} <hidden_size = 5{options}> (x, W, R, B) }}"""
    model = parsed(graph, arrays)
    symbol, *_ = zoo.load(model, framework="mxnet")
    assert "RNN" in [node["op"] for node in json.loads(symbol.tojson())["nodes"]]
    given = {"x": rng.normal(size=(4, 2, 3)).astype(np.float32)}
    want, got = zoo.runner(model, "onnx").run(given)["y"], zoo.runner(model, "mxnet").run(given)["y"]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_half_precision_is_computed_in_float32_where_mxnet_has_no_kernel(pictures, x, expected):
    runner = zoo.runner(pictures, "mxnet", dtype="float16")
    got = runner.run({"x": x.astype(np.float16)})["logits"]
    assert got.dtype == np.float16
    np.testing.assert_allclose(got, expected, rtol=2e-2, atol=2e-2)  # rounded behind each of nine layers


def test_an_unknown_device_is_refused(pictures):
    with pytest.raises(UsageError, match="unknown device 'tpu'"):
        zoo.load(pictures, framework="mxnet", device="tpu")


@pytest.mark.parametrize("dtype", [None, "float16"])
def test_converted_files_are_opened_by_mxnet(pictures, x, expected, tmp_path, dtype):
    done = zoo.convert(pictures, "mxnet", tmp_path / "net-symbol.json", dtype=dtype)
    assert ["net-0000.params", "net-symbol.json"] == sorted(path.name for path in tmp_path.iterdir())
    assert done.agreement is not None and done.agreement.agrees
    symbol, arguments, states = mx.model.load_checkpoint(str(tmp_path / "net"), 0)
    assert set(SHAPES) == {*arguments, *states}
    assert {np.dtype(dtype or "float32")} == {np.dtype(array.dtype) for array in arguments.values()}
    assert ["x"] == [name for name in symbol.list_inputs() if name not in {**arguments, **states}]
