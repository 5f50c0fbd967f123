from __future__ import annotations

import numpy as np
import pytest

from zoo.converters.fuse import fuse

X = {"x": np.linspace(-8, 8, 24, dtype=np.float32).reshape(2, 3, 4)}
ERF = "d = Div(x, s) e = Erf(d) one = Constant<value = float {1.0}>() g = Add(e, one)"
SQRT2 = "s = Constant<value = float {1.4142135}>()"
HALF = "h = Constant<value = float {0.5}>()"
CUBE = """c = Constant<value = float {3.0}>() a = Constant<value = float {0.044715}>()
    k = Constant<value = float {0.7978846}>() p = Pow(x, c) q = Mul(a, p) r = Add(x, q) t = Mul(k, r)"""
TANH = f"{CUBE} u = Tanh(t) one = Constant<value = float {{1.0}}>() g = Add(one, u)"
CASES = {
    # name: (nodes, what is left)
    "erf, x * (half * g)": (f"{SQRT2} {HALF} {ERF} m = Mul(h, g) y = Mul(x, m)", ["Gelu"]),
    "erf, (x * half) * g": (f"{SQRT2} {HALF} {ERF} m = Mul(x, h) y = Mul(m, g)", ["Gelu"]),
    "erf, (x * g) * half": (f"{SQRT2} {HALF} {ERF} m = Mul(x, g) y = Mul(m, h)", ["Gelu"]),
    "erf, x * g / 2": (
        f"{SQRT2} {ERF} m = Mul(x, g) two = Constant<value = float {{2.0}}>() y = Div(m, two)",
        ["Gelu"],
    ),
    "erf of a product": (
        f"s = Constant<value = float {{0.70710678}}>() {HALF} {ERF.replace('Div', 'Mul')} m = Mul(x, g) y = Mul(m, h)",
        ["Gelu"],
    ),
    "erf, multiplied out": (
        f"{SQRT2} {HALF} d = Div(x, s) e = Erf(d) m = Mul(h, x) n = Mul(m, e) y = Add(m, n)",
        ["Gelu"],
    ),
    "tanh by Pow": (f"{HALF} {TANH} m = Mul(x, g) y = Mul(h, m)", ["Gelu"]),
    "tanh by products": (
        f"{HALF} {TANH.replace('p = Pow(x, c)', 'xx = Mul(x, x) p = Mul(x, xx)')} m = Mul(h, x) y = Mul(m, g)",
        ["Gelu"],
    ),
    "tanh, factored": (
        f"""{HALF} a = Constant<value = float {{0.044715}}>() k = Constant<value = float {{0.7978846}}>()
        one = Constant<value = float {{1.0}}>() kx = Mul(k, x) ax = Mul(a, x) axx = Mul(ax, x) i = Add(one, axx)
        t = Mul(kx, i) u = Tanh(t) g = Add(one, u) m = Mul(h, x) y = Mul(m, g)""",
        ["Gelu"],
    ),
    "tanh as a sigmoid": (
        f"{CUBE.replace('0.7978846', '1.5957691')} u = Sigmoid(t) y = Mul(x, u)",
        ["Gelu"],
    ),
    "silu": ("s = Sigmoid(x) y = Mul(x, s)", ["Swish"]),
    "silu, the other way round": ("s = Sigmoid(x) y = Mul(s, x)", ["Swish"]),
    "silu by exp": (
        "n = Neg(x) e = Exp(n) one = Constant<value = float {1.0}>() d = Add(one, e) y = Div(x, d)",
        ["Swish"],
    ),
    "quick gelu": (
        "a = Constant<value = float {1.702}>() ax = Mul(a, x) s = Sigmoid(ax) y = Mul(x, s)",
        ["Swish"],
    ),
    "hard-swish by clip": (
        """three = Constant<value = float {3.0}>() zero = Constant<value = float {0.0}>()
        six = Constant<value = float {6.0}>() a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)""",
        ["HardSwish"],
    ),
    "hard-swish by hard-sigmoid": ("s = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x) y = Mul(x, s)", ["HardSwish"]),
    "hard-sigmoid by clip": (
        """three = Constant<value = float {3.0}>() zero = Constant<value = float {0.0}>()
        six = Constant<value = float {6.0}>() a = Add(x, three) c = Clip(a, zero, six) y = Div(c, six)""",
        ["HardSigmoid"],
    ),
    "hard-sigmoid of Keras": (
        """fifth = Constant<value = float {0.2}>() half = Constant<value = float {0.5}>()
        zero = Constant<value = float {0.0}>() one = Constant<value = float {1.0}>()
        m = Mul(x, fifth) a = Add(m, half) y = Clip(a, zero, one)""",
        ["HardSigmoid"],
    ),
    "mish": ("p = Softplus(x) t = Tanh(p) y = Mul(x, t)", ["Mish"]),
    "mish by log and exp": (
        "e = Exp(x) one = Constant<value = float {1.0}>() a = Add(e, one) p = Log(a) t = Tanh(p) y = Mul(x, t)",
        ["Mish"],
    ),
    "softplus as torch has it": (
        """one = Constant<value = float {1.0}>() twenty = Constant<value = float {20.0}>() b = Mul(x, one)
        p = Softplus(b) q = Div(p, one) g = Greater(b, twenty) y = Where(g, x, q)""",
        ["Softplus"],
    ),
    "softplus that does not overflow": (
        """r = Relu(x) a = Abs(x) n = Neg(a) e = Exp(n) one = Constant<value = float {1.0}>()
        s = Add(one, e) l = Log(s) y = Add(r, l)""",
        ["Softplus"],
    ),
}


