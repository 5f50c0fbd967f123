"""ONNX's reductions: one number for each place along the axes that stay; and sums and products as they grow."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from zoo.converters.writers.keras import backends
from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.operators.math import quotient
from zoo.converters.writers.keras.operators.precision import (
    UNSIGNED,
    dtype_of,
    floating,
    highest,
    is_bool,
    is_float,
    lowest,
    to,
)
from zoo.converters.writers.keras.operators.sizes import cut, product, rank, sized, sizes

Tensor = Any


def total(x: Tensor, **along: Any) -> Tensor:
    """The sum along axes; integers are added up in int64, and wrap around in the dtype that they go back to."""
    return ops.sum(x if is_float(x) else to(x, "int64"), **along)


def _product(x: Tensor, **along: Any) -> Tensor:
    return ops.prod(x if is_float(x) else to(x, "int64"), **along)


def _mean(x: Tensor, **along: Any) -> Tensor:
    """Of integers the quotient towards zero."""
    if is_float(x):
        return ops.mean(x, **along)
    count = product(n for i, n in enumerate(sizes(x)) if i in {axis % rank(x) for axis in along["axis"]})
    added = total(x, **along)
    return quotient(added, ops.convert_to_tensor(sized(count, "int64"), dtype=dtype_of(added)))


def largest(x: Tensor, **along: Any) -> Tensor:
    """The largest along axes; of nothing the lowest number of the dtype."""
    if is_bool(x):
        return ops.any(x, **along)
    return _of_nothing(x, lowest(dtype_of(x)), **along) if _is_empty(x) else ops.max(x, **along)


def smallest(x: Tensor, **along: Any) -> Tensor:
    """The smallest along axes; of nothing the highest number of the dtype."""
    if is_bool(x):
        return ops.all(x, **along)
    return _of_nothing(x, highest(dtype_of(x)), **along) if _is_empty(x) else ops.min(x, **along)


def _of_nothing(x: Tensor, number: Any, axis: Sequence[int], keepdims: bool = False) -> Tensor:
    gone = {i % rank(x) for i in axis}
    shape = [1 if i in gone else n for i, n in enumerate(sizes(x)) if keepdims or i not in gone]
    return ops.full(shape, number, dtype=dtype_of(x))


def _is_empty(x: Tensor) -> bool:
    return 0 in tuple(x.shape)


REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "ReduceSum": total,
    "ReduceMean": _mean,
    "ReduceProd": _product,
    "ReduceMax": largest,
    "ReduceMin": smallest,
    "ReduceL1": lambda x, **along: total(ops.abs(x) if dtype_of(x) not in UNSIGNED else x, **along),
    "ReduceL2": lambda x, **along: ops.sqrt(ops.sum(ops.square(floating(x)), **along)),
    "ReduceSumSquare": lambda x, **along: total(ops.square(x if is_float(x) else to(x, "int64")), **along),
    "ReduceLogSum": lambda x, **along: ops.log(floating(total(x, **along))),
    "ReduceLogSumExp": lambda x, **along: ops.logsumexp(floating(x), **along),
}


def _register(op: str, f: Callable[..., Tensor]) -> None:
    @lowers(op)
    def lowered(
        w: Any, data: Tensor, axes: Tensor = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Tensor:
        along = [] if axes is None else w.ints(axes)
        if not along and not noop_with_empty_axes:
            along = list(range(rank(data)))
        if not along:  # over no axis: each element by itself, for which not every backend has a word
            return ops.squeeze(f(ops.expand_dims(data, 0), axis=(0,), keepdims=True), axis=0)
        return f(data, axis=tuple(along), keepdims=bool(keepdims))

    lowered.__name__, lowered.__doc__ = op.lower(), f"{op} over `axes`; over all without any."


for _op, _f in REDUCTIONS.items():
    _register(_op, _f)


@lowers("ArgMax")
def argmax(w: Any, data: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """Where the largest stands, the first (or last) of equals."""
    return _arg(ops.argmax, data, axis, keepdims, select_last_index)


@lowers("ArgMin")
def argmin(w: Any, data: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """Where the smallest stands, the first (or last) of equals."""
    return _arg(ops.argmin, data, axis, keepdims, select_last_index)


def _arg(f: Callable[..., Tensor], x: Tensor, axis: int, keepdims: int, last: int) -> Tensor:
    if not rank(x):
        return ops.cast(ops.zeros_like(x), "int32")
    x = x if is_float(x) else to(x, "int64")
    if not last:
        return f(x, axis=axis, keepdims=bool(keepdims))
    found = f(ops.flip(x, axis), axis=axis, keepdims=bool(keepdims))
    return sized(sizes(x)[axis] - 1, dtype_of(found)) - found


@lowers("TopK")
def top_k(w: Any, X: Tensor, K: Tensor, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Tensor:  # noqa: A002
    """The k largest (or smallest) along an axis, and where they stand; the first of equals first."""
    k, axis = w.int_(K), axis % rank(X)
    if largest and is_float(X) and backends.has_stable_top_k():
        values, indices = ops.top_k(ops.moveaxis(X, axis, -1), k)
        return ops.moveaxis(values, -1, axis), ops.moveaxis(indices, -1, axis)
    if largest:  # sorting upwards from the end leaves the first of equals last
        order = ops.flip(ops.argsort(ops.flip(X, axis), axis), axis)
        order = sized(sizes(X)[axis] - 1, dtype_of(order)) - order
    else:
        order = ops.argsort(X, axis)
    indices = cut(order, axis, 0, k)
    return ops.take_along_axis(X, indices, axis=axis), indices


@lowers("CumSum")
def cumsum(w: Any, x: Tensor, axis: Tensor, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """The running sum along an axis; from the end (reverse), without the element itself (exclusive)."""
    return _running(ops.cumsum, x, w.number(axis), exclusive, reverse, 0)


@lowers("CumProd")
def cumprod(w: Any, x: Tensor, axis: Tensor, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """The running product along an axis; from the end (reverse), without the element itself (exclusive)."""
    return _running(ops.cumprod, x, w.number(axis), exclusive, reverse, 1)


def _running(f: Callable[..., Tensor], x: Tensor, axis: int, exclusive: int, reverse: int, start: int) -> Tensor:
    x = x if is_float(x) else to(x, "int64")
    x = ops.flip(x, axis) if reverse else x
    if exclusive:  # moved on by one place, `start` coming in
        first = ops.full_like(cut(x, axis, 0, 1), start)
        x = ops.concatenate([first, cut(x, axis, 0, sizes(x)[axis] - sizes(first)[axis])], axis)
    y = f(x, axis=axis)
    return ops.flip(y, axis) if reverse else y
