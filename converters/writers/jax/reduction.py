"""ONNX's reductions: one number for each place along the axes that stay; and sums and products as they grow."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zoo.converters.writers.jax import lowers

Value = Any


def _mean(x: Value, **along: Any) -> Value:
    """Of integers the quotient towards zero."""
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.mean(x, **along)
    total = jnp.sum(x, **along)
    return lax.div(total, jnp.full_like(total, x.size // total.size))


def _l2(x: Value, **along: Any) -> Value:
    x = x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(float)
    return jnp.sqrt(jnp.sum(jnp.square(x), **along))


def largest(x: Value, **along: Any) -> Value:
    """The largest along axes; of nothing the lowest number of the dtype."""
    return jnp.any(x, **along) if x.dtype == bool else jnp.max(x, **along, initial=lowest(x.dtype))


def smallest(x: Value, **along: Any) -> Value:
    """The smallest along axes; of nothing the highest number of the dtype."""
    return jnp.all(x, **along) if x.dtype == bool else jnp.min(x, **along, initial=highest(x.dtype))


def lowest(dtype: Any) -> Any:
    """The lowest number of a dtype."""
    return np.array(-np.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).min, dtype)[()]


def highest(dtype: Any) -> Any:
    """The highest number of a dtype."""
    return np.array(np.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).max, dtype)[()]


REDUCTIONS: dict[str, Callable[..., Value]] = {
    "ReduceSum": jnp.sum,
    "ReduceMean": _mean,
    "ReduceProd": jnp.prod,
    "ReduceMax": largest,
    "ReduceMin": smallest,
    "ReduceL1": lambda x, **along: jnp.sum(jnp.abs(x), **along),
    "ReduceL2": _l2,
    "ReduceSumSquare": lambda x, **along: jnp.sum(jnp.square(x), **along),
    "ReduceLogSum": lambda x, **along: jnp.log(jnp.sum(x, **along)),
    "ReduceLogSumExp": lambda x, **along: jax.scipy.special.logsumexp(x, **along),
}


def _register(op: str, f: Callable[..., Value]) -> None:
    @lowers(op)
    def lowered(w: Any, data: Value, axes: Value = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Value:
        along = [] if axes is None else w.ints(axes)
        if not along and not noop_with_empty_axes:
            along = list(range(data.ndim))
        return f(data, axis=tuple(along), keepdims=bool(keepdims))

    lowered.__name__, lowered.__doc__ = op.lower(), f"{op} over `axes`; over all without any."


for _op, _f in REDUCTIONS.items():
    _register(_op, _f)


@lowers("ArgMax")
def argmax(w: Any, data: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Value:
    """Where the largest stands, the first (or last) of equals."""
    return _arg(jnp.argmax, data, axis, keepdims, select_last_index)


@lowers("ArgMin")
def argmin(w: Any, data: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Value:
    """Where the smallest stands, the first (or last) of equals."""
    return _arg(jnp.argmin, data, axis, keepdims, select_last_index)


def _arg(f: Callable[..., Value], x: Value, axis: int, keepdims: int, last: int) -> Value:
    if not last:
        return f(x, axis=axis, keepdims=bool(keepdims))
    return x.shape[axis] - 1 - f(jnp.flip(x, axis), axis=axis, keepdims=bool(keepdims))


@lowers("TopK")
def top_k(w: Any, X: Value, K: Value, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Value:  # noqa: A002
    """The k largest (or smallest) along an axis, and where they stand; the first of equals first."""
    k = w.number(K)
    if largest and jnp.issubdtype(X.dtype, jnp.floating):
        found = lax.top_k(jnp.moveaxis(X, axis, -1), k)
        values, indices = (jnp.moveaxis(x, -1, axis) for x in found)
        return values, indices
    order = jnp.argsort(X, axis=axis, stable=True, descending=bool(largest))
    indices = lax.slice_in_dim(order, 0, k, axis=axis % X.ndim)
    return jnp.take_along_axis(X, indices, axis), indices


@lowers("CumSum")
def cumsum(w: Any, x: Value, axis: Value, *, exclusive: int = 0, reverse: int = 0) -> Value:
    """The running sum along an axis; from the end (reverse), without the element itself (exclusive)."""
    return _running(lax.cumsum, x, w.number(axis), exclusive, reverse, 0)


@lowers("CumProd")
def cumprod(w: Any, x: Value, axis: Value, *, exclusive: int = 0, reverse: int = 0) -> Value:
    """The running product along an axis; from the end (reverse), without the element itself (exclusive)."""
    return _running(lax.cumprod, x, w.number(axis), exclusive, reverse, 1)


def _running(f: Callable[..., Value], x: Value, axis: int, exclusive: int, reverse: int, start: int) -> Value:
    axis = axis % x.ndim
    if exclusive and x.shape[axis]:  # moved on by one place, `start` coming in
        first = jnp.full_like(lax.slice_in_dim(x, 0, 1, axis=axis), start)
        kept = lax.slice_in_dim(x, 1, None, axis=axis) if reverse else lax.slice_in_dim(x, 0, -1, axis=axis)
        x = jnp.concatenate([kept, first] if reverse else [first, kept], axis)
    return f(x, axis=axis, reverse=bool(reverse))
