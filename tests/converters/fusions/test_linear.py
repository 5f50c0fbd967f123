from __future__ import annotations

import numpy as np
import pytest

from zoo.converters import graph as g
from zoo.converters.fuse import fuse

HEAD = "agraph (float[n, 5, 3] x, float[4, 3] w, float[4] b) => (float[n, 5, 4] y)"
FEEDS = {
    "x": np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32),
    "w": np.random.default_rng(1).standard_normal((4, 3)).astype(np.float32),
    "b": np.random.default_rng(2).standard_normal(4).astype(np.float32),
}


def marked(model, names=("w", "b")):
    for value in model.graph.inputs:
        if value.name in names:
            value.metadata_props[g.PARAMETER] = "parameter"
    return model


@pytest.mark.parametrize(
    ("body", "ops"),
    [
        ("t = Transpose<perm = [1, 0]>(w) m = MatMul(x, t) y = Add(m, b)", ["Linear"]),
        ("t = Transpose(w) m = MatMul(x, t) y = Add(m, b)", ["Linear"]),
        ("t = Transpose<perm = [1, 0]>(w) m = MatMul(x, t) y = Add(b, m)", ["Linear"]),
        ("t = Transpose<perm = [1, 0]>(w) y = MatMul(x, t)", ["LinearNoBias"]),
        ("t = Transpose<perm = [1, 0]>(w) m = MatMul(x, t) y = Mul(m, b)", ["LinearNoBias", "Mul"]),
        (
            "t = Transpose<perm = [1, 0]>(w) m = MatMul(x, t) r = Relu(m) a = Add(m, b) y = Add(a, r)",
            ["LinearNoBias", "Relu", "Add", "Add"],
        ),
        (
            "t = Transpose<perm = [1, 0]>(w) z = Relu(x) m = MatMul(x, t) n = MatMul(z, t) a = Add(m, b) y = Add(a, n)",
            ["Relu", "LinearNoBias", "Linear", "Add"],
        ),
    ],
)
def test_a_product_with_a_transposed_weight_is_a_linear_layer(graph, same, body, ops):
    text = f"{HEAD} {{ {body} }}"
    fused = fuse(marked(graph(text)))
    assert sorted(ops) == sorted(node.op_type for node in fused.graph)
    assert ["y"] == [v.name for v in fused.graph.outputs]
    same(graph(text), fused, FEEDS)


def test_a_weight_that_is_no_parameter_is_left_alone(graph):
    text = f"{HEAD} {{ t = Transpose<perm = [1, 0]>(w) m = MatMul(x, t) y = Add(m, b) }}"
    assert ["Transpose", "MatMul", "Add"] == [node.op_type for node in fuse(marked(graph(text), ())).graph]


def test_a_weight_that_is_kept_as_it_is_multiplied_with_is_left_alone(graph):
    text = "agraph (float[n, 3] x, float[3, 4] w, float[4] b) => (float[n, 4] y) { m = MatMul(x, w) y = Add(m, b) }"
    assert ["MatMul", "Add"] == [node.op_type for node in fuse(marked(graph(text))).graph]


def test_a_sum_that_is_no_bias_is_left_alone(graph, same):
    head = HEAD.replace("float[4] b", "float[5, 4] b")
    text = f"{head} {{ t = Transpose<perm = [1, 0]>(w) m = MatMul(x, t) y = Add(m, b) }}"
    refusals: list[str] = []
    fused = fuse(marked(graph(text)), refusals)
    assert ["LinearNoBias", "Add"] == [node.op_type for node in fused.graph]
    assert any("no bias" in reason for reason in refusals)
    same(graph(text), fused, FEEDS | {"b": np.ones((5, 4), np.float32)})
