from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from zoo.converters.canonical import canonical
from zoo.converters.fuse import fuse
from zoo.converters.graph import PARAMETER

RNG = np.random.default_rng(0)
B, H, L, S, D = 2, 3, 4, 5, 4


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


FEEDS = {"q": normal(B, H, L, D), "k": normal(B, H, S, D), "v": normal(B, H, S, D)}
INPUTS = "float[b, 3, l, 4] q, float[b, 3, s, 4] k, float[b, 3, s, 4] v"
OUTPUT = "float[b, 3, l, 4] y"
HALF = "h = Constant<value = float {0.5}>()"  # 1 / sqrt(D)
LOW = "low = Constant<value = float {-3.4028235e38}>()"
INFINITY = "low = Constant<value = float {-inf}>()"
ZERO = "zero = Constant<value = float {0.0}>()"
SCORES = f"{HALF} t = Transpose<perm = [0, 1, 3, 2]>(k) p = MatMul(q, t) s = Mul(p, h)"
OUT = "w = Softmax<axis = -1>(m) y = MatMul(w, v)"
GUARD = f"{ZERO} w = Softmax<axis = -1>(m) n = IsNaN(w) g = Where(n, zero, w) y = MatMul(g, v)"
SEEN = RNG.random((B, 1, L, S)) > 0.4
SEEN[..., 0] = True
NOTHING = SEEN.copy()
NOTHING[0, 0, 1] = False  # one query that sees no key


def parsed(graph, nodes, inputs=INPUTS, output=OUTPUT, weights=()):
    model = graph(f"agraph ({inputs}) => ({output}) {{ {nodes} }}")
    for value in model.graph.inputs:
        if value.name in weights:
            value.metadata_props[PARAMETER] = "parameter"
    return canonical(model)


def ops(model):
    return [node.op_type for node in model.graph]


def attention(model):
    return next(node for node in model.graph if node.op_type == "Attention")


@pytest.mark.parametrize(
    ("nodes", "scale"),
    [
        (f"{SCORES} w = Softmax<axis = -1>(s) y = MatMul(w, v)", None),
        (f"{SCORES} w = Softmax<axis = 3>(s) y = MatMul(w, v)", None),
        (f"{SCORES.replace('s = Mul(p, h)', '')} w = Softmax(p) y = MatMul(w, v)", 1.0),
        (f"{SCORES.replace('Mul(p, h)', 'Div(p, h)')} w = Softmax(s) y = MatMul(w, v)", 2.0),
        (
            f"""{HALF} a = Mul(q, h) t = Transpose<perm = [0, 1, 3, 2]>(k) p = MatMul(a, t) w = Softmax(p)
            y = MatMul(w, v)""",
            None,
        ),
        (
            """r = Constant<value = float {0.70710678}>() a = Mul(q, r) t = Transpose<perm = [0, 1, 3, 2]>(k)
            c = Mul(t, r) p = MatMul(a, c) w = Softmax(p) y = MatMul(w, v)""",
            None,
        ),
        (
            """r = Constant<value = float {0.70710678}>() a = Mul(q, r) c = Mul(k, r)
            t = Transpose<perm = [0, 1, 3, 2]>(c) p = MatMul(a, t) w = Softmax(p) y = MatMul(w, v)""",
            None,
        ),
    ],
)
def test_the_scale_may_stand_anywhere(graph, same, nodes, scale):
    before, after = parsed(graph, nodes), fuse(parsed(graph, nodes))
    assert ["Attention"] == ops(after)
    assert ["q", "k", "v"] == [v.name for v in attention(after).inputs]
    assert scale == (
        attention(after).attributes["scale"].as_float() if scale else attention(after).attributes.get("scale")
    )
    same(before, after, FEEDS)


TURNED = INPUTS.replace("float[b, 3, s, 4] k", "{k}")


