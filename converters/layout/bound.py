"""Operators that ONNX defines with channels first, and their channels-last forms.

A form is a node of the same operator and attributes in the domain graph.CHANNELS_LAST. What DATA names of its inputs,
and what it gives, has its channels last: [N, spatial..., C]; weights, scales and whatever else are as ONNX has them.
Its body, Transpose -> operator -> Transpose, stands among the model's functions: one for each rank (the overload says
which, and how many inputs and outputs), with all inputs of the operator, those that a node lacks as empty names.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx
import onnx_ir as ir

from zoo.converters.graph import CHANNELS_LAST, OPSET
from zoo.converters.layout.forms import Form, at, rank
from zoo.converters.layout.perms import channels_last, inverse

Takes = Callable[[ir.Node], bool]

DATA: dict[str, tuple[int, ...]] = {  # op type -> the inputs that have channels
    **dict.fromkeys(("AveragePool", "Conv", "ConvInteger", "ConvTranspose", "LpPool", "MaxPool", "QLinearConv"), (0,)),
    **dict.fromkeys(("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"), (0,)),
    **dict.fromkeys(("BatchNormalization", "GroupNormalization", "InstanceNormalization", "LRN"), (0,)),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), (0,)),
    **dict.fromkeys(("GridSample", "MaxRoiPool", "RoiAlign"), (0,)),  # a grid and regions have no channels
    "DeformConv": (0, 2, 4),  # offset and mask are pictures too
}
# What computes the same along any axis: it keeps the graph's own order where only that saves a Transpose.
EASY = {
    *("BatchNormalization", "GroupNormalization", "InstanceNormalization"),
    *("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"),
}


def channels_last_form(node: ir.Node) -> Form | None:
    """The form of a node of ONNX's own domain with channels last; None if it has none."""
    data = DATA.get(node.op_type, ()) if node.domain in ("", "ai.onnx") else ()
    ranks = {rank(at(node, i)) for i in data if at(node, i) is not None} | {rank(node.outputs[0])} if data else set()
    if len(ranks) != 1 or min(ranks) < 3:
        return None
    if node.op_type == "MaxPool" and len(node.outputs) > 1 and _is_read(node.outputs[1]):
        return None  # places are counted in the graph's own order
    last = channels_last(min(ranks))
    takes = tuple(last if i in data and v is not None else None for i, v in enumerate(node.inputs))
    return Form(takes, (last, *(None for _ in node.outputs[1:])), is_last=True)


def _is_read(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def make_last(model: ir.Model, node: ir.Node) -> None:
    """Turn a node into its channels-last form, and note the body of that in the model."""
    schema = onnx.defs.get_schema(node.op_type, OPSET)
    data = [i for i in DATA[node.op_type] if at(node, i) is not None]
    last = DATA[node.op_type][-1]
    node.resize_inputs(len(schema.inputs) if last in data else last)  # the body transposes what it names
    if node.op_type == "MaxPool":
        node.resize_outputs(1)
    n = rank(node.inputs[0])
    node.domain, node.overload = CHANNELS_LAST, f"{n}_{len(node.inputs)}_{len(node.outputs)}"
    model.opset_imports[CHANNELS_LAST] = 1
    if node.op_identifier() not in model.functions:
        model.functions[node.op_identifier()] = _function(node, schema, data, n)


def _function(node: ir.Node, schema: onnx.defs.OpSchema, data: list[int], n: int) -> ir.Function:
    inputs = [ir.Value(name=entry.name) for entry in schema.inputs[: len(node.inputs)]]
    last = channels_last(n)
    first = {i: ir.node("Transpose", [inputs[i]], {"perm": inverse(last)}) for i in data}
    given = [first[i].outputs[0] if i in first else value for i, value in enumerate(inputs)]
    types = {name: ir.AttributeType(attribute.type.value) for name, attribute in schema.attributes.items()}
    passed = [ir.RefAttr(name, name, kind) for name, kind in types.items()]
    call = ir.Node("", node.op_type, given, passed, num_outputs=len(node.outputs))
    back = ir.node("Transpose", [call.outputs[0]], {"perm": last})
    nodes = [*first.values(), call, back]
    outputs = [back.outputs[0], *call.outputs[1:]]
    graph = ir.Graph(inputs, outputs, nodes=nodes, opset_imports={"": OPSET}, name=node.op_type)
    for i, value in enumerate(v for made in nodes for v in made.outputs):
        value.name = f"v{i}"
    declared = [ir.Attr(name, kind, None) for name, kind in types.items()]
    return ir.Function(CHANNELS_LAST, node.op_type, node.overload, graph=graph, attributes=declared)
