"""Arithmetic, comparisons, and functions of one number."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from zoo.converters.writers.source.operators import lowers
from zoo.converters.writers.source.unwritable import Unwritable

Value = Any
FUNCTIONS = {
    **{op: op.lower() for op in ("Abs", "Ceil", "Cos", "Cosh", "Exp", "Floor", "Log", "Round", "Sign", "Sin", "Sinh")},
    **{op: op.lower() for op in ("Sqrt", "Tan", "Tanh", "IsNaN")},
    **{f"A{f}": f"arc{f}" for f in ("cos", "cosh", "sin", "sinh", "tan", "tanh")},
}
INFIX: dict[str, Callable[..., Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Pow": operator.pow,
    "MatMul": operator.matmul,
    "Equal": operator.eq,
    "Less": operator.lt,
    "LessOrEqual": operator.le,
    "Greater": operator.gt,
    "GreaterOrEqual": operator.ge,
    **dict.fromkeys(("And", "BitwiseAnd"), operator.and_),
    **dict.fromkeys(("Or", "BitwiseOr"), operator.or_),
    **dict.fromkeys(("Xor", "BitwiseXor"), operator.xor),
}


def _function(op: str, name: str) -> None:
    @lowers(op)
    def lowering(w: Any, X: Value) -> Value:
        return w.f(name, X)


def _infix(op: str, f: Callable[..., Any]) -> None:
    @lowers(op)
    def lowering(w: Any, A: Value, B: Value) -> Value:
        return w.infix(f, w.operand(A, w.rank(B)), w.operand(B, w.rank(A)))


for _op, _name in FUNCTIONS.items():
    _function(_op, _name)
for _op, _f in INFIX.items():
    _infix(_op, _f)


@lowers("Div")
def div(w: Any, A: Value, B: Value) -> Value:
    """A / B; of integers, cut towards zero."""
    y = w.infix(operator.truediv, w.operand(A, w.rank(B)), w.operand(B, w.rank(A)))
    if w.dtype(A).kind not in "iu":
        return y
    return w.cast(w.f("trunc", y), w.dtype(A))


@lowers("Mod")
def mod(w: Any, A: Value, B: Value, *, fmod: int = 0) -> Value:
    """The rest, of the divisor's sign."""
    if fmod:
        raise Unwritable("a rest of the dividend's sign has no plain form")
    return w.infix(operator.mod, w.operand(A, w.rank(B)), w.operand(B, w.rank(A)))


@lowers("Neg")
def neg(w: Any, X: Value) -> Value:
    """-X."""
    return w.infix(operator.neg, X)


@lowers("Reciprocal")
def reciprocal(w: Any, X: Value) -> Value:
    """1 / X."""
    return w.infix(operator.truediv, 1.0, X)


@lowers("Not")
@lowers("BitwiseNot")
def invert(w: Any, X: Value) -> Value:
    """The other truth value, or the other bits."""
    return w.infix(operator.invert, X)


@lowers("Erf")
def erf(w: Any, input: Value) -> Value:  # noqa: A002
    """The error function."""
    return w.special("erf", input)


@lowers("IsInf")
def is_inf(w: Any, X: Value, *, detect_negative: int = 1, detect_positive: int = 1) -> Value:
    """Whether it is infinite, to one side or both."""
    if detect_negative and detect_positive:
        return w.f("isinf", X)
    sign = float("inf") if detect_positive else -float("inf")
    return w.infix(operator.eq, X, sign)


def _folded(w: Any, f: str | Callable[..., Any], args: tuple[Value, ...]) -> Value:
    made = args[0]
    for other in args[1:]:
        a, b = w.operand(made, w.rank(other)), w.operand(other, len(_broadcast(w, made)))
        made = w.f(f, a, b) if isinstance(f, str) else w.infix(f, a, b)
        w.shapes.setdefault(made, _broadcast(w, other))
    return made


def _broadcast(w: Any, x: Value) -> tuple[int | None, ...]:
    return w.shape(x)  # type: ignore[no-any-return]  # the tracer's, which is Any here


@lowers("Max")
def maximum(w: Any, *data: Value) -> Value:
    """The larger of each."""
    return _folded(w, "maximum", data)


@lowers("Min")
def minimum(w: Any, *data: Value) -> Value:
    """The smaller of each."""
    return _folded(w, "minimum", data)


@lowers("Sum")
def total(w: Any, *data: Value) -> Value:
    """All added up."""
    return _folded(w, operator.add, data)


@lowers("Mean")
def mean(w: Any, *data: Value) -> Value:
    """The mean of several tensors."""
    return w.infix(operator.truediv, _folded(w, operator.add, data), len(data))


@lowers("Clip")
def clip(w: Any, input: Value, min: Value = None, max: Value = None) -> Value:  # noqa: A002
    """Kept within bounds; between 0 and 6 it has a name of its own."""
    low, high = (x if x is None else w.operand(x, 0) for x in (min, max))
    if (low, high) == (0, 6) and w.dtype(input).kind == "f":
        return w.neural("relu6", input)
    if low is None and high is None:
        return input
    if high is None:
        return w.f("maximum", input, low)
    return w.f("minimum", input, high) if low is None else w.f("clip", input, low, high)


@lowers("Where")
def where(w: Any, condition: Value, X: Value, Y: Value) -> Value:
    """X where the condition holds, and Y elsewhere."""
    return w.f("where", condition, w.operand(X, w.rank(condition)), w.operand(Y, w.rank(condition)))


@lowers("Gemm")
def gemm(
    w: Any,
    A: Value,
    B: Value,
    C: Value = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Value:
    """Y [M, N] = alpha * A @ B + beta * C, A [M, K], B [K, N] after their transposes."""
    plain = alpha == beta == 1.0 and not transA
    if plain and transB and (y := w.linear(A, B, C)) is not None:
        return y
    a, b = (w.transpose(x, (1, 0)) if turned else x for x, turned in ((A, transA), (B, transB)))
    y = w.infix(operator.matmul, a, b)
    y = y if alpha == 1 else w.infix(operator.mul, alpha, y)
    if C is None:
        return y
    return w.infix(operator.add, y, C if beta == 1 else w.infix(operator.mul, beta, w.operand(C, 2)))


@lowers("Linear", "zoo")
@lowers("LinearNoBias", "zoo")
def linear(w: Any, X: Value, W: Value, B: Value = None) -> Value:
    """Y [..., N] = X [..., K] @ W.T + B, W [N, K], B [N]."""
    if (y := w.linear(X, W, B)) is not None:
        return y
    y = w.infix(operator.matmul, X, w.transpose(W, (1, 0)))
    return y if B is None else w.infix(operator.add, y, B)


@lowers("Einsum")
def einsum(w: Any, *Inputs: Value, equation: str) -> Value:
    """Einstein's summation; the equation is numpy's too."""
    return w.f("einsum", equation.replace(" ", ""), *Inputs)


@lowers("Cast")
def cast(w: Any, input: Value, *, saturate: int = 1, to: int, round_mode: str = "up") -> Value:  # noqa: A002
    """In another dtype."""
    import onnx_ir as ir

    dtype = np.dtype(ir.DataType(to).numpy())
    if dtype.kind not in "fiub" or dtype.itemsize < 2 and dtype.kind == "f":
        raise Unwritable(f"a cast to {ir.DataType(to).name} has no plain form")
    return w.cast(input, dtype)


@lowers("CastLike")
def cast_like(w: Any, input: Value, target_type: Value, *, saturate: int = 1, round_mode: str = "up") -> Value:  # noqa: A002
    """In the dtype of another tensor."""
    return w.cast(input, w.dtype(target_type))
