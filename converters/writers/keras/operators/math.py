"""ONNX's arithmetic and elementary functions in keras.ops.

Signatures are ONNX's (opset graph.OPSET): inputs by position, attributes by keyword. What a lowering gives is brought
to the dtype that the graph says by the machine.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

from keras import ops

from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.operators.precision import UNSIGNED, dtype_of, in_int64, is_float, like, to, wide

Tensor = Any
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": lambda x: x if dtype_of(x) in UNSIGNED else ops.abs(x),
    "Neg": lambda x: in_int64(ops.negative, x),
    "Sign": ops.sign,
    "Floor": ops.floor,
    "Ceil": ops.ceil,
    "Round": ops.round,  # half to even on all backends
    "Reciprocal": ops.reciprocal,
    "Sqrt": ops.sqrt,
    "Exp": ops.exp,
    "Log": ops.log,
    "Erf": ops.erf,
    "Sin": ops.sin,
    "Cos": ops.cos,
    "Tan": ops.tan,
    "Asin": ops.arcsin,
    "Acos": ops.arccos,
    "Atan": ops.arctan,
    "Sinh": ops.sinh,
    "Cosh": ops.cosh,
    "Asinh": ops.arcsinh,
    "Acosh": ops.arccosh,
    "Atanh": ops.arctanh,
}
ARITHMETIC: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": operator.add,  # keras.ops.add takes [1, n, 1] for a bias of [m, n, n] on TensorFlow, along the last axis
    "Sub": ops.subtract,
    "Mul": ops.multiply,
}
MOST_MULTIPLIED = 3  # whole exponents up to here are products, which need no logarithm

for _op, _f in FUNCTIONS.items():

    @lowers(_op)
    def _unary(w: Any, X: Tensor, *, _f: Any = _f) -> Tensor:
        return _f(X)


for _op, _g in ARITHMETIC.items():

    @lowers(_op)
    def _binary(w: Any, A: Tensor, B: Tensor, *, _g: Any = _g) -> Tensor:
        return _g(A, B)


@lowers("Div")
def div(w: Any, A: Tensor, B: Tensor) -> Tensor:
    """C = A / B; integers are divided towards zero."""
    return ops.true_divide(A, B) if is_float(A) else quotient(A, B)


def quotient(a: Tensor, b: Tensor) -> Tensor:
    """Integers divided towards zero."""
    down = ops.floor_divide(a, b)
    if dtype_of(a) in UNSIGNED:
        return down
    is_cut = ops.not_equal(down * b, a)
    return down + like(ops.logical_and(is_cut, ops.logical_xor(a < 0, b < 0)), a)


@lowers("Mod")
def mod(w: Any, A: Tensor, B: Tensor, *, fmod: int = 0) -> Tensor:
    """The remainder: with the divisor's sign, or the dividend's as C's fmod."""
    if not fmod:
        return ops.mod(A, B)
    return ops.fmod(A, B) if is_float(A) else A - quotient(A, B) * B


@lowers("Pow")
def power(w: Any, X: Tensor, Y: Tensor) -> Tensor:
    """X to the power of Y, in the dtype of X; an integer's by floats is cut off."""
    exponent = w.known(Y)
    if exponent is not None and exponent.shape == () and exponent in range(1, MOST_MULTIPLIED + 1):
        return reduce(ops.multiply, [X] * int(exponent))
    if is_float(X):
        return ops.power(X, like(Y, X))
    if is_float(Y):
        return ops.power(to(X, "float64"), to(Y, "float64"))
    return in_int64(ops.power, X, Y)


@lowers("Max")
def maximum(w: Any, *data_0: Tensor) -> Tensor:
    """The elementwise maximum of any number of tensors."""
    return reduce(ops.maximum, data_0)


@lowers("Min")
def minimum(w: Any, *data_0: Tensor) -> Tensor:
    """The elementwise minimum of any number of tensors."""
    return reduce(ops.minimum, data_0)


@lowers("Sum")
def total(w: Any, *data_0: Tensor) -> Tensor:
    """The elementwise sum of any number of tensors."""
    return reduce(operator.add, data_0)


@lowers("Mean")
def mean(w: Any, *data_0: Tensor) -> Tensor:
    """The elementwise mean of any number of tensors."""
    return reduce(operator.add, data_0) / len(data_0)


@lowers("Clip")
def clip(w: Any, input: Tensor, min: Tensor = None, max: Tensor = None) -> Tensor:  # noqa: A002
    """Y = min(max(input, min), max)."""
    y = input if min is None else ops.maximum(input, min)
    return y if max is None else ops.minimum(y, max)


@lowers("IsInf")
def is_inf(w: Any, X: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """Whether each element is infinite, of the signs that are asked for."""
    if detect_negative and detect_positive:
        return ops.isinf(X)
    if not detect_negative and not detect_positive:
        return ops.zeros_like(X, dtype="bool")
    return ops.logical_and(ops.isinf(X), X > 0 if detect_positive else X < 0)


@lowers("IsNaN")
def is_nan(w: Any, X: Tensor) -> Tensor:
    """Whether each element is no number."""
    return ops.isnan(X)


@lowers("Det")
def det(w: Any, X: Tensor) -> Tensor:
    """The determinant of each matrix, [..., n, n] -> [...]; half precision is computed in float32."""
    return ops.det(wide(X))


@lowers("Inverse", "com.microsoft")
def inverse(w: Any, X: Tensor) -> Tensor:
    """The inverse of each matrix; half precision is computed in float32."""
    return ops.inv(wide(X))
