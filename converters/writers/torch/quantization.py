"""ONNX's quantised operators: integers with a scale and a zero point. What they compute is in affine.py."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import fx

from zoo.converters.writers.driver import shortest
from zoo.converters.writers.torch import lowers
from zoo.converters.writers.torch.affine import (
    dequantize,
    divided,
    dynamic_quantize,
    fake_quantize,
    integers_conv,
    integers_matmul,
    product_scale,
    quantize,
    requantize,
)
from zoo.converters.writers.torch.casting import FLOAT8, converted
from zoo.converters.writers.torch.convolution import Windows, windows_of
from zoo.converters.writers.torch.types import torch_dtype
from zoo.errors import HubError

Value = Any
Type = ir.DataType


def _number(w: Any, i: int, x: Value) -> Value:
    """An input of one known element as a Python number, another as it is, one that is left out as 0."""
    if x is None:
        return 0
    known = w.known(x)
    if known is None or known.size != 1:
        return x
    item, dtype = np.asarray(known).reshape(-1)[0], _type(w, i)
    if dtype.is_integer():
        return int(item)
    return shortest(float(item)) if dtype == Type.FLOAT else float(item)


def _type(w: Any, i: int) -> ir.DataType:
    value = w.value(i)
    if value is None or value.dtype is None:
        raise HubError(f"{w.node.op_type} {w.node.name!r}: the dtype of its input {i} is not known")
    return value.dtype  # type: ignore[no-any-return]


def _but(defaults: dict[str, Any], **given: Any) -> dict[str, Any]:
    """Keywords that are worth saying: not what is the default."""
    return {name: value for name, value in given.items() if value != defaults.get(name, object())}


def _granularity(w: Any, scale: Value, axis: int, block_size: int) -> dict[str, Any]:
    """The keywords axis and block_size, where the scale is not one number."""
    if not isinstance(scale, fx.Proxy) or w.shape_in(1) == ():
        return {}
    return {"axis": axis} | _but({"block_size": 0}, block_size=block_size)


def _precision(w: Any, precision: int) -> torch.dtype:
    """What x / scale is divided in: what is asked for, else the scale's dtype where it can be divided in."""
    for dtype in (ir.DataType(precision), _type(w, 1), _type(w, 0)):
        if dtype in (Type.FLOAT, Type.FLOAT16, Type.BFLOAT16, Type.DOUBLE):
            return torch_dtype(dtype)
    return torch.float64 if _type(w, 1) == Type.INT32 else torch.float32  # float64 has every int32


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
    target = _type(w, 2) if y_zero_point is not None else ir.DataType(output_dtype or Type.UINT8)
    scale, zero_point = _number(w, 1, y_scale), _zero_point(w, 2, y_zero_point)
    options = _granularity(w, y_scale if scale is y_scale else None, axis, block_size)
    options |= _but({"precision": torch.float32}, precision=_precision(w, precision))
    x = w.tensor_of(x)
    if not target.is_integer():
        has_zero = isinstance(zero_point, fx.Proxy)
        y = w.function(divided, x, scale, *([zero_point] if has_zero else []), **options)
        return converted(w, y, Type.FLOAT, target, saturate=bool(saturate))
    dtype = torch_dtype(target)
    options |= _but({"bits": 8}, bits=target.bitwidth)
    return w.function(quantize, x, scale, zero_point, dtype, **options)


def _zero_point(w: Any, i: int, x: Value) -> Value:
    """As _number, and 0 where every one of several is known to be 0."""
    known = None if x is None else w.known(x)
    return 0 if known is not None and not known.astype(np.float32).any() else _number(w, i, x)


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
    """(x - x_zero_point) * x_scale; right after the QuantizeLinear of the same scale, with a gradient through both."""
    target = ir.DataType(output_dtype) if output_dtype else _type(w, 1)
    target = Type.FLOAT if target == Type.FLOAT8E8M0 else target
    scale = _number(w, 1, x_scale)
    zero_point = _zero_point(w, 2, x_zero_point)
    options = _granularity(w, x_scale if scale is x_scale else None, axis, block_size)
    x = w.tensor_of(x)
    if (around := _quantized(w, x, scale, zero_point, target, options)) is not None:
        return around
    if target != Type.FLOAT:
        options["dtype"] = torch_dtype(target)
    has_zero = isinstance(zero_point, fx.Proxy) or zero_point != 0
    return w.function(dequantize, x, scale, *([zero_point] if has_zero else []), **options)


def _quantized(w: Any, q: fx.Proxy, scale: Value, zero_point: Value, target: ir.DataType, options: Any) -> Value:
    """fake_quantize, where q is what quantize makes of `target` by the same scale and zero point; else None."""
    node, producer = q.node, w.value(0).producer()
    if node.op != "call_function" or node.target is not quantize or producer is None:
        return None
    if producer.op_type != "QuantizeLinear" or producer.inputs[0].dtype != target:
        return None
    x, *given = node.args
    same = [v.node if isinstance(v, fx.Proxy) else v for v in (scale, zero_point)] == given[:2]
    if not same or {k: v for k, v in node.kwargs.items() if k in ("axis", "block_size")} != options:
        return None
    args = [fx.Proxy(v, w.tracer) if isinstance(v, fx.Node) else v for v in (x, *given)]
    return w.function(fake_quantize, *args, **node.kwargs)


