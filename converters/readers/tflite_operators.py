"""TFLite's operators as ONNX nodes: one function an operator, and the table of them.

Each takes a `Call` and gives its outputs as real numbers; what is quantised is brought back behind it (tflite.py). What
an operator computes is said by tensorflow/lite/kernels, its options by the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers import tf_tensors as tensors
from zoo.converters.readers import tf_windows as windows
from zoo.converters.readers import tflite_rounding as rounding
from zoo.converters.readers.tf_nodes import Fault, Nodes, rank_of, shape_of, sizes_known
from zoo.converters.readers.tflite_schema import ACTIVATIONS, DTYPES, MIRRORS, PADDINGS

if TYPE_CHECKING:
    from zoo.converters.readers.tflite import Entry, Reader, Scope, Step

Emit = Callable[["Call"], Sequence[ir.Value]]
# What reading a number or a list fails with where a field holds something else.
NONSENSE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
ABSENT = -1
# of operators whose integer kernels multiply: the inputs that are factors
PRODUCTS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL", "MUL"), (0, 1)),
    "TRANSPOSE_CONV": (1, 2),
    "QUANTIZE": (0,),
}
HYBRID = (ir.DataType.INT8, ir.DataType.INT4, ir.DataType.UINT8)  # of weights that are quantised alone


class Call:
    """One operator with its inputs, which are made when they are asked for."""

    def __init__(self, b: Nodes, reader: Reader, scope: Scope, step: Step) -> None:
        self.b, self.reader, self.scope, self.step = b, reader, scope, step
        self.options = step.options

    def __len__(self) -> int:
        return len(self.step.inputs)

    def entry(self, i: int) -> Entry:
        """What the file states of an input."""
        return self.scope.subgraph.tensors[self._number(i)]

    def out(self, i: int = 0) -> Entry:
        """What the file states of an output."""
        return self.scope.subgraph.tensors[self.step.outputs[i]]

    def has(self, i: int) -> bool:
        """Whether an input is given."""
        return i < len(self.step.inputs) and self.step.inputs[i] != ABSENT

    def _number(self, i: int) -> int:
        if not self.has(i):
            raise Fault(f"operator {self.step.kind} without input {i}", is_refusal=False)
        return self.step.inputs[i]

    def __getitem__(self, i: int) -> ir.Value:
        """An input as real numbers."""
        return self.reader.real(self.b, self.scope, self._number(i))

    def stored(self, i: int) -> ir.Value:
        """An input as it is stored."""
        return self.reader.stored(self.b, self.scope, self._number(i))

    def all(self, start: int = 0) -> list[ir.Value]:
        """The inputs from one on."""
        return [self[i] for i in range(start, len(self))]

    def option(self, name: str) -> Any:
        """An option by the schema's name."""
        return self.options[name]

    def one_of(self, name: str, words: Sequence[str]) -> str:
        """An option that is one of several words."""
        number = int(self.options[name])
        if not 0 <= number < len(words):
            raise Fault(f"operator {self.step.kind}: {name} {number}", is_refusal=False)
        return words[number]

    def ratio(self, out: Entry) -> np.ndarray[Any, np.dtype[Any]] | None:
        """Of an integer kernel that sums products: what one unit of its sums is over one of the output's."""
        if self.step.kind == "MEAN" and self.entry(0).is_quantised and len(self.entry(0).scales) == 1:
            return self._mean_ratio(float(self.entry(0).scales[0]) / float(out.scales[0]))
        factors = [self.entry(i) for i in PRODUCTS.get(self.step.kind, ()) if self.has(i)]
        if not factors or len(out.scales) != 1 or not all(entry.is_quantised for entry in factors):
            return None
        unit = np.ones((), np.float64)
        for entry in factors:
            unit = unit * (np.array(entry.scales) if len(entry.scales) > 1 else np.float64(entry.scales[0]))
        return np.asarray(unit / np.float64(out.scales[0]))

    def _mean_ratio(self, ratio: float) -> np.ndarray[Any, np.dtype[Any]] | None:
        """The kernel divides by the number of elements in the same fixed-point product, less its power of two.

        (reference_integer_ops::Mean and QuantizedMeanOrSum; only the exponent matters to how it rounds.)
        """
        sizes, axes = sizes_known(self[0]), self.b.known(self[1])
        if sizes is None or axes is None:
            return None
        counts = [sizes[int(axis)] for axis in axes.reshape(-1)]
        if None in counts or 0 in counts:
            return None
        shift = prod(n or 1 for n in counts).bit_length() - 1
        return np.asarray(np.ldexp(0.75, int(np.frexp(ratio)[1]) - shift))

    def weights(self, i: int) -> tuple[ir.Value, bool]:
        """The weights of input i, and whether they alone are quantised: then the input is quantised when it runs."""
        entry = self.entry(i)
        return self[i], entry.is_quantised and entry.dtype in HYBRID and not self.entry(0).is_quantised

    def bias(self, i: int, like: ir.Value) -> ir.Value | None:
        """A bias [O], if there is one: zero ones come as absent or as an empty tensor."""
        if not self.has(i):
            return None
        value = self[i]
        return self.b.op("Cast", value, to=like.dtype) if value.dtype != like.dtype else value


