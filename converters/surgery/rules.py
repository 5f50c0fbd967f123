"""What an operator makes of inputs whose sizes change, and what of it its constants have baked in.

A size that was fixed when a graph was exported stands in it as a number: in the target of a Reshape, the end of a
Slice, the pads of a convolution. A rule makes that number anew where it follows from the others, and raises Underivable
where it doesn't. Operators without a rule and not among PLAIN are refused, since nobody has thought about them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from zoo.converters.graph import DOMAIN
from zoo.converters.surgery import arithmetic, layouts, windows
from zoo.converters.surgery.axes import Underivable
from zoo.converters.surgery.spread import Given, Spread

Rule = Callable[[Spread, ir.Node], Given]

# Operators that take other sizes as they are: by element with broadcasting, or by a reduction, a layout, a comparison.
BROADCAST = frozenset(
    (
        *("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Max", "Min", "Mean", "Sum", "Where", "And", "Or", "Xor"),
        *("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "BitShift", "BitwiseAnd"),
        *("BitwiseOr", "BitwiseXor"),
    )
)
PLAIN = BROADCAST | frozenset(
    (
        *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu", "Clip", "Cos", "Cosh", "Elu"),
        *("Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Hardmax", "Identity", "IsInf", "IsNaN"),
        *("LeakyRelu", "Log", "LogSoftmax", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu"),
        *("Sigmoid", "Sign", "Sin", "Sinh", "Softmax", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh"),
        *("ThresholdedRelu", "Cast", "CastLike", "Dropout", "BitwiseNot", "ReduceMean", "ReduceSum", "ReduceMax"),
        *("ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"),
        *("ReduceSumSquare", "ArgMax", "ArgMin", "CumSum", "LpNormalization", "MeanVarianceNormalization", "LRN"),
        *("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "Transpose", "Squeeze", "Unsqueeze", "Shape"),
        *("Size", "Constant", "ConstantOfShape", "Range", "DepthToSpace", "SpaceToDepth", "Tile", "Upsample"),
    )
)
RULES: Mapping[str, Rule] = {
    "Attention": arithmetic.attention,
    "AveragePool": windows.pool,
    "BatchNormalization": arithmetic.fixed((0, 1)),
    "Concat": layouts.concat,
    "Conv": windows.conv,
    "ConvTranspose": windows.conv,
    "DequantizeLinear": arithmetic.quantised,
    "Einsum": arithmetic.einsum,
    "Expand": layouts.expand,
    "Flatten": layouts.flatten,
    "GRU": arithmetic.fixed((0, 2)),
    "Gather": layouts.gather,
    "Gemm": arithmetic.gemm,
    "GroupNormalization": arithmetic.fixed((0, 1)),
    "InstanceNormalization": arithmetic.fixed((0, 1)),
    "LSTM": arithmetic.fixed((0, 2)),
    "LayerNormalization": arithmetic.layer_norm,
    "LpPool": windows.pool,
    "MatMul": arithmetic.matmul,
    "MaxPool": windows.pool,
    "PRelu": arithmetic.broadcast,
    "Pad": windows.pad,
    "QuantizeLinear": arithmetic.quantised,
    "RMSNormalization": arithmetic.layer_norm,
    "RNN": arithmetic.fixed((0, 2)),
    "Reshape": layouts.reshape,
    "Resize": windows.resize,
    "Slice": layouts.slice_,
    "Split": layouts.split,
}
OURS: Mapping[str, Rule] = {"Linear": arithmetic.linear, "LinearNoBias": arithmetic.linear}


def apply(spread: Spread, node: ir.Node) -> Given:
    """The rule of a node's operator. Raises Underivable."""
    if node.domain == DOMAIN:
        return OURS[node.op_type](spread, node) if node.op_type in OURS else None
    if node.domain in ("", "ai.onnx"):
        if node.op_type in RULES:
            return RULES[node.op_type](spread, node)
        if node.op_type in BROADCAST:
            return arithmetic.broadcast(spread, node)
        if node.op_type in PLAIN:
            return None
    raise Underivable("no rule is known here for what other sizes mean to this operator")
