"""ONNX's reductions, arguments of the largest, sorting and cumulative sums."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo.converters.writers.mxnet import lowers
from zoo.converters.writers.mxnet.math import FLOATS

Value = Any
# sums and products over no elements are 0 and 1; of integers they stay what they are
REDUCES: dict[str, Callable[..., Value]] = {
    "ReduceSum": lambda w, x, **o: _summed(w, x, **o),
    "ReduceMean": lambda w, x, **o: _integral(w, w.np.mean, x, **o),
    "ReduceProd": lambda w, x, **o: w.np.prod(x, **o),
    "ReduceMax": lambda w, x, **o: w.np.max(x, **o),
    "ReduceMin": lambda w, x, **o: w.np.min(x, **o),
    "ReduceSumSquare": lambda w, x, **o: _summed(w, w.F.square(x), **o),
    "ReduceL1": lambda w, x, **o: _summed(w, w.F.abs(x), **o),
    "ReduceL2": lambda w, x, **o: _integral(w, lambda y, **p: w.F.sqrt(_summed(w, w.F.square(y), **p)), x, **o),
    "ReduceLogSum": lambda w, x, **o: _integral(w, lambda y, **p: w.F.log(_summed(w, y, **p)), x, **o),
    "ReduceLogSumExp": lambda w, x, **o: _integral(w, lambda y, **p: _log_sum_exp(w, y, **p), x, **o),
}


# where what comes out is no scalar, which classic operators don't know
CLASSIC = {"ReduceSum": "sum", "ReduceMean": "mean", "ReduceProd": "prod", "ReduceMax": "max", "ReduceMin": "min"}


def _summed(w: Any, x: Value, *, axis: tuple[int, ...], keepdims: bool) -> Value:
    """A sum; by the classic operator where it can, since now and then mx.np's fails on what a product has made."""
    is_scalar = not keepdims and len(axis) == w.rank(0)
    is_classic = w.computed_in(0) in FLOATS and not is_scalar
    return (w.F if is_classic else w.np).sum(x, axis=axis, keepdims=keepdims)


def _integral(w: Any, f: Callable[..., Value], x: Value, **options: Any) -> Value:
    """A function of floats; of integers computed in float64 and cut off."""
    own = w.computed_in(0)
    return f(x, **options) if own in FLOATS else w.cast(f(w.cast(x, "float64"), **options), own)


def _log_sum_exp(w: Any, x: Value, *, axis: Any, keepdims: bool) -> Value:
    """Around the largest, so that exp does not overflow; where that is infinite, around 0."""
    top = w.np.max(x, axis=axis, keepdims=True)
    top = w.F.where(w.F.abs(top) == float("inf"), w.F.zeros_like(top), top)
    total = w.F.log(_summed(w, w.F.exp(w.F.broadcast_sub(x, top)), axis=axis, keepdims=True)) + top
    return total if keepdims else w.np.squeeze(total, axis=axis)


for _op, _f in REDUCES.items():

    @lowers(_op)
    def _lowered(
        w: Any, data: Value, axes: Value = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0, _f: Any = _f
    ) -> Value:
        along = [] if axes is None else w.ints(axes)
        rank = w.rank(0)
        if not along and noop_with_empty_axes:
            # over no axes: each element is reduced by itself
            return w.np.squeeze(_f(w, w.F.expand_dims(data, axis=rank), axis=(rank,), keepdims=True), axis=rank)
        chosen = tuple(sorted(axis % rank for axis in along)) or tuple(range(rank))
        if 0 in w.dims(0):  # MXNet's kernels fail there, and say so when the next ones are run
            return _of_nothing(w, w.node.op_type, chosen, bool(keepdims))
        if not rank:
            return w.reshape(_f(w, w.reshape(data, (1,)), axis=(0,), keepdims=True), ())
        if w.node.op_type == "ReduceMean" and (rank, chosen, keepdims) == (4, (2, 3), 1) and w.computed_in(0) in FLOATS:
            return w.F.Pooling(data, kernel=(1, 1), global_pool=True, pool_type="avg")
        classic = CLASSIC.get(w.node.op_type)
        if classic and w.computed_in(0) in FLOATS and (keepdims or len(chosen) < rank):
            return getattr(w.F, classic)(data, axis=chosen, keepdims=bool(keepdims))
        return _f(w, data, axis=chosen, keepdims=bool(keepdims))


# what a reduction over no elements gives; of integers the largest and the smallest that there are
NOTHING = {"ReduceProd": 1.0, "ReduceMax": -np.inf, "ReduceMin": np.inf, "ReduceLogSum": -np.inf}
NOTHING |= {"ReduceLogSumExp": -np.inf, "ReduceMean": np.nan}


def _of_nothing(w: Any, op: str, axes: Sequence[int], keepdims: bool) -> Value:
    sizes = [1 if i in axes else n for i, n in enumerate(w.whole(0)) if keepdims or i not in axes]
    dtype, value = np.dtype(w.computed_in(0)), NOTHING.get(op, 0.0)
    if np.isinf(value) and dtype.kind in "iu":
        value = np.iinfo(dtype).max if value > 0 else np.iinfo(dtype).min
    return w.array(np.full(sizes, value, dtype))


def _argument(w: Any, data: Value, axis: int, keepdims: int, last: int, name: str) -> Value:
    """Where the largest or smallest stands along an axis: the first, or the last of equal ones."""
    along = axis % w.rank(0)
    x = w.F.reverse(data, axis=along) if last else data
    x = x if w.computed_in(0) in FLOATS else w.cast(x, "float64")
    at = w.cast(getattr(w.np, name)(x, axis=along), "int64")
    if last:
        at = (w.whole(0)[along] - 1) - at
    return w.F.expand_dims(at, axis=along) if keepdims else at


@lowers("ArgMax")
def arg_max(w: Any, data: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Value:
    """Where the largest stands along an axis."""
    return _argument(w, data, axis, keepdims, select_last_index, "argmax")


@lowers("ArgMin")
def arg_min(w: Any, data: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Value:
    """Where the smallest stands along an axis."""
    return _argument(w, data, axis, keepdims, select_last_index, "argmin")


@lowers("TopK")
def top_k(w: Any, X: Value, K: Value, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Value:  # noqa: A002
    """The k largest or smallest along an axis, best first, of equal ones the first; and where they stood."""
    k, along = w.ints(K)[0], axis % w.rank(0)
    options = {"axis": along, "k": k, "ret_typ": "both", "is_ascend": not largest, "dtype": "int64"}
    return tuple(w.F.topk(X, **options))


@lowers("CumSum")
def cum_sum(w: Any, x: Value, axis: Value, *, exclusive: int = 0, reverse: int = 0) -> Value:
    """The sum of what stands up to each place along an axis, with or without the place itself, from either end."""
    along = w.ints(axis)[0] % w.rank(0)
    y = w.F.reverse(x, axis=along) if reverse else x
    y = w.np.cumsum(y, axis=along)
    if exclusive:
        length = w.whole(0)[along]
        widths = [(1, 0) if a == along else (0, 0) for a in range(w.rank(0))]
        y = w.pad(w.F.slice_axis(y, axis=along, begin=0, end=length - 1), widths)
    return w.F.reverse(y, axis=along) if reverse else y