class Table(dict[str, Emit]):
    """Operator -> the function that writes its nodes."""

    def __call__(self, *kinds: str) -> Callable[[Emit], Emit]:
        """Enter a function under the schema's names for an operator."""

        def enter(function: Emit) -> Emit:
            self.update(dict.fromkeys(kinds, function))
            return function

        return enter


TABLE = operator = Table()


def activated(c: Call, y: ir.Value) -> list[ir.Value]:
    """A result behind the activation that is fused with its operator."""
    return [activation(c.b, y, c.one_of("activation", ACTIVATIONS))]


def activation(b: Nodes, y: ir.Value, kind: str) -> ir.Value:
    """A fused activation by its name in the schema."""
    if kind == "SIGN_BIT":
        raise Fault("activation SIGN_BIT")
    emit = {"RELU": _relu, "RELU6": _relu6, "RELU_N1_TO_1": _relu1, "TANH": _tanh}.get(kind)
    return y if emit is None else emit(b, y)


def _relu(b: Nodes, x: ir.Value) -> ir.Value:
    return b.op("Relu", x)


def _relu6(b: Nodes, x: ir.Value) -> ir.Value:
    return b.op("Clip", x, b.number(0, x), b.number(6, x))


def _relu1(b: Nodes, x: ir.Value) -> ir.Value:
    return b.op("Clip", x, b.number(-1, x), b.number(1, x))


def _tanh(b: Nodes, x: ir.Value) -> ir.Value:
    return b.op("Tanh", x)


# -- one by one -------------------------------------------------------------------------------------------------------

