from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from zoo.converters import fold
from zoo.converters.canonical import canonical


def infer(model: ir.Model) -> ir.Model:
    from onnx_ir.passes.common import ShapeInferencePass

    ShapeInferencePass(data_prop=True)(model)
    return model


def test_constants_are_computed_by_the_reference_evaluator(graph, same):
    text = """agraph (float[2] x) => (float[2] y) {
        a = Constant<value = float[2] {1.0, 4.0}>()
        b = Sqrt(a)
        c = Mul(b, a)
        y = Add(x, c)
    }"""
    model = graph(text)
    assert fold.fold_constants(model)
    assert ["Add"] == [node.op_type for node in model.graph]
    same(graph(text), model, {"x": np.ones(2, np.float32)})


@pytest.mark.parametrize("op", ["RandomNormal<shape = [2]>()", "RandomUniformLike(x)", "Bernoulli(x)"])
def test_what_is_random_is_never_folded(graph, op):
    nodes = f"x = Constant<value = float[2] {{0.5, 0.5}}>() r = {op} y = Add(z, r)"
    text = f"agraph (float[2] z) => (float[2] y) {{ {nodes} }}"
    model = graph(text)
    fold.fold_constants(model)
    assert 2 == len(model.graph)


def test_a_constant_that_is_an_output_stays_an_output(graph):
    model = graph("agraph (float[2] x) => (float[1] y) { a = Constant<value = float[1] {4.0}>() y = Sqrt(a) }")
    fold.fold_constants(model)
    assert ["Identity"] == [node.op_type for node in model.graph]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("z = Shape<start = 1>(x)", (3, 4)),
        ("s = Shape(x) i = Constant<value = int64 {0}>() z = Gather(s, i)", ("batch",)),
        ("s = Shape(x) i = Constant<value = int64[2] {2, 0}>() z = Gather(s, i)", (4, "batch")),
        (
            "a = Shape<start = 0, end = 1>(x) b = Constant<value = int64[1] {7}>() z = Concat<axis = 0>(a, b)",
            ("batch", 7),
        ),
        ("a = Shape<start = 1, end = 2>(x) b = Shape<start = 2, end = 3>(x) z = Mul(a, b)", (12,)),
        ("a = Shape<start = 0, end = 1>(x) b = Constant<value = int64[1] {1}>() z = Mul(a, b)", ("batch",)),
        ("a = Shape<start = 0, end = 1>(x) b = Constant<value = int64[1] {0}>() z = Sub(a, b)", ("batch",)),
    ],
)
def test_what_is_known_of_sizes(graph, steps, expected):
    model = infer(graph(f"agraph (float[batch, 3, 4] x) => (int64[n] y) {{ {steps} y = Identity(z) }}"))
    fold.fold_constants(model)
    known = fold.sizes(infer(model).graph)
    z = next(value for value in known if value.name == "z")
    assert expected == known[z].items


@pytest.mark.parametrize(("a", "b", "quotient"), [(7, 2, 3), (-7, 2, -3), (7, -2, -3), (0, 5, 0)])
def test_integers_are_divided_towards_zero(a, b, quotient):
    assert quotient == fold._div(a, b)


def test_a_reshape_with_two_sizes_that_move_is_left_alone(graph):
    text = """agraph (float[a, b, 6] x) => (float[q, r, 6] y) {
        first = Shape<start = 0, end = 1>(x)
        second = Shape<start = 1, end = 2>(x)
        six = Constant<value = int64[1] {6}>()
        target = Concat<axis = 0>(second, first, six)
        y = Reshape(x, target)
    }"""
    model = infer(graph(text))
    fold.fold_constants(model)
    assert not fold.fold_shapes(infer(model))


def test_a_free_size_that_an_axis_has_already_is_not_expanded_to(graph, same):
    text = """agraph (float[batch, 1, 4] x, float[1, 4] z) => (float[batch, 3, 4] y, float[batch, 4] w) {
        batch = Shape<start = 0, end = 1>(x)
        rest = Constant<value = int64[2] {3, 4}>()
        target = Concat<axis = 0>(batch, rest)
        y = Expand(x, target)
        four = Constant<value = int64[1] {4}>()
        wide = Concat<axis = 0>(batch, four)
        w = Expand(z, wide)
    }"""
    model = canonical(graph(text))
    of = {node.outputs[0].name: node.inputs[1] for node in model.graph if node.op_type == "Expand"}
    assert [1, 3, 4] == of["y"].const_value.numpy().tolist()
    assert of["w"].const_value is None  # the batch of another input, which z has not
    feeds = {"x": np.ones((2, 1, 4), np.float32), "z": np.ones((1, 4), np.float32)}
    same(graph(text), model, feeds)
