"""com.microsoft's operators over 8- and 16-bit integers in ONNX's words.

What computes on quantised values is taken apart: dequantised, computed in float32, quantised again. Products of
integers stay products of integers (MatMulInteger), so that their sums are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.expansions import Builder, Unknown, dtype, expands, given
from zoo.converters.expansions.microsoft import CONV, MS, first_channels, kept, last_channels
from zoo.converters.expansions.microsoft_attention import attention_of_merged
from zoo.converters.expansions.microsoft_norms import embedded
from zoo.errors import HubError

POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")


def _scalar(op: Builder, x: ir.Value | None) -> ir.Value | None:
    """A scalar, which may be a vector of one."""
    return x if x is None or (x.shape is not None and len(x.shape) == 0) else op.Reshape(x, op.const([]))


def _real(op: Builder, x: ir.Value | None, scale: ir.Value | None, zero: ir.Value | None) -> ir.Value:
    """(x - zero) * scale, for a scale and zero point of the whole tensor."""
    made: ir.Value = op.DequantizeLinear(x, _scalar(op, scale), _scalar(op, zero))
    return made


def _quantised(
    op: Builder, y: ir.Value, scale: ir.Value | None, zero: ir.Value | None, like: ir.Value | None
) -> ir.Value:
    """Y / scale + zero, rounded; without a zero point it is 0, in the dtype of another value."""
    point = op.CastLike(op.const(0, np.int32), like) if zero is None else _scalar(op, zero)
    made: ir.Value = op.QuantizeLinear(y, _scalar(op, scale), point)
    return made


def _inputs(node: ir.Node, count: int) -> list[ir.Value | None]:
    return [given(node, i) for i in range(count)]


@expands("QuantizeLinear", MS)
@expands("DequantizeLinear", MS)
def quantize_linear(op: Builder, node: ir.Node) -> list[ir.Value]:
    """ONNX's, which has all dtypes of these since opset 21."""
    x, scale, zero = _inputs(node, 3)
    if "axis" not in node.attributes:
        scale, zero = _scalar(op, scale), _scalar(op, zero)
    return [getattr(op, node.op_type)(x, scale, zero, **kept(node, ("axis",)))]


@expands("QLinearAdd", MS)
@expands("QLinearMul", MS)
def qlinear_binary(op: Builder, node: ir.Node) -> list[ir.Value]:
    """The sum or product of A and B, broadcast."""
    a, a_scale, a_zero, b, b_scale, b_zero, scale, zero = _inputs(node, 8)
    both = (_real(op, a, a_scale, a_zero), _real(op, b, b_scale, b_zero))
    made = getattr(op, node.op_type.removeprefix("QLinear"))(*both)
    return [_quantised(op, made, scale, zero, a)]


@expands("QLinearSigmoid", MS)
@expands("QLinearLeakyRelu", MS)
@expands("QLinearAveragePool", MS)
@expands("QLinearGlobalAveragePool", MS)
@expands("QLinearReduceMean", MS)
@expands("QLinearSoftmax", MS)
def qlinear_unary(op: Builder, node: ir.Node) -> list[ir.Value]:
    """A function of one dequantised tensor."""
    x, x_scale, x_zero, scale, zero = _inputs(node, 5)
    y = _real(op, x, x_scale, x_zero)
    last = node.attributes.get_int("channels_last", 0)
    if last:
        y = first_channels(op, y, like=x)
    y = _UNARY[node.op_type](op, node, y)
    if last:
        y = last_channels(op, y, like=x)
    return [_quantised(op, y, scale, zero, x)]


def _softmax(op: Builder, node: ir.Node, y: ir.Value) -> ir.Value:
    """Softmax along an axis; before opset 13 over all axes from it on."""
    axis = node.attributes.get_int("axis", -1)
    if node.attributes.get_int("opset", 13) >= 13:
        return op.Softmax(y, axis=axis)  # type: ignore[no-any-return]
    flat = op.Softmax(op.Flatten(y, axis=axis), axis=1)
    return op.Reshape(flat, op.Shape(y))  # type: ignore[no-any-return]


