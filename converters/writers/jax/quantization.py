"""ONNX's quantised operators: an integer q stands for (q - zero_point) * scale. Products are added up in int32."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import onnx_ir as ir
from jax import lax

from zoo.converters.writers.jax import lowers
from zoo.converters.writers.jax.casting import FLOAT8, converted
from zoo.converters.writers.jax.convolution import convolved
from zoo.converters.writers.jax.windows import along_channels, windows_of

Value = Any
Type = ir.DataType
DIVIDES = (Type.FLOAT, Type.FLOAT16, Type.BFLOAT16, Type.DOUBLE)


def spread(v: Value, x: Value, axis: int, block_size: int) -> Value:
    """A scale or zero point of a shape that goes with x: one number, one along an axis, or one a block."""
    if v.size == 1:
        return v.reshape(())
    if block_size:
        return lax.slice_in_dim(jnp.repeat(v, block_size, axis), 0, x.shape[axis], axis=axis % x.ndim)
    return v.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])


def _limits(target: ir.DataType) -> tuple[int, int]:
    low = -(1 << (target.bitwidth - 1)) if target.is_signed() else 0
    return low, low + (1 << target.bitwidth) - 1


def _precision(w: Any, precision: int) -> Any:
    """What x / scale is divided in: what is asked for, else the scale's dtype where it can be divided in."""
    for dtype in (ir.DataType(precision), w.type_in(1), w.type_in(0)):
        if dtype in DIVIDES:
            return w.dtype_of(dtype)
    return jnp.promote_types(float, jnp.float32)  # float64 has every int32


