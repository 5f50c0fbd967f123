"""ONNX's arithmetic and elementary functions in MXNet's words.

Signatures are ONNX's (opset graph.OPSET): inputs by position, attributes by keyword.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from functools import reduce
from typing import Any

from zoo.converters.writers.mxnet import lowers

Value = Any
FUNCTIONS = {
    "Abs": "abs",
    "Neg": "negative",
    "Sign": "sign",
    "Floor": "floor",
    "Ceil": "ceil",
    "Reciprocal": "reciprocal",
    "Sqrt": "sqrt",
    "Exp": "exp",
    "Log": "log",
    "Erf": "erf",
    "Sin": "sin",
    "Cos": "cos",
    "Tan": "tan",
    "Asin": "arcsin",
    "Acos": "arccos",
    "Atan": "arctan",
    "Sinh": "sinh",
    "Cosh": "cosh",
    "Asinh": "arcsinh",
    "Acosh": "arccosh",
    "Atanh": "arctanh",
}
# the function of two tensors, of a tensor and a number, of a number and a tensor
ARITHMETIC = {
    "Add": ("broadcast_add", "_plus_scalar", "_plus_scalar"),
    "Sub": ("broadcast_sub", "_minus_scalar", "_rminus_scalar"),
    "Mul": ("broadcast_mul", "_mul_scalar", "_mul_scalar"),
    "Max": ("broadcast_maximum", "_maximum_scalar", "_maximum_scalar"),
    "Min": ("broadcast_minimum", "_minimum_scalar", "_minimum_scalar"),
    "Div": ("broadcast_div", "_div_scalar", "_rdiv_scalar"),  # of integers towards zero, as ONNX says
}
ELEMENTWISE = {"Add": "elemwise_add", "Sub": "elemwise_sub", "Mul": "elemwise_mul", "Div": "elemwise_div"}
MOST_AXES = 6  # that these take; without broadcasting they are faster
FLOATS = ("float32", "float64", "float16")
EXACT = 2.0**53  # up to here MXNet's scalars, which are doubles, have every integer

for _op, _f in FUNCTIONS.items():

    @lowers(_op)
    def _unary(w: Any, X: Value, *, _f: str = _f) -> Value:
        return getattr(w.F, _f)(X)


def arithmetic(w: Any, op: str, A: Value, B: Value) -> Value:
    """An operation on two tensors that broadcast; a known number of either becomes a parameter of the operator."""
    both, with_scalar, of_scalar = ARITHMETIC[op]
    for x, other, function, i in ((B, A, with_scalar, 1), (A, B, of_scalar, 0)):
        number = w.scalar(x)
        if number is None or math.isinf(number) or math.isnan(number) or abs(number) >= EXACT:
            continue
        if not w.is_symbolic or w.rank(1 - i) >= w.rank(i):
            if not w.is_symbolic and len(other.shape) < len(x.shape):
                continue
            return getattr(w.F._internal, function)(other, scalar=number)
    sizes = w.dims(0)
    if op in ELEMENTWISE and 0 < len(sizes) <= MOST_AXES and 0 not in sizes and sizes == w.dims(1):
        return getattr(w.F, ELEMENTWISE[op])(A, B)
    return getattr(w.F, both)(A, B)


for _op in ("Add", "Sub", "Mul", "Div"):

    @lowers(_op)
    def _lowered(w: Any, A: Value, B: Value, *, _op: str = _op) -> Value:
        return arithmetic(w, _op, A, B)


@lowers("Round")
def round_(w: Any, X: Value) -> Value:
    """To the nearest integer, half to the even one; MXNet's rint goes down at a half, and its round away from zero."""
    low = w.F.floor(X)
    part = X - low
    is_odd = low - 2 * w.F.floor(low * 0.5)
    return low + (part > 0.5) + (part == 0.5) * is_odd


@lowers("Mod")
def mod(w: Any, A: Value, B: Value, *, fmod: int = 0) -> Value:
    """The remainder: with the divisor's sign, or the dividend's as C's fmod."""
    if not fmod and w.computed_in(0) not in FLOATS:
        return w.F.broadcast_mod(A, B)
    if not fmod:  # what has no remainder, of infinity or by 0, is no number; MXNet says 0
        ratio = w.F.broadcast_div(A, B)
        return w.F.broadcast_mod(A, B) + (ratio - ratio)
    size = w.F.broadcast_mod(w.F.abs(A), w.F.abs(B))
    return w.F.broadcast_mul(size, w.F.sign(A))


@lowers("Pow")
def power(w: Any, X: Value, Y: Value) -> Value:
    """X to the power of Y, in the dtype of X; an integer's by floats is cut off."""
    number, own, other = w.scalar(Y), w.computed_in(0), w.computed_in(1)
    if number is not None and own in FLOATS and w.rank(0) >= w.rank(1):
        if number == 2:
            return w.F.square(X)
        return w.F.sqrt(X) if number == 0.5 else w.F._internal._power_scalar(X, scalar=number)
    if own == other and own in FLOATS:
        return w.F.broadcast_power(X, Y)
    wide = own if own in FLOATS else "float64"
    return w.cast(w.F.broadcast_power(w.cast(X, wide), w.cast(Y, wide)), own)


@lowers("Max")
def maximum(w: Any, *data_0: Value) -> Value:
    """The elementwise maximum of any number of tensors."""
    return _folded(w, "Max", data_0)


@lowers("Min")
def minimum(w: Any, *data_0: Value) -> Value:
    """The elementwise minimum of any number of tensors."""
    return _folded(w, "Min", data_0)


@lowers("Sum")
def total(w: Any, *data_0: Value) -> Value:
    """The elementwise sum of any number of tensors."""
    return _folded(w, "Add", data_0)


@lowers("Mean")
def mean(w: Any, *data_0: Value) -> Value:
    """The elementwise mean of any number of tensors."""
    return _folded(w, "Add", data_0) / len(data_0)


def _folded(w: Any, op: str, items: tuple[Value, ...]) -> Value:
    return reduce(getattr(w.F, ARITHMETIC[op][0]), items)


@lowers("Clip")
def clip(w: Any, input: Value, min: Value = None, max: Value = None) -> Value:  # noqa: A002
    """Y = min(max(input, min), max)."""
    low, high = (None if x is None else w.scalar(x) for x in (min, max))
    if (min is None or low is not None) and (max is None or high is not None) and w.computed_in(0) in FLOATS:
        low, high = (-math.inf if low is None else low), (math.inf if high is None else high)
        return w.F.clip(input, a_min=low, a_max=high) if low <= high else w.F.zeros_like(input) + high
    y = input if min is None else w.F.broadcast_maximum(input, min)
    return y if max is None else w.F.broadcast_minimum(y, max)


@lowers("IsInf")
def is_inf(w: Any, X: Value, *, detect_negative: int = 1, detect_positive: int = 1) -> Value:
    """Whether each element is infinite, of the signs that are asked for."""
    signs = [math.inf] * bool(detect_positive) + [-math.inf] * bool(detect_negative)
    if not signs:
        return w.cast(w.F.zeros_like(X), "bool")
    return w.cast(sum(sign == X for sign in signs), "bool")


@lowers("IsNaN")
def is_nan(w: Any, X: Value) -> Value:
    """Whether each element is no number."""
    return w.cast(X != X, "bool")


@lowers("Det")
def det(w: Any, X: Value) -> Value:
    """The determinant of each matrix, [..., n, n] -> [...]."""
    return w.F.linalg.det(X)
