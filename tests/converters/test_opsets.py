"""A graph at another opset gives the same numbers in ONNX Runtime, or is refused with the reason."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from zoo.converters.graph import PARAMETER, PATH
from zoo.converters.opsets import at_opset
from zoo.converters.verify import compare
from zoo.converters.writers.onnx.writer import session
from zoo.errors import HubError, UsageError

X = np.random.default_rng(0).standard_normal((2, 3, 8, 6)).astype(np.float32)
BODIES = {
    "only the dtypes that it takes are others": (23, "y = Relu (x)", [7, 13, 22, 28]),
    "an input that was an attribute": (
        23,
        "c = Constant <value_ints = [2, 3]> ()  m = ReduceMean <keepdims = 0> (x, c)  y = Identity (m)",
        [11, 13, 17, 18],
    ),
    "inputs that were attributes": (
        21,
        """lo = Constant <value_float = -0.5> ()  hi = Constant <value_float = 0.75> ()
           p = Constant <value_ints = [0, 0, 1, 2, 0, 0, 1, 2]> ()  a = Clip (x, lo, hi)  y = Pad (a, p, hi)""",
        [9, 10, 11, 17],
    ),
    "axes of a Squeeze": (
        21,
        "a = Constant <value_ints = [1]> ()  u = Unsqueeze (x, a)  s = Squeeze (u, a)  y = Neg (s)",
        [11, 12, 13],
    ),
    "a part of a shape": (
        21,
        "s = Shape <start = 1, end = 3> (x)  f = Cast <to = 1> (s)  y = Identity (f)",
        [11, 14, 15],
    ),
    "pads of some axes": (
        21,
        """p = Constant <value_ints = [1, 2, 3, 0]> ()  a = Constant <value_ints = [-1, 2]> ()
           v = Constant <value_float = 7.0> ()  y = Pad <mode = "constant"> (x, p, v, a)""",
        [13, 17, 18],
    ),
    "an operator that only newer ones have": (23, 'y = Gelu <approximate = "tanh"> (x)', [9, 13, 19, 20]),
    "one whose body depends on its inputs": (
        23,
        "y = LayerNormalization <axis = -1, epsilon = 0.001> (x, scale, bias)",
        [11, 13, 16, 17],
    ),
    "Softmax on the last axis": (23, "y = Softmax (x)", [9, 11, 12, 13]),
    "Softmax on another axis": (23, "y = LogSoftmax <axis = 1> (x)", [9, 12, 13]),
    "a mode with another name": (22, "y = GridSample (x, grid)", [16, 19, 20]),
    "a body in the place of another meaning": (
        21,
        "one = Constant <value_floats = [2.5, 1.5, 0.5]> ()  y = GroupNormalization <num_groups = 3> (x, one, mean)",
        [17, 18, 21],
    ),
    "Dropout": (23, "r = Constant <value_float = 0.3> ()  y = Dropout (x, r)", [7, 11, 12]),
    "batch normalisation": (23, "y = BatchNormalization (x, mean, mean, mean, var)", [9, 13, 14]),
    "inputs that could not be left out": (
        13,
        "k = Constant <value = float[4] {1, 1, 2, 2}> ()  y = Resize (x, , k)",
        [11, 12],
    ),
    "an If": (
        21,
        """yes = ReduceMax <keepdims = 0> (x)  z = Constant <value_float = 0.0> ()  p = Greater (yes, z)
           y = If (p) <then_branch = t () => (float[N, 3, 8, 6] a) { a = Relu (x) },
                       else_branch = e () => (float[N, 3, 8, 6] n) { n = Neg (x) }>""",
        [11, 13],
    ),
    "from an old one": (11, "y = Softmax <axis = 2> (x)", [13, 17, 23]),
    "attributes that became inputs": (9, "u = Unsqueeze <axes = [0]> (x)  y = ReduceSum <axes = [1]> (u)", [13, 18]),
}


def net(opset, body):
    model = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["": {opset}]>
        net (float[N, 3, 8, 6] x) => (float[A] y) <
            float[6] scale = {{1, 2, 3, 4, 5, 6}}, float[6] bias = {{6, 5, 4, 3, 2, 1}}, float[3] mean = {{1, 2, 3}},
            float[3] var = {{0.5, 1, 2}}, float[2,1,2,2] grid = {{0, 0, 0.5, 0.5, -0.5, 0.3, 0.2, 0.1}}
        > {{ {body} }}""")
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    used = {name for node in model.graph.node for name in node.input}
    unused = [tensor for tensor in model.graph.initializer if tensor.name not in used]
    for tensor in unused:
        model.graph.initializer.remove(tensor)
    return ir.from_proto(model)


