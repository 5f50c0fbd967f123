"""Restore what exporters took apart. Each fusion is a pattern, a condition and a replacement, and an identity.

A fused graph computes the same; what ONNX has no operator for stands in the domain `zoo` with its function body,
so that the graph stays a model that every runtime takes.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from zoo.converters.graph import DOMAIN, OPSET, is_parameter


def fuse(model: ir.Model) -> ir.Model:
    """All fusions, in place; returns the model."""
    if fuse_linear(model) + fuse_swish(model):
        RemoveUnusedNodesPass()(model)
    return model


def linear_function(bias: bool) -> ir.Function:
    """zoo::Linear(X [..., K], W [N, K], B [N]) = X @ W.T + B, of which ONNX's Gemm is the case of rank two."""
    x, w, b = (ir.Value(name=n) for n in "XWB")
    transposed = ir.node("Transpose", [w], attributes={"perm": [1, 0]})
    product = ir.node("MatMul", [x, transposed.outputs[0]])
    nodes, out = [transposed, product], product.outputs[0]
    if bias:
        nodes.append(ir.node("Add", [product.outputs[0], b]))
        out = nodes[-1].outputs[0]
    name = "Linear" if bias else "LinearNoBias"
    inputs = [x, w, b] if bias else [x, w]
    body = ir.Graph(inputs, [out], nodes=nodes, opset_imports={"": OPSET}, name=name)
    for i, value in enumerate(v for n in nodes for v in n.outputs):
        value.name = f"v{i}"
    return ir.Function(DOMAIN, name, graph=body, attributes=[])


def fuse_linear(model: ir.Model) -> int:
    """MatMul(x, Transpose(W)) [+ b] -> zoo::Linear(x, W, b); how many were fused.

    1. W is a parameter [N, K], transposed by perm [1, 0].
    2. The sum, if there is one, is the product's only reader, and b a parameter [N].
    """
    graph, fused = model.graph, 0
    for node in list(graph):
        if node.op_type != "MatMul" or node.domain or (weight := _transposed_parameter(node.inputs[1])) is None:
            continue
        product, inputs, last = node.outputs[0], [node.inputs[0], weight], node
        readers = list(product.uses())
        if len(readers) == 1 and readers[0].node.op_type == "Add" and product not in graph.outputs:
            add = readers[0].node
            other = add.inputs[1 - readers[0].idx]
            if other is not None and is_parameter(other) and _shape(other) == _shape(weight)[:1]:
                inputs, last = [*inputs, other], add
        nodes = [node] if last is node else [last, node]
        _replace(model, nodes, linear_function(bias=len(inputs) == 3), inputs)
        fused += 1
    return fused


def swish_function() -> ir.Function:
    """zoo::Swish(X) = X * Sigmoid(X), which ONNX has by this name from opset 24 on."""
    x = ir.Value(name="X")
    gate = ir.node("Sigmoid", [x])
    product = ir.node("Mul", [x, gate.outputs[0]])
    gate.outputs[0].name, product.outputs[0].name = "gate", "Y"
    body = ir.Graph([x], product.outputs, nodes=[gate, product], opset_imports={"": OPSET}, name="Swish")
    return ir.Function(DOMAIN, "Swish", graph=body, attributes=[])


def fuse_swish(model: ir.Model) -> int:
    """Mul(x, Sigmoid(x)) -> zoo::Swish(x), where nothing else reads the sigmoid; how many were fused."""
    graph, fused = model.graph, 0
    for node in list(graph):
        if node.op_type != "Mul" or node.domain:
            continue
        for x, gate in (node.inputs, node.inputs[::-1]):
            if gate is None or (sigmoid := gate.producer()) is None:
                continue
            if sigmoid.op_type != "Sigmoid" or sigmoid.inputs[0] is not x or len(gate.uses()) > 1:
                continue
            if gate in graph.outputs:
                continue
            function = swish_function()
            _replace(model, [node, sigmoid], function, [x])
            fused += 1
            break
    return fused


def _replace(model: ir.Model, nodes: list[ir.Node], function: ir.Function, inputs: list[ir.Value | None]) -> None:
    """One call of `function` in the place of `nodes`, the last of them first; their module is the earliest one's."""
    last, earliest = nodes[0], nodes[-1]
    props = dict(earliest.metadata_props)
    new = ir.Node(DOMAIN, function.name, inputs, num_outputs=1, name=earliest.name, metadata_props=props)
    new.outputs[0].shape, new.outputs[0].type = last.outputs[0].shape, last.outputs[0].type
    model.functions.setdefault(function.identifier(), function)
    model.opset_imports.setdefault(DOMAIN, 1)
    model.graph.insert_after(last, new)
    _take_over(last.outputs[0], new.outputs[0])
    for node in nodes:
        model.graph.remove(node, safe=True)


def _take_over(old: ir.Value, new: ir.Value) -> None:
    """`new` is read wherever `old` was, as a graph output too, under the same name."""
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    new.name, old.name = old.name, None


def _transposed_parameter(value: ir.Value | None) -> ir.Value | None:
    producer = value.producer() if value is not None else None
    if producer is None or producer.op_type != "Transpose" or list(producer.attributes.get_ints("perm", [])) != [1, 0]:
        return None
    weight = producer.inputs[0]
    return weight if weight is not None and is_parameter(weight) and len(_shape(weight)) == 2 else None


def _shape(value: ir.Value) -> tuple[int, ...]:
    return tuple(int(d) for d in value.shape or ())  # type: ignore[arg-type]