@lowers("QuantizeLinear")
def quantize_linear(
    w: Any,
    x: Value,
    y_scale: Value,
    y_zero_point: Value = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Value:
    """saturate(round(x / y_scale) + y_zero_point); one scale, one for each place along `axis`, or one a block.

    The gradient goes straight through the rounding, and is 0 out of range, once the result is dequantised.
    """
    target = w.type_in(2) if y_zero_point is not None else ir.DataType(output_dtype or Type.UINT8)
    wide = _precision(w, precision)
    steps = x.astype(wide) / spread(y_scale.astype(jnp.float32).astype(wide), x, axis, block_size)
    zero = None if y_zero_point is None else spread(y_zero_point.astype(jnp.float32), x, axis, block_size)
    if not target.is_integer():
        return converted(w, steps if zero is None else steps + zero, target, saturate=bool(saturate))
    whole = jnp.round(steps).astype(jnp.float32)
    return (
        jnp.clip(whole if zero is None else whole + zero, *_limits(target))
        .astype(_wide_int(target))
        .astype(w.dtype_of(target))
    )


def _wide_int(target: ir.DataType) -> Any:
    """XLA casts floats to integers of 8 bits and more."""
    return jnp.int32 if target.bitwidth <= 16 else jnp.float32


@lowers("DequantizeLinear")
def dequantize_linear(
    w: Any,
    x: Value,
    x_scale: Value,
    x_zero_point: Value = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Value:
    """(x - x_zero_point) * x_scale."""
    target = ir.DataType(output_dtype) if output_dtype else w.type_in(1)
    target = Type.FLOAT if target == Type.FLOAT8E8M0 else target
    wide = x.astype(jnp.int32).astype(jnp.float32) if w.type_in(0).is_integer() else x.astype(jnp.float32)
    if x_zero_point is not None:
        zero = x_zero_point.astype(jnp.int32) if w.type_in(2).is_integer() else x_zero_point
        wide = wide - spread(zero.astype(jnp.float32), x, axis, block_size)
    return (wide * spread(x_scale.astype(jnp.float32), x, axis, block_size)).astype(w.dtype_of(target))


@lowers("DynamicQuantizeLinear")
def dynamic_quantize_linear(w: Any, x: Value) -> Value:
    """The input in uint8, its scale and its zero point: its range, 0 included, is mapped to the whole of uint8's."""
    low, high = jnp.minimum(jnp.min(x), 0), jnp.maximum(jnp.max(x), 0)
    scale = jnp.where(high == low, 1, (high - low) / jnp.full_like(high, 255))
    zero = jnp.round(jnp.clip(0 - low / scale, 0, 255))
    y = jnp.clip(jnp.round(x / scale) + zero, 0, 255)
    return y.astype(jnp.uint8), scale, zero.astype(jnp.uint8)


def _row(v: Value, x: Value) -> Value:
    """A number, or a vector of one for each row of a matrix [..., M, K] as [M, 1]; other tensors as they are."""
    if v.size == 1:
        return v.reshape(())
    return v[:, None] if v.ndim == 1 and x.ndim > 1 else v


def _column(v: Value) -> Value:
    """A number, or a vector of one for each column of a matrix [..., K, N]; other tensors as they are."""
    return v.reshape(()) if v.size == 1 else v


def _integers(x: Value, zero_point: Value = None) -> Value:
    x = x.astype(jnp.int32)
    return x if zero_point is None else x - zero_point.astype(jnp.int32)


def _product(a: Value, a_zero: Value, b: Value, b_zero: Value) -> Value:
    a = _integers(a, None if a_zero is None else _row(a_zero, a))
    b = _integers(b, None if b_zero is None else _column(b_zero))
    return jnp.matmul(a, b, preferred_element_type=jnp.int32)


@lowers("MatMulInteger")
def mat_mul_integer(w: Any, A: Value, B: Value, a_zero_point: Value = None, b_zero_point: Value = None) -> Value:
    """(A - a_zero_point) @ (B - b_zero_point) in int32; zero points of the whole, of a row of A, of a column of B."""
    return _product(A, a_zero_point, B, b_zero_point)


@lowers("QLinearMatMul")
def q_linear_mat_mul(
    w: Any,
    a: Value,
    a_scale: Value,
    a_zero_point: Value,
    b: Value,
    b_scale: Value,
    b_zero_point: Value,
    y_scale: Value,
    y_zero_point: Value,
) -> Value:
    """The quantised product of quantised matrices; scales of the whole, of a row of a and y, of a column of b."""
    target = w.type_in(7)
    scales = [s.astype(jnp.float32) for s in (_row(a_scale, a), _column(b_scale), _row(y_scale, a))]
    scale = scales[0] * scales[1] / scales[2]
    if target in FLOAT8:
        wide = [v.astype(jnp.float32) for v in (a, _row(a_zero_point, a), b, _column(b_zero_point))]
        return converted(w, (wide[0] - wide[1]) @ (wide[2] - wide[3]) * scale, target)
    total = _product(a, a_zero_point, b, b_zero_point)
    return _requantized(w, total, scale, _row(y_zero_point, a), target)


def _requantized(w: Any, total: Value, scale: Value, zero_point: Value, target: ir.DataType) -> Value:
    """round(total * scale) + zero_point as an integer, half to even."""
    y = jnp.round(total.astype(jnp.float32) * scale) + zero_point.astype(jnp.float32)
    return jnp.clip(y, *_limits(target)).astype(w.dtype_of(target))


@lowers("ConvInteger")
def conv_integer(
    w: Any,
    x: Value,
    w_: Value,
    x_zero_point: Value = None,
    w_zero_point: Value = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:
    """The convolution of x - x_zero_point [N, C, ...] with w - w_zero_point [M, C / group, ...] in int32."""
    return _convolution(x, x_zero_point, w_, w_zero_point, group, auto_pad, pads, strides, dilations)


def _convolution(
    x: Value, x_zero: Value, weight: Value, weight_zero: Value, group: int, auto_pad: str, *attributes: Any
) -> Value:
    at = windows_of(x.shape[2:], weight.shape[2:], auto_pad, *attributes)
    zero = None if weight_zero is None else _by_kernel(weight_zero, weight)
    return convolved(_integers(x, x_zero), _integers(weight, zero), at, group, jnp.int32)


def _by_kernel(v: Value, weight: Value) -> Value:
    """One number, or one for each of the kernels of weight [M, ...]."""
    return v.reshape(()) if v.size == 1 else v.reshape([-1] + [1] * (weight.ndim - 1))


@lowers("QLinearConv")
def q_linear_conv(
    w: Any,
    x: Value,
    x_scale: Value,
    x_zero_point: Value,
    w_: Value,
    w_scale: Value,
    w_zero_point: Value,
    y_scale: Value,
    y_zero_point: Value,
    B: Value = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:
    """The quantised convolution of quantised x and w; w has one scale or one a channel, B that of x times that of w."""
    total = _convolution(x, x_zero_point, w_, w_zero_point, group, auto_pad, pads, strides, dilations)
    total = total if B is None else total + along_channels(B, total)
    scale = x_scale.reshape(()) * w_scale / y_scale.reshape(())
    scale = along_channels(scale, total) if scale.size > 1 else scale.reshape(())
    return _requantized(w, total, scale, y_zero_point.reshape(()), w.type_in(7))
