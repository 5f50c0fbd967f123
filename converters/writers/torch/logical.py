"""ONNX's logical operators: comparisons, truth values, and bits."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import operator
from typing import Any

import onnx_ir as ir
import torch

from zoo.converters.writers.torch import lowers
from zoo.converters.writers.torch.unsigned import in_int64, in_order, is_wide, operands, shift_right_uint64

Value = Any
COMPARISONS = {
    "Equal": operator.eq,
    "Greater": operator.gt,
    "GreaterOrEqual": operator.ge,
    "Less": operator.lt,
    "LessOrEqual": operator.le,
}
BITS = {
    "And": operator.and_,
    "Or": operator.or_,
    "Xor": operator.xor,
    "BitwiseAnd": operator.and_,
    "BitwiseOr": operator.or_,
    "BitwiseXor": operator.xor,
}

for _op, _f in COMPARISONS.items():

    @lowers(_op)
    def _lowered(w: Any, A: Value, B: Value, *, _f: Any = _f) -> Value:
        a, b = operands(w, (A, B))
        return in_order(w, _f, a, b, back=False) if is_wide(w) else _f(a, b)


for _op, _f in BITS.items():

    @lowers(_op)
    def _lowered(w: Any, A: Value, B: Value, *, _f: Any = _f) -> Value:
        return _f(*operands(w, (A, B)))


@lowers("Not")
def not_(w: Any, X: Value) -> Value:
    """The opposite of each truth value."""
    return torch.logical_not(w.as_tensor(0, X))


@lowers("BitwiseNot")
def bitwise_not(w: Any, X: Value) -> Value:
    """Each bit the other way round."""
    X = w.as_tensor(0, X)
    return in_int64(w, torch.bitwise_not, X) if is_wide(w) else torch.bitwise_not(X)


@lowers("BitShift")
def bit_shift(w: Any, X: Value, Y: Value, *, direction: str) -> Value:
    """The bits moved by Y places; those of a negative number to the right with ones coming in."""
    x, y = operands(w, (X, Y))
    if direction == "RIGHT" and w.value(0).dtype == ir.DataType.UINT64:
        return w.function(shift_right_uint64, x, y)
    shift = operator.rshift if direction == "RIGHT" else operator.lshift
    return in_int64(w, shift, x, y) if is_wide(w) else shift(x, y)
