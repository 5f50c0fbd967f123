"""ONNX's tensor operators that pick and put elements by place.

keras.ops reads along one axis at a time: a point of several axes is counted as one place among all elements.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from zoo.converters.writers import numbers
from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.operators.precision import dtype_of, is_float, to
from zoo.converters.writers.keras.operators.sizes import Size, cut, grid, is_known, places, product, rank, sized, sizes

Tensor = Any
REDUCTIONS = {"none": None, "add": "add", "mul": "mul", "max": "max", "min": "min"}


def from_front(at: Tensor, size: Size) -> Tensor:
    """Places along an axis of a size, the negative ones counted from the end, in int64."""
    at = to(at, "int64")
    return ops.where(at < 0, at + sized(size, "int64"), at)


@lowers("Where")
def where(w: Any, condition: Tensor, X: Tensor, Y: Tensor) -> Tensor:
    """X where the condition holds, Y elsewhere."""
    return ops.where(condition, X, Y)


@lowers("Gather")
def gather(w: Any, data: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """data[..., indices, ...] along an axis; negative indices count from the end."""
    return ops.take(data, from_front(indices, sizes(data)[axis]), axis=axis)


@lowers("GatherElements")
def gather_elements(w: Any, data: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """One element of data for each of indices, along an axis."""
    axis = axis % rank(data)
    for i, (have, n) in enumerate(zip(sizes(data), sizes(indices), strict=True)):
        if i != axis and not (is_known(have, n) and have == n):
            data = cut(data, i, 0, n)
    return ops.take_along_axis(data, from_front(indices, sizes(data)[axis]), axis=axis)


@lowers("GatherND")
def gather_nd(w: Any, data: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    """Data at points: the last axis of indices [..., k] counts the axes that a point names."""
    have, of, named = sizes(data), sizes(indices), indices.shape[-1]
    lead, rest = have[: batch_dims + named], have[batch_dims + named :]
    batch = [places(n, i, len(of) - 1, "int64") for i, n in enumerate(of[:batch_dims])]
    points = [*batch, *(from_front(indices[..., i], have[batch_dims + i]) for i in range(named))]
    if not points:
        return ops.broadcast_to(data, [*of[:-1], *have])
    return ops.take(ops.reshape(data, [product(lead), *rest]), counted(points, lead), axis=0)


def counted(points: Sequence[Tensor], shape: Sequence[Size]) -> Tensor:
    """Points, one tensor for each axis of a shape, as places among all its elements."""
    at = points[0]
    for point, n in zip(points[1:], shape[1:], strict=True):
        at = at * sized(n, dtype_of(at)) + point
    return at


@lowers("ScatterElements")
def scatter_elements(
    w: Any, data: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none"
) -> Tensor:
    """A copy of data in which each update stands at its place along an axis, or is combined with what stood there."""
    points = grid(sizes(indices), "int64")
    points[axis] = from_front(indices, sizes(data)[axis])
    return put(w, data, points, updates, reduction)


def put(w: Any, data: Tensor, points: Sequence[Tensor], updates: Tensor, reduction: str = "none") -> Tensor:
    """A copy of data with updates at points, one tensor for each axis; all broadcast to the shape of updates."""
    shape = sizes(updates)
    at = ops.stack([ops.reshape(ops.broadcast_to(point, shape), [-1]) for point in points], -1)
    return updated(w, data, at, ops.reshape(updates, [-1]), reduction)


def updated(w: Any, data: Tensor, at: Tensor, updates: Tensor, reduction: str) -> Tensor:
    """A copy of data with updates [count, ...] at points [count, axes]."""
    if reduction not in REDUCTIONS:
        raise w.refused(f"unknown reduction {reduction!r}")
    return ops.scatter_update(data, at, updates, reduction=REDUCTIONS[reduction])


@lowers("ScatterND")
def scatter_nd(w: Any, data: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    """A copy of data in which each update stands at its point, or is combined with what stood there."""
    named, have = indices.shape[-1], sizes(data)
    if named == 0:  # a point that names no axis is the whole
        updates = ops.reshape(updates, [-1, *have])
        at = ops.zeros([sizes(updates)[0], 1], dtype="int32")
        return updated(w, ops.expand_dims(data, 0), at, updates, reduction)[0]
    points = [ops.reshape(from_front(indices[..., i], have[i]), [-1]) for i in range(named)]
    return updated(w, data, ops.stack(points, -1), ops.reshape(updates, [-1, *have[named:]]), reduction)


@lowers("TensorScatter")
def tensor_scatter(
    w: Any, past_cache: Tensor, update: Tensor, write_indices: Tensor = None, *, axis: int = -2, mode: str = "linear"
) -> Tensor:
    """A cache [batch, ...] with an update written along an axis, from each member's own place on."""
    axis = axis % rank(past_cache)
    if mode not in ("linear", "circular") or axis == 0:
        raise w.refused(f"mode {mode!r} along axis {axis}")
    points = grid(sizes(update), "int64")
    if write_indices is not None:
        points[axis] = points[axis] + ops.reshape(to(write_indices, "int64"), [-1] + [1] * (rank(update) - 1))
    if mode == "circular":
        points[axis] = points[axis] % sized(sizes(past_cache)[axis], "int64")
    return put(w, past_cache, points, update)


