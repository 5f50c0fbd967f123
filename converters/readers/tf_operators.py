"""TensorFlow's operators as ONNX nodes: one function an operator, and the table of them.

Each takes a `Call` and gives its outputs. What an operator computes is said by tensorflow/core/ops and its kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers import tf_tensors as tensors
from zoo.converters.readers import tf_windows as windows
from zoo.converters.readers.tf_nodes import Fault, Nodes, rank_of, shape_of, sizes_known
from zoo.converters.readers.tf_walk import Call, Variable

Emit = Callable[[Call], Sequence[Any]]
FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


class Table(dict[str, Emit]):
    """Operator -> the function that writes its nodes."""

    def __call__(self, *kinds: str) -> Callable[[Emit], Emit]:
        """Enter a function under TensorFlow's names for an operator."""

        def enter(function: Emit) -> Emit:
            self.update(dict.fromkeys(kinds, function))
            return function

        return enter


TABLE = operator = Table()

# -- one by one -------------------------------------------------------------------------------------------------------

Unary = Callable[[Nodes, ir.Value], ir.Value]
Binary = Callable[[Nodes, ir.Value, ir.Value], ir.Value]


def _op(kind: str, **attributes: Any) -> Callable[..., ir.Value]:
    return lambda b, *inputs: b.op(kind, *inputs, **attributes)


UNARY: dict[str, Unary] = {
    "Abs": _op("Abs"),
    "Acos": _op("Acos"),
    "Acosh": _op("Acosh"),
    "Asin": _op("Asin"),
    "Asinh": _op("Asinh"),
    "Atan": _op("Atan"),
    "Atanh": _op("Atanh"),
    "Ceil": _op("Ceil"),
    "Cos": _op("Cos"),
    "Cosh": _op("Cosh"),
    "Elu": _op("Elu"),
    "Erf": _op("Erf"),
    "Erfc": lambda b, x: b.op("Sub", b.number(1, x), b.op("Erf", x)),
    "Exp": _op("Exp"),
    "Expm1": lambda b, x: b.op("Sub", b.op("Exp", x), b.number(1, x)),
    "Floor": _op("Floor"),
    "Inv": _op("Reciprocal"),
    "Invert": _op("BitwiseNot"),
    "IsFinite": lambda b, x: b.op("Not", b.op("Or", b.op("IsNaN", x), b.op("IsInf", x))),
    "IsInf": _op("IsInf"),
    "IsNan": _op("IsNaN"),
    "Log": _op("Log"),
    "Log1p": lambda b, x: b.op("Log", b.op("Add", x, b.number(1, x))),
    "LogicalNot": _op("Not"),
    "LogSoftmax": _op("LogSoftmax", axis=-1),
    "L2Loss": lambda b, x: b.op("Mul", b.op("ReduceSumSquare", x, keepdims=0), b.number(0.5, x)),
    "Neg": _op("Neg"),
    "OnesLike": lambda b, x: b.op("Expand", b.number(1, x), b.op("Shape", x)),
    "Reciprocal": _op("Reciprocal"),
    "Relu": _op("Relu"),
    "Relu6": lambda b, x: b.op("Clip", x, b.number(0, x), b.number(6, x)),
    "Rint": _op("Round"),
    "Round": _op("Round"),
    "Rsqrt": lambda b, x: b.op("Reciprocal", b.op("Sqrt", x)),
    "Selu": _op("Selu", alpha=1.6732632423543772, gamma=1.0507009873554805),
    "Sigmoid": _op("Sigmoid"),
    "Sign": _op("Sign"),
    "Sin": _op("Sin"),
    "Sinh": _op("Sinh"),
    "Softmax": _op("Softmax", axis=-1),
    "Softplus": _op("Softplus"),
    "Softsign": _op("Softsign"),
    "Sqrt": _op("Sqrt"),
    "Square": tensors.square,
    "Tan": _op("Tan"),
    "Tanh": _op("Tanh"),
    "ZerosLike": lambda b, x: b.op("Expand", b.number(0, x), b.op("Shape", x)),
}
BINARY: dict[str, Binary] = {
    "Add": _op("Add"),
    "AddV2": _op("Add"),
    "Atan2": lambda b, y, x: _atan2(b, y, x),
    "BroadcastTo": lambda b, x, shape: tensors.fill(b, shape, x),
    "Div": lambda b, x, y: _truncated(b, x, y),
    "DivNoNan": lambda b, x, y: b.op("Where", b.op("Equal", y, b.number(0, y)), b.number(0, x), b.op("Div", x, y)),
    "Equal": _op("Equal"),
    "Fill": tensors.fill,
    "FloorDiv": tensors.floor_div,
    "FloorMod": tensors.floor_mod,
    "Greater": _op("Greater"),
    "GreaterEqual": _op("GreaterOrEqual"),
    "Less": _op("Less"),
    "LessEqual": _op("LessOrEqual"),
    "LogicalAnd": _op("And"),
    "LogicalOr": _op("Or"),
    "Maximum": _op("Max"),
    "Minimum": _op("Min"),
    "Mod": lambda b, x, y: b.op("Mod", x, y, fmod=1),
    "Mul": _op("Mul"),
    "MulNoNan": lambda b, x, y: b.op("Where", b.op("Equal", y, b.number(0, y)), b.number(0, x), b.op("Mul", x, y)),
    "NotEqual": lambda b, x, y: b.op("Not", b.op("Equal", x, y)),
    "Pow": _op("Pow"),
    "RealDiv": _op("Div"),
    "SquaredDifference": lambda b, x, y: tensors.square(b, b.op("Sub", x, y)),
    "Sub": _op("Sub"),
    "Tile": lambda b, x, repeats: b.op("Tile", x, windows.as_int64(b, repeats)),
    "TruncateDiv": lambda b, x, y: _truncated(b, x, y),
    "TruncateMod": lambda b, x, y: b.op("Mod", x, y, fmod=1),
    "Xdivy": lambda b, x, y: b.op("Where", b.op("Equal", x, b.number(0, x)), b.number(0, x), b.op("Div", x, y)),
    "BitwiseAnd": _op("BitwiseAnd"),
    "BitwiseOr": _op("BitwiseOr"),
    "BitwiseXor": _op("BitwiseXor"),
}
REDUCTIONS = {"Mean": "ReduceMean", "Sum": "ReduceSum", "Max": "ReduceMax", "Min": "ReduceMin", "Prod": "ReduceProd"}


