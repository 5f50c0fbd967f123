"""ONNX's reductions: one number for each place along the axes that stay; and sums and products as they grow."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from zoo.converters.writers.torch import lowers
from zoo.converters.writers.torch.pooling import adaptive_average_pool
from zoo.converters.writers.torch.unsigned import in_int64, in_order, is_wide, ordered, unordered

Value = Any
Along = dict[str, Any]  # torch's `dim`, and `keepdim` where it is true


def _axes(w: Any, axes: Value, noop_with_empty_axes: int) -> list[int]:
    """The axes to reduce; without any all of them, or none."""
    along = [] if axes is None else w.ints(axes)
    return along or ([] if noop_with_empty_axes else list(range(w.rank_in(0))))


def _along(axes: Sequence[int], keepdims: int) -> Along:
    made: Along = {"dim": axes[0] if len(axes) == 1 else tuple(axes)}
    return {**made, "keepdim": True} if keepdims else made


def _square(w: Any, x: Value) -> Value:
    return in_int64(w, torch.square, x) if is_wide(w) else torch.square(x)


def _abs(w: Any, x: Value) -> Value:
    return x if is_wide(w) else torch.abs(x)


def _sum(w: Any, x: Value, along: Along) -> Value:
    dtype = w.dtype_in(0)
    if is_wide(w):
        return in_int64(w, lambda v: torch.sum(v, **along), x)
    return torch.sum(x, **along) if dtype.is_floating_point else torch.sum(x, **along, dtype=dtype)


def _mean(w: Any, x: Value, along: Along) -> Value:
    dtype = w.dtype_in(0)
    if dtype.is_floating_point:
        axes = along["dim"] if isinstance(along["dim"], tuple) else (along["dim"],)
        y = adaptive_average_pool(w, x, axes) if along.get("keepdim") else None
        return torch.mean(x, **along) if y is None else y
    total = torch.sum(x.to(torch.int64), **along)
    return torch.div(total, x.numel() // total.numel(), rounding_mode="trunc").to(dtype)


def _l1(w: Any, x: Value, along: Along) -> Value:
    if w.dtype_in(0).is_floating_point:
        return torch.linalg.vector_norm(x, 1, **along)
    return _sum(w, _abs(w, x), along)


def _l2(w: Any, x: Value, along: Along) -> Value:
    dtype = w.dtype_in(0)
    if dtype.is_floating_point:
        return torch.linalg.vector_norm(x, 2, **along)
    return torch.sqrt(_sum(w, _square(w, x), along).to(torch.float64)).to(dtype)


def _prod(w: Any, x: Value, along: Along) -> Value:
    if not isinstance(along["dim"], tuple):
        dtype = w.dtype_in(0)
        if is_wide(w):
            return in_int64(w, lambda v: torch.prod(v, **along), x)
        return torch.prod(x, **along) if dtype.is_floating_point else torch.prod(x, **along, dtype=dtype)
    return in_int64(w, lambda v: w.function(product, v, **along), x) if is_wide(w) else w.function(product, x, **along)


def _extreme(f: Callable[..., Value], of_any: Callable[..., Value]) -> Callable[..., Value]:
    """`of_any` takes nothing as well: where a size is 0, or the axes are not known before the module runs."""

    def reduced(w: Any, x: Value, along: Along, found: Callable[..., Value] = f) -> Value:
        dims = along["dim"] if isinstance(along["dim"], tuple) else (along["dim"],)
        sizes = w.shape_in(0) or ()
        if not all(isinstance(d, int) and sizes[d] != 0 for d in dims):
            along, found = {**along, "dim": dims}, partial(w.function, of_any)
        return in_order(w, lambda v: found(v, **along), x) if is_wide(w) else found(x, **along)

    return reduced


def product(x: torch.Tensor, dim: Sequence[int], keepdim: bool = False) -> torch.Tensor:
    """The product along several axes, in the dtype of x; torch.prod takes one."""
    for d in sorted((d % x.ndim for d in dim), reverse=True):
        x = torch.prod(x, d, keepdim, dtype=x.dtype)
    return x


def largest(x: torch.Tensor, dim: Sequence[int], keepdim: bool = False) -> torch.Tensor:
    """The largest along axes; of nothing the lowest number of the dtype."""
    if all(x.shape[d] for d in dim):
        return torch.amax(x, tuple(dim), keepdim)
    if x.dtype == torch.bool:
        return x.any(tuple(dim), keepdim)
    lowest = -float("inf") if x.is_floating_point() else torch.iinfo(x.dtype).min
    return torch.full_like(torch.sum(x, tuple(dim), keepdim, dtype=x.dtype), lowest)


def smallest(x: torch.Tensor, dim: Sequence[int], keepdim: bool = False) -> torch.Tensor:
    """The smallest along axes; of nothing the highest number of the dtype."""
    if all(x.shape[d] for d in dim):
        return torch.amin(x, tuple(dim), keepdim)
    if x.dtype == torch.bool:
        return x.all(tuple(dim), keepdim)
    highest = float("inf") if x.is_floating_point() else torch.iinfo(x.dtype).max
    return torch.full_like(torch.sum(x, tuple(dim), keepdim, dtype=x.dtype), highest)


def _plain(w: Any, x: Value) -> Value:
    return x


# operator -> (the reduction, what it makes of each number where no axis is reduced)
REDUCTIONS: dict[str, tuple[Callable[..., Value], Callable[[Any, Value], Value]]] = {
    "ReduceSum": (_sum, _plain),
    "ReduceMean": (_mean, _plain),
    "ReduceProd": (_prod, _plain),
    "ReduceMax": (_extreme(torch.amax, largest), _plain),
    "ReduceMin": (_extreme(torch.amin, smallest), _plain),
    "ReduceL1": (_l1, _abs),
    "ReduceL2": (_l2, _abs),
    "ReduceSumSquare": (lambda w, x, along: _sum(w, _square(w, x), along), _square),
    "ReduceLogSum": (lambda w, x, along: torch.log(torch.sum(x, **along)), lambda w, x: torch.log(x)),
    "ReduceLogSumExp": (lambda w, x, along: torch.logsumexp(x, **along), _plain),
}


def _register(op: str, reduce: Callable[..., Value], alone: Callable[[Any, Value], Value]) -> None:
    @lowers(op)
    def lowered(w: Any, data: Value, axes: Value = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Value:
        along = _axes(w, axes, noop_with_empty_axes)
        x = w.as_tensor(0, data)
        return reduce(w, x, _along(along, keepdims)) if along else alone(w, x)

    lowered.__name__, lowered.__doc__ = op.lower(), f"{op} over `axes`; over all without any."


for _op, (_reduce, _alone) in REDUCTIONS.items():
    _register(_op, _reduce, _alone)


@lowers("ArgMax")
def argmax(w: Any, data: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Value:
    """Where the largest stands, the first (or last) of equals."""
    return _arg(w, torch.argmax, data, axis, keepdims, select_last_index)


@lowers("ArgMin")
def argmin(w: Any, data: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Value:
    """Where the smallest stands, the first (or last) of equals."""
    return _arg(w, torch.argmin, data, axis, keepdims, select_last_index)


def _arg(w: Any, f: Callable[..., Value], data: Value, axis: int, keepdims: int, last: int) -> Value:
    x = ordered(w, data) if is_wide(w) else data
    along = _along([axis], keepdims)
    if not last:
        return f(x, **along)
    return x.shape[axis] - 1 - f(torch.flip(x, [axis]), **along)


@lowers("TopK")
def top_k(w: Any, X: Value, K: Value, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Value:  # noqa: A002
    """The k largest (or smallest) along an axis, and where they stand; the first of equals first.

    torch.topk takes equals in any order, so this sorts all of them.
    """
    order = {"descending": True} if largest else {}
    found = torch.sort(ordered(w, X) if is_wide(w) else X, dim=axis, **order, stable=True)
    values, indices = (found[i].narrow(axis, 0, w.number(K)) for i in range(2))
    return (unordered(w, values) if is_wide(w) else values), indices


@lowers("CumSum")
def cumsum(w: Any, x: Value, axis: Value, *, exclusive: int = 0, reverse: int = 0) -> Value:
    """The running sum along an axis; from the end (reverse), without the element itself (exclusive)."""
    return _running(w, torch.cumsum, 0, x, axis, exclusive, reverse)


@lowers("CumProd")
def cumprod(w: Any, x: Value, axis: Value, *, exclusive: int = 0, reverse: int = 0) -> Value:
    """The running product along an axis; from the end (reverse), without the element itself (exclusive)."""
    return _running(w, torch.cumprod, 1, x, axis, exclusive, reverse)


def _running(w: Any, f: Callable[..., Value], start: int, x: Value, axis: Value, exclusive: int, reverse: int) -> Value:
    dim, dtype = w.number(axis), w.dtype_in(0)
    y = x.to(torch.int64) if is_wide(w) else x
    y = torch.flip(y, [dim]) if reverse else y
    y = f(y, dim) if dtype.is_floating_point or is_wide(w) else f(y, dim, dtype=dtype)
    y = w.function(delayed, y, dim, start) if exclusive else y
    y = torch.flip(y, [dim]) if reverse else y
    return y.to(dtype) if is_wide(w) else y


def delayed(x: torch.Tensor, dim: int, start: float) -> torch.Tensor:
    """Everything moved on by one place along an axis, `start` coming in at the first."""
    n = x.shape[dim]
    first = torch.full_like(x.narrow(dim, 0, min(n, 1)), start)
    return torch.cat([first, x], dim).narrow(dim, 0, n)