UNARY: dict[str, Callable[[Nodes, ir.Value], ir.Value]] = {
    "ABS": lambda b, x: b.op("Abs", x),
    "CEIL": lambda b, x: b.op("Ceil", x),
    "COS": lambda b, x: b.op("Cos", x),
    "ELU": lambda b, x: b.op("Elu", x),
    "EXP": lambda b, x: b.op("Exp", x),
    "FLOOR": lambda b, x: b.op("Floor", x),
    "HARD_SWISH": lambda b, x: b.op("HardSwish", x),
    "LOG": lambda b, x: b.op("Log", x),
    "LOGICAL_NOT": lambda b, x: b.op("Not", x),
    "LOGISTIC": lambda b, x: b.op("Sigmoid", x),
    "NEG": lambda b, x: b.op("Neg", x),
    "RELU": _relu,
    "RELU6": _relu6,
    "RELU_N1_TO_1": _relu1,
    "RELU_0_TO_1": lambda b, x: b.op("Clip", x, b.number(0, x), b.number(1, x)),
    "ROUND": lambda b, x: b.op("Round", x),
    "RSQRT": lambda b, x: b.op("Reciprocal", b.op("Sqrt", x)),
    "SIGN": lambda b, x: b.op("Sign", x),
    "SIN": lambda b, x: b.op("Sin", x),
    "SQRT": lambda b, x: b.op("Sqrt", x),
    "SQUARE": tensors.square,
    "TANH": _tanh,
    "LOG_SOFTMAX": lambda b, x: b.op("LogSoftmax", x, axis=-1),
    "ZEROS_LIKE": lambda b, x: b.op("Expand", b.number(0, x), b.op("Shape", x)),
    "RANK": lambda b, x: b.constant(np.array(rank_of(x, "Rank"), np.int32)),
}
BINARY: dict[str, Callable[[Nodes, ir.Value, ir.Value], ir.Value]] = {
    "EQUAL": lambda b, x, y: b.op("Equal", x, y),
    "NOT_EQUAL": lambda b, x, y: b.op("Not", b.op("Equal", x, y)),
    "LESS": lambda b, x, y: b.op("Less", x, y),
    "LESS_EQUAL": lambda b, x, y: b.op("LessOrEqual", x, y),
    "GREATER": lambda b, x, y: b.op("Greater", x, y),
    "GREATER_EQUAL": lambda b, x, y: b.op("GreaterOrEqual", x, y),
    "LOGICAL_AND": lambda b, x, y: b.op("And", x, y),
    "LOGICAL_OR": lambda b, x, y: b.op("Or", x, y),
    "MAXIMUM": lambda b, x, y: b.op("Max", x, y),
    "MINIMUM": lambda b, x, y: b.op("Min", x, y),
    "POW": lambda b, x, y: b.op("Pow", x, y),
    "FLOOR_DIV": tensors.floor_div,
    "FLOOR_MOD": tensors.floor_mod,
    "SQUARED_DIFFERENCE": lambda b, x, y: tensors.square(b, b.op("Sub", x, y)),
    "BITWISE_XOR": lambda b, x, y: b.op("BitwiseXor", x, y),
    "BROADCAST_TO": lambda b, x, y: tensors.fill(b, y, x),
    "FILL": tensors.fill,
    "GATHER_ND": tensors.gather_nd,
    "TILE": lambda b, x, y: b.op("Tile", x, windows.as_int64(b, y)),
    "PRELU": lambda b, x, y: b.op("PRelu", x, y),
    "EMBEDDING_LOOKUP": lambda b, x, y: b.op("Gather", y, x, axis=0),
}
ARITHMETIC = {"ADD": "Add", "SUB": "Sub", "MUL": "Mul", "DIV": "Div"}
REDUCTIONS = {
    "MEAN": "ReduceMean",
    "SUM": "ReduceSum",
    "REDUCE_MAX": "ReduceMax",
    "REDUCE_MIN": "ReduceMin",
    "REDUCE_PROD": "ReduceProd",
}


@operator(*UNARY)
def unary(c: Call) -> Sequence[ir.Value]:
    """A function of one tensor."""
    return [UNARY[c.step.kind](c.b, c[0])]


@operator(*BINARY)
def binary(c: Call) -> Sequence[ir.Value]:
    """A function of two tensors."""
    return [BINARY[c.step.kind](c.b, c[0], c[1])]


@operator(*ARITHMETIC)
def arithmetic(c: Call) -> Sequence[ir.Value]:
    """X + y, x - y, x * y, x / y and an activation."""
    return activated(c, c.b.op(ARITHMETIC[c.step.kind], c[0], c[1]))


@operator(*REDUCTIONS)
def reduction(c: Call) -> Sequence[ir.Value]:
    """Over the axes of the second input."""
    return [tensors.reduce_(c.b, REDUCTIONS[c.step.kind], c[0], c[1], keep=c.option("keep"))]


@operator("REDUCE_ANY", "REDUCE_ALL")
def any_or_all(c: Call) -> Sequence[ir.Value]:
    """Whether any, whether all are true."""
    return [tensors.reduce_bool(c.b, c.step.kind[7:].capitalize(), c[0], c[1], keep=c.option("keep"))]


@operator("ADD_N")
def add_n(c: Call) -> Sequence[ir.Value]:
    """The sum of all."""
    return [c.b.op("Sum", *c.all())] if len(c) > 1 else [c.b.op("Identity", c[0])]


@operator("GELU")
def gelu(c: Call) -> Sequence[ir.Value]:
    """X times the normal distribution's function of x, or its approximation by tanh."""
    return [c.b.op("Gelu", c[0], approximate="tanh" if c.option("approximate") else None)]


