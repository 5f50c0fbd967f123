"""Reductions along axes."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoo.converters.writers.source.operators import lowers
from zoo.converters.writers.source.unwritable import Unwritable

Value = Any
Reduction = Callable[[Any, Value, dict[str, Any]], Value]
PLAIN: dict[str, str] = {
    "ReduceMean": "mean",
    "ReduceSum": "sum",
    "ReduceMax": "max",
    "ReduceMin": "min",
    "ReduceProd": "prod",
}
COMPOSED: dict[str, Reduction] = {
    "ReduceL1": lambda w, x, how: w.f("sum", w.f("abs", x), **how),
    "ReduceL2": lambda w, x, how: w.f("sqrt", w.f("sum", w.f("square", x), **how)),
    "ReduceSumSquare": lambda w, x, how: w.f("sum", w.f("square", x), **how),
    "ReduceLogSum": lambda w, x, how: w.f("log", w.f("sum", x, **how)),
    "ReduceLogSumExp": lambda w, x, how: w.special("logsumexp", x, **how),
}


def _reduction(op: str, reduce: Reduction) -> None:
    @lowers(op)
    def lowering(w: Any, data: Value, axes: Value = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Value:
        along = [] if axes is None else w.ints(axes, "axes")
        if not along and noop_with_empty_axes:
            return data
        how: dict[str, Any] = {"axis": axes_of(along)} if along else {}
        if keepdims:
            how["keepdims"] = True
        return reduce(w, data, how)


def axes_of(axes: list[int]) -> int | tuple[int, ...]:
    """One axis as a number."""
    return axes[0] if len(axes) == 1 else tuple(axes)


def _plain(name: str) -> Reduction:
    return lambda w, x, how: w.f(name, x, **how)


for _op, _reduce in ({op: _plain(name) for op, name in PLAIN.items()} | COMPOSED).items():
    _reduction(_op, _reduce)


def _place(op: str, name: str) -> None:
    @lowers(op)
    def lowering(w: Any, data: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Value:
        if select_last_index:
            raise Unwritable("the last of equal ones has no plain form")
        return w.f(name, data, axis=axis, **({"keepdims": True} if keepdims else {}))


_place("ArgMax", "argmax")
_place("ArgMin", "argmin")


@lowers("CumSum")
def cumsum(w: Any, x: Value, axis: Value, *, exclusive: int = 0, reverse: int = 0) -> Value:
    """Running sums along an axis; from behind with `reverse`."""
    if exclusive:
        raise Unwritable("a running sum without the element itself has no plain form")
    (along,) = w.ints(axis, "axis")
    if not reverse:
        return w.f("cumsum", x, axis=along)
    return w.f("flip", w.f("cumsum", w.f("flip", x, axis=along), axis=along), axis=along)


@lowers("TopK")
def top_k(w: Any, X: Value, K: Value, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Value:  # noqa: A002
    """The largest along the last axis, and where they stand."""
    if axis not in (-1, w.rank(X) - 1) or not largest:
        raise Unwritable("only the largest along the last axis have a plain form")
    found = w.top_k(X, w.ints(K, "K")[0])
    return w.item(found, 0), w.item(found, 1)