def run(model):
    return session(model, device="cpu", plain=True).run({"x": X})


@pytest.mark.parametrize("what", BODIES)
def test_the_numbers_are_the_same_at_every_opset(what):
    have, body, opsets = BODIES[what]
    expected = run(net(have, body))
    for opset in opsets:
        made = at_opset(net(have, body), opset)
        assert opset == made.opset_imports[""]
        found = compare(expected, run(made))
        assert found.agrees, (opset, found)


def test_weights_names_and_metadata_are_carried_and_no_mark_is_left():
    model = net(23, "l = LayerNormalization (x, scale, bias)  y = Relu (l)")
    model.metadata_props["author"] = "somebody"
    for node in model.graph:
        node.metadata_props[PATH] = f"blocks.{node.op_type}"
    made = at_opset(model, 18)
    assert ("somebody", {"scale", "bias"}) == (made.metadata_props["author"], set(made.graph.initializers))
    assert {"blocks.LayerNormalization", "blocks.Relu"} == {node.metadata_props[PATH] for node in made.graph}
    assert not any(PARAMETER in value.metadata_props for value in made.graph.initializers.values())
    assert 23 == model.opset_imports[""]


def test_a_function_of_the_model_is_inlined_at_an_older_opset():
    model = ir.from_proto(
        onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 21, "own": 1]>
        net (float[N, 3] x) => (float[N, 3] y) { y = own.twice (x) }
        <domain: "own", opset_import: ["": 18]> twice (a) => (b) { b = Add (a, a) }""")
    )
    made = at_opset(model, 13)
    assert (["Add"], 0) == ([node.op_type for node in made.graph], len(made.functions))
    onnx.checker.check_model(ir.to_proto(made), full_check=True)


def test_an_older_runtime_gets_an_ir_version_that_it_reads():
    assert 4 == at_opset(net(23, "y = Relu (x)"), 9).ir_version
    assert 8 >= at_opset(net(23, "y = Relu (x)"), 17).ir_version


@pytest.mark.parametrize(
    ("opset", "to", "body", "error", "words"),
    [
        (17, 6, "y = Relu (x)", UsageError, "Known: 7 to 28; the model has 17"),
        (17, 29, "y = Relu (x)", UsageError, "opset 29 can't be written"),
        (17, 8, "p = Greater (x, x)  y = Where (p, x, x)", HubError, "it has no Where, and the ONNX standard gives no"),
        (
            11,
            10,
            "n = Constant <value = float[0] {}> ()  k = Constant <value = float[4] {1, 1, 2, 2}> ()  "
            "[grows] y = Resize (x, n, k)",
            HubError,
            "Resize 'grows' can't be written at opset 10: before opset 11",
        ),
        (
            18,
            17,
            "one = Constant <value_ints = [1]> ()  a = Mul (one, one)  y = ReduceMax (x, a)",
            HubError,
            "from opset 18 to 17: .*axes",
        ),
    ],
)
def test_an_opset_that_can_not_be_reached_is_refused_with_the_reason(opset, to, body, error, words):
    with pytest.raises(error, match=words):
        at_opset(net(opset, body), to)