@operator("LEAKY_RELU")
def leaky_relu(c: Call) -> Sequence[ir.Value]:
    """x, or alpha x below zero."""
    return [c.b.op("LeakyRelu", c[0], alpha=float(c.option("alpha")))]


@operator("SOFTMAX")
def softmax(c: Call) -> Sequence[ir.Value]:
    """Of beta x over the last axis."""
    x, beta = c[0], float(c.option("beta"))
    return [c.b.op("Softmax", x if beta == 1 else c.b.op("Mul", x, c.b.number(beta, x)), axis=-1)]


@operator("CAST")
def cast(c: Call) -> Sequence[ir.Value]:
    """In another dtype."""
    return [c.b.op("Cast", c[0], to=c.out().dtype)]


@operator("QUANTIZE")
def quantize(c: Call) -> Sequence[ir.Value]:
    """Real numbers, or quantised ones, in the quantisation of the output."""
    if not c.out().is_quantised:
        raise Fault("QUANTIZE to a tensor without a scale", is_refusal=False)
    return [c[0]]


@operator("DEQUANTIZE")
def dequantize(c: Call) -> Sequence[ir.Value]:
    """Quantised numbers, or float16, as float32."""
    x = c[0]
    return [x if x.dtype == ir.DataType.FLOAT and c.entry(0).is_quantised else c.b.op("Cast", x, to=c.out().dtype)]


@operator("FAKE_QUANT")
def fake_quant(c: Call) -> Sequence[ir.Value]:
    """Rounded to one of 2**bits steps between min and max."""
    how: dict[str, Any] = {"bits": int(c.option("bits")), "is_narrow": bool(c.option("narrow"))}
    return [tensors.fake_quant(c.b, c[0], float(c.option("min")), float(c.option("max")), **how)]


@operator("SELECT", "SELECT_V2")
def select(c: Call) -> Sequence[ir.Value]:
    """The second where the first is true, else the third."""
    if c.step.kind == "SELECT":
        return [tensors.select(c.b, c[0], c[1], c[2])]
    return [c.b.op("Where", c[0], c[1], c[2])]


# -- matrices ---------------------------------------------------------------------------------------------------------


def hybrid(c: Call, x: ir.Value, axes: Sequence[int], *, is_asymmetric: bool) -> ir.Value:
    """X as the kernels see it whose weights alone are quantised: rounded to 8 bits, for each part that `axes` run over.

    tensorflow/lite/kernels/internal/portable_tensor_utils: SymmetricQuantizeFloats has 127 steps to the largest size,
    AsymmetricQuantizeFloats 255 between the least and the largest number, zero among them.
    """
    b, over = c.b, c.b.ints(*axes)
    if not is_asymmetric:
        size = b.op("ReduceMax", b.op("Abs", x), over, keepdims=1)
        scale = b.op("Div", size, b.number(127))
        scale = b.op("Where", b.op("Equal", size, b.number(0)), b.number(1), scale)
        return b.op("Mul", _rounded(b, b.op("Div", x, scale)), scale)
    low = b.op("Min", b.op("ReduceMin", x, over, keepdims=1), b.number(0))
    high = b.op("Max", b.op("ReduceMax", x, over, keepdims=1), b.number(0))
    scale = b.op("Div", b.op("Sub", high, low), b.number(255))
    scale = b.op("Where", b.op("Equal", scale, b.number(0)), b.number(1), scale)
    below, above = b.op("Div", low, scale), b.op("Div", high, scale)
    by_low = b.op("Sub", b.number(-128), below)
    by_high = b.op("Sub", b.number(127), above)
    is_low = b.op("Less", b.op("Sub", b.number(128), below), b.op("Add", b.number(127), above))
    zero = b.op("Clip", b.op("Round", b.op("Where", is_low, by_low, by_high)), b.number(-128), b.number(127))
    steps = b.op("Clip", _rounded(b, b.op("Add", b.op("Div", x, scale), zero)), b.number(-128), b.number(127))
    return b.op("Mul", b.op("Sub", steps, zero), scale)


def _rounded(b: Nodes, x: ir.Value) -> ir.Value:
    return b.op("Round", x)


