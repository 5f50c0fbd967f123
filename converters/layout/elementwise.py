"""Rules of operators that work on each element by itself, with broadcasting."""

from __future__ import annotations

import onnx_ir as ir

from zoo.converters.layout.forms import Form, Operand, Rule, at, of_all_axes, operand, rank, same
from zoo.converters.layout.perms import Perm
from zoo.converters.surgery.rules import BROADCAST

UNARY = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cast", "CastLike", "Ceil", "Celu"),
    *("Clip", "Cos", "Cosh", "Dropout", "DynamicQuantizeLinear", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid"),
    *("HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu"),
    *("Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan"),
    *("Tanh", "ThresholdedRelu"),
)


def unary(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """f(Transpose(x)) == Transpose(f(x)); further inputs are scalars, or only say what dtype to give."""
    return same(node, perm)


def broadcast(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """f(Transpose(a), Transpose(b)) == Transpose(f(a, b)), where an operand of a lower rank gets the leading axes."""
    if rank(node.outputs[0]) != len(perm):
        return None
    found = [Operand() if v is None else operand(v, perm) for v in node.inputs]
    operands = [o for o in found if o is not None]
    if len(operands) < len(found):
        return None
    lined_up = {i: perm for i, o in enumerate(operands) if o.lined_up}
    return Form(tuple(o.takes for o in operands), (perm,), lined_up=lined_up)


@of_all_axes
def quantised(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """QuantizeLinear and DequantizeLinear: a scale for all, one a place of an axis, or one a block of an axis."""
    axis, n = node.attributes.get_int("axis", 1), len(perm)
    scale = at(node, 1)
    if rank(scale) < 0:
        return None
    if node.attributes.get_int("block_size", 0):
        return same(node, perm, (0, 1, 2), attributes={"axis": perm.index(axis % n)})
    moved = {"axis": perm.index(axis % n)} if rank(scale) == 1 and -n <= axis < n else {}
    return same(node, perm, attributes=moved)


@of_all_axes
def dropped(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """zoo::StochasticDepth drops whole members of the batch, which stays where it is."""
    return same(node, perm) if perm[0] == 0 else None


RULES: dict[str, Rule] = {
    **dict.fromkeys(UNARY, unary),
    **dict.fromkeys((*BROADCAST, "PRelu", "SwiGLU"), broadcast),
    "QuantizeLinear": quantised,
    "DequantizeLinear": quantised,
}
OURS: dict[str, Rule] = {"StochasticDepth": dropped}
