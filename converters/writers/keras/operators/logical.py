"""ONNX's logical operators: comparisons, truth values, and bits."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from zoo.converters.writers.keras import ops as lowers

Tensor = Any
FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Equal": ops.equal,
    "Greater": ops.greater,
    "GreaterOrEqual": ops.greater_equal,
    "Less": ops.less,
    "LessOrEqual": ops.less_equal,
    "And": ops.logical_and,
    "Or": ops.logical_or,
    "Xor": ops.logical_xor,
    "BitwiseAnd": ops.bitwise_and,
    "BitwiseOr": ops.bitwise_or,
    "BitwiseXor": ops.bitwise_xor,
}

for _op, _f in FUNCTIONS.items():

    @lowers(_op)
    def _binary(w: Any, A: Tensor, B: Tensor, *, _f: Any = _f) -> Tensor:
        return _f(A, B)


@lowers("Not")
def not_(w: Any, X: Tensor) -> Tensor:
    """The opposite of each truth value."""
    return ops.logical_not(X)


@lowers("BitwiseNot")
def bitwise_not(w: Any, X: Tensor) -> Tensor:
    """Each bit the other way round."""
    return ops.bitwise_not(X)


@lowers("BitShift")
def bit_shift(w: Any, X: Tensor, Y: Tensor, *, direction: str) -> Tensor:
    """The bits moved by Y places; to the right the sign's bit comes in, 0 for unsigned integers.

    By a negative number, or by as many places as there are bits, all of them are moved out.
    """
    last = w.type_in(0).bitwidth - 1
    is_out = ops.logical_or(Y < 0, last < Y)
    if direction == "LEFT":
        return ops.where(is_out, ops.zeros_like(X), ops.left_shift(X, ops.where(is_out, ops.zeros_like(Y), Y)))
    to_last = ops.right_shift(X, ops.where(is_out, ops.full_like(Y, last), Y))
    return ops.where(is_out, ops.right_shift(to_last, ops.ones_like(Y)), to_last)
