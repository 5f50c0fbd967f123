from __future__ import annotations

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from zoo.converters import graph as g
from zoo.converters.canonical import canonical, lift
from zoo.errors import HubError

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def test_shape_arithmetic_of_a_free_batch_becomes_a_constant_shape(graph, same):
    text = """agraph (float[batch, 3, 4] x) => (float[batch, 12] y) {
        one = Constant<value = int64[1] {-1}>()
        shape = Shape(x)
        zero = Constant<value = int64 {0}>()
        batch = Gather(shape, zero)
        axis = Constant<value = int64[1] {0}>()
        first = Unsqueeze(batch, axis)
        target = Concat<axis = 0>(first, one)
        y = Reshape(x, target)
    }"""
    model = canonical(graph(text))
    assert ["Reshape"] == ops(model)
    same(graph(text), model, {"x": X})


def test_two_free_sizes_that_stay_where_they_are_are_copied(graph, same):
    text = """agraph (float[batch, length, 12] x) => (float[batch, length, 3, 4] y) {
        batch = Shape<start = 0, end = 1>(x)
        length = Shape<start = 1, end = 2>(x)
        rest = Constant<value = int64[2] {3, 4}>()
        target = Concat<axis = 0>(batch, length, rest)
        y = Reshape(x, target)
    }"""
    model = canonical(graph(text))
    assert ["Reshape"] == ops(model)
    same(graph(text), model, {"x": X.reshape(1, 2, 12)})


@pytest.mark.parametrize(
    ("node", "why"),
    [
        ("y = Identity(x)", "identity"),
        ("y = Cast<to = 1>(x)", "cast to its own dtype"),
        ("p = Constant<value = int64[6] {0,0,0,0,0,0}>() y = Pad(x, p)", "nothing padded"),
        ("y = Transpose<perm = [0, 1, 2]>(x)", "axes in their order"),
        ("y = Concat<axis = 0>(x)", "one alone"),
        (
            "s = Constant<value = int64[1] {0}>() e = Constant<value = int64[1] {9223372036854775807}>()"
            " y = Slice(x, s, e, s)",
            "all",
        ),
        ("f = Constant<value_float = 0.0>() c = CastLike(x, f) y = Identity(c)", "cast like its own dtype"),
    ],
)
def test_a_node_that_gives_back_its_input_goes(graph, same, node, why):
    text = f"agraph (float[2, 3, 4] x) => (float[2, 3, 4] z) {{ {node} z = Relu(y) }}"
    model = canonical(graph(text))
    assert ["Relu"] == ops(model), why
    same(graph(text), model, {"x": X})


@pytest.mark.parametrize(
    "node",
    [
        "s = Constant<value = int64[1] {0}>() e = Constant<value = int64[1] {2}>()"
        " a = Constant<value = int64[1] {1}>() y = Slice(x, s, e, a)",
        "y = Transpose<perm = [0, 2, 1]>(x)",
        "p = Constant<value = int64[6] {0,0,0,0,1,0}>() y = Pad(x, p)",
        "r = Constant<value = int64[1] {-1}>() s = Constant<value = int64[1] {5}>()"
        " e = Constant<value = int64[1] {-99}>() a = Constant<value = int64[1] {2}>() y = Slice(x, s, e, a, r)",
    ],
)
def test_a_node_that_does_something_stays(graph, same, node):
    text = f"agraph (float[2, 3, 4] x) => (float[a, b, c] z) {{ {node} z = Relu(y) }}"
    model = canonical(graph(text))
    assert len(ops(model)) == 2
    same(graph(text), model, {"x": X})


def test_what_an_exporter_makes_up_for_a_convolution_without_bias_is_no_parameter(graph):
    text = """agraph (float[n, 3, 8, 8] x, float[5, 3, 1, 1] w) => (float[n, 5, 8, 8] y) {
        m = Shape<start = 0, end = 1>(w)
        zero = Constant<value = float {0.0}>()
        like = CastLike(zero, x)
        bias = Expand(like, m)
        y = Conv(x, w, bias)
    }"""
    model = graph(text)
    model.graph.inputs[1].metadata_props[g.PARAMETER] = "parameter"
    model = canonical(model)
    assert ["Conv"] == ops(model)
    assert [2] == [len(node.inputs) for node in model.graph]