@operator("FULLY_CONNECTED")
def fully_connected(c: Call) -> Sequence[ir.Value]:
    """[N, I] x weights [O, I] transposed + bias [O]; x is taken as rows of I."""
    b, (weights, is_hybrid) = c.b, c.weights(1)
    if c.option("weights_format"):
        raise Fault("FULLY_CONNECTED with shuffled weights")
    sizes, x = sizes_known(weights), c[0]
    if sizes is None or len(sizes) != 2 or sizes[1] is None:
        raise Fault(f"FULLY_CONNECTED with weights of shape {sizes}", is_refusal=False)
    keep, rank = c.option("keep_num_dims"), rank_of(x, "FULLY_CONNECTED")
    if not keep and (rank != 2 or sizes_known(x)[1] != sizes[1]):  # type: ignore[index]
        x, rank = b.op("Reshape", x, b.ints(-1, sizes[1])), 2
    if is_hybrid:
        x = hybrid(c, x, [-1], is_asymmetric=c.option("asymmetric"))
    bias = c.bias(2, x)
    if rank == 2:
        return activated(c, b.op("Gemm", x, weights, bias, transB=1))
    y = b.op("MatMul", x, b.op("Transpose", weights, perm=[1, 0]))
    return activated(c, y if bias is None else b.op("Add", y, bias))


@operator("BATCH_MATMUL")
def batch_matmul(c: Call) -> Sequence[ir.Value]:
    """Matrix products of the last two axes."""
    right, is_hybrid = c.weights(1)
    left = c[0]
    if is_hybrid:
        if c.option("adj_x"):
            raise Fault("BATCH_MATMUL of a transposed input with weights that are quantised alone")
        left = hybrid(c, left, [-1], is_asymmetric=c.option("asymmetric"))
    return [tensors.matmul(c.b, left, right, flip_left=c.option("adj_x"), flip_right=c.option("adj_y"))]


# -- windows ----------------------------------------------------------------------------------------------------------


def _pair(c: Call, name: str, axes: str = "hw") -> list[int]:
    found = [int(c.option(f"{name}_{axis}")) for axis in axes]
    if min(found) < 1:
        raise Fault(f"{c.step.kind}: {name} {found}", is_refusal=False)
    return found


def _window_input(c: Call, *, is_hybrid: bool) -> ir.Value:
    x = c[0]
    per_channel = len(c.entry(1).scales) > 1
    axes = list(range(1, rank_of(x, c.step.kind)))
    return hybrid(c, x, axes, is_asymmetric=per_channel) if is_hybrid else x


@operator("CONV_2D", "CONV_3D")
def conv(c: Call) -> Sequence[ir.Value]:
    """[N, ..., I] * weights [O, *k, I / groups] (3D: [*k, I, O]) + bias [O]."""
    is_3d = c.step.kind == "CONV_3D"
    weights, is_hybrid = c.weights(1)
    x, axes = _window_input(c, is_hybrid=is_hybrid), "dhw" if is_3d else "hw"
    kernel = c.b.op("Transpose", weights, perm=[4, 3, 0, 1, 2] if is_3d else [0, 3, 1, 2])
    padding = c.one_of("padding", PADDINGS)
    strides, dilations = _pair(c, "stride", axes), _pair(c, "dilation", axes)
    return activated(c, windows.conv(c.b, x, kernel, strides, dilations, padding, bias=c.bias(2, x)))


@operator("DEPTHWISE_CONV_2D")
def depthwise_conv(c: Call) -> Sequence[ir.Value]:
    """[N, H, W, I], each channel by its own weights [1, *k, I * M]."""
    weights, is_hybrid = c.weights(1)
    x = _window_input(c, is_hybrid=is_hybrid)
    kernel = c.b.op("Transpose", weights, perm=[3, 0, 1, 2])
    padding, strides, dilations = c.one_of("padding", PADDINGS), _pair(c, "stride"), _pair(c, "dilation")
    return activated(c, windows.conv(c.b, x, kernel, strides, dilations, padding, bias=c.bias(2, x)))


