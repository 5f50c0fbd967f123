from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from zoo.converters import graph as g
from zoo.converters.canonical import canonical
from zoo.converters.fuse import RULES, fuse

SILU = "s = Sigmoid(x) y = Mul(x, s)"
TEXT = f"agraph (float[n, 4] x) => (float[n, 4] y) {{ {SILU} }}"
X = {"x": np.linspace(-4, 4, 8, dtype=np.float32).reshape(2, 4)}


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in g.all_nodes(model.graph)]


def data(model: ir.Model) -> bytes:
    return ir.to_proto(model).SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("layers.0.act", "layers.0.act"), "layers.0.act"),
        (("layers.0.act", "layers.0"), "layers.0"),
        (("layers.1.act", "layers.10.act"), "layers"),
        (("gate", ""), ""),
    ],
)
def test_a_fused_node_belongs_to_the_innermost_module_of_all(graph, paths, expected):
    model = graph(TEXT)
    for node, path in zip(model.graph, paths, strict=True):
        if path:
            node.metadata_props[g.PATH] = path
    (node,) = fuse(canonical(model)).graph
    assert expected == g.module_path(node)


def test_the_result_keeps_its_name_dtype_and_shape(graph):
    model = fuse(canonical(graph(TEXT.replace("y = Mul(x, s)", "z = Mul(x, s) y = Relu(z)"))))
    swish, _ = model.graph
    assert ("z", ir.DataType.FLOAT, ("n", 4)) == (
        swish.outputs[0].name,
        swish.outputs[0].dtype,
        tuple(d if isinstance(d, int) else d.value for d in swish.outputs[0].shape),
    )
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def test_what_is_fused_once_is_not_fused_again(graph):
    model = fuse(canonical(graph(TEXT)))
    once = data(model)
    assert once == data(fuse(model))


def test_bodies_are_fused_too_and_may_read_from_outside(graph, same):
    text = """agraph (float[n, 4] x, bool c) => (float[n, 4] y) {
        y = If (c) <
            then_branch = a () => (float[n, 4] p) { s = Sigmoid(x) p = Mul(x, s) },
            else_branch = b () => (float[n, 4] q) { q = Relu(x) }>
    }"""
    model = fuse(canonical(graph(text)))
    assert ["If", "Swish", "Relu"] == ops(model)
    for c in (True, False):
        same(graph(text), model, X | {"c": np.array(c)})


def test_a_value_that_a_body_reads_is_not_fused_away(graph, same):
    text = """agraph (float[n, 4] x, bool c) => (float[n, 4] y, float[n, 4] z) {
        s = Sigmoid(x) y = Mul(x, s)
        z = If (c) <
            then_branch = a () => (float[n, 4] p) { p = Neg(s) },
            else_branch = b () => (float[n, 4] q) { q = Relu(x) }>
    }"""
    model = fuse(canonical(graph(text)))
    assert "Swish" not in ops(model)
    same(graph(text), model, X | {"c": np.array(True)})


def test_nodes_of_two_graphs_are_not_one_formula(graph, same):
    """The gate stands outside, and its one reader in a branch: fusing would move the work into the branch."""
    text = """agraph (float[n, 4] x, bool c) => (float[n, 4] y) {
        s = Sigmoid(x)
        y = If (c) <
            then_branch = a () => (float[n, 4] p) { p = Mul(x, s) },
            else_branch = b () => (float[n, 4] q) { q = Relu(x) }>
    }"""
    model = fuse(canonical(graph(text)))
    assert ["Sigmoid", "If", "Mul", "Relu"] == ops(model)
    same(graph(text), model, X | {"c": np.array(True)})


def test_a_value_that_is_a_result_is_not_fused_away(graph, same):
    text = TEXT.replace("(float[n, 4] y)", "(float[n, 4] y, float[n, 4] s)")
    model = fuse(canonical(graph(text)))
    assert ["Sigmoid", "Mul"] == ops(model)
    same(graph(text), model, X)


def test_an_operator_of_the_same_name_in_another_domain_is_another(graph):
    text = """<ir_version: 10, opset_import: ["" : 28, "zoo" : 1]>
    agraph (float[2, 4] x) => (float[2, 4] y) { s = zoo.Sigmoid(x) y = Mul(x, s) }
    <domain: "zoo", opset_import: ["" : 28]> Sigmoid (a) => (b) { b = Relu(a) }"""
    assert ["Sigmoid", "Mul"] == ops(fuse(canonical(graph(text))))


def test_a_product_of_thousands_of_factors_is_read_in_no_time_and_left_alone(graph):
    """Each factor is read by the next: read from every end down to the begin it would take the square of the steps."""
    steps = " ".join(f"v{i + 1} = Mul(v{i}, x)" for i in range(3000))
    model = graph(f"agraph (float[n, 4] x) => (float[n, 4] v3000) {{ v0 = Relu(x) {steps} }}")
    for value in (out for node in model.graph for out in node.outputs):
        value.dtype = ir.DataType.FLOAT
    assert 3001 == len(fuse(model).graph)


def test_a_hub_that_thousands_read_is_no_hindrance(graph):
    gates = " ".join(f"s{i} = Sigmoid(h) y{i} = Mul(h, s{i})" for i in range(1000))
    total = "y = Sum(" + ", ".join(f"y{i}" for i in range(1000)) + ")"
    model = graph(f"agraph (float[n, 4] x) => (float[n, 4] y) {{ h = Relu(x) {gates} {total} }}")
    for value in (out for node in model.graph for out in node.outputs):
        value.dtype = ir.DataType.FLOAT
    assert 1000 == ops(fuse(model)).count("Swish")


