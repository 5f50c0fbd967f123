"""ONNX's tensor operators that pick and put elements by place."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from zoo.converters.writers import numbers
from zoo.converters.writers.jax import lowers
from zoo.converters.writers.jax.sizes import places
from zoo.errors import HubError

Value = Any
REDUCTIONS = {"none": "set", "add": "add", "mul": "multiply", "max": "max", "min": "min"}


def grid(shape: Sequence[int]) -> list[Any]:
    """The place of each element of a shape along each axis, of shapes that broadcast to it."""
    return [places(n).reshape([-1 if i == axis else 1 for i in range(len(shape))]) for axis, n in enumerate(shape)]


@lowers("Where")
def where(w: Any, condition: Value, X: Value, Y: Value) -> Value:
    """X where the condition holds, Y elsewhere."""
    return jnp.where(condition, X, Y)


@lowers("Gather")
def gather(w: Any, data: Value, indices: Value, *, axis: int = 0) -> Value:
    """data[..., indices, ...] along an axis; negative indices count from the end."""
    known = w.constant(indices)
    return data[(*[slice(None)] * (axis % data.ndim), indices if known is None else known)]


@lowers("GatherElements")
def gather_elements(w: Any, data: Value, indices: Value, *, axis: int = 0) -> Value:
    """One element of data for each of indices, along an axis."""
    at = grid(indices.shape)
    at[axis] = indices
    return data[tuple(at)]


@lowers("GatherND")
def gather_nd(w: Any, data: Value, indices: Value, *, batch_dims: int = 0) -> Value:
    """Data at points: the last axis of indices [..., k] counts the axes that a point names."""
    at = points(indices, batch_dims)
    if not at:
        return jnp.broadcast_to(data, (*indices.shape[:-1], *data.shape))
    return data[at]


def points(indices: Value, batch_dims: int = 0) -> tuple[Value, ...]:
    """Points [..., k] as an index: the place in each axis of the batch, then one array for each axis named."""
    return (*grid(indices.shape[:-1])[:batch_dims], *(indices[..., i] for i in range(indices.shape[-1])))


@lowers("ScatterElements")
def scatter_elements(
    w: Any, data: Value, indices: Value, updates: Value, *, axis: int = 0, reduction: str = "none"
) -> Value:
    """A copy of data in which each update stands at its place along an axis, or is combined with what stood there."""
    at = grid(indices.shape)
    at[axis] = indices
    return _put(w, data, tuple(at), updates, reduction)


@lowers("ScatterND")
def scatter_nd(w: Any, data: Value, indices: Value, updates: Value, *, reduction: str = "none") -> Value:
    """A copy of data in which each update stands at its point, or is combined with what stood there."""
    if indices.shape[-1] == 0:  # a point that names no axis is the whole
        data, at = data[None], (jnp.zeros(indices.shape[:-1], int),)
        return _put(w, data, at, updates, reduction)[0]
    return _put(w, data, points(indices), updates, reduction)


def _put(w: Any, data: Value, at: tuple[Value, ...], updates: Value, reduction: str) -> Value:
    if reduction not in REDUCTIONS:
        raise HubError(f"{w.node.op_type} with the unknown reduction {reduction!r}")
    return getattr(data.at[at], REDUCTIONS[reduction])(updates)


@lowers("TensorScatter")
def tensor_scatter(
    w: Any, past_cache: Value, update: Value, write_indices: Value = None, *, axis: int = -2, mode: str = "linear"
) -> Value:
    """A cache [batch, ...] with an update written along an axis, from each member's own place on."""
    axis = axis % past_cache.ndim
    if mode not in ("linear", "circular") or axis == 0:
        raise HubError(f"TensorScatter with mode {mode!r} along axis {axis}")
    at = grid(update.shape)
    if write_indices is not None:
        at[axis] = at[axis] + write_indices.reshape([-1] + [1] * (update.ndim - 1))
    if mode == "circular":
        at[axis] = at[axis] % past_cache.shape[axis]
    return past_cache.at[tuple(at)].set(update)


@lowers("Compress")
def compress(w: Any, input: Value, condition: Value, *, axis: int | None = None) -> Value:  # noqa: A002
    """What stands where the condition holds, along an axis or of all elements; a short one holds nowhere else."""
    at = np.flatnonzero(w.concrete(condition))
    return jnp.take(input.reshape(-1), at) if axis is None else jnp.take(input, at, axis)


@lowers("NonZero")
def non_zero(w: Any, X: Value) -> Value:
    """The places of what is not zero: [rank, count]."""
    return np.array(np.nonzero(np.atleast_1d(w.concrete(X))), dtype=np.int64).reshape(max(X.ndim, 1), -1)


@lowers("OneHot")
def one_hot(w: Any, indices: Value, depth: Value, values: Value, *, axis: int = -1) -> Value:
    """values[1] where the place along a new axis is the index, values[0] elsewhere; outside of it values[0] alone."""
    count = int(w.number(depth))
    at = indices.astype(int) if jnp.issubdtype(indices.dtype, jnp.floating) else indices
    axis = axis % (indices.ndim + 1)
    at = jnp.expand_dims(jnp.where(at < 0, at + count, at), axis)
    along = np.arange(count).reshape([-1 if i == axis else 1 for i in range(at.ndim)])
    return jnp.where(at == along, values[1], values[0])


@lowers("Unique")
def unique(w: Any, X: Value, *, axis: int | None = None, sorted: int = 1) -> Value:  # noqa: A002
    """The elements or slices that differ, where each stands first, which of them each is, how often each is there."""
    return numbers.unique(w.concrete(X), axis, bool(sorted))


@lowers("ReverseSequence")
def reverse_sequence(w: Any, input: Value, sequence_lens: Value, *, batch_axis: int = 1, time_axis: int = 0) -> Value:  # noqa: A002
    """Of each member of a batch, the first steps backwards and the others as they are."""
    at = grid(input.shape)
    shape = [-1 if i == batch_axis % input.ndim else 1 for i in range(input.ndim)]
    step, lengths = at[time_axis], sequence_lens.reshape(shape)
    at[time_axis] = jnp.where(step < lengths, lengths - 1 - step, step)
    return input[tuple(at)]


@lowers("Trilu")
def trilu(w: Any, input: Value, k: Value = None, *, upper: int = 1) -> Value:  # noqa: A002
    """The upper or lower triangle of each matrix, from its k-th diagonal on."""
    rows, columns = grid(input.shape[-2:])
    beyond = (columns - rows) - (0 if k is None else k.reshape(()))
    return jnp.where(beyond >= 0 if upper else beyond <= 0, input, jnp.zeros((), input.dtype))
