"""Two graphs side by side, both in ONNX Runtime: what parts is what was made to differ, in a file and nowhere else."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from zoo.converters.bisect import Side, bisect
from zoo.converters.writers.onnx.writer import session
from zoo.errors import HubError

TEXT = """<ir_version: 8, opset_import: ["": 17]>
    net (float[N, 3] x, bool positive) => (float[N, 3] y) <float[3, 3] w = {WEIGHT, 2, 3, 4, 5, 6, 7, 8, 9}> {
        [first] scaled = Mul (x, w0)
        [second] product = MatMul (scaled, w)
        [third] chosen = If (positive) <
            then_branch = yes () => (float[N, 3] kept) { kept = Add (product, scaled) },
            else_branch = no () => (float[N, 3] turned) { turned = Neg (product) } >
        [fourth] y = LAST (chosen)
    }"""


def net(weight=1.0, last="Relu", scale=2.0):
    model = onnx.parser.parse_model(TEXT.replace("WEIGHT", str(weight)).replace("LAST", last))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(scale, np.float32), "w0"))
    return ir.from_proto(model)


def run(model, feeds):
    return session(model, device="cpu", plain=True).run(feeds)


FEEDS = {"x": np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32) + 2, "positive": np.array(True)}


def test_graphs_that_compute_the_same_part_nowhere():
    found = bisect(Side(net(), run), Side(net(), run), FEEDS)
    assert (4, 0.0, None) == (found.compared, found.max_relative, found.parting)


@pytest.mark.parametrize(
    ("changed", "value", "node", "inputs"),
    [
        ({"scale": 2.01}, "scaled", "Mul 'first'", ["x"]),
        ({"weight": 1.5}, "product", "MatMul 'second'", ["scaled"]),
        ({"last": "Sigmoid"}, "y", "Relu 'fourth'", ["chosen"]),
    ],
)
def test_the_first_node_that_differs_is_named_with_its_inputs(changed, value, node, inputs):
    found = bisect(Side(net(), run), Side(net(**changed), run), FEEDS).parting
    assert (value, [node], inputs) == (found.value, list(found.nodes), list(found.inputs))
    assert found.alone is not None and not found.alone.agrees
    again = run(found.graph, found.inputs)
    np.testing.assert_array_equal(found.expected, again[value])


def test_a_body_that_differs_belongs_to_its_node():
    text = TEXT.replace("WEIGHT", "1").replace("LAST", "Relu").replace("Add (product", "Sub (product")
    other = onnx.parser.parse_model(text)
    other.graph.initializer.append(onnx.numpy_helper.from_array(np.array(2, np.float32), "w0"))
    found = bisect(Side(net(), run), Side(ir.from_proto(other), run), FEEDS).parting
    assert ("chosen", ["If 'third'"]) == (found.value, list(found.nodes))
    assert {"positive", "product", "scaled"} == set(found.inputs)


def test_neither_graph_is_changed():
    a, b = net(), net(weight=3)
    before = [ir.to_proto(m).SerializeToString(deterministic=True) for m in (a, b)]
    bisect(Side(a, run), Side(b, run), FEEDS)
    assert before == [ir.to_proto(m).SerializeToString(deterministic=True) for m in (a, b)]


def test_nodes_that_the_candidate_has_as_one_are_named_together():
    fused = """<ir_version: 8, opset_import: ["": 17]>
        net (float[N, 3] x, bool positive) => (float[N, 3] y)
        <float w0 = {3}, float[3, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}> {
            p = MatMul (x, w)
            product = Mul (p, w0)
            y = Relu (product)
        }"""
    found = bisect(Side(net(), run), Side(ir.from_proto(onnx.parser.parse_model(fused)), run), FEEDS).parting
    assert ("product", ["Mul 'first'", "MatMul 'second'"]) == (found.value, list(found.nodes))
    assert ["x"] == list(found.inputs)


def test_a_node_at_which_the_candidate_fails_is_named_with_why():
    def fails(model, feeds):
        if any(node.op_type == "If" for node in model.graph):
            raise HubError("no branch can be taken")
        return run(model, feeds)

    found = bisect(Side(net(), run), Side(net(), fails), FEEDS)
    assert (2, "chosen", "no branch can be taken") == (found.compared, found.parting.value, found.parting.problem)
    assert found.parting.difference is None
    assert {"product", "scaled", "positive"} == set(found.parting.inputs)


CANCELS = """<ir_version: 8, opset_import: ["": 17]>
    net (float[N, 3] x) => (float[N, 3] y) <float back = {1000000}> {
        big = Add (x, shift)
        [cancels] small = Sub (big, back)
        y = Mul (x, READS)
    }"""


@pytest.mark.parametrize(("reads", "expected"), [("x", None), ("small", "small")])
def test_what_only_grows_in_a_node_is_a_parting_where_an_output_differs(reads, expected):
    """3e-5 of a million is allowed; it is all that is left when the million is taken away."""

    def graph(shift):
        model = onnx.parser.parse_model(CANCELS.replace("READS", reads))
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(shift, np.float32), "shift"))
        return ir.from_proto(model)

    parting = bisect(Side(graph(1_000_000), run), Side(graph(1_000_030), run), {"x": FEEDS["x"]}).parting
    assert expected == (parting.value if parting else None)
    assert parting is None or (["Sub 'cancels'"], True) == (list(parting.nodes), parting.alone.agrees)


def test_many_values_are_compared_a_few_at_a_time():
    sizes = []

    def counted(model, feeds):
        sizes.append(len(model.graph.outputs))
        return run(model, feeds)

    assert 4 == bisect(Side(net(), counted), Side(net(), run), FEEDS, chunk_bytes=1).compared
    assert [1, 1, 1, 1] == sizes


def test_sequences_strings_and_truths_are_compared_as_well():
    text = """<ir_version: 8, opset_import: ["": 17]>
        kinds (float[N, 6] x) => (seq(float) parts, string word, bool large) {
            scores = Softmax (x)
            parts = SplitToSequence <axis = 1> (scores)
            most = ReduceMax <keepdims = 0> (scores)
            word = Cast <to = 8> (most)
            half = Constant <value_float = HALF> ()
            large = Greater (most, half)
        }"""
    a, b = (ir.from_proto(onnx.parser.parse_model(text.replace("HALF", half))) for half in ("0.5", "1.5"))
    feeds = {"x": np.eye(6, dtype=np.float32) * 9}
    same = bisect(Side(a, run), Side(a, run), feeds)
    assert (6, None) == (same.compared, same.parting)
    assert "half" == bisect(Side(a, run), Side(b, run), feeds).parting.value
