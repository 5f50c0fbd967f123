"""ONNX's reductions: one number for each place along the axes that stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from zoo.converters.writers.torch import lowers

Value = Any
REDUCTIONS: dict[str, Callable[..., Value]] = {
    "ReduceMean": torch.mean,
    "ReduceSum": torch.sum,
    "ReduceMax": torch.amax,
    "ReduceMin": torch.amin,
    "ReduceL2": lambda x, dim, keepdim: torch.linalg.vector_norm(x, 2, dim=dim, keepdim=keepdim),
    "ReduceL1": lambda x, dim, keepdim: torch.linalg.vector_norm(x, 1, dim=dim, keepdim=keepdim),
    "ReduceSumSquare": lambda x, dim, keepdim: torch.sum(x * x, dim=dim, keepdim=keepdim),
    "ReduceLogSumExp": torch.logsumexp,
}


def _register(op: str, f: Callable[..., Value]) -> None:
    @lowers(op)
    def lowered(w: Any, data: Value, axes: Value = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Value:
        along = [] if axes is None else w.ints(axes)
        if not along:
            if noop_with_empty_axes:
                return data
            along = list(range(w.rank_in(0)))
        return f(data, dim=tuple(along), keepdim=bool(keepdims))

    lowered.__name__, lowered.__doc__ = op.lower(), f"{op} over `axes`; over all without any."


for _op, _f in REDUCTIONS.items():
    _register(_op, _f)


@lowers("ArgMax")
def argmax(w: Any, data: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Value:
    """Where the largest stands, the first (or last) of equals."""
    return _arg(w, torch.argmax, data, axis, keepdims, select_last_index)


@lowers("ArgMin")
def argmin(w: Any, data: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Value:
    """Where the smallest stands, the first (or last) of equals."""
    return _arg(w, torch.argmin, data, axis, keepdims, select_last_index)


def _arg(w: Any, f: Callable[..., Value], data: Value, axis: int, keepdims: int, last: int) -> Value:
    if not last:
        return f(data, dim=axis, keepdim=bool(keepdims))
    return data.shape[axis] - 1 - f(torch.flip(data, [axis]), dim=axis, keepdim=bool(keepdims))


@lowers("TopK")
def top_k(w: Any, X: Value, K: Value, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Value:  # noqa: A002, N803
    """The k largest (or smallest) along an axis, and where they stand."""
    found = w.function(torch.topk, X, w.number(K), dim=axis, largest=bool(largest), sorted=bool(sorted))
    return found[0], found[1]
