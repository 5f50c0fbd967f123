"""ONNX's quantised operators: an integer q stands for (q - zero_point) * scale."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
from keras import ops

from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.dtypes import available, held
from zoo.converters.writers.keras.operators import narrow
from zoo.converters.writers.keras.operators.casting import converted
from zoo.converters.writers.keras.operators.convolution import convolved
from zoo.converters.writers.keras.operators.layouts import pictures
from zoo.converters.writers.keras.operators.precision import exact, to
from zoo.converters.writers.keras.operators.sizes import along, cut, rank, sizes
from zoo.converters.writers.keras.operators.windows import spatial, windows_of

Tensor = Any
Type = ir.DataType
DIVIDES = (Type.FLOAT, Type.FLOAT16, Type.BFLOAT16, Type.DOUBLE)


def _is_one(v: Tensor) -> bool:
    return all(n == 1 for n in v.shape)


def spread(v: Tensor, x: Tensor, axis: int, block_size: int) -> Tensor:
    """A scale or zero point of a shape that goes with x: one number, one along an axis, or one a block."""
    if _is_one(v):
        return ops.reshape(v, ())
    if block_size:
        return cut(ops.repeat(v, block_size, axis), axis, 0, sizes(x)[axis])
    return along(v, axis, rank(x))


def _limits(target: ir.DataType) -> tuple[float, float]:
    low = -(1 << (target.bitwidth - 1)) if target.is_signed() else 0
    return float(low), float(low + (1 << target.bitwidth) - 1)


def _precision(w: Any, precision: int) -> str:
    """What x / scale is divided in: what is asked for, else the scale's dtype where it can be divided in."""
    for dtype in (ir.DataType(precision), w.type_in(1), w.type_in(0)):
        if dtype in DIVIDES:
            return available(held(dtype))
    return available("float64")  # which has every int32


