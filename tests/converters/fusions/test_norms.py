from __future__ import annotations

import numpy as np
import pytest

from zoo.converters.canonical import canonical
from zoo.converters.fuse import fuse
from zoo.converters.graph import PARAMETER

RNG = np.random.default_rng(0)
FEEDS = {
    "x": RNG.standard_normal((2, 6, 4)).astype(np.float32),
    "w": RNG.standard_normal(4).astype(np.float32),
    "b": RNG.standard_normal(4).astype(np.float32),
}
EPS = "eps = Constant<value = float {1e-5}>()"
LAST = "last = Constant<value = int64[1] {-1}>()"
TWO = "two = Constant<value = float {2.0}>()"
CENTRED = f"{EPS} {LAST} {TWO} m = ReduceMean(x, last) d = Sub(x, m)"
VARIANCE = "q = Pow(d, two) v = ReduceMean(q, last) ve = Add(v, eps) r = Sqrt(ve)"
LAYER = f"{CENTRED} {VARIANCE} n = Div(d, r)"
RMS = f"{EPS} {LAST} {TWO} q = Pow(x, two) v = ReduceMean(q, last) ve = Add(v, eps) r = Sqrt(ve)"
CASES = {
    "scale and bias": (f"{LAYER} s = Mul(n, w) y = Add(s, b)", ["LayerNormalization"]),
    "the other way round": (f"{LAYER} s = Mul(w, n) y = Add(b, s)", ["LayerNormalization"]),
    "scale alone": (f"{LAYER} y = Mul(n, w)", ["LayerNormalization"]),
    "bias alone": (f"{LAYER} y = Add(n, b)", ["LayerNormalization"]),
    "neither": (LAYER.replace("n = Div", "y = Div"), ["LayerNormalization"]),
    "a square by Mul": (
        f"{CENTRED} {VARIANCE.replace('Pow(d, two)', 'Mul(d, d)')} n = Div(d, r) s = Mul(n, w) y = Add(s, b)",
        ["LayerNormalization"],
    ),
    "a reciprocal": (
        f"{CENTRED} {VARIANCE} i = Reciprocal(r) n = Mul(d, i) s = Mul(n, w) y = Add(s, b)",
        ["LayerNormalization"],
    ),
    "the scale before": (
        f"{CENTRED} {VARIANCE} i = Reciprocal(r) g = Mul(i, w) s = Mul(d, g) y = Add(s, b)",
        ["LayerNormalization"],
    ),
    "the difference taken twice": (
        f"{LAYER.replace('n = Div(d, r)', 'd2 = Sub(x, m) n = Div(d2, r)')} s = Mul(n, w) y = Add(s, b)",
        ["LayerNormalization"],
    ),
    "as TensorFlow writes it": (
        f"""{CENTRED} {VARIANCE} i = Reciprocal(r) g = Mul(i, w) xs = Mul(x, g) ms = Mul(m, g) o = Sub(b, ms)
        y = Add(xs, o)""",
        ["LayerNormalization"],
    ),
    "rms": (f"{RMS} n = Div(x, r) y = Mul(w, n)", ["RMSNormalization"]),
    "rms by a reciprocal": (f"{RMS} i = Reciprocal(r) n = Mul(x, i) y = Mul(n, w)", ["RMSNormalization"]),
    "rms by one divided": (
        f"{RMS} one = Constant<value = float {{1.0}}>() i = Div(one, r) n = Mul(x, i) y = Mul(n, w)",
        ["RMSNormalization"],
    ),
    "rms without a scale": (f"{RMS} y = Div(x, r)", ["RMSNormalization"]),
    "rms with one more than its weight": (
        f"{RMS} one = Constant<value = float {{1.0}}>() g = Add(w, one) n = Div(x, r) y = Mul(n, g)",
        ["Add", "RMSNormalization"],
    ),
}