@operator("TRANSPOSE_CONV", "CONV_3D_TRANSPOSE")
def transpose_conv(c: Call) -> Sequence[ir.Value]:
    """(shape, weights [O, *k, I] (3D: [*k, O, I]), [N, ..., I], bias [O]): the gradient of a convolution."""
    is_3d = c.step.kind == "CONV_3D_TRANSPOSE"
    axes, x = "dhw" if is_3d else "hw", c[2]
    if c.entry(1).is_quantised and not c.entry(2).is_quantised:
        x = hybrid(c, x, list(range(1, rank_of(x, c.step.kind))), is_asymmetric=True)
    kernel = c.b.op("Transpose", c[1], perm=[4, 3, 0, 1, 2] if is_3d else [3, 0, 1, 2])
    dilations = _pair(c, "dilation", axes) if is_3d else [1, 1]
    wanted = [n if isinstance(n, int) else None for n in c.b.sizes(c[0]) or [None] * (len(axes) + 2)]
    padding, strides = c.one_of("padding", PADDINGS), _pair(c, "stride", axes)
    y = windows.conv_transpose(c.b, x, kernel, strides, dilations, padding, wanted[1:-1], bias=c.bias(3, x))
    return activated(c, y)


@operator("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D")
def pool(c: Call) -> Sequence[ir.Value]:
    """The mean, the largest or the root of the mean square of each window."""
    kind, x = c.step.kind, c[0]
    name = "MaxPool" if kind == "MAX_POOL_2D" else "AveragePool"
    x = tensors.square(c.b, x) if kind == "L2_POOL_2D" else x
    how = _pair(c, "filter"), _pair(c, "stride"), c.one_of("padding", PADDINGS)
    if kind == "AVERAGE_POOL_2D" and c.entry(0).is_quantised:  # of whole numbers, whose halves are exact
        entry, stored = c.entry(0), c.b.op("Cast", c.stored(0), to=ir.DataType.FLOAT)
        steps = rounding.away(c.b, windows.pool(c.b, stored, name, *how))
        steps = c.b.op("Sub", steps, c.b.number(entry.zeros[0]))
        return activated(c, c.b.op("Mul", steps, c.b.number(entry.scales[0])))
    y = windows.pool(c.b, x, name, *how)
    return activated(c, c.b.op("Sqrt", y) if kind == "L2_POOL_2D" else y)


