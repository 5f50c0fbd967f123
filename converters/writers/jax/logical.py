"""ONNX's logical operators: comparisons, truth values, and bits."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from zoo.converters.writers.jax import lowers

Value = Any
FUNCTIONS: dict[str, Callable[[Value, Value], Value]] = {
    "Equal": jnp.equal,
    "Greater": jnp.greater,
    "GreaterOrEqual": jnp.greater_equal,
    "Less": jnp.less,
    "LessOrEqual": jnp.less_equal,
    "And": jnp.logical_and,
    "Or": jnp.logical_or,
    "Xor": jnp.logical_xor,
    "BitwiseAnd": jnp.bitwise_and,
    "BitwiseOr": jnp.bitwise_or,
    "BitwiseXor": jnp.bitwise_xor,
}

for _op, _f in FUNCTIONS.items():

    @lowers(_op)
    def _lowered(w: Any, A: Value, B: Value, *, _f: Any = _f) -> Value:
        return _f(A, B)


@lowers("Not")
def not_(w: Any, X: Value) -> Value:
    """The opposite of each truth value."""
    return jnp.logical_not(X)


@lowers("BitwiseNot")
def bitwise_not(w: Any, X: Value) -> Value:
    """Each bit the other way round."""
    return jnp.bitwise_not(X)


@lowers("BitShift")
def bit_shift(w: Any, X: Value, Y: Value, *, direction: str) -> Value:
    """The bits moved by Y places; those of a negative number to the right with ones coming in."""
    return jnp.right_shift(X, Y) if direction == "RIGHT" else jnp.left_shift(X, Y)