def _mean(op: Builder, node: ir.Node, y: ir.Value) -> ir.Value:
    axes = op.const(list(node.attributes.get_ints("axes", [])))
    return op.ReduceMean(y, axes, keepdims=node.attributes.get_int("keepdims", 1))  # type: ignore[no-any-return]


_UNARY: dict[str, Callable[[Builder, ir.Node, Any], Any]] = {
    "QLinearSigmoid": lambda op, node, y: op.Sigmoid(y),
    "QLinearLeakyRelu": lambda op, node, y: op.LeakyRelu(y, alpha=node.attributes.get_float("alpha", 0.01)),
    "QLinearAveragePool": lambda op, node, y: op.AveragePool(y, **kept(node, POOL)),
    "QLinearGlobalAveragePool": lambda op, node, y: op.GlobalAveragePool(y),
    "QLinearReduceMean": _mean,
    "QLinearSoftmax": _softmax,
}


@expands("QLinearConcat", MS)
def qlinear_concat(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Tensors of a scale and zero point each, one behind the other, at one scale."""
    scale, zero, *rest = node.inputs
    if len(rest) % 3:
        raise HubError(
            f"QLinearConcat {node.name!r} has {len(rest)} inputs, which are no tensors with scale and zero point"
        )
    parts = [_real(op, *rest[i : i + 3]) for i in range(0, len(rest), 3)]
    return [_quantised(op, op.Concat(*parts, axis=node.attributes["axis"].as_int()), scale, zero, rest[0])]


@expands("QLinearWhere", MS)
def qlinear_where(op: Builder, node: ir.Node) -> list[ir.Value]:
    """X where the condition holds, Y elsewhere, at one scale."""
    condition, x, x_scale, x_zero, y, y_scale, y_zero, scale, zero = _inputs(node, 9)
    made = op.Where(condition, _real(op, x, x_scale, x_zero), _real(op, y, y_scale, y_zero))
    return [_quantised(op, made, scale, zero, x)]


@expands("QLinearConv", MS)
def qlinear_conv(op: Builder, node: ir.Node) -> list[ir.Value]:
    """ONNX's, of which x and y may have their channels last."""
    x, *rest = _inputs(node, 9)
    last = node.attributes.get_int("channels_last", 0)
    y = op.QLinearConv(first_channels(op, x) if last else x, *rest, **kept(node, CONV))
    return [last_channels(op, y, like=x) if last else y]


@expands("NhwcMaxPool", MS)
def nhwc_max_pool(op: Builder, node: ir.Node) -> list[ir.Value]:
    """MaxPool of [N, ..., C]."""
    x = node.inputs[0]
    names = ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")
    return [last_channels(op, op.MaxPool(first_channels(op, x), **kept(node, names)), like=x)]


def _product(
    op: Builder,
    a: ir.Value | None,
    b: ir.Value | None,
    zeros: tuple[ir.Value | None, ir.Value | None],
    scales: tuple[ir.Value | None, ir.Value | None],
) -> ir.Value:
    """The product of integers in float32: by the whole of a, and by the whole or each column of b."""
    total = op.MatMulInteger(a, b, _scalar(op, zeros[0]), zeros[1])
    return op.Mul(op.Cast(total, to=ir.DataType.FLOAT), op.Mul(_scalar(op, scales[0]), scales[1]))  # type: ignore[no-any-return]


@expands("MatMulIntegerToFloat", MS)
def matmul_integer_to_float(op: Builder, node: ir.Node) -> list[ir.Value]:
    """The product of A and B, both quantised, and the bias, in the dtype of the scales."""
    a, b, a_scale, b_scale, a_zero, b_zero, bias = _inputs(node, 7)
    if a_scale is not None and a_scale.shape is not None and len(a_scale.shape) == 1 and a_scale.shape[0] != 1:
        raise HubError(f"MatMulIntegerToFloat {node.name!r} with a scale for each row of A")
    scales = tuple(op.Cast(s, to=ir.DataType.FLOAT) for s in (a_scale, b_scale))
    y = op.CastLike(_product(op, a, b, (a_zero, b_zero), (scales[0], scales[1])), a_scale)
    return [y if bias is None else op.Add(y, bias)]


@expands("DynamicQuantizeMatMul", MS)
def dynamic_quantize_matmul(op: Builder, node: ir.Node) -> list[ir.Value]:
    """The product of A, quantised by its own range, and B, which is quantised already, and the bias."""
    a, b, b_scale, b_zero, bias = _inputs(node, 5)
    quantised, scale, zero = op.DynamicQuantizeLinear(a, outputs=3)
    y = _product(op, quantised, b, (zero, b_zero), (scale, b_scale))
    return [y if bias is None else op.Add(y, bias)]


@expands("QGemm", MS)
def qgemm(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Alpha * (A @ B + C), C of integers at the product's scale; quantised where it is given a scale."""
    a, a_scale, a_zero, b, b_scale, b_zero, c, scale, zero = _inputs(node, 9)
    get = node.attributes.get_int
    a = op.Transpose(a, perm=[1, 0]) if get("transA", 0) else a
    b = op.Transpose(b, perm=[1, 0]) if get("transB", 0) else b
    total = op.MatMulInteger(a, b, _scalar(op, a_zero), b_zero)
    total = total if c is None else op.Add(total, c)
    y = op.Mul(op.Cast(total, to=ir.DataType.FLOAT), op.Mul(_scalar(op, a_scale), b_scale))
    if (alpha := node.attributes.get_float("alpha", 1.0)) != 1.0:
        y = op.Mul(y, op.scalar(alpha, y))
    return [y if scale is None else _quantised(op, y, scale, zero, node.inputs[0])]


@expands("QAttention", MS)
def qattention(op: Builder, node: ir.Node) -> list[ir.Value | None]:
    """com.microsoft's Attention, whose input and weights are quantised."""
    x, weight, bias, x_scale, scale, mask, x_zero, zero, past = _inputs(node, 9)
    for name in ("do_rotary", "past_present_share_buffer"):
        if node.attributes.get_int(name, 0):
            raise HubError(f"QAttention {node.name!r} with {name}")
    if weight is None or weight.shape is None or not isinstance(weight.shape[-1], int):
        raise Unknown
    merged = op.Add(_product(op, x, weight, (x_zero, zero), (x_scale, scale)), bias)
    sizes = [weight.shape[-1] // 3] * 3
    return attention_of_merged(op, node, x, merged, sizes, mask, past, None, like=bias)


@expands("QEmbedLayerNormalization", MS)
def qembed_layer_normalization(op: Builder, node: ir.Node) -> list[ir.Value | None]:
    """EmbedLayerNormalization whose tables and parameters are quantised."""
    ids, segments, *tables = _inputs(node, 7)
    mask, *points = _inputs(node, 18)[7:]
    words, positions, kinds, gamma, beta = (
        None if table is None else _real(op, table, points[i], points[i + 5]) for i, table in enumerate(tables)
    )
    return embedded(op, node, (ids, segments, words, positions, kinds, gamma, beta, mask, None))[:2]


@expands("MulInteger", MS)
def mul_integer(op: Builder, node: ir.Node) -> list[ir.Value]:
    """(A - its zero point) * (B - its zero point), in int32."""
    a, a_zero, b, b_zero = (None if v is None else op.Cast(v, to=ir.DataType.INT32) for v in _inputs(node, 4))
    a = a if a_zero is None else op.Sub(a, a_zero)
    b = b if b_zero is None else op.Sub(b, b_zero)
    return [op.Mul(a, b)]


@expands("ReduceSumInteger", MS)
def reduce_sum_integer(op: Builder, node: ir.Node) -> list[ir.Value]:
    """The sum of 8-bit integers along axes, in 32 bits."""
    x = node.inputs[0]
    wide = ir.DataType.UINT32 if dtype(x) == ir.DataType.UINT8 else ir.DataType.INT32
    axes = op.const(list(node.attributes["axes"].as_ints()))
    total = op.ReduceSum(op.Cast(x, to=ir.DataType.INT32), axes, keepdims=node.attributes.get_int("keepdims", 1))
    return [op.Cast(total, to=wide)]