def parsed(graph, nodes, inputs="float[n, 6, 4] x, float[4] w, float[4] b", output="float[n, 6, 4] y"):
    """The canonical graph of some nodes, its weights marked."""
    model = graph(f"agraph ({inputs}) => ({output}) {{ {nodes} }}")
    for value in model.graph.inputs[1:]:
        value.metadata_props[PARAMETER] = "parameter"
    return canonical(model)


def ops(model):
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize("name", CASES)
def test_a_norm_that_was_taken_apart_is_one_again(graph, same, name):
    nodes, expected = CASES[name]
    after = fuse(parsed(graph, nodes))
    assert expected == ops(after)
    same(parsed(graph, nodes), after, FEEDS)


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        (f"{LAYER.replace('{-1}', '{1}')} y = Identity(n)", "over axes [1] of 3, and not over the last ones"),
        (f"{RMS.replace('{-1}', '{0}')} y = Div(x, r)", "over axes [0] of 3"),
    ],
)
def test_a_mean_over_other_axes_stays_and_says_why(graph, same, nodes, reason):
    refusals: list[str] = []
    after = fuse(parsed(graph, nodes), refusals)
    assert not {"LayerNormalization", "RMSNormalization"} & set(ops(after))
    assert any(reason in found for found in refusals)
    same(parsed(graph, nodes), after, FEEDS)


def test_a_norm_over_two_axes_takes_a_scale_of_two(graph, same):
    nodes = LAYER.replace("int64[1] {-1}", "int64[2] {1, 2}") + " s = Mul(n, w) y = Add(s, b)"
    inputs = "float[n, 6, 4] x, float[6, 4] w, float[6, 4] b"
    after = fuse(parsed(graph, nodes, inputs))
    assert ["LayerNormalization"] == ops(after)
    assert -2 == after.graph[0].attributes["axis"].as_int()
    feeds = {n: RNG.standard_normal((6, 4)).astype(np.float32) for n in "wb"}
    same(parsed(graph, nodes, inputs), after, FEEDS | feeds)


def test_a_scale_of_another_shape_stays_beside_the_norm(graph, same):
    """As in adaptive norms, whose scale is one a sample."""
    nodes = f"{LAYER} s = Mul(n, w) y = Add(s, b)"
    inputs = "float[n, 6, 4] x, float[n, 1, 4] w, float[n, 1, 4] b"
    after = fuse(parsed(graph, nodes, inputs))
    assert ["LayerNormalization", "Mul", "Add"] == ops(after)
    feeds = {n: RNG.standard_normal((2, 1, 4)).astype(np.float32) for n in "wb"}
    same(parsed(graph, nodes, inputs), after, FEEDS | feeds)


def test_a_mean_that_is_read_elsewhere_stays(graph, same):
    nodes = f"{LAYER} s = Mul(n, w) t = Add(s, m) y = Add(t, b)"
    after = fuse(parsed(graph, nodes))
    assert "LayerNormalization" not in ops(after)
    same(parsed(graph, nodes), after, FEEDS)


def test_channels_first_stays_between_its_transposes(graph, same):
    nodes = f"{LAYER.replace('(x', '(t')} s = Mul(n, w) a = Add(s, b) y = Transpose<perm = [0, 2, 1]>(a)"
    inputs = "float[n, 4, 6] x, float[4] w, float[4] b"
    text = f"t = Transpose<perm = [0, 2, 1]>(x) {nodes}"
    after = fuse(parsed(graph, text, inputs, "float[n, 4, 6] y"))
    assert ["Transpose", "LayerNormalization", "Transpose"] == ops(after)
    feeds = FEEDS | {"x": FEEDS["x"].transpose(0, 2, 1)}
    same(parsed(graph, text, inputs, "float[n, 4, 6] y"), after, feeds)


HALF_RMS = "c = Cast<to = 1>(x) " + RMS.replace("(x,", "(c,") + " n = Div(c, r) h = Cast<to = 10>(n) y = Mul(w, h)"
HALF_LAYER = "c = Cast<to = 1>(x) " + LAYER.replace("(x,", "(c,") + " h = Cast<to = 10>(n) s = Mul(h, w) y = Add(s, b)"