@lowers("QuantizeLinear")
def quantize_linear(
    w: Any,
    x: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Tensor:
    """saturate(round(x / y_scale) + y_zero_point); one scale, one for each place along `axis`, or one a block."""
    target = w.type_in(2) if y_zero_point is not None else ir.DataType(output_dtype or Type.UINT8)
    divided = _precision(w, precision)
    steps = ops.cast(x, divided) / spread(ops.cast(y_scale, divided), x, axis, block_size)
    zero = None if y_zero_point is None else spread(ops.cast(y_zero_point, "float32"), x, axis, block_size)
    if not target.is_integer():
        whole = ops.cast(steps, "float32")
        return converted(whole if zero is None else whole + zero, target, saturate=bool(saturate))
    whole = ops.cast(ops.round(steps), "float32")
    return _to_integer(whole if zero is None else whole + zero, target)


def _to_integer(x: Tensor, target: ir.DataType) -> Tensor:
    """Whole numbers, cut to the range of an integer dtype."""
    return ops.cast(ops.cast(ops.clip(x, *_limits(target)), "int32"), held(target))


@lowers("DequantizeLinear")
def dequantize_linear(
    w: Any,
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Tensor:
    """(x - x_zero_point) * x_scale."""
    wide = ops.cast(x, "float32")
    if x_zero_point is not None:
        wide = wide - spread(ops.cast(x_zero_point, "float32"), x, axis, block_size)
    y = wide * spread(ops.cast(x_scale, "float32"), x, axis, block_size)
    return converted(y, w.type_out())


@lowers("DynamicQuantizeLinear")
def dynamic_quantize_linear(w: Any, x: Tensor) -> Tensor:
    """The input in uint8, its scale and its zero point: its range, 0 included, is mapped to the whole of uint8's."""
    low, high = ops.minimum(ops.min(x), 0.0), ops.maximum(ops.max(x), 0.0)
    scale = ops.where(ops.equal(high, low), ops.ones_like(high), (high - low) / 255.0)
    zero = ops.round(ops.clip(0.0 - low / scale, 0.0, 255.0))
    return _to_integer(ops.round(x / scale) + zero, Type.UINT8), scale, _to_integer(zero, Type.UINT8)


def _row(v: Tensor, x: Tensor) -> Tensor:
    """A number, or a vector of one for each row of a matrix [..., M, K] as [M, 1]; other tensors as they are."""
    if _is_one(v):
        return ops.reshape(v, ())
    return ops.expand_dims(v, 1) if rank(v) == 1 and rank(x) > 1 else v


def _column(v: Tensor) -> Tensor:
    """A number, or a vector of one for each column of a matrix [..., K, N]; other tensors as they are."""
    return ops.reshape(v, ()) if _is_one(v) else v


def _integers(x: Tensor, zero_point: Tensor = None) -> Tensor:
    return exact(x) if zero_point is None else exact(x) - exact(zero_point)


def _product(a: Tensor, a_zero: Tensor, b: Tensor, b_zero: Tensor) -> Tensor:
    a = _integers(a, None if a_zero is None else _row(a_zero, a))
    b = _integers(b, None if b_zero is None else _column(b_zero))
    return ops.matmul(a, b)


@lowers("MatMulInteger")
def mat_mul_integer(w: Any, A: Tensor, B: Tensor, a_zero_point: Tensor = None, b_zero_point: Tensor = None) -> Tensor:
    """(A - a_zero_point) @ (B - b_zero_point) in int32; zero points of the whole, of a row of A, of a column of B."""
    return _product(A, a_zero_point, B, b_zero_point)


@lowers("QLinearMatMul")
def q_linear_mat_mul(
    w: Any,
    a: Tensor,
    a_scale: Tensor,
    a_zero_point: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero_point: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor,
) -> Tensor:
    """The quantised product of quantised matrices; scales of the whole, of a row of a and y, of a column of b."""
    target = w.type_in(7)
    scales = [ops.cast(s, "float32") for s in (_row(a_scale, a), _column(b_scale), _row(y_scale, a))]
    scale = scales[0] * scales[1] / scales[2]
    if target in narrow.FLOATS:
        return converted(ops.matmul(a - _row(a_zero_point, a), b - _column(b_zero_point)) * scale, target)
    return _requantized(_product(a, a_zero_point, b, b_zero_point), scale, _row(y_zero_point, a), target)


def _requantized(total: Tensor, scale: Tensor, zero_point: Tensor, target: ir.DataType) -> Tensor:
    """round(total * scale) + zero_point as an integer, half to even."""
    return _to_integer(ops.round(ops.cast(total, "float32") * scale) + ops.cast(zero_point, "float32"), target)


@pictures("ConvInteger")
def conv_integer(
    w: Any,
    x: Tensor,
    w_: Tensor,
    x_zero_point: Tensor = None,
    w_zero_point: Tensor = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The convolution of x - x_zero_point [N, ..., C] with w - w_zero_point [M, C / group, ...] in int32."""
    return _convolution(x, x_zero_point, w_, w_zero_point, auto_pad, pads, strides, dilations)


def _convolution(
    x: Tensor, x_zero: Tensor, weight: Tensor, weight_zero: Tensor, auto_pad: str, *attributes: Any
) -> Tensor:
    at = windows_of(spatial(x), weight.shape[2:], auto_pad, *attributes)
    zero = None if weight_zero is None else _by_kernel(weight_zero, weight)
    x_zero = None if x_zero is None else ops.reshape(x_zero, ())
    return convolved(_integers(x, x_zero), _integers(weight, zero), at)


def _by_kernel(v: Tensor, weight: Tensor) -> Tensor:
    """One number, or one for each of the kernels of weight [M, ...]."""
    return ops.reshape(v, ()) if _is_one(v) else along(v, 0, rank(weight))


@pictures("QLinearConv")
def q_linear_conv(
    w: Any,
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor,
    w_: Tensor,
    w_scale: Tensor,
    w_zero_point: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor,
    B: Tensor = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The quantised convolution of quantised x and w; w has one scale or one a channel, B that of x times that of w."""
    total = _convolution(x, x_zero_point, w_, w_zero_point, auto_pad, pads, strides, dilations)
    total = total if B is None else total + to(B, "float64")
    scale = ops.reshape(x_scale, ()) * _column(w_scale) / ops.reshape(y_scale, ())
    return _requantized(total, scale, ops.reshape(y_zero_point, ()), w.type_in(7))