def fused(graph, nodes, dtype="float"):
    """The graph of some nodes, its constants folded, before and after."""
    from zoo.converters.canonical import canonical

    text = f"agraph ({dtype}[n, 3, 4] x) => ({dtype}[n, 3, 4] y) {{ {nodes} }}"
    return canonical(graph(text)), fuse(canonical(graph(text)))


@pytest.mark.parametrize("name", CASES)
def test_what_exporters_write_is_one_operator_again(graph, same, name):
    nodes, expected = CASES[name]
    before, after = fused(graph, nodes)
    assert expected == [node.op_type for node in after.graph]
    same(before, after, X)


@pytest.mark.parametrize(
    ("name", "attribute", "value"),
    [
        ("tanh by Pow", "approximate", "tanh"),
        ("erf, x * g / 2", "approximate", None),
        ("quick gelu", "alpha", 1.702),
        ("silu", "alpha", None),
    ],
)
def test_what_was_computed_is_said_by_an_attribute(graph, name, attribute, value):
    (node,) = fused(graph, CASES[name][0])[1].graph
    found = node.attributes.get(attribute)
    assert value == (found and (found.value if isinstance(found.value, str) else pytest.approx(found.value, rel=1e-6)))


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        (f"{SQRT2} h = Constant<value = float {{0.51}}>() {ERF} m = Mul(h, g) y = Mul(x, m)", "another half"),
        (
            f"s = Constant<value = float {{1.414}}>() {HALF} {ERF} m = Mul(h, g) y = Mul(x, m)",
            "a root that differs in the fourth digit",
        ),
        (f"{SQRT2} {HALF} {ERF} m = Mul(h, g) n = Mul(x, m) y = Add(n, e)", "the erf is read elsewhere"),
        ("s = Sigmoid(x) m = Mul(x, s) y = Add(m, s)", "the sigmoid is read elsewhere"),
        ("r = Relu(x) s = Sigmoid(x) y = Mul(r, s)", "a gate of another value"),
        ("e = Exp(x) one = Constant<value = float {1.0}>() a = Add(e, one) y = Log(a)", "it overflows, Softplus not"),
        (
            "s = Constant<value = float[1, 1, 1, 1] {1.4142135}>() h = Constant<value = float {0.5}>()"
            f" {ERF} m = Mul(h, g) n = Mul(x, m) z = Constant<value = int64[1] {{0}}>() y = Squeeze(n, z)",
            "a constant that adds an axis",
        ),
    ],
)
def test_what_computes_something_else_stays(graph, same, nodes, why):
    before, after = fused(graph, nodes)
    assert not {"Gelu", "Swish", "Softplus"} & {node.op_type for node in after.graph}, why
    same(before, after, X)


def test_softplus_with_a_beta_stays_and_says_why(graph):
    nodes = """b = Constant<value = float {2.0}>() twenty = Constant<value = float {20.0}>() bx = Mul(x, b)
        p = Softplus(bx) q = Div(p, b) g = Greater(bx, twenty) y = Where(g, x, q)"""
    refusals: list[str] = []
    fuse(fused(graph, nodes)[0], refusals)
    assert 1 == len(refusals) and "this one's is 2" in refusals[0]


def test_a_half_precision_constant_may_be_as_far_off_as_half_precision_is(graph):
    halves = [
        f"{n}32 = Constant<value = float {{{v}}}>() {n} = Cast<to = 10>({n}32)"
        for n, v in (("s", 1.4142135), ("one", 1))
    ]
    nodes = (
        f"{' '.join(halves)} d = Div(x, s) e = Erf(d) g = Add(e, one) m = Mul(x, g) two = Add(one, one) y = Div(m, two)"
    )
    assert ["Gelu"] == [node.op_type for node in fused(graph, nodes, "float16")[1].graph]


def test_integers_are_no_activation(graph):
    nodes = """three = Constant<value = int64 {3}>() zero = Constant<value = int64 {0}>()
        six = Constant<value = int64 {6}>() a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)"""
    assert ["Add", "Clip", "Mul", "Div"] == [node.op_type for node in fused(graph, nodes, "int64")[1].graph]