@pytest.mark.parametrize(
    ("key", "turn", "expected", "shape"),
    [
        ("float[b, s, 3, 4] k", "t = Transpose<perm = [0, 2, 3, 1]>(k)", ["Transpose", "Attention"], (B, S, H, D)),
        ("float[b, 3, 4, s] k", "t = Identity(k)", ["Transpose", "Attention"], (B, H, D, S)),
        (
            "float[b, 3, 5, 4] k",
            """f = Constant<value = int64[3] {-1, 5, 4}>() a = Reshape(k, f) c = Transpose<perm = [0, 2, 1]>(a)
            g = Constant<value = int64[4] {-1, 3, 4, 5}>() t = Reshape(c, g)""",
            ["Attention"],
            (B, H, S, D),
        ),
        (
            "float[b, 3, s, 4] k",
            """n = Shape<start = 2, end = 3>(k) m = Constant<value = int64[1] {-1}>()
            d = Constant<value = int64[1] {4}>() f = Concat<axis = 0>(m, n, d) a = Reshape(k, f)
            c = Transpose<perm = [0, 2, 1]>(a) lead = Shape<start = 0, end = 2>(k)
            g = Concat<axis = 0>(lead, d, n) t = Reshape(c, g)""",
            ["Attention"],
            (B, H, S, D),
        ),
    ],
)
def test_the_key_is_taken_from_before_it_was_transposed(graph, same, key, turn, expected, shape):
    nodes = f"{HALF} {turn} p = MatMul(q, t) s = Mul(p, h) w = Softmax(s) y = MatMul(w, v)"
    inputs = TURNED.format(k=key)
    after = fuse(parsed(graph, nodes, inputs))
    assert expected == ops(after)
    same(parsed(graph, nodes, inputs), after, FEEDS | {"k": normal(*shape)})


