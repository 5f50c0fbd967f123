"""Linear layers, as torch and Keras keep their weights: zoo::Linear(X [..., K], W [N, K], B [N]) = X @ W.T + B."""

from __future__ import annotations

import onnx_ir as ir

from zoo.converters.fusions.rewriting import Fusion, Rule
from zoo.converters.graph import DOMAIN, OPSET, is_parameter


def linear_function(*, bias: bool) -> ir.Function:
    """zoo::Linear, or without its B zoo::LinearNoBias; ONNX's Gemm is its case of rank two."""
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


def _linear(fusion: Fusion) -> ir.Value:
    """The weight is a parameter [N, K] that is transposed, the bias a parameter [N]."""
    transpose, bias = fusion["t"].producer(), fusion.bound.get("b")
    if transpose is None or transpose.op_type != "Transpose" or transpose.domain:
        fusion.refuse()
    weight = transpose.inputs[0]
    if weight is None or not is_parameter(weight) or weight.shape is None or len(weight.shape) != 2:
        fusion.refuse()
    if list(transpose.attributes.get_ints("perm", [1, 0])) != [1, 0]:
        fusion.refuse()
    if bias is not None and not (is_parameter(bias) and bias.shape is not None and bias.shape == weight.shape[:1]):
        fusion.refuse("what is added is no bias: a parameter with one element a column")
    name = "LinearNoBias" if bias is None else "Linear"
    if (DOMAIN, name, "") not in fusion.model.functions:
        function = linear_function(bias=bias is not None)
        fusion.model.functions[function.identifier()] = function
        fusion.model.opset_imports.setdefault(DOMAIN, 1)
    inputs = [fusion["x"], weight, *([] if bias is None else [bias])]
    made: ir.Value = getattr(fusion.op, name)(*inputs, domain=DOMAIN)
    return made


RULES = (Rule(["MatMul(x, t) + b", "MatMul(x, t)"], _linear),)