@lowers("DynamicQuantizeLinear")
def dynamic_quantize_linear(w: Any, x: Value) -> Value:
    """The input in uint8, its scale and its zero point, by the range that x has."""
    made = w.function(dynamic_quantize, w.tensor_of(x))
    return made[0], made[1], made[2]


@lowers("MatMulInteger")
def mat_mul_integer(w: Any, A: Value, B: Value, a_zero_point: Value = None, b_zero_point: Value = None) -> Value:
    """(A - a_zero_point) @ (B - b_zero_point) in int32; zero points of the whole, of a row of A, of a column of B."""
    zeros = [_number(w, 2, a_zero_point), _number(w, 3, b_zero_point)]
    return w.function(integers_matmul, w.as_tensor(0, A), w.as_tensor(1, B), *zeros).to(torch.int32)


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
    given = {1: a_scale, 2: a_zero_point, 4: b_scale, 5: b_zero_point, 6: y_scale, 7: y_zero_point}
    values = [_number(w, i, x) for i, x in given.items()]
    rank = w.rank_in(0)
    a_scale, a_zero_point, b_scale, b_zero_point, y_scale, y_zero_point = (
        _row(w, i, x, rank) if i in (1, 2, 6, 7) else x for i, x in zip(given, values, strict=True)
    )
    total = w.function(integers_matmul, w.as_tensor(0, a), w.as_tensor(3, b), a_zero_point, b_zero_point)
    return _requantized(w, total, _product_scale(w, a_scale, b_scale, y_scale), y_zero_point, _type(w, 7))


def _row(w: Any, i: int, x: Value, rank: int) -> Value:
    """A vector of one for each row as [M, 1]; others as they are."""
    is_vector = isinstance(x, fx.Proxy) and len(w.shape_in(i) or ()) == 1 and w.shape_in(i) != (1,) and rank > 1
    return x.unsqueeze(-1) if is_vector else x


def _product_scale(w: Any, a: Value, b: Value, y: Value) -> Value:
    if any(isinstance(v, fx.Proxy) for v in (a, b, y)):
        return w.function(product_scale, a, b, y)
    return float(np.float32(a) * np.float32(b) / np.float32(y))


def _requantized(w: Any, total: Value, scale: Value, zero_point: Value, target: ir.DataType) -> Value:
    if target in FLOAT8:
        return converted(w, total * scale, Type.FLOAT, target)
    return w.function(requantize, total, scale, zero_point, torch_dtype(target))


def _integers_conv(w: Any, x: Value, weight: int, zeros: Sequence[Value], group: int, at: Windows) -> Value:
    """The convolution of x with input number `weight`."""
    fixed = at.fixed((w.shape_in(0) or ())[2:])
    padding = at.padding if fixed is None else fixed
    windows = {"stride": at.stride, "padding": padding, "dilation": at.dilation}
    groups = {"groups": group} if group != 1 else {}
    return w.function(
        integers_conv, w.as_tensor(0, x), w.as_tensor(weight, w.args[weight]), *zeros, **windows, **groups
    )


def _windows(w: Any, weight: int, kernel_shape: Sequence[int] | None, *attributes: Any) -> Windows:
    kernel = kernel_shape or (w.shape_in(weight) or ())[2:]
    if not all(isinstance(k, int) for k in kernel) or not 1 <= len(kernel) <= 3:
        raise HubError(
            f"{w.node.op_type} {w.node.name!r}: a kernel of the shape {list(kernel)}; torch's have 1 to 3 axes"
        )
    return windows_of(kernel, *attributes)


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
    zeros = [_number(w, 2, x_zero_point), _number(w, 3, w_zero_point)]
    at = _windows(w, 1, kernel_shape, auto_pad, pads, strides, dilations)
    return _integers_conv(w, x, 1, zeros, group, at).to(torch.int32)


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
    zeros = [_number(w, 2, x_zero_point), _number(w, 5, w_zero_point)]
    total = _integers_conv(w, x, 3, zeros, group, _windows(w, 3, kernel_shape, auto_pad, pads, strides, dilations))
    ones = [1] * (w.rank_in(3) - 2)
    if B is not None:
        total = total + B.reshape(-1, *ones)
    scale = _product_scale(w, _number(w, 1, x_scale), _number(w, 4, w_scale), _number(w, 6, y_scale))
    scale = scale.reshape(-1, *ones) if isinstance(scale, fx.Proxy) else scale
    return _requantized(w, total, scale, _number(w, 7, y_zero_point), _type(w, 7))
