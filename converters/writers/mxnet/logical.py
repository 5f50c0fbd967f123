"""ONNX's comparisons and logical operators."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from zoo.converters.writers.mxnet import lowers

Value = Any
COMPARISONS = {
    "Equal": "equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
}
LOGICAL = {"And": "broadcast_logical_and", "Or": "broadcast_logical_or", "Xor": "broadcast_logical_xor"}

for _op, _f in COMPARISONS.items():

    @lowers(_op)
    def _lowered(w: Any, A: Value, B: Value, *, _f: str = _f) -> Value:
        return getattr(w.np, _f)(A, B)


for _op, _f in LOGICAL.items():

    @lowers(_op)
    def _lowered(w: Any, A: Value, B: Value, *, _f: str = _f) -> Value:  # type: ignore[no-redef]
        return w.cast(getattr(w.F, _f)(w.cast(A, "uint8"), w.cast(B, "uint8")), "bool")


@lowers("Not")
def not_(w: Any, X: Value) -> Value:
    """The other truth value."""
    return w.np.logical_not(X)


@lowers("Cast")
def cast(w: Any, input: Value, *, to: int, saturate: int = 1, round_mode: str = "up") -> Value:  # noqa: A002
    """In another dtype; saturate and round_mode are of narrow floats, which MXNet has not."""
    return w.cast(input, ir.DataType(to))


BITWISE = {"BitwiseAnd": "bitwise_and", "BitwiseOr": "bitwise_or", "BitwiseXor": "bitwise_xor"}

for _op, _f in BITWISE.items():

    @lowers(_op)
    def _lowered(w: Any, A: Value, B: Value, *, _f: str = _f) -> Value:  # type: ignore[no-redef]
        return getattr(w.np, _f)(A, B)


@lowers("BitwiseNot")
def bitwise_not(w: Any, X: Value) -> Value:
    """Every bit the other one."""
    return w.np.bitwise_not(X)
