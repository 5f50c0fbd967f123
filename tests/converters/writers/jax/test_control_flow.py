"""If, Loop and Scan: lax's own under jit, and Python's where numbers are known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest

import zoo
from tests.converters.writers.jax.conftest import parsed
from zoo.converters.writers.jax.trace import Untraceable

LOOP = """
agraph (int64 trips, bool cond, float[K] start) => (float[K] last) {
  last = Loop (trips, cond, start) <body = inner
    (int64 i, bool c, float[K] before) => (bool c_out, float[K] after) {
      one = Constant <value = float {1.0}> ()
      after = Add (before, one)
      limit = Constant <value = float {9.0}> ()
      most = ReduceMax <keepdims = 0> (after)
      c_out = Less (most, limit)
    }>
}
"""
FIXED = """
agraph (float[K] start) => (float[K] last, float[T, K] rows) {
  trips = Constant <value = int64 {5}> ()
  yes = Constant <value = bool {1}> ()
  last, rows = Loop (trips, yes, start) <body = inner
    (int64 i, bool c, float[K] before) => (bool c_out, float[K] after, float[K] row) {
      c_out = Identity (c)
      j = Cast <to = 1> (i)
      row = Sin (before)
      after = Add (row, j)
    }>
}
"""
ROWS = """
agraph (int64 trips, bool cond, float[K] start) => (float[K] last, float[T, K] rows) {
  last, rows = Loop (trips, cond, start) <body = inner
    (int64 i, bool c, float[K] before) => (bool c_out, float[K] after, float[K] row) {
      c_out = Identity (c)
      row = Identity (before)
      after = Mul (before, before)
    }>
}
"""
GROWING = """
agraph (float[N] start) => (float[L] last) {
  trips = Constant <value = int64 {3}> ()
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
  y = If (cond) <then_branch = one () => (float[A] a) { a = Sin (x) },
                 else_branch = other () => (float[B] b) { b = Neg (x) }>
}
"""
UNLIKE = IF.replace("Sin (x)", "Concat <axis = 0> (x, x)")


def program(graph, *inputs):
    apply, params = zoo.load(parsed(graph), framework="jax")
    return apply, params, str(jax.make_jaxpr(apply)(params, inputs))


@pytest.mark.parametrize("trips, start", [(4, 0.0), (100, 5.0), (0, 1.0)])
def test_a_loop_that_ends_by_its_numbers_is_a_while_loop(agrees, trips, start):
    feeds = {"trips": np.array(trips), "cond": np.array(True), "start": np.array([start, -1], np.float32)}
    agrees(LOOP, feeds)
    assert "while" in program(LOOP, *feeds.values())[2]


def test_a_loop_of_so_many_rounds_is_a_scan_and_has_gradients(agrees):
    start = np.array([0.3, -2], np.float32)
    agrees(FIXED, {"start": start})
    apply, params, text = program(FIXED, start)
    assert "scan[" in text and "while" not in text
    slope = jax.grad(lambda start: apply(params, start)["last"].sum())(jnp.asarray(start))
    step = 1e-2
    moved = [apply(params, start + s * np.eye(2, dtype=np.float32)[0])["last"].sum() for s in (step, -step)]
    np.testing.assert_allclose(slope[0], (moved[0] - moved[1]) / (2 * step), rtol=2e-2, atol=1e-3)


def test_a_loop_whose_state_grows_is_unrolled(agrees):
    agrees(GROWING, {"start": np.arange(2, dtype=np.float32)})
    assert "while" not in program(GROWING, np.ones(2, np.float32))[2]


def test_rows_of_a_number_that_is_traced_are_computed_outside_of_jit(agrees):
    feeds = {"trips": np.array(3), "cond": np.array(True), "start": np.array([2, 3], np.float32)}
    agrees(ROWS, feeds, compiled=False)
    apply, params = zoo.load(parsed(ROWS), framework="jax")
    with pytest.raises(Untraceable, match="how often it runs decides over a shape"):
        jax.jit(apply)(params, list(feeds.values()))


@pytest.mark.parametrize("n", [1, 5])
def test_a_scan_goes_backwards_and_stacks_where_it_is_told(agrees, n):
    x = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    agrees(SCAN, {"start": np.ones(3, np.float32), "x": x})
    assert "scan[" in program(SCAN, np.ones(3, np.float32), x)[2]


@pytest.mark.parametrize("cond", [True, False])
def test_branches_of_one_shape_are_a_cond(agrees, cond):
    feeds = {"cond": np.array(cond), "x": np.arange(3, dtype=np.float32)}
    agrees(IF, feeds)
    apply, params, text = program(IF, *feeds.values())
    assert "cond[" in text
    slope = jax.jit(jax.grad(lambda x: apply(params, (cond, x)).sum()))(feeds["x"])
    np.testing.assert_allclose(slope, np.cos(feeds["x"]) if cond else -np.ones(3), rtol=1e-6)


@pytest.mark.parametrize("cond", [True, False])
def test_branches_of_unlike_shapes_are_taken_outside_of_jit(agrees, cond):
    feeds = {"cond": np.array(cond), "x": np.arange(3, dtype=np.float32)}
    agrees(UNLIKE, feeds, compiled=False)
    apply, params = zoo.load(parsed(UNLIKE), framework="jax")
    with pytest.raises(Untraceable, match=r"its branches give different shapes \(float32\[6\] and float32\[3\]\)"):
        jax.jit(apply)(params, list(feeds.values()))


def test_vmap_over_a_condition_takes_each_ones_branch():
    apply, params = zoo.load(parsed(IF), framework="jax")
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    made = jax.vmap(lambda cond, x: apply(params, (cond, x)))(np.array([True, False]), x)
    np.testing.assert_allclose(made, [np.sin(x[0]), -x[1]], rtol=1e-6)


def test_weights_that_a_body_reads_are_params_with_gradients():
    model = parsed(
        """agraph (float[N, K] x) => (float[K] last) {
          zero = Constant <value = float[2] {0, 0}> ()
          last = Scan <num_scan_inputs = 1, body = inner
            (float[K] before, float[K] now) => (float[K] after) {
              scaled = Mul (now, "cell.scale")
              after = Add (before, scaled)
            }> (zero, x)
        }""",
        {"cell.scale": np.array([2, 3], np.float32)},
    )
    apply, params = zoo.load(model, framework="jax")
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    slope = jax.jit(jax.grad(lambda params: apply(params, x).sum()))(params)
    np.testing.assert_allclose(slope["cell"]["scale"], x.sum(0))


def test_a_gradient_in_the_graph_is_jaxs_own():
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 23, "ai.onnx.preview.training" : 1]>
        agraph (float[3] a, float[3] b) => (float[3] by_a) {
          c = Mul (a, a)
          d = Mul (c, b)
          by_a = ai.onnx.preview.training.Gradient <xs = ["a"], zs = ["b"], y = "d"> (a, b)
        }"""
    )
    a, b = np.arange(3, dtype=np.float32), np.full(3, 0.5, np.float32)
    apply, params = zoo.load(model, framework="jax")
    np.testing.assert_allclose(jax.jit(apply)(params, (a, b)), 2 * a * b)