def test_canonical_of_canonical_is_the_same(graph):
    text = """agraph (float[batch, 3, 4] x) => (float[a, b] y) {
        shape = Shape(x)
        zero = Constant<value = int64[1] {0}>()
        batch = Gather(shape, zero)
        one = Constant<value = int64[1] {-1}>()
        target = Concat<axis = 0>(batch, one)
        y = Reshape(x, target)
    }"""
    once = canonical(graph(text))
    first = ir.to_proto(once).SerializeToString(deterministic=True)
    assert first == ir.to_proto(canonical(once)).SerializeToString(deterministic=True)


def test_functions_are_inlined_save_our_own(graph):
    text = """<ir_version: 10, opset_import: ["" : 23, "zoo" : 1, "other" : 1]>
    agraph (float[2, 3, 4] x) => (float[2, 3, 4] z) { y = other.Twice(x) z = zoo.Keep(y) }
    <domain: "other", opset_import: ["" : 23]> Twice (a) => (b) { b = Add(a, a) }
    <domain: "zoo", opset_import: ["" : 23]> Keep (a) => (b) { b = Relu(a) }"""
    assert ["Add", "Keep"] == ops(canonical(graph(text)))


def test_lifting_carries_paths_marks_and_the_tree(graph):
    text = """<ir_version: 8, opset_import: ["" : 13]>
    agraph (float[2, 3] x, float[3] w) => (float[2, 3] y) { a = Softmax(x) y = Mul(a, w) }"""
    model = graph(text)
    model.graph[0].metadata_props[g.PATH] = "head.softmax"
    model.graph.inputs[1].metadata_props[g.PARAMETER] = "parameter"
    model.metadata_props[g.MODULES] = '{"": "Net"}'
    lifted = lift(model)
    assert g.OPSET == lifted.opset_imports[""]
    assert ["head.softmax", ""] == [g.module_path(node) for node in lifted.graph]
    assert ["w"] == list(g.parameters(lifted.graph))
    assert '{"": "Net"}' == lifted.metadata_props[g.MODULES]


def test_softmax_11_is_lifted_to_what_it_computed(graph, same):
    """Before opset 13 it was over all axes from `axis` on; onnx's own evaluator knows only the newer one."""
    text = """<ir_version: 6, opset_import: ["" : 11]>
    agraph (float[2, 3, 4] x) => (float[2, 3, 4] y) { y = Softmax<axis = 1>(x) }"""
    model = canonical(graph(text))
    got = ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": X})[0]
    flat = np.exp(X.reshape(2, 12))
    np.testing.assert_allclose(got, (flat / flat.sum(1, keepdims=True)).reshape(X.shape), rtol=1e-6)


def test_a_newer_opset_is_refused_by_number(graph):
    model = graph('<ir_version: 10, opset_import: ["" : 99]> agraph (float[2] x) => (float[2] y) { y = Relu(x) }')
    with pytest.raises(HubError, match="has opset 99; this version of polyzoo reads up to 28"):
        canonical(model)


def test_a_slope_for_each_channel_of_opset_6_stays_one_when_lifted():
    proto = onnx.parser.parse_model("""<ir_version: 3, opset_import: ["" : 6]>
    g (float[2,3,4,4] x, float[3] a, float[3] b) => (float[2,3,4,4] y) { h = PRelu(x, a)  y = PRelu(h, b) }""")
    x, a, b = (
        np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32),
        *np.float32([[1, 2, 3], [4, 5, 6]]),
    )
    made = ir.to_proto(canonical(ir.from_proto(proto)))
    slopes = np.reshape(a * b, (3, 1, 1))
    (got,) = ReferenceEvaluator(made).run(None, {"x": x, "a": a, "b": b})
    np.testing.assert_allclose(got, np.where(x < 0, x * slopes, x), rtol=1e-6)


