"""ONNX's arithmetic and elementary functions in jax's words.

Signatures are ONNX's (opset graph.OPSET): inputs by position, attributes by keyword. What a lowering gives is brought
to the dtype that the graph says by the trace.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from zoo.converters.writers.jax import lowers

Value = Any
FUNCTIONS: dict[str, Callable[..., Value]] = {
    "Abs": jnp.abs,
    "Neg": jnp.negative,
    "Sign": jnp.sign,
    "Floor": jnp.floor,
    "Ceil": jnp.ceil,
    "Round": jnp.round,  # half to even in both
    "Reciprocal": jnp.reciprocal,
    "Sqrt": jnp.sqrt,
    "Exp": jnp.exp,
    "Log": jnp.log,
    "Erf": jax.scipy.special.erf,
    "Sin": jnp.sin,
    "Cos": jnp.cos,
    "Tan": jnp.tan,
    "Asin": jnp.arcsin,
    "Acos": jnp.arccos,
    "Atan": jnp.arctan,
    "Sinh": jnp.sinh,
    "Cosh": jnp.cosh,
    "Asinh": jnp.arcsinh,
    "Acosh": jnp.arccosh,
    "Atanh": jnp.arctanh,
}
ARITHMETIC: dict[str, Callable[..., Value]] = {"Add": jnp.add, "Sub": jnp.subtract, "Mul": jnp.multiply}
MOST_MULTIPLIED = 32  # whole exponents up to here are products, which need no logarithm

for _op, _f in FUNCTIONS.items():

    @lowers(_op)
    def _unary(w: Any, X: Value, *, _f: Any = _f) -> Value:
        return _f(X)


for _op, _f in ARITHMETIC.items():

    @lowers(_op)
    def _lowered(w: Any, A: Value, B: Value, *, _f: Any = _f) -> Value:
        return _f(A, B)


@lowers("Div")
def div(w: Any, A: Value, B: Value) -> Value:
    """C = A / B; integers are divided towards zero."""
    if jnp.issubdtype(A.dtype, jnp.integer):
        return lax.div(*jnp.broadcast_arrays(A, B))
    return jnp.true_divide(A, B)


@lowers("Mod")
def mod(w: Any, A: Value, B: Value, *, fmod: int = 0) -> Value:
    """The remainder: with the divisor's sign, or the dividend's as C's fmod."""
    return jnp.fmod(A, B) if fmod else jnp.mod(A, B)


@lowers("Pow")
def power(w: Any, X: Value, Y: Value) -> Value:
    """X to the power of Y, in the dtype of X; an integer's by floats is cut off."""
    is_float = jnp.issubdtype(X.dtype, jnp.floating)
    exponent = w.constant(Y)
    if is_float and exponent is not None and exponent.size == 1:
        number = exponent.reshape(-1)[0].item()
        if float(number).is_integer() and abs(number) <= MOST_MULTIPLIED:
            return lax.integer_pow(jnp.broadcast_to(X, jnp.broadcast_shapes(X.shape, Y.shape)), int(number))
    if not is_float and jnp.issubdtype(Y.dtype, jnp.floating):
        return jnp.power(X.astype(jnp.promote_types(Y.dtype, float)), Y)
    return jnp.power(X, Y.astype(X.dtype) if is_float else Y)


@lowers("Max")
def maximum(w: Any, *data_0: Value) -> Value:
    """The elementwise maximum of any number of tensors."""
    return reduce(jnp.maximum, data_0)


@lowers("Min")
def minimum(w: Any, *data_0: Value) -> Value:
    """The elementwise minimum of any number of tensors."""
    return reduce(jnp.minimum, data_0)


@lowers("Sum")
def total(w: Any, *data_0: Value) -> Value:
    """The elementwise sum of any number of tensors."""
    return reduce(operator.add, data_0)


@lowers("Mean")
def mean(w: Any, *data_0: Value) -> Value:
    """The elementwise mean of any number of tensors."""
    return reduce(operator.add, data_0) / len(data_0)


@lowers("Clip")
def clip(w: Any, input: Value, min: Value = None, max: Value = None) -> Value:  # noqa: A002
    """Y = min(max(input, min), max)."""
    y = input if min is None else jnp.maximum(input, min)
    return y if max is None else jnp.minimum(y, max)


@lowers("IsInf")
def is_inf(w: Any, X: Value, *, detect_negative: int = 1, detect_positive: int = 1) -> Value:
    """Whether each element is infinite, of the signs that are asked for."""
    return (jnp.isposinf(X) & bool(detect_positive)) | (jnp.isneginf(X) & bool(detect_negative))


@lowers("IsNaN")
def is_nan(w: Any, X: Value) -> Value:
    """Whether each element is no number."""
    return jnp.isnan(X)


@lowers("Det")
def det(w: Any, X: Value) -> Value:
    """The determinant of each matrix, [..., n, n] -> [...]; half precision is computed in float32."""
    return jnp.linalg.det(X.astype(jnp.promote_types(X.dtype, jnp.float32)))


@lowers("Inverse", "com.microsoft")
def inverse(w: Any, X: Value) -> Value:
    """The inverse of each matrix; half precision is computed in float32."""
    return jnp.linalg.inv(X.astype(jnp.promote_types(X.dtype, jnp.float32)))
