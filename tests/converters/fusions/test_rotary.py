from __future__ import annotations

import numpy as np
import pytest

from zoo.converters.canonical import canonical
from zoo.converters.fuse import fuse

RNG = np.random.default_rng(0)
B, H, L, D = 2, 3, 5, 8
X = RNG.standard_normal((B, H, L, D)).astype(np.float32)
ANGLES = RNG.standard_normal((B, L, D // 2)).astype(np.float32)
VALUES = {"n0": 0, "n1": 1, "n2": 2, "n4": 4, "end": 99, "last": -1}
NUMBERS = " ".join(f"{name} = Constant<value = int64[1] {{{n}}}>()" for name, n in VALUES.items())
# [batch, length, D / 2] angles, each twice, for every head
TWICE = "e = Concat<axis = -1>(angles, angles)"
SPREAD = "c0 = Cos(e) s0 = Sin(e) cos = Unsqueeze(c0, n1) sin = Unsqueeze(s0, n1)"
TURN = """first = Slice(x, n0, n4, last) second = Slice(x, n4, end, last) minus = Neg(second)
    turned = Concat<axis = -1>(minus, first) xc = Mul(x, cos) ts = Mul(turned, sin) y = Add(xc, ts)"""
TURN_Z = """z1 = Slice(z, n0, n4, last) z2 = Slice(z, n4, end, last) z3 = Neg(z2)
    z4 = Concat<axis = -1>(z3, z1) zc = Mul(cos, z) zs = Mul(sin, z4) w = Add(zs, zc)"""
HALVES = f"{NUMBERS} {TWICE} {SPREAD} {TURN}"
SLICES = "first = Slice(x, n0, n4, last) second = Slice(x, n4, end, last)"
BY_SPLIT = HALVES.replace(SLICES, "first, second = Split<axis = 3, num_outputs = 2>(x)")
TWICE_BESIDE = """a = Unsqueeze(angles, last) aa = Concat<axis = -1>(a, a) s3 = Constant<value = int64[3] {0, 0, 8}>()
    e = Reshape(aa, s3)"""
NEIGHBOURS = f"""{NUMBERS} {TWICE_BESIDE} {SPREAD}
    first = Slice(x, n0, end, last, n2) second = Slice(x, n1, end, last, n2)
    minus = Neg(second) m5 = Unsqueeze(minus, last) f5 = Unsqueeze(first, last) pairs = Concat<axis = -1>(m5, f5)
    s4 = Constant<value = int64[4] {{0, 0, 0, 8}}>() turned = Reshape(pairs, s4)
    xc = Mul(x, cos) ts = Mul(turned, sin) y = Add(xc, ts)"""


def parsed(graph, nodes, angles="float[b, l, 4] angles", dtype="float"):
    text = f"agraph ({dtype}[b, 3, l, 8] x, {angles}) => ({dtype}[b, 3, l, 8] y) {{ {nodes} }}"
    return canonical(graph(text))


def ops(model):
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize(("nodes", "interleaved"), [(HALVES, 0), (BY_SPLIT, 0), (NEIGHBOURS, 1)])
@pytest.mark.parametrize("batch", ["b", "1"])
def test_what_is_turned_by_angles_is_one_operator_again(graph, same, nodes, interleaved, batch):
    angles = f"float[{batch}, l, 4] angles"
    after = fuse(parsed(graph, nodes, angles))
    (rotary,) = (node for node in after.graph if node.op_type == "RotaryEmbedding")
    assert interleaved == rotary.attributes.get_int("interleaved", 0)
    assert not {"Neg", "Add", "Mul"} & set(ops(after))
    assert (2, 0 if batch == "b" else 2) == (ops(after).count("Slice"), ops(after).count("Expand"))
    same(parsed(graph, nodes, angles), after, {"x": X, "angles": ANGLES if batch == "b" else ANGLES[:1]})


def test_a_query_and_a_key_share_their_angles(graph, same):
    """The two that are turned in a layer, and those of every other layer."""
    text = f"""agraph (float[b, 3, l, 8] x, float[b, 3, l, 8] z, float[1, l, 4] angles)
        => (float[b, 3, l, 8] y, float[b, 3, l, 8] w) {{ {HALVES} {TURN_Z} }}"""
    after = fuse(canonical(graph(text)))
    assert 2 == ops(after).count("RotaryEmbedding")
    assert (2, 2, 1) == tuple(ops(after).count(op) for op in ("Slice", "Expand", "Shape"))
    same(canonical(graph(text)), after, {"x": X, "z": X[::-1].copy(), "angles": ANGLES[:1]})


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (TWICE, "flip = Neg(angles) e = Concat<axis = -1>(angles, flip)", "may have different angles in the cos"),
        ("cos = Unsqueeze(c0, n1)", "c1 = Transpose<perm = [0, 1, 2]>(c0) cos = Unsqueeze(c1, n2)", "and the input"),
        ("minus = Neg(second)", "minus = Identity(second)", None),
        ("Slice(x, n0, n4, last)", "Slice(x, n1, n5, last)", None),
        ("Concat<axis = -1>(minus, first)", "Concat<axis = -1>(first, minus)", None),
    ],
)
def test_what_is_turned_otherwise_stays(graph, same, old, new, reason):
    nodes = f"n5 = Constant<value = int64[1] {{5}}>() {HALVES.replace(old, new)}"
    angles, length = ("float[b, l, 4] angles", L) if "cos = Uns" not in old else ("float[b, 3, 4] angles", 3)
    model = parsed(graph, nodes.replace("l, 8", "3, 8"), angles)
    refusals: list[str] = []
    after = fuse(model, refusals)
    assert "RotaryEmbedding" not in ops(after)
    assert reason is None or any(reason in found for found in refusals)
    feeds = {"x": X[:, :, :length], "angles": ANGLES[:, :length]}
    same(parsed(graph, nodes.replace("l, 8", "3, 8"), angles), after, feeds)


def test_angles_that_nothing_is_known_of_stay(graph):
    """Rows of a table that was learned, or comes from outside."""
    nodes = f"{NUMBERS} {TURN}"
    text = f"""agraph (float[b, 3, l, 8] x, float[b, 1, l, 8] cos, float[b, 1, l, 8] sin) => (float[b, 3, l, 8] y)
        {{ {nodes} }}"""
    refusals: list[str] = []
    assert "RotaryEmbedding" not in ops(fuse(canonical(graph(text)), refusals))
    assert any("different angles" in reason for reason in refusals)