@pytest.mark.parametrize(("nodes", "op"), [(HALF_RMS, "RMSNormalization"), (HALF_LAYER, "LayerNormalization")])
def test_half_precision_that_is_summed_in_float32_is_what_the_operator_does(graph, nodes, op):
    inputs, output = "float16[n, 6, 4] x, float16[4] w, float16[4] b", "float16[n, 6, 4] y"
    assert [op] == ops(fuse(parsed(graph, nodes, inputs, output)))


def test_float64_stays_since_the_operator_would_lose_digits(graph):
    nodes = f"{LAYER} s = Mul(n, w) y = Add(s, b)".replace("float {", "double {")
    refusals: list[str] = []
    inputs, output = "double[n, 6, 4] x, double[4] w, double[4] b", "double[n, 6, 4] y"
    assert "LayerNormalization" not in ops(fuse(parsed(graph, nodes, inputs, output), refusals))
    assert any("float64" in reason for reason in refusals)


GROUP = """g = Constant<value = int64[3] {0, 2, -1}>() ones = Constant<value = float[2] {1.0, 1.0}>()
    zeros = Constant<value = float[2] {0.0, 0.0}>() flat = Reshape(x, g)
    i = InstanceNormalization<epsilon = 1e-5>(flat, ones, zeros) shape = Shape(x) n = Reshape(i, shape)"""
SPREAD = "a = Constant<value = int64[1] {1}>() ws = Unsqueeze(w, a) bs = Unsqueeze(b, a)"
IMAGE = {"x": RNG.standard_normal((2, 4, 6)).astype(np.float32)}


@pytest.mark.parametrize("length", ["6", "length"])
@pytest.mark.parametrize(
    "nodes",
    [
        f"{GROUP} {SPREAD} s = Mul(n, ws) y = Add(s, bs)",
        f"{GROUP} {SPREAD} y = Mul(n, ws)",
        GROUP.replace("n = Resh", "y = Resh"),
    ],
)
def test_a_group_norm_by_an_instance_norm_is_one_again(graph, same, nodes, length):
    inputs, output = f"float[n, 4, {length}] x, float[4] w, float[4] b", f"float[n, 4, {length}] y"
    after = fuse(parsed(graph, nodes, inputs, output))
    assert ["GroupNormalization"] == ops(after)
    assert 2 == after.graph[0].attributes["num_groups"].as_int()
    same(parsed(graph, nodes, inputs, output), after, FEEDS | IMAGE)


def test_a_group_norm_whose_weights_are_spread_already_reshapes_them(graph, same):
    nodes = f"{GROUP} s = Mul(n, w) y = Add(s, b)"
    inputs, output = "float[n, 4, 6] x, float[4, 1] w, float[4, 1] b", "float[n, 4, 6] y"
    after = fuse(parsed(graph, nodes, inputs, output))
    assert ["Reshape", "Reshape", "GroupNormalization"] == ops(after)
    same(parsed(graph, nodes, inputs, output), after, IMAGE | {n: FEEDS[n][:, None] for n in "wb"})


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("{0.0, 0.0}", "{0.0, 0.5}", "a scale or bias of its own"),
        ("{0, 2, -1}", "{0, -1, 12}", "not reshaped to"),
        ("Reshape(i, shape)", "Reshape(i, k)", "does not have the input's shape"),
    ],
)
def test_what_is_no_group_norm_stays_and_says_why(graph, same, old, new, reason):
    nodes = f"k = Constant<value = int64[3] {{0, 6, 4}}>() {GROUP.replace(old, new)} y = Relu(n)"
    inputs = "float[n, 4, 6] x, float[4] w, float[4] b"
    output = "float[n, p, q] y"
    refusals: list[str] = []
    after = fuse(parsed(graph, nodes, inputs, output), refusals)
    assert "InstanceNormalization" in ops(after)
    assert any(reason in found for found in refusals)
    same(parsed(graph, nodes, inputs, output), after, FEEDS | IMAGE)