def _truncated(b: Nodes, x: ir.Value, y: ir.Value) -> ir.Value:
    return b.op("Div", x, y)  # of integers ONNX's rounds towards zero as well


def _atan2(b: Nodes, y: ir.Value, x: ir.Value) -> ir.Value:
    """The angle of (x, y): the arc tangent of y / x, half a turn on where x is negative."""
    plain = b.op("Atan", b.op("Div", y, x))
    side = b.op("Where", b.op("Less", y, b.number(0, y)), b.number(-np.pi, y), b.number(np.pi, y))
    turned = b.op("Where", b.op("Less", x, b.number(0, x)), b.op("Add", plain, side), plain)
    zero = b.op("And", b.op("Equal", x, b.number(0, x)), b.op("Equal", y, b.number(0, y)))
    return b.op("Where", zero, b.number(0, x), turned)


@operator(*UNARY)
def unary(c: Call) -> Sequence[Any]:
    """A function of one tensor."""
    return [UNARY[c.node.op](c.b, c[0])]


@operator(*BINARY)
def binary(c: Call) -> Sequence[Any]:
    """A function of two tensors."""
    return [BINARY[c.node.op](c.b, c[0], c[1])]


@operator(*REDUCTIONS)
def reduction(c: Call) -> Sequence[Any]:
    """Over the axes of the second input."""
    return [tensors.reduce_(c.b, REDUCTIONS[c.node.op], c[0], c[1], keep=c.node.flag("keep_dims", default=False))]