MASKS = {
    "finite, added": (f"{LOW} {ZERO} a = Where(mask, zero, low) m = Add(s, a) {OUT}", ["Where", "Attention"], NOTHING),
    "finite, put in its place": (f"{LOW} m = Where(mask, s, low) {OUT}", ["Where", "Attention"], NOTHING),
    "finite, hidden": (f"{LOW} x = Not(mask) m = Where(x, low, s) {OUT}", ["Where", "Attention"], NOTHING),
    "infinite, guarded": (f"{INFINITY} m = Where(mask, s, low) {GUARD}", ["Attention"], SEEN),
    "infinite, added, guarded": (
        f"{INFINITY} {ZERO.replace('zero', 'o')} a = Where(mask, o, low) m = Add(s, a) {GUARD}",
        ["Attention"],
        SEEN,
    ),
    "infinite, hidden, guarded": (
        f"{INFINITY} x = Not(mask) m = Where(x, low, s) {GUARD}",
        ["Attention"],
        SEEN,
    ),
    "from tokens, as BERT has it": (
        f"""i = Cast<to = 7>(mask) f = Cast<to = 1>(i) one = Constant<value = float {{1.0}}>() r = Sub(one, f)
        {LOW} a = Mul(r, low) m = Add(s, a) {OUT}""",
        ["Cast", "Cast", "Sub", "Mul", "Attention"],
        NOTHING,
    ),
    "two that are added": (
        f"""{LOW} {ZERO} a = Where(mask, zero, low) f = Cast<to = 1>(mask) c = Add(s, f) m = Add(c, a) {OUT}""",
        ["Where", "Cast", "Add", "Attention"],
        NOTHING,
    ),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_goes_into_the_attention(graph, same, name):
    nodes, expected, seen = MASKS[name]
    inputs = f"{INPUTS}, bool[b, 1, l, s] mask"
    after = fuse(parsed(graph, f"{SCORES} {nodes}", inputs))
    assert sorted(expected) == sorted(ops(after))
    same(parsed(graph, f"{SCORES} {nodes}", inputs), after, FEEDS | {"mask": seen})
    once = ir.to_proto(after).SerializeToString(deterministic=True)
    assert once == ir.to_proto(fuse(after)).SerializeToString(deterministic=True)


def test_a_query_that_sees_nothing_gets_zeros_where_the_graph_gave_zeros(graph, same):
    nodes, inputs = f"{SCORES} {MASKS['infinite, guarded'][0]}", f"{INPUTS}, bool[b, 1, l, s] mask"
    with np.errstate(invalid="ignore"):
        same(parsed(graph, nodes, inputs), fuse(parsed(graph, nodes, inputs)), FEEDS | {"mask": NOTHING})


BIG = "m9 = Constant<value = float {-10000.0}>()"
REFUSED = {
    "an infinite mask without a guard": (f"{INFINITY} m = Where(mask, s, low) {OUT}", "sees no key gets NaN"),
    "a fill that a score can change": (f"{BIG} m = Where(mask, s, m9) {OUT}", "even weights"),
    "floats that may be infinite": (f"m = Add(s, bias) {OUT}", "can be minus infinity for a whole query"),
    "softmax over the queries": (f"m = Where(mask, s, h) {OUT.replace('-1', '2')}", "not over the keys"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_attention_would_compute_differently_stays_and_says_why(graph, name):
    nodes, reason = REFUSED[name]
    inputs = f"{INPUTS}, bool[b, 1, l, s] mask, float[b, 1, l, s] bias"
    refusals: list[str] = []
    assert "Attention" not in ops(fuse(parsed(graph, f"{SCORES} {nodes}", inputs), refusals))
    assert any(reason in found for found in refusals), refusals


TRIANGLE = """o = Constant<value = float {1.0}>() n = Shape<start = 2, end = 3>(q) z = Concat<axis = 0>(n, n)
    e = Expand(o, z) tri = Trilu<upper = 0>(e) seen = Cast<to = 9>(tri)"""


def test_a_triangle_is_said_by_an_attribute(graph, same):
    """Of a constant, and of Trilu over ones: both as exporters write is_causal."""
    nodes = f"{SCORES} {TRIANGLE} {INFINITY} {ZERO} a = Where(seen, zero, low) m = Add(s, a) {OUT}"
    inputs = INPUTS.replace("float[b, 3, s", "float[b, 3, 4").replace("float[b, 3, l", "float[b, 3, 4")
    after = fuse(parsed(graph, nodes, inputs))
    assert ["Attention"] == ops(after)
    assert 1 == attention(after).attributes["is_causal"].as_int()
    feeds = FEEDS | {"k": normal(B, H, L, D), "v": normal(B, H, L, D)}
    same(parsed(graph, nodes, inputs), after, feeds)


def test_a_triangle_over_a_free_length_lets_every_query_see_a_key(graph, same):
    nodes = f"{SCORES} {TRIANGLE} {INFINITY} m = Where(seen, s, low) {OUT}"
    inputs = INPUTS.replace(", s, 4]", ", l, 4]")
    after = fuse(parsed(graph, nodes, inputs))
    assert "Attention" in ops(after) and "Softmax" not in ops(after)
    feeds = FEEDS | {"k": normal(B, H, L, D), "v": normal(B, H, L, D)}
    same(parsed(graph, nodes, inputs), after, feeds)


def test_a_learned_bias_is_finite(graph, same):
    inputs = f"{INPUTS}, float[1, 3, 4, 5] bias".replace(", l,", ", 4,").replace(", s,", ", 5,")
    nodes = f"{SCORES} m = Add(bias, s) {OUT}"
    after = fuse(parsed(graph, nodes, inputs, weights=["bias"]))
    assert ["Attention"] == ops(after)
    same(parsed(graph, nodes, inputs, weights=["bias"]), after, FEEDS | {"bias": normal(1, H, L, S)})


def test_a_mask_that_may_be_one_for_all_keys_is_spread_over_them(graph, same):
    """A sum broadcasts it; Attention would take it as hiding all keys but the first."""
    nodes = f"{SCORES} {LOW} {ZERO} a = Where(mask, zero, low) m = Add(s, a) {OUT}"
    inputs = f"{INPUTS}, bool[b, 1, l, unknown] mask"
    after = fuse(parsed(graph, nodes, inputs))
    assert ["Where", "Shape", "Expand", "Attention"] == sorted(
        ops(after), key=["Where", "Shape", "Expand", "Attention"].index
    )
    for mask in (SEEN, SEEN[..., :1]):
        same(parsed(graph, nodes, inputs), after, FEEDS | {"mask": mask})


def test_batch_and_heads_on_one_axis_get_an_axis_for_heads(graph, same):
    """As nn.MultiheadAttention computes it by torch.bmm."""
    inputs = "float[n, 4, 4] q, float[n, 5, 4] k, float[n, 5, 4] v, bool[n, 4, 5] mask"
    nodes = f"{SCORES.replace('[0, 1, 3, 2]', '[0, 2, 1]')} {LOW} m = Where(mask, s, low) {OUT}"
    after = fuse(parsed(graph, nodes, inputs, "float[n, 4, 4] y"))
    assert {"Unsqueeze", "Where", "Attention", "Squeeze"} == set(ops(after))
    feeds = {n: x.reshape(-1, *x.shape[2:]) for n, x in FEEDS.items()} | {
        "mask": np.tile(SEEN, (1, H, 1, 1)).reshape(-1, L, S)
    }
    same(parsed(graph, nodes, inputs, "float[n, 4, 4] y"), after, feeds)


REPEAT = """axis = Constant<value = int64[1] {{2}}>() {x}1 = Unsqueeze({x}, axis) b{x} = Shape<start = 0, end = 1>({x})
    c{x} = Constant<value = int64[4] {{2, 3, 5, 4}}>() w{x} = Concat<axis = 0>(b{x}, c{x}) {x}2 = Expand({x}1, w{x})
    d{x} = Constant<value = int64[4] {{-1, 6, 5, 4}}>() {x}3 = Reshape({x}2, d{x})"""


def test_heads_that_are_repeated_for_groups_of_queries_are_not(graph, same):
    inputs = "float[b, 6, 4, 4] q, float[b, 2, 5, 4] k, float[b, 2, 5, 4] v"
    nodes = f"""{REPEAT.format(x="k")} {REPEAT.format(x="v").replace("axis = Constant<value = int64[1] {2}>()", "")}
        {SCORES.replace("(k)", "(k3)")} w = Softmax(s) y = MatMul(w, v3)"""
    after = fuse(parsed(graph, nodes, inputs, "float[b, 6, 4, 4] y"))
    assert ["Attention"] == ops(after)
    assert ["q", "k", "v"] == [v.name for v in attention(after).inputs]
    feeds = {"q": normal(B, 6, 4, 4), "k": normal(B, 2, 5, 4), "v": normal(B, 2, 5, 4)}
    same(parsed(graph, nodes, inputs, "float[b, 6, 4, 4] y"), after, feeds)


def test_an_attention_of_the_exporter_s_takes_the_heads_before_they_were_repeated(graph, same):
    inputs = "float[b, 6, 4, 4] q, float[b, 2, 5, 4] k, float[b, 2, 5, 4] v, float[b, 1, 4, 5] m"
    nodes = f"""{REPEAT.format(x="k")} {REPEAT.format(x="v").replace("axis = Constant<value = int64[1] {2}>()", "")}
        y = Attention<scale = 0.3>(q, k3, v3, m)"""
    after = fuse(parsed(graph, nodes, inputs, "float[b, 6, 4, 4] y"))
    assert ["Attention"] == ops(after)
    assert ["q", "k", "v", "m"] == [v.name for v in attention(after).inputs]
    feeds = {"q": normal(B, 6, 4, 4), "k": normal(B, 2, 5, 4), "v": normal(B, 2, 5, 4), "m": normal(B, 1, 4, 5)}
    same(parsed(graph, nodes, inputs, "float[b, 6, 4, 4] y"), after, feeds)


def test_a_softmax_in_float32_is_said_by_an_attribute(graph):
    nodes = """t = Transpose<perm = [0, 1, 3, 2]>(k) p = MatMul(q, t) c = Cast<to = 1>(p) w = Softmax(c)
        x = Cast<to = 10>(w) y = MatMul(x, v)"""
    after = fuse(parsed(graph, nodes, INPUTS.replace("float", "float16"), OUTPUT.replace("float", "float16")))
    assert ["Attention"] == ops(after)
    assert 1 == attention(after).attributes["softmax_precision"].as_int()


def test_weights_that_are_read_elsewhere_stay(graph):
    nodes = f"{SCORES} w = Softmax(s) y = MatMul(w, v)"
    model = parsed(graph, nodes, output=f"{OUTPUT}, float[b, 3, l, s] w")
    assert "Attention" not in ops(fuse(model))


@pytest.mark.parametrize(("ratio", "expected"), [("0.0", True), ("0.1", False)])
def test_weights_that_are_dropped_in_training_stay(graph, ratio, expected):
    nodes = f"{SCORES} w = Softmax(s) r = Constant<value = float {{{ratio}}}>() x = Dropout(w, r) y = MatMul(x, v)"
    assert expected == ("Attention" in ops(fuse(parsed(graph, nodes))))


def test_a_batch_of_one_that_is_broadcast_stays(graph):
    inputs = INPUTS.replace("float[b, 3, l, 4] q", "float[1, 3, l, 4] q")
    refusals: list[str] = []
    fuse(parsed(graph, f"{SCORES} w = Softmax(s) y = MatMul(w, v)", inputs), refusals)
    assert any("one batch" in reason for reason in refusals)
