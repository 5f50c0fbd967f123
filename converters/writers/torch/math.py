"""ONNX's arithmetic and elementary functions in torch's words.

Signatures are ONNX's (opset graph.OPSET): inputs by position, attributes by keyword.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import onnx_ir as ir
import torch
from torch import nn

from zoo.converters.writers.torch import lowers
from zoo.converters.writers.torch.unsigned import divide_uint64, in_int64, in_order, is_wide, operands, ordered

Value = Any
FUNCTIONS: dict[str, Callable[..., Value]] = {
    "Neg": operator.neg,
    "Floor": torch.floor,
    "Ceil": torch.ceil,
    "Round": torch.round,  # half to even in both
    "Reciprocal": torch.reciprocal,
    "Sqrt": torch.sqrt,
    "Exp": torch.exp,
    "Log": torch.log,
    "Erf": torch.erf,
    "Sin": torch.sin,
    "Cos": torch.cos,
    "Tan": torch.tan,
    "Asin": torch.asin,
    "Acos": torch.acos,
    "Atan": torch.atan,
    "Sinh": torch.sinh,
    "Cosh": torch.cosh,
    "Asinh": torch.asinh,
    "Acosh": torch.acosh,
    "Atanh": torch.atanh,
}
ARITHMETIC: dict[str, Callable[..., Value]] = {"Add": operator.add, "Sub": operator.sub, "Mul": operator.mul}

for _op, _f in FUNCTIONS.items():

    @lowers(_op)
    def _unary(w: Any, X: Value, *, _f: Any = _f) -> Value:
        return _f(w.as_tensor(0, X))


for _op, _f in ARITHMETIC.items():

    @lowers(_op)
    def _lowered(w: Any, A: Value, B: Value, *, _f: Any = _f) -> Value:
        a, b = operands(w, (A, B))
        return in_int64(w, _f, a, b) if is_wide(w) else _f(a, b)


@lowers("Abs")
def absolute(w: Any, X: Value) -> Value:
    """The number without its sign."""
    return X if is_wide(w) else torch.abs(w.as_tensor(0, X))


@lowers("Sign")
def sign(w: Any, input: Value) -> Value:  # noqa: A002
    """1, 0 or -1."""
    x = w.as_tensor(0, input)
    return x.to(torch.bool).to(w.dtype_in(0)) if is_wide(w) else torch.sign(x)


@lowers("Div")
def div(w: Any, A: Value, B: Value) -> Value:
    """C = A / B; integers are divided towards zero."""
    a, b = operands(w, (A, B))
    dtype = w.value(0).dtype
    if w.dtype_in(0).is_floating_point:
        return a / b
    if dtype == ir.DataType.UINT64:
        return w.function(divide_uint64, a, b)
    if is_wide(w):
        return in_int64(w, lambda x, y: torch.div(x, y, rounding_mode="trunc"), a, b)
    divisor = w.known(B)
    if dtype in (ir.DataType.INT32, ir.DataType.INT64) and (divisor is None or (divisor == -1).any()):
        return w.function(divide, a, b)
    return w.function(torch.div, w.as_tensor(0, A), b, rounding_mode="trunc")


def divide(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The quotient of integers, rounded towards zero.

    The lowest integer divided by -1 ends the process in torch 2.14; here it wraps around to itself, as in numpy.
    """
    is_negation = torch.as_tensor(b == -1)
    quotient = torch.div(a, torch.where(is_negation, 1, b), rounding_mode="trunc")
    return torch.where(is_negation, -quotient, quotient)


@lowers("Mod")
def mod(w: Any, A: Value, B: Value, *, fmod: int = 0) -> Value:
    """The remainder: with the divisor's sign, or the dividend's as C's fmod."""
    f = torch.fmod if fmod else torch.remainder
    if w.value(0).dtype == ir.DataType.UINT64:
        a, b = operands(w, (A, B))
        quotient = w.function(divide_uint64, a, b)
        return in_int64(w, lambda x, y, q: x - q * y, a, b, quotient)
    a, b = operands(w, (w.as_tensor(0, A), B))
    return in_int64(w, f, a, b) if is_wide(w) else f(a, b)