@operator("Any", "All")
def any_or_all(c: Call) -> Sequence[Any]:
    """Whether any, whether all are true."""
    return [tensors.reduce_bool(c.b, c.node.op, c[0], c[1], keep=c.node.flag("keep_dims", default=False))]


@operator("AddN", "AccumulateNV2")
def add_n(c: Call) -> Sequence[Any]:
    """The sum of all."""
    return [c.b.op("Sum", *c.all()) if len(c) > 1 else c[0]]


@operator("LeakyRelu")
def leaky_relu(c: Call) -> Sequence[Any]:
    """x, or alpha x below zero."""
    return [c.b.op("LeakyRelu", c[0], alpha=c.node.number("alpha", 0.2))]


@operator("ClipByValue")
def clip(c: Call) -> Sequence[Any]:
    """Between two tensors."""
    return [c.b.op("Min", c.b.op("Max", c[0], c[1]), c[2])]


@operator("Cast")
def cast(c: Call) -> Sequence[Any]:
    """In another dtype."""
    dtype = c.node.dtype("DstT")
    return [c[0] if c[0].dtype == dtype else c.b.op("Cast", c[0], to=dtype)]


@operator("BiasAdd", "BiasAddV1")
def bias_add(c: Call) -> Sequence[Any]:
    """X + bias along the channels."""
    x, bias = c[0], c[1]
    if c.node.text("data_format", "NHWC") == "NCHW":
        bias = c.b.op("Reshape", bias, c.b.ints(-1, *[1] * (rank_of(x, "BiasAdd") - 2)))
    return [c.b.op("Add", x, bias)]


@operator("Select", "SelectV2")
def select(c: Call) -> Sequence[Any]:
    """The second where the first is true, else the third."""
    if c.node.op == "Select":
        return [tensors.select(c.b, c[0], c[1], c[2])]
    return [c.b.op("Where", c[0], c[1], c[2])]


@operator("FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars")
def fake_quant(c: Call) -> Sequence[Any]:
    """Rounded to one of 2**num_bits steps between min and max."""
    if c.node.op.endswith("Vars"):
        low, high = (float(v.reshape(-1)[0]) if (v := c.b.known(c[i])) is not None else None for i in (1, 2))
    else:
        low, high = c.node.number("min", -6.0), c.node.number("max", 6.0)
    if low is None or high is None:
        raise Fault("limits that are computed when the model runs")
    how: dict[str, Any] = {
        "bits": c.node.integer("num_bits", 8),
        "is_narrow": c.node.flag("narrow_range", default=False),
    }
    return [tensors.fake_quant(c.b, c[0], low, high, **how)]


# -- what passes ------------------------------------------------------------------------------------------------------


@operator(
    *("Identity", "StopGradient", "PreventGradient", "CheckNumerics", "Snapshot", "EnsureShape", "DisableCopyOnRead"),
    *("PlaceholderWithDefault", "ReadVariableOp", "Enter", "RefEnter", "DebugIdentity", "DeepCopy", "_FusedIdentity"),
)
def identity(c: Call) -> Sequence[Any]:
    """What comes in: of a variable its numbers; where a default stands for an input, the default."""
    value = c.any(0)
    if isinstance(value, Variable) and c.node.op == "ReadVariableOp":
        return [c.reader.weight(c.b, value)]
    return [value]


@operator("IdentityN")
def identity_n(c: Call) -> Sequence[Any]:
    """Every input."""
    return [c.any(i) for i in range(len(c))]


@operator("NoOp", "Assert", "ControlTrigger")
def nothing(c: Call) -> Sequence[Any]:
    """Nothing that anybody reads."""
    return []


@operator("VarHandleOp", "VariableV2", "Variable", "VarIsInitializedOp")
def variable(c: Call) -> Sequence[Any]:
    """A variable, or its numbers where the node is them."""
    if c.node.op == "VarIsInitializedOp":
        return [c.b.constant(np.array(True))]
    found = c.reader.variable(c.node)
    return [found if c.node.op == "VarHandleOp" else c.reader.weight(c.b, found)]


