"""ONNX's quantised operators: an integer q stands for (q - zero_point) * scale. Products are exact in float64."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.writers.mxnet import lowers
from zoo.converters.writers.mxnet.math import round_
from zoo.converters.writers.mxnet.types import mxnet_dtype
from zoo.converters.writers.mxnet.windows import padded, windows_of

Value = Any
Type = ir.DataType


def _spread(w: Any, v: Value, i: int, axis: int, block_size: int) -> Value:
    """The i-th input, a scale or zero point, shaped to go with the first: one, or one a place or block of an axis."""
    rank = w.rank(0)
    if w.rank(i) == 0 or w.dims(i) == [1]:
        return v
    along = axis % rank
    if block_size:
        whole = w.F.repeat(v, repeats=block_size, axis=along)
        return w.F.slice_axis(whole, axis=along, begin=0, end=w.whole(0)[along])
    return w.reshape(v, [-1 if a == along else 1 for a in range(rank)])


def _saturated(w: Any, x: Value, target: ir.DataType | int) -> Value:
    limits = np.iinfo(mxnet_dtype(target))
    return w.cast(w.F.clip(x, a_min=float(limits.min), a_max=float(limits.max)), target)


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
    """saturate(round(x / y_scale) + y_zero_point); one scale, one for each place along `axis`, or one a block."""
    target = w.type_in(2) if y_zero_point is not None else ir.DataType(output_dtype or Type.UINT8)
    wide = x if w.computed_in(0) == "float32" else w.cast(x, "float64" if w.computed_in(0) == "int32" else "float32")
    scale = w.cast(_spread(w, y_scale, 1, axis, block_size), "float64" if w.computed_in(0) == "int32" else "float32")
    steps = round_(w, w.F.broadcast_div(wide, scale))
    if y_zero_point is not None:
        zero = w.cast(_spread(w, y_zero_point, 2, axis, block_size), "float32")
        steps = w.F.broadcast_add(w.cast(steps, "float32"), zero)
    return _saturated(w, steps, target)


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
    y = w.cast(x, "float32")
    if x_zero_point is not None:
        y = w.F.broadcast_sub(y, w.cast(_spread(w, x_zero_point, 2, axis, block_size), "float32"))
    y = w.F.broadcast_mul(y, w.cast(_spread(w, x_scale, 1, axis, block_size), "float32"))
    return w.cast(y, output_dtype or w.type_in(1))


def _row(w: Any, v: Value, i: int, of: int) -> Value:
    """A number, or a vector of one for each row of the matrix that is input `of`."""
    return w.F.expand_dims(v, axis=w.rank(i)) if w.rank(i) == 1 and w.dims(i) != [1] and w.rank(of) > 1 else v


def _shifted(w: Any, x: Value, zero: Value) -> Value:
    wide = w.cast(x, "float64")
    return wide if zero is None else w.F.broadcast_sub(wide, w.cast(zero, "float64"))


@lowers("MatMulInteger")
def mat_mul_integer(w: Any, A: Value, B: Value, a_zero_point: Value = None, b_zero_point: Value = None) -> Value:
    """(A - a_zero_point) @ (B - b_zero_point) in int32; zero points of the whole, of a row of A, of a column of B."""
    zero = None if a_zero_point is None else _row(w, a_zero_point, 2, 0)
    return w.cast(w.np.matmul(_shifted(w, A, zero), _shifted(w, B, b_zero_point)), "int32")


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
    total = w.np.matmul(_shifted(w, a, _row(w, a_zero_point, 2, 0)), _shifted(w, b, b_zero_point))
    scales = [w.cast(s, "float32") for s in (_row(w, a_scale, 1, 0), b_scale, _row(w, y_scale, 6, 0))]
    scale = w.F.broadcast_div(w.F.broadcast_mul(scales[0], scales[1]), scales[2])
    return _requantized(w, total, scale, _row(w, y_zero_point, 7, 0), w.type_in(7))


def _requantized(w: Any, total: Value, scale: Value, zero_point: Value, target: ir.DataType) -> Value:
    """round(total * scale) + zero_point as an integer, half to even."""
    y = round_(w, w.F.broadcast_mul(w.cast(total, "float32"), scale))
    return _saturated(w, w.F.broadcast_add(y, w.cast(zero_point, "float32")), target)


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
    zero = None if w_zero_point is None else _by_kernel(w, w_zero_point, 3, 1)
    images, kernels = _shifted(w, x, x_zero_point), _shifted(w, w_, zero)
    return w.cast(_convolution(w, images, kernels, 1, group, auto_pad, pads, strides, dilations), "int32")


def _convolution(
    w: Any, x: Value, weight: Value, i: int, group: int, auto_pad: str, *attributes: Sequence[int] | None
) -> Value:
    """The convolution with a weight that is the i-th input."""
    filters, _, *kernel = w.whole(i)
    at = windows_of(w, kernel, auto_pad, *attributes)
    options = {"kernel": tuple(kernel), "stride": tuple(at.stride), "dilate": tuple(at.dilation)}
    x = padded(w, x, at.padding)
    return w.F.Convolution(x, weight, num_filter=filters, num_group=group, no_bias=True, **options)


def _by_kernel(w: Any, v: Value, i: int, of: int) -> Value:
    """One number, or one for each of the kernels [M, ...] that are input `of`."""
    return v if w.rank(i) == 0 or w.dims(i) == [1] else w.reshape(v, [-1] + [1] * (w.rank(of) - 1))


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
    rank = w.rank(0)
    images, kernels = _shifted(w, x, x_zero_point), _shifted(w, w_, _by_kernel(w, w_zero_point, 5, 3))
    total = _convolution(w, images, kernels, 3, group, auto_pad, pads, strides, dilations)
    if B is not None:
        total = w.F.broadcast_add(total, w.reshape(w.cast(B, "float64"), (1, -1, *[1] * (rank - 2))))
    of_kernels = w_scale if w.rank(4) == 0 or w.dims(4) == [1] else w.reshape(w_scale, (1, -1, *[1] * (rank - 2)))
    scale = w.F.broadcast_div(w.F.broadcast_mul(of_kernels, x_scale), y_scale)
    return _requantized(w, total, scale, y_zero_point, w.type_in(7))