@lowers("Pow")
def power(w: Any, X: Value, Y: Value) -> Value:
    """X to the power of Y, in the dtype of X; an integer's by floats is computed in float64 and cut off."""
    x, y = operands(w, (X, Y))
    base, exponent = w.dtype_in(0), w.dtype_in(1)
    if is_wide(w, 1):
        y = w.as_tensor(1, Y).to(torch.int64)
    if exponent.is_floating_point and not base.is_floating_point:
        return torch.pow(w.as_tensor(0, X).to(torch.float64), y).to(base)
    z = w.function(torch.pow, x, y)
    keeps = base == exponent or (base.is_floating_point and not w.is_tensor(1) and w.is_tensor(0))
    return z if keeps else z.to(base)


@lowers("Max")
def maximum(w: Any, *data_0: Value) -> Value:
    """The elementwise maximum of any number of tensors."""
    return _extreme(w, data_0, torch.maximum, lambda x, bound: torch.clamp(x, min=bound))


@lowers("Min")
def minimum(w: Any, *data_0: Value) -> Value:
    """The elementwise minimum of any number of tensors."""
    return _extreme(w, data_0, torch.minimum, lambda x, bound: torch.clamp(x, max=bound))


def _extreme(w: Any, data: Sequence[Value], f: Callable[..., Value], clamp: Callable[..., Value]) -> Value:
    """Of tensors by `f`, and of Python's numbers by a bound."""
    xs = operands(w, data)
    if is_wide(w):
        return in_order(w, lambda *x: reduce(f, x), *xs) if len(xs) > 1 else xs[0]
    numbers = [x for x in xs if isinstance(x, (int, float))]
    y = reduce(f, [w.as_tensor(i, x) for i, x in enumerate(xs) if not isinstance(x, (int, float))])
    return reduce(clamp, numbers, y)


@lowers("Sum")
def total(w: Any, *data_0: Value) -> Value:
    """The elementwise sum of any number of tensors."""
    return reduce(operator.add, operands(w, data_0))


@lowers("Mean")
def mean(w: Any, *data_0: Value) -> Value:
    """The elementwise mean of any number of tensors."""
    y = total(w, *data_0)
    return y / len(data_0) if len(data_0) > 1 else y


@lowers("Clip")
def clip(w: Any, input: Value, min: Value = None, max: Value = None) -> Value:  # noqa: A002
    """Y = min(max(input, min), max). nn.ReLU6 and nn.Hardtanh where the author has them."""
    x = w.as_tensor(0, input)
    if min is None and max is None:
        return x
    low, high = (None if b is None else w.known(b) for b in (min, max))
    if low is not None and high is not None:
        low, high = low.item(), high.item()
        if (low, high) == (0, 6) and (y := w.module(nn.ReLU6, x)) is not None:
            return y
        if (y := w.module(nn.Hardtanh, x, min_val=low, max_val=high)) is not None:
            return y
    if is_wide(w) or w.is_tensor(1) or w.is_tensor(2):  # torch takes two tensors or two numbers
        min, max = w.as_tensor(1, min), w.as_tensor(2, max)  # noqa: A001
    if is_wide(w):
        low, high = (b if b is None else ordered(w, b) for b in (min, max))
        return in_order(w, lambda v: torch.clamp(v, min=low, max=high), x)
    return torch.clamp(x, min=min, max=max)


@lowers("IsInf")
def is_inf(w: Any, X: Value, *, detect_negative: int = 1, detect_positive: int = 1) -> Value:
    """Whether each element is infinite, of the signs that are asked for."""
    x = w.as_tensor(0, X)
    if w.dtype_in(0).itemsize == 1:  # torch has no kernel for float8
        x = x.to(torch.float32)
    if not detect_negative and not detect_positive:
        return torch.zeros_like(x, dtype=torch.bool)
    if detect_negative and detect_positive:
        return torch.isinf(x)
    return torch.isposinf(x) if detect_positive else torch.isneginf(x)


@lowers("Det")
def det(w: Any, X: Value) -> Value:
    """The determinant of each matrix, [..., n, n] -> [...]; half precision is computed in float32, as torch has to."""
    if w.dtype_in(0).itemsize < 4:
        return torch.linalg.det(X.to(torch.float32)).to(w.dtype_in(0))
    return torch.linalg.det(X)
