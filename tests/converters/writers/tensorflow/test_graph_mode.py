"""What depends on the numbers in the inputs, inside of one traced graph: control flow, picking, shapes and axes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import zoo
from tests.converters.writers.tensorflow.conftest import parsed

LOOP = """
agraph (int64 trips, bool cond, float[K] start) => (float[K] last, float[T, K] rows) {
  last, rows = Loop (trips, cond, start) <body = inner
    (int64 i, bool c, float[K] before) => (bool c_out, float[K] after, float[K] row) {
      one = Constant <value = float {1.0}> ()
      after = Add (before, one)
      row = Identity (before)
      limit = Constant <value = float {9.0}> ()
      most = ReduceMax <keepdims = 0> (after)
      c_out = Less (most, limit)
    }>
}
"""
GROWING = """
agraph (int64 trips, float[K] start) => (float[L] last) {
  yes = Constant <value = bool {1}> ()
  last = Loop (trips, yes, start) <body = inner
    (int64 i, bool c, float[A] before) => (bool c_out, float[B] after) {
      c_out = Identity (c)
      after = Concat <axis = 0> (before, before)
    }>
}
"""
SCAN = """
agraph (float[K] start, float[N, K] x) => (float[K] last, float[K, N] rows) {
  last, rows = Scan <num_scan_inputs = 1, scan_input_directions = [1], scan_output_axes = [1], body = inner
    (float[K] before, float[K] now) => (float[K] after, float[K] row) {
      after = Add (before, now)
      row = Mul (after, now)
    }> (start, x)
}
"""
IF = """
agraph (bool cond, float[N] x) => (float[M] y) {
  y = If (cond) <then_branch = one () => (float[A] a) { a = Concat <axis = 0> (x, x) },
                 else_branch = other () => (float[B] b) { b = Neg (x) }>
}
"""


@pytest.mark.parametrize("trips, start", [(4, 0.0), (100, 5.0), (0, 1.0)])
def test_a_loop_ends_by_its_count_or_its_condition(agrees, trips, start):
    feeds = {"trips": np.int64(trips), "cond": np.array(True), "start": np.array([start, -1], np.float32)}
    agrees(LOOP, {**feeds, "trips": np.array(trips)})


def test_a_loops_state_may_grow(agrees):
    agrees(GROWING, {"trips": np.array(3), "start": np.arange(2, dtype=np.float32)})


@pytest.mark.parametrize("n", [1, 5])
def test_a_scan_goes_backwards_and_stacks_where_it_is_told(agrees, n):
    x = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    agrees(SCAN, {"start": np.ones(3, np.float32), "x": x})


@pytest.mark.parametrize("cond", [True, False])
def test_branches_may_give_unlike_sizes(agrees, cond):
    agrees(IF, {"cond": np.array(cond), "x": np.arange(3, dtype=np.float32)})


@pytest.mark.parametrize(
    "graph",
    [
        "agraph (float[N, M] x) => (int64[2, K] y) { y = NonZero (x) }",
        "agraph (float[N, M] x) => (float[K] y, int64[K] first, int64[L] which, int64[K] count)"
        " { y, first, which, count = Unique (x) }",
        "agraph (float[N, M] x) => (float[K, M] y, int64[K] first, int64[N] which, int64[K] count)"
        " { y, first, which, count = Unique <axis = 0> (x) }",
        "agraph (float[N, M] x) => (float[K] y, int64[K] first, int64[L] which, int64[K] count)"
        " { y, first, which, count = Unique <sorted = 0> (x) }",
    ],
)
def test_how_many_come_out_depends_on_the_numbers(agrees, graph):
    agrees(graph, {"x": np.array([[2, 0, 1], [1, 1, 0], [2, 0, 1]], np.float32)})


def test_boxes_that_overlap_are_suppressed_in_the_graph(agrees):
    generator = np.random.default_rng(0)
    corner = generator.uniform(0, 5, (2, 20, 2))
    boxes = np.concatenate([corner, corner + generator.uniform(1, 4, (2, 20, 2))], -1).astype(np.float32)
    feeds = {
        "boxes": boxes,
        "scores": generator.uniform(size=(2, 3, 20)).astype(np.float32),
        "most": np.array([4]),
        "overlap": np.array([0.3], np.float32),
        "least": np.array([0.2], np.float32),
    }
    agrees(
        "agraph (float[B, N, 4] boxes, float[B, C, N] scores, int64[1] most, float[1] overlap, float[1] least)"
        " => (int64[K, 3] y) { y = NonMaxSuppression (boxes, scores, most, overlap, least) }",
        feeds,
    )


def test_a_depthwise_convolution_keeps_its_padding_where_its_bias_is_fused(agrees):
    """TensorFlow 2.21 loses the padding of the fused one, and the process ends."""
    graph = """
    agraph (float[N, 8, H, W] x) => (float[N, 8, P, Q] y) {
      a = Conv <group = 8, pads = [1, 1, 1, 1], strides = [2, 2]> (x, kernel, bias)
      y = Relu (a)
    }
    """
    generator = np.random.default_rng(0)
    shapes = {"x": (2, 8, 9, 7), "kernel": (8, 1, 3, 3), "bias": (8,)}
    arrays = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    agrees(graph, {"x": arrays.pop("x")}, arrays)


@pytest.mark.parametrize("scales", [[1, 1, 2, 2], [1, 1, 8, 1], [1, 1, 3, 2], [1, 2, 2, 2], [1, 1, 0.5, 2]])
def test_places_are_repeated_as_the_scales_say(agrees, scales):
    graph = f"""
    agraph (float[N, 3, H, W] x) => (float[N, C, P, Q] y) {{
      scales = Constant <value_floats = {[float(s) for s in scales]}> ()
      y = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (x, , scales)
    }}
    """
    agrees(graph, {"x": np.random.default_rng(0).normal(size=(2, 3, 6, 4)).astype(np.float32)})


def test_a_gradient_is_that_of_its_part_of_the_graph():
    model = parsed(
        "agraph (float[N] a, float[N] b) => (float[N] by_a, float[N] by_b) { c = Mul (a, a) d = Mul (c, b) }"
    )
    names = {"xs": ["a", "b"], "y": "d"}
    node = onnx.helper.make_node("Gradient", ["a", "b"], ["by_a", "by_b"], domain="ai.onnx.preview.training", **names)
    model.graph.node.append(node)
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.preview.training", 1))
    a, b = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    made = zoo.runner(model, "tensorflow").run({"a": a, "b": b})
    np.testing.assert_allclose(made["by_a"], 2 * a * b, rtol=1e-6)
    np.testing.assert_allclose(made["by_b"], a * a, rtol=1e-6)


X = np.random.default_rng(2).normal(size=(4, 5, 6)).astype(np.float32)
VECTORS = "int64[2] a, int64[2] b, int64[2] axes, int64[2] steps"
SHAPES = [
    (
        f"agraph (float[4, 5, 6] x, {VECTORS}) => (float[P, Q, R] y) {{ y = Slice (x, a, b, axes, steps) }}",
        {"a": [-1, 1], "b": [-9, 4], "axes": [-1, 0], "steps": [-2, 1]},
    ),
    ("agraph (float[4, 5, 6] x, int64[1] axes) => (float[P, Q, R, S] y) { y = Unsqueeze (x, axes) }", {"axes": [-2]}),
    (
        "agraph (float[1, 4, 1] z, int64[2] axes) => (float[P] y) { y = Squeeze (z, axes) }",
        {"axes": [-1, 0], "z": np.ones((1, 4, 1), np.float32)},
    ),
    (
        "agraph (float[4, 5, 6] x, int64[4] pads, int64[2] axes) => (float[P, Q, R] y)"
        ' { v = Constant <value = float {7.0}> () y = Pad <mode = "constant"> (x, pads, v, axes) }',
        {"pads": [1, -2, 0, 3], "axes": [2, 0]},
    ),
    (
        'agraph (float[4, 5, 6] x, int64[6] pads) => (float[P, Q, R] y) { y = Pad <mode = "reflect"> (x, pads) }',
        {"pads": [1, 2, 0, 3, 0, 5]},
    ),
    ("agraph (float[4, 5, 6] x, int64[2] shape) => (float[P, Q] y) { y = Reshape (x, shape) }", {"shape": [0, -1]}),
    (
        "agraph (float[4, 5, 6] x, int64 axis) => (float[4, 5, 6] y) { y = CumSum <reverse = 1> (x, axis) }",
        {"axis": -2},
    ),
]


@pytest.mark.parametrize("graph, feeds", SHAPES)
def test_axes_and_bounds_may_come_with_the_data(agrees, graph, feeds):
    given = {name: np.asarray(value) for name, value in feeds.items()}
    agrees(graph, given if "z" in given else {"x": X, **given})


def test_a_number_that_no_graph_takes_is_asked_for_step_by_step(agrees):
    graph = "agraph (int64 n) => (float[K] y) { y = HannWindow (n) }"
    agrees(graph, {"n": np.array(7)}, traced=False)