@operator("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def resize(c: Call) -> Sequence[ir.Value]:
    """[N, H, W, C] to another height and width."""
    mode = "linear" if c.step.kind == "RESIZE_BILINEAR" else "nearest"
    how = {"align_corners": bool(c.option("align_corners")), "half_pixel": bool(c.option("half_pixel"))}
    return [windows.resize(c.b, c[0], c[1], mode, **how)]


@operator("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
def blocks(c: Call) -> Sequence[ir.Value]:
    """Channels as blocks of the image, or the reverse."""
    make = windows.depth_to_space if c.step.kind == "DEPTH_TO_SPACE" else windows.space_to_depth
    return [make(c.b, c[0], int(c.option("block")))]


@operator("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND")
def batch_blocks(c: Call) -> Sequence[ir.Value]:
    """Blocks of the image as images, or the reverse."""
    make = windows.space_to_batch if c.step.kind == "SPACE_TO_BATCH_ND" else windows.batch_to_space
    return [make(c.b, c[0], c[1], c[2])]


@operator("LOCAL_RESPONSE_NORMALIZATION")
def local_response(c: Call) -> Sequence[ir.Value]:
    """Over neighbouring channels."""
    facts = [float(c.option(key)) for key in ("bias", "alpha", "beta")]
    return [tensors.local_response(c.b, c[0], int(c.option("radius")), *facts)]


@operator("L2_NORMALIZATION")
def l2_normalization(c: Call) -> Sequence[ir.Value]:
    """X over its length along the last axis."""
    return activated(c, tensors.unit(c.b, c[0], c.b.ints(-1), 1e-12))


# -- shapes, places, order --------------------------------------------------------------------------------------------


@operator("RESHAPE")
def reshape(c: Call) -> Sequence[ir.Value]:
    """To the second input, the options' shape, or the shape that the file states of the output."""
    if c.has(1) and (c.b.sizes(c[1]) is not None or not c.option("shape")):
        return [c.b.op("Reshape", c[0], windows.as_int64(c.b, c[1]), allowzero=0)]
    return [c.b.op("Reshape", c[0], c.b.ints(*c.option("shape")))]


@operator("SHAPE")
def shape(c: Call) -> Sequence[ir.Value]:
    """The sizes."""
    sizes = c.b.op("Shape", c[0])
    dtype = DTYPES.get(c.option("out_type"))
    return [sizes if dtype == ir.DataType.INT64 else c.b.op("Cast", sizes, to=dtype)]


@operator("SQUEEZE")
def squeeze(c: Call) -> Sequence[ir.Value]:
    """Without axes of size one."""
    axes = c.option("axes")
    if not axes:
        found = sizes_known(c[0])
        if found is None or None in found:
            raise Fault("SQUEEZE of all axes of one, over free sizes")
        axes = [i for i, n in enumerate(found) if n == 1]
    return [c.b.op("Squeeze", c[0], c.b.ints(*axes))] if axes else [c.b.op("Identity", c[0])]


@operator("EXPAND_DIMS")
def expand_dims(c: Call) -> Sequence[ir.Value]:
    """With another axis of one."""
    return [c.b.op("Unsqueeze", c[0], tensors.vector(c.b, c[1]))]


@operator("TRANSPOSE")
def transpose(c: Call) -> Sequence[ir.Value]:
    """Axes in another order."""
    return [c.b.op("Transpose", c[0], perm=tensors.ints_of(c.b, c[1], "permutations"))]


@operator("CONCATENATION")
def concatenation(c: Call) -> Sequence[ir.Value]:
    """Tensors side by side."""
    return activated(c, tensors.concat(c.b, c.all(), int(c.option("axis"))))


@operator("PACK")
def pack(c: Call) -> Sequence[ir.Value]:
    """Tensors along a new axis."""
    return [tensors.pack(c.b, c.all(), int(c.option("axis")))]


@operator("UNPACK")
def unpack(c: Call) -> Sequence[ir.Value]:
    """Each member along an axis."""
    return tensors.unpack(c.b, c[0], len(c.step.outputs), int(c.option("axis")))


@operator("SPLIT")
def split(c: Call) -> Sequence[ir.Value]:
    """Equal parts along an axis."""
    return tensors.split(c.b, c[1], tensors.ints_of(c.b, c[0], "axes")[0], len(c.step.outputs))


@operator("SPLIT_V")
def split_v(c: Call) -> Sequence[ir.Value]:
    """Parts of stated sizes along an axis."""
    return tensors.split_v(c.b, c[0], c[1], tensors.ints_of(c.b, c[2], "axes")[0], len(c.step.outputs))


@operator("SLICE")
def slice_(c: Call) -> Sequence[ir.Value]:
    """From the second, as many as the third says."""
    return [tensors.slice_(c.b, c[0], c[1], c[2])]


@operator("STRIDED_SLICE")
def strided_slice(c: Call) -> Sequence[ir.Value]:
    """From the second to before the third by the fourth, or as many as the third says."""
    masks = {key: int(c.option(key)) for key in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    end = c.b.op("Add", c[1], c[2]) if c.option("offset") else c[2]
    return [tensors.strided_slice(c.b, c[0], c[1], end, c[3], masks)]


@operator("GATHER")
def gather(c: Call) -> Sequence[ir.Value]:
    """Members along an axis."""
    return [tensors.gather(c.b, c[0], c[1], int(c.option("axis")), int(c.option("batch_dims")))]


@operator("SCATTER_ND")
def scatter_nd(c: Call) -> Sequence[ir.Value]:
    """(indices, updates, shape)."""
    return [tensors.scatter_nd(c.b, c[0], c[1], c[2])]


@operator("PAD", "PADV2")
def pad(c: Call) -> Sequence[ir.Value]:
    """With zeros, or the third input, around."""
    return [tensors.pad(c.b, c[0], c[1], c[2] if c.step.kind == "PADV2" else None)]


@operator("MIRROR_PAD")
def mirror_pad(c: Call) -> Sequence[ir.Value]:
    """With what stands at the borders, mirrored."""
    return [tensors.mirror_pad(c.b, c[0], c[1], is_symmetric=c.one_of("mode", MIRRORS) == "SYMMETRIC")]


@operator("REVERSE_V2")
def reverse(c: Call) -> Sequence[ir.Value]:
    """The other way round along axes."""
    return [tensors.reverse(c.b, c[0], tensors.ints_of(c.b, c[1], "axes"))]


@operator("REVERSE_SEQUENCE")
def reverse_sequence(c: Call) -> Sequence[ir.Value]:
    """The beginning of each row the other way round."""
    return [tensors.reverse_sequence(c.b, c[0], c[1], int(c.option("seq")), int(c.option("batch")))]


@operator("ONE_HOT")
def one_hot(c: Call) -> Sequence[ir.Value]:
    """(indices, depth, on, off)."""
    return [tensors.one_hot(c.b, c[0], c[1], c[2], c[3], int(c.option("axis")))]


@operator("RANGE")
def range_(c: Call) -> Sequence[ir.Value]:
    """From, to, by."""
    return [c.b.op("Range", c[0], c[1], c[2])]


@operator("ARG_MAX", "ARG_MIN")
def arg(c: Call) -> Sequence[ir.Value]:
    """The place of the largest or the least along an axis."""
    kind = "ArgMax" if c.step.kind == "ARG_MAX" else "ArgMin"
    return [tensors.arg(c.b, kind, c[0], tensors.ints_of(c.b, c[1], "axes")[0], c.out().dtype)]


@operator("TOPK_V2")
def top_k(c: Call) -> Sequence[ir.Value]:
    """The k largest of the last axis, and their places."""
    return tensors.top_k(c.b, c[0], c[1])


@operator("CUMSUM")
def cumsum(c: Call) -> Sequence[ir.Value]:
    """A running sum."""
    how = {"exclusive": bool(c.option("exclusive")), "reverse": bool(c.option("reverse"))}
    return [tensors.cumulative(c.b, c[0], c[1], **how)]


@operator("WHERE")
def where(c: Call) -> Sequence[ir.Value]:
    """The places of what is true: [count, rank]."""
    return [c.b.op("Transpose", c.b.op("NonZero", c[0]), perm=[1, 0])]


# -- control flow -----------------------------------------------------------------------------------------------------


@operator("IF")
def if_(c: Call) -> Sequence[ir.Value]:
    """One of two subgraphs on the inputs behind the condition."""
    inputs = [c.stored(i) for i in range(1, len(c))]
    branches = []
    for key in ("then", "else"):
        inner = Nodes(c.b)
        made = c.reader.run(inner, int(c.option(key)), inputs)
        branches.append(inner.body([], made, key))
    condition = c.b.op("Reshape", c.stored(0), c.b.ints())
    then, other = branches
    alike = all(shape_of(x) == shape_of(y) for x, y in zip(then.outputs, other.outputs, strict=False))
    return c.b.branching("If", then.outputs, condition, fit=alike, then_branch=then, else_branch=other)


@operator("WHILE")
def while_(c: Call) -> Sequence[ir.Value]:
    """The body again and again while the condition's subgraph holds of what it gives."""
    b, (condition, body) = c.b, (int(c.option("cond")), int(c.option("body")))
    start = [c.stored(i) for i in range(len(c))]
    first = b.op("Reshape", c.reader.run(b, condition, start)[0], b.ints())
    inner = Nodes(b)
    turn = inner.input("turn", ir.DataType.INT64, [])
    go = inner.input("go", ir.DataType.BOOL, [])
    state = [inner.input(f"state_{i}", v.dtype or ir.DataType.FLOAT, shape_of(v)) for i, v in enumerate(start)]
    made = c.reader.run(inner, body, state)
    if len(made) != len(state):
        raise Fault(f"a loop of {len(state)} tensors gives {len(made)}", is_refusal=False)
    again = inner.op("Reshape", c.reader.run(inner, condition, made)[0], inner.ints())
    graph = inner.body([turn, go, *state], [again, *made], "body")
    return b.branching("Loop", start, None, first, *start, body=graph)


@operator("CALL")
def call(c: Call) -> Sequence[ir.Value]:
    """A subgraph."""
    return c.reader.run(c.b, int(c.option("subgraph")), [c.stored(i) for i in range(len(c))])
