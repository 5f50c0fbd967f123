"""If, Loop, Scan and SequenceMap in torch, against ONNX Runtime: what the suite's cases leave out."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import pytest

import zoo

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
RNG = np.random.default_rng(0)
HEADER = '<ir_version: 10, opset_import: ["" : 21]>\n'


def f(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def model(text):
    return onnx.parser.parse_model(HEADER + text)


def expected(proto, feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(proto.SerializeToString(), options).run(None, feeds)


def check(text, *several):
    proto = model(text)
    runner = zoo.runner(proto, "torch")
    for feeds in several:
        for want, got in zip(expected(proto, feeds), runner.run(feeds).values(), strict=True):
            compare(want, got)


def compare(want, got):
    if isinstance(want, list):
        assert len(want) == len(got)
        for a, b in zip(want, got, strict=True):
            compare(a, b)
        return
    assert (want.dtype, want.shape) == (got.dtype, got.shape)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


YES, NO = np.array(True), np.array(False)

LOOPS = {
    "a number of trips and no condition": """
        g (float[N,3] x, int64 n) => (float[N,3] y, float[T,N,3] rows) {
          y, rows = Loop (n, , x) <body = b (int64 i, bool c, float[N,3] s) => (bool d, float[N,3] t, float[N,3] r) {
            d = Identity(c)  t = Add(s, s)  r = Neg(s) }>
        }""",
    "a condition and no number of trips": """
        g (float[N,3] x, int64 n) => (float[N,3] y, int64 count) {
          yes = Constant <value = bool {1}>()
          zero = Constant <value = int64 {0}>()
          y, count = Loop (, yes, x, zero) <body = b (int64 i, bool c, s, int64 k) => (bool d, t, int64 m) {
            one = Constant <value = int64 {1}>()
            m = Add(k, one)  d = Less(m, n)  t = Mul(s, x) }>
        }""",
    "a condition that ends it before the trips do": """
        g (float[N,3] x, int64 n) => (float[N,3] y, int64[T] seen) {
          yes = Constant <value = bool {1}>()
          y, seen = Loop (n, yes, x) <body = b (int64 i, bool c, float[N,3] s) => (bool d, float[N,3] t, int64 j) {
            two = Constant <value = int64 {2}>()
            d = Less(i, two)  t = Relu(s)  j = Identity(i) }>
        }""",
    "a state that grows, and a scalar state": """
        g (float[N,3] x, int64 n) => (float[M,3] y, float z) {
          one = Constant <value = float {1}>()
          y, z = Loop (n, , x, one) <body = b (int64 i, bool c, s, u) => (bool d, t, v) {
            d = Identity(c)  t = Concat <axis = 0> (s, x)  v = Add(u, u) }>
        }""",
    "a loop in a loop, both with values of the graphs around them": """
        g (float[N,3] x, int64 n) => (float[N,3] y, float[T,T2,N,3] rows) {
          y, rows = Loop (n, , x) <body = outer (int64 i, bool c, float[N,3] s)
            => (bool d, float[N,3] t, float[T2,N,3] r) {
            d = Identity(c)
            t, r = Loop (n, , s) <body = inner (int64 k, bool e, float[N,3] u)
              => (bool g2, float[N,3] v, float[N,3] q) {
              g2 = Identity(e)  v = Add(u, x)  q = Sub(v, s) }>
          }>
        }""",
    "a body that reads sizes, and gives an input back": """
        g (float[N,3] x, int64 n) => (float[N,3] y, int64[T,2] shapes, float[T,N,3] same) {
          y, shapes, same = Loop (n, , x) <body = b (int64 i, bool c, float[N,3] s)
            => (bool d, float[N,3] s2, int64[2] h, float[N,3] x2) {
            d = Identity(c)  h = Shape(s)  s2 = Identity(s)  x2 = Identity(x) }>
        }""",
}


@pytest.mark.parametrize("text", LOOPS.values(), ids=LOOPS)
def test_a_loop_with(text):
    check(text, *({"x": f(2, 3), "n": np.array(n)} for n in (3, 1)))


def test_a_loop_without_trips_gives_its_state_and_rows_of_no_length():
    check(LOOPS["a number of trips and no condition"], {"x": f(2, 3), "n": np.array(0)})


def test_weights_of_one_name_in_two_bodies_stay_two():
    proto = model("""g (float[2] x, bool c) => (float[2] y) {
      y = If (c) <then_branch = a () => (float[2] p) { p = Mul(x, w) },
                  else_branch = b () => (float[2] p) { p = Mul(x, w) }>
    }""")
    weights = {attribute.name: f(2) for attribute in proto.graph.node[0].attribute}
    for attribute in proto.graph.node[0].attribute:
        attribute.g.initializer.append(onnx.numpy_helper.from_array(weights[attribute.name], "w"))
    runner, x = zoo.runner(proto, "torch"), f(2)
    compare(x * weights["then_branch"], runner.run({"x": x, "c": YES})["y"])
    compare(x * weights["else_branch"], runner.run({"x": x, "c": NO})["y"])


def test_a_name_in_a_body_hides_the_same_name_outside():
    check(
        """g (float[2] x, bool c) => (float[2] y) {
          h = Neg(x)
          k = If (c) <then_branch = a () => (float[2] p) { h2 = Abs(x)  p = Add(h2, h) },
                      else_branch = b () => (float[2] p) { h2 = Exp(x)  p = Mul(h2, h) }>
          y = Add(k, h)
        }""",
        {"x": f(2), "c": YES},
        {"x": f(2), "c": NO},
    )


def test_branches_of_different_shapes_and_what_only_one_reads():
    check(
        """g (float[2,3] x, float[4] w, bool c) => (float[M,P] y, int64[2] s) {
          y = If (c) <then_branch = a () => (float[3,2] p) { p = Transpose(x) },
                      else_branch = b () => (float[1,4] p) { ax = Constant <value_ints = [0]>() p = Unsqueeze(w, ax) }>
          s = Shape(y)
        }""",
        {"x": f(2, 3), "w": f(4), "c": YES},
        {"x": f(2, 3), "w": f(4), "c": NO},
    )


def test_an_if_in_an_if_with_constants_as_outputs():
    check(
        """g (float[2] x, bool c, bool e) => (float[2] y) {
          y = If (c) <
            then_branch = a () => (float[2] p) {
              p = If (e) <then_branch = aa () => (float[2] q) { q = Constant <value = float[2] {1, 2}>() },
                          else_branch = ab () => (float[2] q) { q = Identity(x) }> },
            else_branch = b () => (float[2] p) { p = Constant <value_floats = [3.0, 4.0]>() }>
        }""",
        *({"x": f(2), "c": c, "e": e} for c in (YES, NO) for e in (YES, NO)),
    )


def test_a_known_condition_leaves_its_branch_alone():
    proto = model("""g (float[2] x) => (float[2] y) {
      c = Constant <value = bool {0}>()
      y = If (c) <then_branch = a () => (float[2] p) { p = Abs(x) }, else_branch = b () => (float[2] p) { p = Neg(x) }>
    }""")
    assert "if" not in zoo.load(proto, "torch").code


SCANS = {
    "states, two inputs and outputs": ({}, "s, t, x, y", 2),
    "an input from its end": ({"scan_input_directions": [1, 0]}, "s, t, x, y", 2),
    "outputs from their end": ({"scan_output_directions": [1, 0]}, "s, t, x, y", 2),
    "inputs along other axes": ({"scan_input_axes": [1, -1]}, "s, t, xt, yt", 2),
    "outputs along other axes": ({"scan_output_axes": [1, -1]}, "s, t, x, y", 2),
}


@pytest.mark.parametrize(("attributes", "inputs", "scanned"), SCANS.values(), ids=SCANS)
@pytest.mark.parametrize("length", [4, 1])
def test_a_scan_over(attributes, inputs, scanned, length):
    vi = onnx.helper.make_tensor_value_info
    names = ("s", "t", "a", "b")
    body = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Add", ["s", "a"], ["s2"]),
            onnx.helper.make_node("Mul", ["t", "w"], ["t2"]),
            onnx.helper.make_node("Sub", ["s2", "b"], ["o"]),
            onnx.helper.make_node("Neg", ["t2"], ["o2"]),
        ],
        "body",
        [vi(name, onnx.TensorProto.FLOAT, [3]) for name in names],
        [vi(name, onnx.TensorProto.FLOAT, [3]) for name in ("s2", "t2", "o", "o2")],
    )
    outs = [onnx.ValueInfoProto(name=name) for name in ("sf", "tf", "os", "o2s")]
    node = onnx.helper.make_node(
        "Scan", inputs.split(", "), [o.name for o in outs], body=body, num_scan_inputs=scanned, **attributes
    )
    shapes = {"s": [3], "t": [3], "w": [3], "x": ["T", 3], "y": ["T", 3], "xt": [3, "T"], "yt": [3, "T"]}
    used = [name for name in shapes if name in [*inputs.split(", "), "w"]]
    graph = onnx.helper.make_graph([node], "g", [vi(n, onnx.TensorProto.FLOAT, shapes[n]) for n in used], outs)
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    feeds = {n: f(*(length if d == "T" else d for d in shapes[n])) for n in used}
    for want, got in zip(expected(proto, feeds), zoo.runner(proto, "torch").run(feeds).values(), strict=True):
        compare(want, got)


@pytest.mark.parametrize("directions", [[0, 0], [1, 0], [1, 1]])
def test_a_scan_of_opset_8_has_a_batch_of_sequences(directions):
    vi = onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Add", ["s", "x"], ["t"]),
            onnx.helper.make_node("Mul", ["t", "y"], ["so"]),
            onnx.helper.make_node("Softmax", ["so"], ["o"], axis=0),
        ],
        "b",
        [vi(name, 1, [3]) for name in ("s", "x", "y")],
        [vi(name, 1, [3]) for name in ("so", "o")],
    )
    node = onnx.helper.make_node(
        "Scan", ["", "s0", "xs", "ys"], ["sf", "os"], num_scan_inputs=2, body=body, directions=directions
    )
    graph = onnx.helper.make_graph(
        [node], "g", [vi("s0", 1, ["B", 3]), vi("xs", 1, ["B", "T", 3]), vi("ys", 1, ["B", "T", 3])],
        [onnx.ValueInfoProto(name="sf"), onnx.ValueInfoProto(name="os")],
    )  # fmt: skip
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 8)], ir_version=4)
    feeds = {"s0": f(2, 3), "xs": f(2, 4, 3), "ys": f(2, 4, 3)}
    for want, got in zip(expected(proto, feeds), zoo.runner(proto, "torch").run(feeds).values(), strict=True):
        compare(want, got)


def loop_with_weights():
    """A loop whose body has weights of its own, and reads others of the graph around it."""
    proto = model("""g (float[N,3] x, int64 n) => (float[N,3] y) {
      y = Loop (n, , x) <body = b (int64 i, bool c, float[N,3] s) => (bool d, float[N,3] t) {
        d = Identity(c)  u = MatMul(s, inner)  v = Add(u, outer)  t = Tanh(v) }>
    }""")
    proto.graph.initializer.append(onnx.numpy_helper.from_array(f(3), "outer"))
    proto.graph.node[0].attribute[0].g.initializer.append(onnx.numpy_helper.from_array(f(3, 3), "inner"))
    return proto


def test_weights_of_a_body_are_parameters_of_the_module():
    proto = loop_with_weights()
    module = zoo.load(proto, "torch")
    assert {"inner", "outer"} == set(dict(module.named_parameters()))
    x, n = torch.randn(2, 3), torch.tensor(3)
    module(x, n).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
    compare(expected(proto, {"x": x.numpy(), "n": n.numpy()})[0], module(x, n).detach().numpy())


def test_a_module_with_a_loop_copies_and_pickles():
    module, x, n = zoo.load(loop_with_weights(), "torch"), torch.randn(2, 3), torch.tensor(2)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(other(x, n), module(x, n), rtol=0, atol=0)
        assert list(other.state_dict()) == list(module.state_dict())


def test_an_unrolled_loop_compiles():
    module = zoo.load(
        model("""g (float[N,3] x) => (float[N,3] y) {
          n = Constant <value = int64 {3}>()
          y = Loop (n, , x) <body = b (int64 i, bool c, float[N,3] s) => (bool d, float[N,3] t) {
            d = Identity(c)  t = Sin(s) }>
        }"""),
        "torch",
    )
    x = torch.randn(2, 3)
    torch.testing.assert_close(torch.compile(module, backend="eager")(x), module(x))


def test_a_sequence_map_calls_its_body_for_each_item():
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(
            [
                onnx.helper.make_node(
                    "SequenceMap",
                    ["xs", "w", "ys"],
                    ["os", "ps"],
                    body=onnx.helper.make_graph(
                        [
                            onnx.helper.make_node("Mul", ["x", "v"], ["m"]),
                            onnx.helper.make_node("Add", ["m", "y"], ["o"]),
                            onnx.helper.make_node("Sub", ["o", "z"], ["p"]),
                        ],
                        "b",
                        [onnx.helper.make_tensor_value_info(name, 1, None) for name in ("x", "v", "y")],
                        [onnx.helper.make_tensor_value_info(name, 1, None) for name in ("o", "p")],
                    ),
                )
            ],
            "g",
            [
                *(onnx.helper.make_tensor_sequence_value_info(name, 1, None) for name in ("xs", "ys")),
                *(onnx.helper.make_tensor_value_info(name, 1, [3]) for name in ("w", "z")),
            ],
            [onnx.helper.make_tensor_sequence_value_info(name, 1, None) for name in ("os", "ps")],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 21)],
        ir_version=10,
    )
    feeds = {"xs": [f(2, 3), f(1, 3)], "ys": [f(3), f(3)], "w": f(3), "z": f(3)}
    made = zoo.runner(proto, "torch").run(feeds)
    for x, y, o, p in zip(feeds["xs"], feeds["ys"], made["os"], made["ps"], strict=True):
        compare(x * feeds["w"] + y, o)
        compare(x * feeds["w"] + y - feeds["z"], p)


def test_a_gpt_like_state_keeps_its_rank_in_a_body():
    check(
        """g (float[B,T,4] x, int64 n) => (float[B,T,4] y) {
          y = Loop (n, , x) <body = b (int64 i, bool c, s) => (bool d, t) {
            d = Identity(c)
            axes = Constant <value_ints = [-1]>()
            m = ReduceMean <keepdims = 0> (s, axes)
            u = Unsqueeze(m, axes)
            h = Transpose <perm = [0, 2, 1]> (s)
            k = Transpose <perm = [0, 2, 1]> (h)
            t = Sub(k, u) }>
        }""",
        {"x": f(2, 3, 4), "n": np.array(2)},
    )