def test_a_neutral_number_goes_where_it_broadcasts_nothing(graph, same):
    text = """agraph (float[batch, 3, 4] x, int64[3] i, bool[3] m) => (float[batch, 3, 4] y, int64[3] j, bool[3] n) {
        one = Constant<value = float {1.0}>()
        zero = Constant<value = int64[1] {0}>()
        true = Constant<value = bool {1}>()
        a = Mul(one, x)
        b = Div(a, one)
        y = Relu(b)
        s = Add(i, zero)
        j = Neg(s)
        t = And(true, m)
        n = Not(t)
    }"""
    model = canonical(graph(text))
    assert ["Relu", "Neg", "Not"] == ops(model)
    same(graph(text), model, {"x": X, "i": np.arange(3), "m": np.array([True, False, True])})


def test_a_neutral_number_stays_that_broadcasts_or_that_is_a_zero_with_a_sign(graph):
    text = """agraph (float[1, 3] x) => (float[2, 3] y, float[1, 3] z) {
        ones = Constant<value = float[2, 1] {1.0, 1.0}>()
        zero = Constant<value = float {0.0}>()
        a = Mul(x, ones)
        y = Relu(a)
        b = Add(x, zero)
        z = Relu(b)
    }"""
    assert sorted(["Mul", "Relu", "Add", "Relu"]) == sorted(ops(canonical(graph(text))))


def test_a_module_computes_once_what_it_computed_twice(graph, same):
    text = """agraph (float[batch, 3, 4] x) => (float[batch, 3, 4] y, float[batch, 3, 4] z, float[batch, 3, 4] r) {
        a = Exp(x)
        b = Exp(x)
        y = Add(a, b)
        c = Softmax<axis = 1>(x)
        d = Softmax<axis = 2>(x)
        z = Add(c, d)
        r = Neg(x)
    }"""
    model = canonical(graph(text))
    assert sorted(["Exp", "Add", "Softmax", "Softmax", "Add", "Neg"]) == sorted(ops(model))
    same(graph(text), model, {"x": X})


def test_two_modules_compute_the_same_each_for_itself_and_random_numbers_are_made_anew(graph):
    text = """agraph (float[2, 3] x) => (float[2, 3] y, float[2, 3] z) {
        a = Exp(x)
        b = Exp(x)
        y = Add(a, b)
        c = RandomNormalLike(x)
        d = RandomNormalLike(x)
        z = Add(c, d)
    }"""
    model = graph(text)
    model.graph[0].metadata_props[g.PATH], model.graph[1].metadata_props[g.PATH] = "first", "second"
    assert len(model.graph) == len(canonical(model).graph)


def test_a_group_normalisation_keeps_its_shape_which_onnx_does_not_say(graph):
    model = canonical(
        graph(
            """agraph (float[batch, 4, size] x, float[4] scale, float[4] bias) => (float[n, m, k] y) {
        a = GroupNormalization <num_groups = 2> (x, scale, bias)
        b = Relu (a)
        y = GroupNormalization <num_groups = 4> (b, scale, bias)
    }"""
        )
    )
    a, b = (node.outputs[0] for node in list(model.graph)[:2])
    assert str(a.shape) == str(b.shape) == "[batch,4,size]"
    assert ["GroupNormalization", "Relu", "GroupNormalization"] == ops(model)
    assert 2 == list(model.graph)[0].attributes.get_int("num_groups")


def test_nodes_that_read_one_constant_under_two_names_are_one_node(graph, same):
    text = """agraph (float[batch, 3, 4] x) => (float[batch, 3, 4] y) <float a = {2}, float b = {2}> {
        p = Mul(x, a)
        q = Mul(x, b)
        y = Max(p, q)
    }"""
    model = canonical(graph(text))
    assert ["Mul", "Max"] == ops(model)
    same(graph(text), model, {"x": X})