@operator("Placeholder", "PlaceholderV2")
def placeholder(c: Call) -> Sequence[Any]:
    """An input that the signature doesn't name."""
    raise Fault(f"input {c.node.name!r} is needed, and no input of the signature")


# -- matrices ---------------------------------------------------------------------------------------------------------


@operator("MatMul")
def matmul(c: Call) -> Sequence[Any]:
    """[M, K] x [K, N], either side transposed."""
    flips = {
        "flip_left": c.node.flag("transpose_a", default=False),
        "flip_right": c.node.flag("transpose_b", default=False),
    }
    return [tensors.matmul(c.b, c[0], c[1], **flips)]


@operator("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def batch_matmul(c: Call) -> Sequence[Any]:
    """Matrix products of the last two axes."""
    flips = {"flip_left": c.node.flag("adj_x", default=False), "flip_right": c.node.flag("adj_y", default=False)}
    return [tensors.matmul(c.b, c[0], c[1], **flips)]


@operator("Einsum")
def einsum(c: Call) -> Sequence[Any]:
    """By an equation."""
    return [c.b.op("Einsum", *c.all(), equation=c.node.text("equation"))]


# -- windows ----------------------------------------------------------------------------------------------------------


def _first(c: Call) -> bool:
    """Whether channels stand second."""
    return c.node.text("data_format", "NHWC").startswith("NC")


def _spatial(c: Call, key: str) -> list[int]:
    """Strides or the like along the spatial axes."""
    values = c.node.ints(key, [])
    if not values:
        return []
    found = values[2:] if _first(c) else values[1:-1]
    if any(n < 1 for n in values) or values[0] != 1 or values[1 if _first(c) else -1] != 1:
        raise Fault(f"{key} {values}")
    return found


def _pads(c: Call, n: int) -> windows.Pads:
    padding = c.node.text("padding")
    if padding != "EXPLICIT":
        return padding
    numbers = c.node.ints("explicit_paddings")
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    return pairs[2:] if _first(c) else pairs[1 : n + 1]


def _last(c: Call, x: ir.Value) -> ir.Value:
    """X with its channels last, as the functions of windows take it."""
    return windows.last(c.b, x) if _first(c) else x


def _back(c: Call, y: ir.Value) -> ir.Value:
    return windows.first(c.b, y) if _first(c) else y


@operator("Conv2D", "Conv3D")
def conv(c: Call) -> Sequence[Any]:
    """[N, ..., I] * [*k, I / groups, O]."""
    n = 3 if c.node.op == "Conv3D" else 2
    kernel = c.b.op("Transpose", c[1], perm=[n + 1, n, *range(n)])
    strides, dilations = _spatial(c, "strides"), _spatial(c, "dilations") or [1] * n
    return [_back(c, windows.conv(c.b, _last(c, c[0]), kernel, strides, dilations, _pads(c, n)))]


@operator("DepthwiseConv2dNative")
def depthwise(c: Call) -> Sequence[Any]:
    """Each channel by its own kernels [*k, I, M]."""
    h, w, width, many = _kernel_sizes(c[1])
    kernel = c.b.op("Reshape", c.b.op("Transpose", c[1], perm=[2, 3, 0, 1]), c.b.ints(width * many, 1, h, w))
    strides, dilations = _spatial(c, "strides"), _spatial(c, "dilations") or [1, 1]
    return [_back(c, windows.conv(c.b, _last(c, c[0]), kernel, strides, dilations, _pads(c, 2)))]


def _kernel_sizes(kernel: ir.Value) -> list[int]:
    sizes = windows.kernel_sizes(kernel)
    if len(sizes) != 4:
        raise Fault(f"a kernel of {len(sizes)} axes", is_refusal=False)
    return sizes


@operator("Conv2DBackpropInput", "Conv3DBackpropInputV2")
def conv_transpose(c: Call) -> Sequence[Any]:
    """(sizes, kernel [*k, O, I], [N, ..., I]): the gradient of a convolution."""
    n = 2 if c.node.op == "Conv2DBackpropInput" else 3
    kernel = c.b.op("Transpose", c[1], perm=[n + 1, n, *range(n)])
    sizes = [m if isinstance(m, int) else None for m in c.b.sizes(c[0]) or [None] * (n + 2)]
    wanted = sizes[2:] if _first(c) else sizes[1:-1]
    strides, dilations = _spatial(c, "strides"), _spatial(c, "dilations") or [1] * n
    y = windows.conv_transpose(c.b, _last(c, c[2]), kernel, strides, dilations, _pads(c, n), wanted)
    return [_back(c, y)]


@operator("MaxPool", "AvgPool", "MaxPool3D", "AvgPool3D")
def pool(c: Call) -> Sequence[Any]:
    """The largest or the mean of each window."""
    kind = "MaxPool" if c.node.op.startswith("Max") else "AveragePool"
    kernel = _spatial(c, "ksize")
    y = windows.pool(c.b, _last(c, c[0]), kind, kernel, _spatial(c, "strides"), _pads(c, len(kernel)))
    return [_back(c, y)]


@operator("MaxPoolV2")
def max_pool_v2(c: Call) -> Sequence[Any]:
    """The largest of each window, whose sizes are inputs."""
    kernel, strides = (tensors.ints_of(c.b, c[i], "windows") for i in (1, 2))
    cut = slice(2, None) if _first(c) else slice(1, -1)
    return [_back(c, windows.pool(c.b, _last(c, c[0]), "MaxPool", kernel[cut], strides[cut], c.node.text("padding")))]


@operator("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic")
def resize(c: Call) -> Sequence[Any]:
    """[N, H, W, C] to another height and width."""
    mode = {"ResizeBilinear": "linear", "ResizeNearestNeighbor": "nearest", "ResizeBicubic": "cubic"}[c.node.op]
    corners, half = (c.node.flag(key, default=False) for key in ("align_corners", "half_pixel_centers"))
    x = c[0]
    if mode != "nearest" and x.dtype != ir.DataType.FLOAT:
        x = c.b.op("Cast", x, to=ir.DataType.FLOAT)
    return [windows.resize(c.b, x, c[1], mode, align_corners=corners, half_pixel=half)]


@operator("DepthToSpace", "SpaceToDepth")
def blocks(c: Call) -> Sequence[Any]:
    """Channels as blocks of the image, or the reverse."""
    make = windows.depth_to_space if c.node.op == "DepthToSpace" else windows.space_to_depth
    return [_back(c, make(c.b, _last(c, c[0]), c.node.integer("block_size")))]


@operator("SpaceToBatchND", "BatchToSpaceND")
def batch_blocks(c: Call) -> Sequence[Any]:
    """Blocks of the image as images, or the reverse."""
    make = windows.space_to_batch if c.node.op == "SpaceToBatchND" else windows.batch_to_space
    return [make(c.b, c[0], c[1], c[2])]


@operator("LRN")
def local_response(c: Call) -> Sequence[Any]:
    """Over neighbouring channels."""
    facts = [c.node.number(key, d) for key, d in (("bias", 1.0), ("alpha", 1.0), ("beta", 0.5))]
    return [tensors.local_response(c.b, c[0], c.node.integer("depth_radius", 5), *facts)]


@operator("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
def batch_norm(c: Call) -> Sequence[Any]:
    """By given statistics, or in training by the batch's own: (y, mean, variance, and what gradients need)."""
    b, epsilon = c.b, c.node.number("epsilon", 1e-4)
    x = c[0] if _first(c) else windows.first(b, c[0])
    scale, offset, mean, variance = (c[i] for i in (1, 2, 3, 4))
    if c.node.flag("is_training", default=True):
        axes = b.ints(0, *range(2, rank_of(x, "a batch normalization")))
        mean = b.op("ReduceMean", x, axes, keepdims=0)
        wide = b.op("Reshape", mean, b.ints(-1, *[1] * (rank_of(x, "a batch normalization") - 2)))
        variance = b.op("ReduceMean", tensors.square(b, b.op("Sub", x, wide)), axes, keepdims=0)
    y = b.op("BatchNormalization", x, scale, offset, mean, variance, epsilon=epsilon)
    return [y if _first(c) else windows.last(b, y), mean, variance, mean, variance, variance]


# -- shapes, places, order --------------------------------------------------------------------------------------------


def _sized(c: Call, value: ir.Value, key: str = "out_type") -> ir.Value:
    """Sizes in the dtype that the node states, int32 unless it does."""
    dtype = c.node.dtype(key, 3)
    return value if dtype == ir.DataType.INT64 else c.b.op("Cast", value, to=dtype)


@operator("Shape", "ShapeN")
def shape(c: Call) -> Sequence[Any]:
    """The sizes of each input."""
    return [_sized(c, c.b.op("Shape", x)) for x in c.all()]


@operator("Size")
def size(c: Call) -> Sequence[Any]:
    """How many elements."""
    return [_sized(c, c.b.op("Size", c[0]))]


@operator("Rank")
def rank(c: Call) -> Sequence[Any]:
    """How many axes."""
    return [c.b.constant(np.array(rank_of(c[0], "Rank"), np.int32))]


@operator("Reshape")
def reshape(c: Call) -> Sequence[Any]:
    """To the shape of the second input."""
    return [c.b.op("Reshape", c[0], windows.as_int64(c.b, c[1]))]


@operator("Squeeze")
def squeeze(c: Call) -> Sequence[Any]:
    """Without axes of size one."""
    axes = c.node.ints("squeeze_dims", [])
    if not axes:
        found = sizes_known(c[0])
        if found is None or None in found:
            raise Fault("all axes of one, over free sizes")
        axes = [i for i, n in enumerate(found) if n == 1]
    return [c.b.op("Squeeze", c[0], c.b.ints(*axes)) if axes else c[0]]


@operator("ExpandDims")
def expand_dims(c: Call) -> Sequence[Any]:
    """With another axis of one."""
    return [c.b.op("Unsqueeze", c[0], tensors.vector(c.b, c[1]))]


@operator("Transpose")
def transpose(c: Call) -> Sequence[Any]:
    """Axes in another order."""
    return [c.b.op("Transpose", c[0], perm=tensors.ints_of(c.b, c[1], "permutations"))]


@operator("ConcatV2")
def concat(c: Call) -> Sequence[Any]:
    """Tensors side by side."""
    *parts, axis = c.all()
    return [tensors.concat(c.b, parts, tensors.ints_of(c.b, axis, "axes")[0])]


@operator("Concat")
def concat_first(c: Call) -> Sequence[Any]:
    """The same, the axis first."""
    axis, *parts = c.all()
    return [tensors.concat(c.b, parts, tensors.ints_of(c.b, axis, "axes")[0])]


@operator("Pack")
def pack(c: Call) -> Sequence[Any]:
    """Tensors along a new axis."""
    return [tensors.pack(c.b, c.all(), c.node.integer("axis", 0))]


@operator("Unpack")
def unpack(c: Call) -> Sequence[Any]:
    """Each member along an axis."""
    return tensors.unpack(c.b, c[0], c.node.integer("num"), c.node.integer("axis", 0))


@operator("Split")
def split(c: Call) -> Sequence[Any]:
    """Equal parts along an axis."""
    return tensors.split(c.b, c[1], tensors.ints_of(c.b, c[0], "axes")[0], c.node.integer("num_split"))


@operator("SplitV")
def split_v(c: Call) -> Sequence[Any]:
    """Parts of stated sizes along an axis."""
    axis = tensors.ints_of(c.b, c[2], "axes")[0]
    return tensors.split_v(c.b, c[0], c[1], axis, c.node.integer("num_split"))


@operator("Slice")
def slice_(c: Call) -> Sequence[Any]:
    """From the second, as many as the third says."""
    return [tensors.slice_(c.b, c[0], c[1], c[2])]


@operator("StridedSlice")
def strided_slice(c: Call) -> Sequence[Any]:
    """From the second to before the third by the fourth."""
    keys = ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    masks = {key: c.node.integer(f"{key}_mask", 0) for key in keys}
    return [tensors.strided_slice(c.b, c[0], c[1], c[2], c[3], masks)]


@operator("Gather", "ResourceGather")
def gather(c: Call) -> Sequence[Any]:
    """Members along the first axis."""
    return [tensors.gather(c.b, c[0], c[1], 0, c.node.integer("batch_dims", 0))]


@operator("GatherV2")
def gather_v2(c: Call) -> Sequence[Any]:
    """Members along an axis."""
    axis = tensors.ints_of(c.b, c[2], "axes")[0]
    return [tensors.gather(c.b, c[0], c[1], axis, c.node.integer("batch_dims", 0))]


@operator("GatherNd", "ResourceGatherNd")
def gather_nd(c: Call) -> Sequence[Any]:
    """Members at the places of the second input's last axis."""
    return [tensors.gather_nd(c.b, c[0], c[1])]


@operator("ScatterNd")
def scatter_nd(c: Call) -> Sequence[Any]:
    """(indices, updates, shape)."""
    return [tensors.scatter_nd(c.b, c[0], c[1], c[2])]


@operator("TensorScatterUpdate", "TensorScatterAdd")
def tensor_scatter(c: Call) -> Sequence[Any]:
    """(tensor, indices, updates)."""
    how = "add" if c.node.op == "TensorScatterAdd" else "none"
    return [c.b.op("ScatterND", c[0], windows.as_int64(c.b, c[1]), c[2], reduction=how)]


@operator("Pad", "PadV2")
def pad(c: Call) -> Sequence[Any]:
    """With zeros, or the third input, around."""
    return [tensors.pad(c.b, c[0], c[1], c[2] if c.node.op == "PadV2" else None)]


@operator("MirrorPad")
def mirror_pad(c: Call) -> Sequence[Any]:
    """With what stands at the borders, mirrored."""
    return [tensors.mirror_pad(c.b, c[0], c[1], is_symmetric=c.node.text("mode") == "SYMMETRIC")]


@operator("ReverseV2")
def reverse(c: Call) -> Sequence[Any]:
    """The other way round along axes."""
    return [tensors.reverse(c.b, c[0], tensors.ints_of(c.b, c[1], "axes"))]


@operator("Roll")
def roll(c: Call) -> Sequence[Any]:
    """Members moved on along axes, the last ones to the front."""
    x, shifts, axes = c[0], *(tensors.ints_of(c.b, c[i], "shifts and axes") for i in (1, 2))
    for shift, axis in zip(shifts, axes, strict=True):
        x = tensors.roll(c.b, x, shift, axis)
    return [x]


@operator("NonMaxSuppressionV2", "NonMaxSuppressionV3")
def non_max_suppression(c: Call) -> Sequence[Any]:
    """(boxes [B, 4], scores [B], how many, overlap, least score): the boxes that are kept."""
    b, limits = c.b, [c[i] for i in range(2, len(c))]
    boxes, scores = b.op("Unsqueeze", c[0], b.ints(0)), b.op("Unsqueeze", c[1], b.ints(0, 1))
    many, *rest = [tensors.vector(b, limits[0]), *(b.op("Reshape", v, b.ints(1)) for v in limits[1:])]
    kept = b.op("NonMaxSuppression", boxes, scores, many, *rest)
    return [b.op("Cast", b.op("Gather", kept, b.constant(np.array(2, np.int64)), axis=1), to=ir.DataType.INT32)]


@operator("ReverseSequence")
def reverse_sequence(c: Call) -> Sequence[Any]:
    """The beginning of each row the other way round."""
    return [tensors.reverse_sequence(c.b, c[0], c[1], c.node.integer("seq_dim"), c.node.integer("batch_dim", 0))]


@operator("OneHot")
def one_hot(c: Call) -> Sequence[Any]:
    """(indices, depth, on, off)."""
    return [tensors.one_hot(c.b, c[0], c[1], c[2], c[3], c.node.integer("axis", -1))]


@operator("Range")
def range_(c: Call) -> Sequence[Any]:
    """From, to, by."""
    return [c.b.op("Range", c[0], c[1], c[2])]


@operator("LinSpace")
def linspace(c: Call) -> Sequence[Any]:
    """From, to, how many."""
    b, count = c.b, tensors.ints_of(c.b, c[2], "counts")[0]
    steps = b.op("Range", b.number(0, c[0]), b.number(count, c[0]), b.number(1, c[0]))
    step = b.op("Div", b.op("Sub", c[1], c[0]), b.number(max(count - 1, 1), c[0]))
    return [b.op("Add", c[0], b.op("Mul", steps, step))]


@operator("ArgMax", "ArgMin")
def arg(c: Call) -> Sequence[Any]:
    """The place of the largest or the least along an axis."""
    axis = tensors.ints_of(c.b, c[1], "axes")[0]
    return [tensors.arg(c.b, c.node.op, c[0], axis, c.node.dtype("output_type", 9))]


@operator("TopKV2")
def top_k(c: Call) -> Sequence[Any]:
    """The k largest of the last axis, and their places."""
    return tensors.top_k(c.b, c[0], c[1])


@operator("Cumsum")
def cumsum(c: Call) -> Sequence[Any]:
    """A running sum."""
    exclusive, back = (c.node.flag(key, default=False) for key in ("exclusive", "reverse"))
    return [tensors.cumulative(c.b, c[0], c[1], exclusive=exclusive, reverse=back)]


@operator("Where")
def where(c: Call) -> Sequence[Any]:
    """The places of what is true: [count, rank]."""
    return [c.b.op("Transpose", c.b.op("NonZero", c[0]), perm=[1, 0])]


@operator("MatrixBandPart", "BatchMatrixBandPart")
def band_part(c: Call) -> Sequence[Any]:
    """A matrix within `lower` below and `upper` above its diagonal, -1 for all."""
    lower, upper = (tensors.ints_of(c.b, c[i], "bands")[0] for i in (1, 2))
    y = c[0]
    if lower >= 0:
        y = c.b.op("Trilu", y, c.b.constant(np.array(-lower, np.int64)), upper=1)
    return [c.b.op("Trilu", y, c.b.constant(np.array(upper, np.int64)), upper=0) if upper >= 0 else y]


@operator("BroadcastArgs")
def broadcast_args(c: Call) -> Sequence[Any]:
    """The shape that two shapes broadcast to."""
    ones = [c.b.op("Expand", c.b.number(1), windows.as_int64(c.b, c[i])) for i in (0, 1)]
    return [c.b.op("Cast", c.b.op("Shape", c.b.op("Add", *ones)), to=c[0].dtype)]


@operator("RandomUniform", "RandomStandardNormal", "TruncatedNormal", "RandomUniformInt")
def random(c: Call) -> Sequence[Any]:
    """Random numbers of a shape; a cut distribution has no operator."""
    if c.node.op not in ("RandomUniform", "RandomStandardNormal"):
        raise Fault("random numbers of another distribution")
    zeros = c.b.op("Expand", c.b.number(0), tensors.vector(c.b, c[0]))
    return [c.b.op("RandomUniformLike" if c.node.op == "RandomUniform" else "RandomNormalLike", zeros)]


def volume(value: ir.Value) -> int | None:
    """How many elements, if all sizes are known."""
    sizes = shape_of(value)
    return (
        prod(n for n in sizes if isinstance(n, int))
        if sizes is not None and all(isinstance(n, int) for n in sizes)
        else None
    )