@pytest.mark.parametrize("constant", ["1e-38", "3e38", "0.0", "-inf", "nan"])
def test_constants_that_are_out_of_all_bounds_are_no_hindrance(graph, constant):
    steps = "a = Div(x, c) b = Neg(a) d = Pow(b, p) e = Pow(d, c) s = Sigmoid(e) y = Div(s, e)"
    model = graph(f"""agraph (float[n, 4] x) => (float[n, 4] y) {{
        c = Constant<value = float {{{constant}}}>() p = Constant<value = float {{60.0}}>() {steps} }}""")
    assert ["Div", "Neg", "Pow", "Pow", "Sigmoid", "Div"] == ops(fuse(canonical(model)))


def test_new_constants_have_names_of_their_own(graph, same):
    text = """agraph (float[n, 4] x) => (float[n, 4] y, float[n, 4] ones_4_FLOAT) {
        last = Constant<value = int64[1] {-1}>() two = Constant<value = float {2.0}>()
        eps = Constant<value = float {1e-5}>() ones_4_FLOAT = Relu(x)
        p = Pow(x, two) v = ReduceMean(p, last) e = Add(v, eps) r = Sqrt(e) y = Div(x, r)
    }"""
    model = fuse(canonical(graph(text)))
    assert ["Relu", "RMSNormalization"] == ops(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    same(graph(text), model, X)


def test_no_type_no_shape_no_fusion_and_no_error(graph):
    """A graph that nobody has inferred anything for is left as it is."""
    model = graph(TEXT)
    for value in (*model.graph.inputs, *(out for node in model.graph for out in node.outputs)):
        value.type = value.shape = None
    assert ["Sigmoid", "Mul"] == ops(fuse(model))


def test_every_formula_ends_in_an_operator():
    assert {"Mul", "Div", "Add", "MatMul", "Where", "Clip"} <= set(RULES.by_root)


def test_the_fused_graph_of_a_whole_block_computes_the_same(graph, same):
    """Norm, attention, residual, norm, GELU between two linear layers: as torch's exporter writes a transformer."""
    text = """agraph (float[n, 5, 8] x, float[8] g, float[8] b, float[24, 8] w1, float[24] b1, float[8, 8] w2,
                      float[8] b2, float[16, 8] w3, float[16] b3, float[8, 16] w4, float[8] b4) => (float[n, 5, 8] y) {
        last = Constant<value = int64[1] {-1}>() two = Constant<value = float {2.0}>()
        eps = Constant<value = float {1e-5}>() one = Constant<value = float {1.0}>()
        half = Constant<value = float {0.5}>() root = Constant<value = float {1.4142135}>()
        heads = Constant<value = int64[4] {0, 0, 2, 4}>() flat = Constant<value = int64[3] {0, 0, 8}>()
        m = ReduceMean(x, last) d = Sub(x, m) p = Pow(d, two) v = ReduceMean(p, last) e = Add(v, eps) r = Sqrt(e)
        n = Div(d, r) s = Mul(n, g) norm = Add(s, b)
        t1 = Transpose<perm = [1, 0]>(w1) l1 = MatMul(norm, t1) qkv = Add(l1, b1)
        q0, k0, v0 = Split<axis = 2, num_outputs = 3>(qkv)
        q1 = Reshape(q0, heads) k1 = Reshape(k0, heads) v1 = Reshape(v0, heads)
        q = Transpose<perm = [0, 2, 1, 3]>(q1) k = Transpose<perm = [0, 2, 3, 1]>(k1)
        vv = Transpose<perm = [0, 2, 1, 3]>(v1)
        sc = MatMul(q, k) scaled = Mul(sc, half) a = Softmax<axis = -1>(scaled) o = MatMul(a, vv)
        o1 = Transpose<perm = [0, 2, 1, 3]>(o) o2 = Reshape(o1, flat)
        t2 = Transpose<perm = [1, 0]>(w2) l2 = MatMul(o2, t2) proj = Add(l2, b2) res = Add(x, proj)
        t3 = Transpose<perm = [1, 0]>(w3) l3 = MatMul(res, t3) h = Add(l3, b3)
        u = Div(h, root) er = Erf(u) er1 = Add(er, one) hh = Mul(h, half) gelu = Mul(hh, er1)
        t4 = Transpose<perm = [1, 0]>(w4) l4 = MatMul(gelu, t4) out = Add(l4, b4) y = Add(res, out)
    }"""

    def marked() -> ir.Model:
        model = graph(text)
        for value in model.graph.inputs[1:]:
            value.metadata_props[g.PARAMETER] = "parameter"
        return canonical(model)

    model = fuse(marked())
    fused = {"LayerNormalization", "Linear", "Attention", "Gelu"}
    assert fused <= set(ops(model)) and not {"MatMul", "Softmax", "Erf", "Sqrt"} & set(ops(model))
    rng = np.random.default_rng(0)
    feeds = {v.name: rng.standard_normal([d if isinstance(d, int) else 2 for d in v.shape]) for v in model.graph.inputs}
    feeds = {name: (0.3 * array).astype(np.float32) for name, array in feeds.items()}
    same(marked(), model, feeds)
    assert (2, 5, 8) == ReferenceEvaluator(ir.to_proto(model)).run(None, feeds)[0].shape