@lowers("Compress")
def compress(w: Any, input: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:  # noqa: A002
    """What stands where the condition holds, along an axis or of all elements; a short one holds nowhere else."""
    found = w.numbers(condition)
    at = ops.nonzero(condition)[0] if found is None else np.flatnonzero(found)
    return ops.take(ops.reshape(input, [-1]) if axis is None else input, at, axis=axis or 0)


@lowers("NonZero")
def non_zero(w: Any, X: Tensor) -> Tensor:
    """The places of what is not zero: [rank, count]."""
    x = X if rank(X) else ops.reshape(X, [1])
    found = w.numbers(x)
    if found is not None:
        return np.array(np.nonzero(found), dtype=np.int64).reshape(rank(x), -1)
    return ops.stack([to(at, "int64") for at in ops.nonzero(x)])


@lowers("OneHot")
def one_hot(w: Any, indices: Tensor, depth: Tensor, values: Tensor, *, axis: int = -1) -> Tensor:
    """values[1] where the place along a new axis is the index, values[0] elsewhere; outside of it values[0] alone."""
    count = w.int_(depth)
    n = rank(indices) + 1
    at = ops.expand_dims(from_front(indices, count), axis % n)
    return ops.where(ops.equal(at, places(count, axis % n, n, "int64")), values[1], values[0])


@lowers("Unique")
def unique(w: Any, X: Tensor, *, axis: int | None = None, sorted: int = 1) -> Tensor:  # noqa: A002
    """The elements or slices that differ, where each stands first, which of them each is, how often each is there."""
    return numbers.unique(w.concrete(X), axis, bool(sorted))


@lowers("ReverseSequence")
def reverse_sequence(
    w: Any, input: Tensor, sequence_lens: Tensor, *, batch_axis: int = 1, time_axis: int = 0
) -> Tensor:  # noqa: A002
    """Of each member of a batch, the first steps backwards and the others as they are."""
    n, axis = rank(input), time_axis % rank(input)
    step = places(sizes(input)[axis], axis, n, "int64")
    lengths = ops.reshape(to(sequence_lens, "int64"), [-1 if i == batch_axis % n else 1 for i in range(n)])
    return ops.take_along_axis(input, ops.where(step < lengths, lengths - 1 - step, step), axis=axis)


@lowers("Trilu")
def trilu(w: Any, input: Tensor, k: Tensor = None, *, upper: int = 1) -> Tensor:  # noqa: A002
    """The upper or lower triangle of each matrix, from its k-th diagonal on."""
    rows, columns = grid(sizes(input)[-2:], "int64")
    beyond = columns - rows - (0 if k is None else ops.reshape(to(k, "int64"), ()))
    zero = ops.zeros_like(input) if is_float(input) else ops.cast(0, input.dtype)
    return ops.where(beyond >= 0 if upper else beyond <= 0, input, zero)
