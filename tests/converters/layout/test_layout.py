"""What a graph becomes with channels last: written graphs, and what of them is left."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from zoo.converters import graph as g
from zoo.converters.canonical import canonical
from zoo.converters.infer import infer_shapes
from zoo.converters.layout import DATA, channels_last, layouts, remaining
from zoo.errors import HubError

LAST = (0, 2, 3, 1)


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in g.all_nodes(model.graph)]


def feeds(model: ir.Model, **sizes: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    made = {}
    for value in model.graph.inputs:
        shape = [d if isinstance(d, int) else sizes.get(d.value, 2) for d in value.shape]
        array = random.integers(0, 2, shape) if value.dtype != ir.DataType.FLOAT else random.uniform(0.5, 2, shape)
        made[value.name] = array.astype(value.dtype.numpy())
    return made


@pytest.fixture
def model(graph):
    """A canonical model; inputs whose names have a dot in them are parameters."""

    def make(text: str) -> ir.Model:
        made = graph(text)
        for value in made.graph.inputs:
            if "_p" in value.name:
                value.metadata_props[g.PARAMETER] = "parameter"
        return canonical(made)

    return make


CONV = "c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w_p)"
W = "float[4, 4, 3, 3] w_p"
X = "float[n, 4, 8, 6] x"
POOL = "MaxPool <kernel_shape = [2, 2], strides = [2, 2]>"


def test_layers_in_a_row_need_no_transpose_and_their_input_and_output_are_turned(model, compares):
    made = model(f"agraph ({X}, {W}) => (float[n, 4, 4, 3] y) {{ {CONV} r = Relu(c) y = {POOL} (r) }}")
    report = compares(made, feeds(made))
    assert ["Conv", "Relu", "MaxPool"] == ops(made)
    assert ((), ()) == report
    assert ({"x": LAST}, {"y": LAST}) == layouts(made)
    assert (["n", 8, 6, 4], ["n", 4, 3, 4]) == tuple(
        [d if isinstance(d, int) else d.value for d in value.shape]
        for value in (made.graph.inputs[0], *made.graph.outputs)
    )
    assert [g.CHANNELS_LAST, "", g.CHANNELS_LAST] == [node.domain for node in made.graph]


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"),
    [
        ("first", "first", ["Transpose", "Conv", "Relu", "Transpose"]),
        ("last", "first", ["Conv", "Relu", "Transpose"]),
        ("first", "last", ["Transpose", "Conv", "Relu"]),
    ],
)
def test_inputs_and_outputs_stay_as_the_user_likes(model, compares, inputs, outputs, expected):
    made = model(f"agraph ({X}, {W}) => (float[n, 4, 8, 6] y) {{ {CONV} y = Relu(c) }}")
    report = compares(made, feeds(made), inputs=inputs, outputs=outputs)
    assert expected == ops(made)
    assert () == report.after
    assert ({"x": LAST} if inputs == "last" else {}, {"y": LAST} if outputs == "last" else {}) == layouts(made)


def test_a_graph_without_such_operators_stays_as_it_is(model, compares):
    made = model(
        "agraph (float[n, 4, 8] x) => (float[n, 8, 4] y) { t = Transpose <perm = [0, 2, 1]> (x) y = Softmax(t) }"
    )
    before = ir.to_proto(made).SerializeToString()
    report = compares(made, feeds(made))
    assert before == ir.to_proto(made).SerializeToString()
    assert report.before == report.after != ()


def test_only_what_the_framework_takes_is_turned(model):
    made = model(f"agraph ({X}, {W}) => (float[n, 4, 8, 6] y) {{ {CONV} y = LRN <size = 3> (c) }}")
    channels_last(made, lambda node: node.op_type == "Conv", inputs="first", outputs="first")
    assert [("", "Transpose"), (g.CHANNELS_LAST, "Conv"), ("", "Transpose"), ("", "LRN")] == [
        (node.domain, node.op_type) for node in made.graph
    ]
    (left,) = remaining(made, inputs="first", outputs="first")
    assert "Conv 'c' gives channels last, LRN 'y' takes the graph's own order" == left.reason


@pytest.mark.parametrize("shape", ["4, 1, 1", "1, 4, 1, 1", "4, 8, 1", "8, 6", "1", "4, 8, 6"])
@pytest.mark.parametrize("op", ["Mul(c, s_p)", "Sub(s_p, c)"])
def test_a_parameter_beside_a_picture_is_read_in_its_layout(model, compares, shape, op):
    made = model(f"agraph ({X}, {W}, float[{shape}] s_p) => (float[n, 4, 8, 6] y) {{ {CONV} y = {op} }}")
    report = compares(made, feeds(made))
    assert () == report.after
    assert [4, 4, 3, 3] == list(made.graph.inputs[1].shape)
    assert [int(n) for n in shape.split(", ")] == list(made.graph.inputs[2].shape)


def test_constants_are_turned_for_good(model, compares):
    made = model(f"""agraph ({X}, {W}) => (float[n, 4, 8, 6] y) <float[4, 1, 1] s = {{1, 2, 3, 4}}> {{
        {CONV} p = PRelu(c, s) y = Mul(p, s)
    }}""")
    compares(made, feeds(made))
    assert ["Conv", "PRelu", "Mul"] == ops(made)
    assert {(1, 1, 4)} == {tuple(v.shape) for v in made.graph.initializers.values() if v.uses()}


CONVNEXT = """agraph (float[n, 4, 8, 6] x, float[4, 1, 3, 3] w_p, float[4] s_p, float[4] b_p,
    float[4, 8] u_p, float[8, 4] d_p, float[4, 1, 1] g_p) => (float[n, 4, 8, 6] y) {
    c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 4> (x, w_p)
    t = Transpose <perm = [0, 2, 3, 1]> (c)
    l = LayerNormalization (t, s_p, b_p)
    u = MatMul(l, u_p)  a = Gelu(u)  d = MatMul(a, d_p)
    b = Transpose <perm = [0, 3, 1, 2]> (d)
    m = Mul(b, g_p)
    y = Add(m, x)
}"""


def test_transposes_of_the_graphs_own_are_cancelled(model, compares):
    made = model(CONVNEXT)
    report = compares(made, feeds(made))
    assert (2, 0) == (len(report.before), len(report.after))
    assert ["Conv", "LayerNormalization", "MatMul", "Gelu", "MatMul", "Reshape", "Mul", "Add"] == ops(made)


def test_squeeze_and_excite_takes_its_means_wherever_they_stand(model, compares):
    made = model(
        f"""agraph ({X}, {W}, float[2, 4, 1, 1] r_p, float[4, 2, 1, 1] e_p) => (float[n, 4] y) {{
        {CONV} m = ReduceMean <keepdims = 1> (c, axes)
        r = Conv (m, r_p) a = Relu(r) e = Conv (a, e_p) s = Sigmoid(e) p = Mul(s, c)
        y = ReduceMean <keepdims = 0> (p, axes)
    }}""".replace("=> (float[n, 4] y) {", "=> (float[n, 4] y) <int64[2] axes = {2, 3}> {")
    )
    report = compares(made, feeds(made))
    assert () == report.after
    assert "Transpose" not in ops(made)


@pytest.mark.parametrize(
    "tail",
    [
        "p = GlobalAveragePool(c) y = Flatten(p)",
        "p = GlobalAveragePool(c) y = Reshape(p, to)",
        "p = GlobalAveragePool(c) y = Squeeze(p, hw)",
        "y = ReduceMean <keepdims = 0> (c, hw)",
        "y = ReduceMax <keepdims = 0> (c, negative)",
    ],
)
def test_a_pooled_picture_is_a_vector_in_either_layout(model, compares, tail):
    made = model(f"""agraph ({X}, {W}) => (float[n, 4] y)
        <int64[2] hw = {{2, 3}}, int64[2] negative = {{-1, -2}}, int64[2] to = {{0, 4}}> {{ {CONV} {tail} }}""")
    report = compares(made, feeds(made))
    assert () == report.after
    assert "Transpose" not in ops(made)


def test_patches_become_a_sequence_by_a_reshape(model, compares):
    made = model("""agraph (float[n, 3, 8, 8] x, float[4, 3, 2, 2] w_p, float[1, 16, 4] place_p) => (float[n, 16, 4] y)
        <int64[3] to = {0, 4, 16}> {
        c = Conv <kernel_shape = [2, 2], strides = [2, 2]> (x, w_p)
        f = Reshape(c, to)
        t = Transpose <perm = [0, 2, 1]> (f)
        y = Add(t, place_p)
    }""")
    report = compares(made, feeds(made))
    assert (1, 0) == (len(report.before), len(report.after))
    assert ["Conv", "Reshape", "Add"] == ops(made)
    assert {} == layouts(made).outputs


def test_a_detectors_heads_are_joined_without_a_transpose(model, compares):
    head = """{0}1 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> ({0}, h_p) {0}2 = Reshape({0}1, {0}to)
        {0}3 = Transpose <perm = [0, 3, 4, 1, 2]> ({0}2) {0}4 = Reshape({0}3, flat)"""
    made = model(
        f"""agraph ({X}, {W}, float[10, 4, 3, 3] h_p) => (float[n, 72, 5] y)
        <int64[5] cto = {{0, 2, 5, 8, 6}}, int64[5] dto = {{0, 2, 5, 4, 3}}, int64[3] flat = {{0, -1, 5}}> {{
        {CONV} d = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)
        {head.format("c")} {head.format("d")} y = Concat <axis = 1> (c4, d4)
    }}""".replace("float[n, 72, 5]", "float[n, 120, 5]")
    )
    report = compares(made, feeds(made))
    assert (2, 0) == (len(report.before), len(report.after))
    assert "Transpose" not in ops(made)


def test_shuffled_channels_keep_one_transpose_as_the_graph_has(model, compares):
    made = model(f"""agraph ({X}, {W}) => (float[n, 4, 8, 6] y)
        <int64[5] apart = {{0, 2, 2, 8, 6}}, int64[4] together = {{0, 4, 8, 6}}> {{
        {CONV} a = Reshape(c, apart) t = Transpose <perm = [0, 2, 1, 3, 4]> (a) b = Reshape(t, together)
        y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (b, w_p)
    }}""")
    report = compares(made, feeds(made))
    assert 1 == len(report.before)
    (left,) = report.after
    assert (0, 1, 2, 4, 3) == left.perm
    assert left.reason.startswith("the graph's own: Reshape")


def test_what_stays_says_why(model, compares):
    made = model(f"""agraph ({X}, {W}, float[5, 192] l_p) => (float[n, 5] y) {{
        {CONV} f = Flatten(c) t = Transpose <perm = [1, 0]> (l_p) y = MatMul(f, t)
    }}""")
    (left,) = compares(made, feeds(made)).after
    assert (0, 3, 1, 2) == left.perm
    assert "Conv" in left.reason
    assert "gives channels last, Flatten" in left.reason
    assert left.reason.endswith("takes the graph's own order")


def test_a_skip_and_a_resized_branch_are_joined(model, compares):
    made = model(f"""agraph ({X}, {W}, float[4, 8, 3, 3] v_p) => (float[n, 4, 8, 6] y)
        <float[4] twice = {{1, 1, 2, 2}}> {{
        {CONV} d = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)
        u = Resize <mode = "linear"> (d, , twice) j = Concat <axis = 1> (u, c)
        y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (j, v_p)
    }}""")
    report = compares(made, feeds(made))
    assert () == report.after
    assert ["Conv", "MaxPool", "Resize", "Concat", "Conv"] == ops(made)


def test_a_value_that_is_read_in_both_layouts_is_transposed_once(model, compares):
    made = model("""agraph (float[n, 4, 8, 8] x, float[4, 4, 1, 1] w_p, float[8, 8] m_p)
        => (float[n, 4, 8, 8] y, float[n, 4, 8, 8] z) {
        c = Conv (x, w_p) a = MatMul(c, m_p) b = MatMul(m_p, c) s = Softmax(a) y = Add(s, b)
        z = Conv (c, w_p)
    }""")
    report = compares(made, feeds(made), inputs="first", outputs="first")
    assert 1 == len(report.after)


def test_the_smaller_of_two_places_is_taken(model, compares):
    """After the pool the picture is a quarter of what it was."""
    made = model(f"""agraph ({X}, {W}, float[3, 5] m_p) => (float[n, 4, 4, 5] y) {{
        {CONV} r = Relu(c) d = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (r) e = Exp(d) y = MatMul(e, m_p)
    }}""")
    (left,) = compares(made, feeds(made)).after
    assert "Exp" in left.reason or "AveragePool" in left.reason


def test_places_of_the_largest_are_counted_in_the_graphs_own_order(model, compares):
    made = model(f"""agraph ({X}, {W}) => (float[n, 4, 4, 3] y, int64[n, 4, 4, 3] i) {{
        {CONV} y, i = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)
    }}""")
    compares(made, feeds(made))
    assert ["", g.CHANNELS_LAST] == sorted({node.domain for node in made.graph})
    assert {} == layouts(made).outputs


def test_shapes_are_read_in_the_graphs_own_order(model, compares):
    made = model("""agraph (float[n, 4, h, w] x, float[4, 4, 1, 1] w_p)
        => (int64[4] a, int64[2] b, int64[2] c, int64[1] d) {
        v = Conv (x, w_p) a = Shape(v) b = Shape <start = 2> (v)
        c = Shape <start = 1, end = 3> (v) d = Shape <start = -3, end = 2> (v)
    }""")
    compares(made, feeds(made, h=5, w=6))
    assert {"x": LAST} == layouts(made).inputs


def test_bodies_read_what_they_mean_and_have_layers_of_their_own(model, compares):
    made = model(f"""agraph ({X}, {W}, bool c) => (float[n, 4, 8, 6] y) {{
        o = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w_p)
        z = If (c) <
            then_branch = a () => (float[n, 4, 8, 6] p) {{
                q = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (o, w_p) p = Relu(q) }},
            else_branch = b () => (float[n, 4, 8, 6] e) {{ e = Identity(o) }}>
        y = Relu(z)
    }}""")
    for choice in (True, False):
        fed = feeds(made) | {"c": np.array(choice)}
        compares(made.clone(), fed)
    report = compares(made, fed)
    assert 2 == sum(node.domain == g.CHANNELS_LAST for node in g.all_nodes(made.graph))
    assert all("takes" in left.reason for left in report.after)


def test_an_output_that_is_read_inside_too_keeps_its_name(model, compares):
    made = model(f"""agraph ({X}, {W}) => (float[n, 4, 8, 6] c, float[n, 8, 6, 4] t, float[n, 4, 8, 6] r) {{
        {CONV} t = Transpose <perm = [0, 2, 3, 1]> (c) r = Relu(c)
    }}""")
    for choice in ("last", "first"):
        again = made.clone()
        compares(again, feeds(made), outputs=choice)
        assert ["c", "t", "r"] == [value.name for value in again.graph.outputs]


def test_an_input_that_is_an_output_as_well(model, compares):
    made = model(f"""agraph ({X}, {W}) => (float[n, 4, 8, 6] y, float[n, 8, 6, 4] z) {{
        {CONV} y = Add(c, x) z = Transpose <perm = [0, 2, 3, 1]> (x)
    }}""")
    compares(made, feeds(made))
    assert ["y", "z"] == [value.name for value in made.graph.outputs]


def test_a_picture_without_a_batch_is_turned_too(model, compares):
    made = model("""agraph (float[4, 8, 6] x, float[4, 4, 3, 3] w_p) => (float[1, 4, 6, 4] y) <int64[1] front = {0}> {
        u = Unsqueeze(x, front) y = Conv <kernel_shape = [3, 3]> (u, w_p)
    }""")
    report = compares(made, feeds(made))
    assert () == report.after
    assert {"x": (1, 2, 0)} == layouts(made).inputs


def test_an_input_that_no_layer_sees_as_a_picture_stays(model, compares):
    made = model(f"""agraph ({X}, {W}, float[n, 3, 4] t) => (float[n, 4, 8, 6] y, float[n, 4, 3] z) {{
        {CONV} y = Relu(c) z = Transpose <perm = [0, 2, 1]> (t)
    }}""")
    report = compares(made, feeds(made))
    assert {"x": LAST} == layouts(made).inputs
    assert ["the graph's own"] == [left.reason for left in report.after]


BOUND = {
    "AveragePool": ("float[n, 4, 9, 8] x", "AveragePool <kernel_shape = [3, 2], strides = [2, 2], ceil_mode = 1> (x)"),
    "BatchNormalization": (
        "float[n, 4, 9, 8] x, float[4] a_p, float[4] b_p, float[4] c_p, float[4] d_p",
        "BatchNormalization <epsilon = 0.1> (x, a_p, b_p, c_p, d_p)",
    ),
    "Conv": (
        "float[n, 4, 9, 8] x, float[6, 2, 3, 3] w_p, float[6] b_p",
        'Conv <group = 2, auto_pad = "SAME_UPPER"> (x, w_p, b_p)',
    ),
    "ConvInteger": ("uint8[n, 4, 9, 8] x, uint8[6, 4, 3, 3] w_p, uint8 z_p", "ConvInteger (x, w_p, z_p)"),
    "ConvTranspose": (
        "float[n, 4, 9, 8] x, float[4, 3, 3, 3] w_p",
        "ConvTranspose <strides = [2, 2], output_padding = [1, 1]> (x, w_p)",
    ),
    "DeformConv": (
        "float[n, 4, 5, 5] x, float[6, 4, 2, 2] w_p, float[n, 8, 4, 4] o, float[n, 4, 4, 4] m",
        "DeformConv <kernel_shape = [2, 2]> (x, w_p, o, , m)",
    ),
    "DepthToSpace": ("float[n, 8, 3, 2] x", 'DepthToSpace <blocksize = 2, mode = "CRD"> (x)'),
    "GlobalAveragePool": ("float[n, 4, 9, 8] x", "GlobalAveragePool (x)"),
    "GlobalMaxPool": ("float[n, 4, 9, 8] x", "GlobalMaxPool (x)"),
    "GridSample": ("float[n, 4, 5, 5] x, float[n, 3, 6, 2] o", "GridSample (x, o)"),
    "GroupNormalization": (
        "float[n, 4, 9, 8] x, float[4] a_p, float[4] b_p",
        "GroupNormalization <num_groups = 2> (x, a_p, b_p)",
    ),
    "InstanceNormalization": ("float[n, 4, 9, 8] x, float[4] a_p, float[4] b_p", "InstanceNormalization (x, a_p, b_p)"),
    "LRN": ("float[n, 4, 9, 8] x", "LRN <size = 3, alpha = 0.5> (x)"),
    "LpPool": ("float[n, 4, 9, 8] x", "LpPool <kernel_shape = [3, 2], p = 1> (x)"),
    "MaxPool": ("float[n, 4, 9, 8] x", "MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 1]> (x)"),
    "QLinearConv": (
        "uint8[n, 4, 9, 8] x, float a_p, uint8 b_p, uint8[6, 4, 3, 3] w_p, float d_p, uint8 e_p, float f_p, uint8 g_p",
        "QLinearConv (x, a_p, b_p, w_p, d_p, e_p, f_p, g_p)",
    ),
    "RoiAlign": (
        "float[n, 4, 9, 8] x, float[3, 4] r, int64[3] i",
        "RoiAlign <output_height = 2, output_width = 3> (x, r, i)",
    ),
    "SpaceToDepth": ("float[n, 2, 4, 6] x", "SpaceToDepth <blocksize = 2> (x)"),
}


@pytest.mark.parametrize("op", BOUND)
def test_the_body_of_a_form_says_what_it_computes(model, compares, op):
    inputs, call = BOUND[op]
    kind = {"ConvInteger": "int32", "QLinearConv": "uint8"}.get(op, "float")
    made = model(f"agraph ({inputs}) => ({kind}[n, a, b, c] y) {{ y = {call} }}")
    infer_shapes(made)
    compares(made, feeds(made))
    (node,) = made.graph
    assert (g.CHANNELS_LAST, op) == (node.domain, node.op_type)
    assert {"y": LAST} == layouts(made).outputs
    assert "x" in layouts(made).inputs


def test_the_bodies_of_all_forms_are_tested():
    assert set(DATA) - {"GlobalLpPool", "MaxRoiPool"} == set(BOUND)  # which onnx's evaluator has not


@pytest.mark.parametrize(("shape", "last"), [("n, 4, 9", (0, 2, 1)), ("n, 4, 5, 4, 3", (0, 2, 3, 4, 1))])
def test_other_ranks_have_forms_of_their_own(model, compares, shape, last):
    rank = len(shape.split(",")) - 2
    kernel = ", ".join(["2"] * rank)
    sizes = ", ".join("nabcd"[: rank + 2])
    made = model(f"""agraph (float[{shape}] x, float[4, 4, {kernel}] w_p) => (float[{sizes}] y) {{
        c = Conv (x, w_p) y = MaxPool <kernel_shape = [{kernel}]> (c)
    }}""")
    compares(made, feeds(made))
    assert ({"x": last}, {"y": last}) == layouts(made)


def test_a_layer_over_the_last_axis_alone_stays_out_of_it(model, compares):
    """Batch norm computes the same along any axis: between Transposes that it alone would need it stays as it is."""
    made = model("""agraph (float[n, 5, 4] x, float[4, 4, 1] w_p, float[5, 5] m_p, float[5] a_p) => (float[n, 5, 4] y) {
        m = MatMul(m_p, x) b = BatchNormalization(m, a_p, a_p, a_p, a_p) s = MatMul(m_p, b)
        t = Transpose <perm = [0, 2, 1]> (s) c = Conv (t, w_p) y = Transpose <perm = [0, 2, 1]> (c)
    }""")
    report = compares(made, feeds(made))
    assert (2, 0) == (len(report.before), len(report.after))
    assert [g.CHANNELS_LAST] == [node.domain for node in made.graph if node.op_type == "Conv"]
    assert [""] == [node.domain for node in made.graph if node.op_type == "BatchNormalization"]


def test_what_stands_with_channels_last_is_canonical(model, run):
    made = model(CONVNEXT)
    fed = feeds(made)
    channels_last(made, lambda node: True, inputs="first", outputs="first")
    again = canonical(made.clone())
    assert ops(made) == ops(again)
    (expected,) = run(made, fed).values()
    np.testing.assert_array_equal(expected, *run(again, fed).values())
    np.testing.assert_array_equal(expected, *ReferenceEvaluator(ir.to_proto(made)).run(None, fed))  # calls the bodies


def test_metadata_that_says_no_layouts_is_refused(model):
    made = model(f"agraph ({X}, {W}) => (float[n, 4, 8, 6] c) {{ {CONV} }}")
    for text in ("[]", '{"inputs": 3}', "{", '{"inputs": {"x": ["a"]}}'):
        made.metadata_props[g.LAYOUT] = text
        with pytest.raises(HubError, match="zoo.layout"):
            layouts(made)
