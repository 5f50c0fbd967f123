"""Sequences, branches and functions that are known: what is left of them in a canonical graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from zoo.converters.canonical import canonical, infer_shapes
from zoo.converters.expand import expand
from zoo.errors import HubError

X = np.random.default_rng(0).standard_normal((2, 6, 4)).astype(np.float32)


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize(
    ("split", "at"),
    [("int64 {2}", (0, 1)), ("int64 {4}", (1, 0)), ("int64[3] {1,2,3}", (2, 0)), ("int64[2] {4,2}", (-1, 0))],
)
def test_a_chunked_tensor_is_a_split(graph, same, split, at):
    text = f"""agraph (float[batch, 6, 4] x) => (float[a, b, 4] y) {{
        n = Constant<value = {split}>() parts = SplitToSequence<axis = 1>(x, n)
        i = Constant<value = int64 {{{at[0]}}}>() j = Constant<value = int64 {{{at[1]}}}>()
        p = SequenceAt(parts, i) q = SequenceAt(parts, j) y = Concat<axis = 1>(p, q) }}"""
    model = canonical(graph(text))
    assert ["Split", "Concat"] == ops(model)
    same(graph(text), model, {"x": X})


def test_an_unbound_tensor_loses_its_axis(graph, same):
    text = """agraph (float[2, 6, 4] x) => (float[6, 4] y) {
        parts = SplitToSequence<axis = 0, keepdims = 0>(x)
        i = Constant<value = int64 {1}>() j = Constant<value = int64 {0}>()
        p = SequenceAt(parts, i) q = SequenceAt(parts, j) y = Sub(p, q) }"""
    model = canonical(graph(text))
    assert not {"SplitToSequence", "SequenceAt"} & set(ops(model))
    same(graph(text), model, {"x": X})


def test_a_sequence_that_is_put_together_again_is_a_concat(graph, same):
    text = """agraph (float[2, 6, 4] x) => (float[2, 2, 6, 4] y) {
        n = Neg(x) s = SequenceConstruct(x, n) y = ConcatFromSequence<axis = 0, new_axis = 1>(s) }"""
    model = canonical(graph(text))
    assert not {"SequenceConstruct", "ConcatFromSequence"} & set(ops(model))
    same(graph(text), model, {"x": X})


def test_a_sequence_whose_reader_is_only_known_at_run_time_stays(graph):
    text = """agraph (float[2, 6, 4] x, int64 i) => (float[a, b, c] y) {
        parts = SplitToSequence<axis = 0>(x) y = SequenceAt(parts, i) }"""
    assert ["SplitToSequence", "SequenceAt"] == ops(canonical(graph(text)))


def test_the_branch_that_a_known_condition_chooses_is_taken(graph, same):
    text = """agraph (float[2, 6, 4] x) => (float[a, b, c] z) {
        s = Shape<start = 1, end = 2>(x) six = Constant<value = int64[1] {6}>() c = Equal(s, six)
        y = If(c) <then_branch = g1 () => (float[a, b, c] t) { t = Relu(x) },
                   else_branch = g2 () => (float[a, b, c] e) { e = Neg(x) }>
        z = Abs(y) }"""
    model = canonical(graph(text))
    assert ["Relu", "Abs"] == ops(model)
    same(graph(text), model, {"x": X})


def test_constants_of_bodies_are_the_graphs(graph, same):
    text = """agraph (float[2, 6, 4] x, bool c) => (float[2, 6, 4] y) {
        y = If(c) <then_branch = g1 () => (float[2, 6, 4] t) { k = Constant<value_float = 2.0>() t = Mul(x, k) },
                   else_branch = g2 () => (float[2, 6, 4] e) { k2 = Constant<value_float = 3.0>() e = Mul(x, k2) }> }"""
    model = canonical(graph(text))
    assert {2.0, 3.0} == {float(v.const_value.numpy()) for v in model.graph.initializers.values()}
    for condition in (True, False):
        same(graph(text), model, {"x": X, "c": np.array(condition)})


def test_a_function_of_another_opset_is_lifted_by_itself(graph):
    text = """<ir_version: 10, opset_import: ["" : 20, "other" : 1]>
    agraph (float[2, 6, 4] x) => (float[2, 1, 4] y) { y = other.Largest(x) }
    <domain: "other", opset_import: ["" : 13]> Largest (a) => (b) { b = ReduceMax<axes = [1]>(a) }"""
    model = canonical(graph(text))
    got = ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": X})[0]
    np.testing.assert_array_equal(got, X.max(1, keepdims=True))


def test_functions_that_call_each_other_in_a_circle_are_refused(graph):
    text = """<ir_version: 10, opset_import: ["" : 20, "other" : 1]>
    agraph (float[2] x) => (float[2] y) { y = other.A(x) }
    <domain: "other", opset_import: ["" : 20, "other" : 1]> A (a) => (b) { b = other.B(a) }
    <domain: "other", opset_import: ["" : 20, "other" : 1]> B (a) => (b) { b = other.A(a) }"""
    with pytest.raises(HubError, match="in a circle"):
        canonical(graph(text))


@pytest.mark.parametrize(
    "call",
    [
        "y = Celu<alpha = 2.0>(x)",
        "y = Selu(x)",
        "y = ThresholdedRelu<alpha = 0.3>(x)",
        "y = Shrink<lambd = 0.2, bias = 0.1>(x)",
        "y = MeanVarianceNormalization<axes = [0, 2]>(x)",
        "y = HardSwish(x)",
        "s = Constant<value_floats = [1.0, 2.0, 0.5, 1.5]>() y = RMSNormalization(x, s)",
    ],
)
def test_the_standards_body_computes_what_the_operator_does(graph, same, call):
    text = f"agraph (float[2, 6, 4] x) => (float[2, 6, 4] y) {{ {call} }}"
    model = canonical(graph(text))
    asked = {node.op_type for node in model.graph}
    assert expand(model, lambda node: node.op_type not in asked, infer_shapes)
    assert not asked & {node.op_type for node in model.graph}
    same(graph(text), model, {"x": X})
