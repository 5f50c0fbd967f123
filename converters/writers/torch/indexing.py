"""ONNX's tensor operators that pick and put elements by place."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from zoo.converters.writers.torch import lowers, selecting, unsigned
from zoo.converters.writers.torch.sizes import is_computed
from zoo.converters.writers.torch.types import BY_BYTES
from zoo.errors import HubError

Value = Any
REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _moved(w: Any, f: Callable[..., Value], *xs: Value) -> Value:
    """`f`, which only moves elements, over tensors of the first input's dtype: over their bits if torch can't else."""
    dtype = w.dtype_in(0)
    if dtype.is_floating_point and dtype.itemsize == 1:
        return f(*(x.view(BY_BYTES[dtype][1]) for x in xs)).view(dtype)
    return unsigned.in_int64(w, f, *xs) if unsigned.is_wide(w) else f(*xs)


def _length(w: Any, data: Value, axis: int) -> Any:
    known = (w.shape_in(0) or ())[axis]
    return known if isinstance(known, int) else data.shape[axis]


def _places(w: Any, i: int, indices: Value, length: Any) -> Value:
    """Indices as torch.gather and torch.scatter want them, int64 and from the start; known ones as a constant."""
    known = w.known(indices)
    if known is not None and isinstance(length, int) and np.all((known >= -length) & (known < length)):
        return w.constant(known.astype(np.int64) % max(length, 1), "indices")
    return w.function(selecting.non_negative, w.as_tensor(i, indices), length)


@lowers("Where")
def where(w: Any, condition: Value, X: Value, Y: Value) -> Value:
    """X where the condition holds, Y elsewhere."""
    condition = w.as_tensor(0, condition)
    if not w.is_tensor(1) and not w.is_tensor(2):
        X, Y = w.as_tensor(1, X), w.as_tensor(2, Y)
    return torch.where(condition, X, Y)


@lowers("Gather")
def gather(w: Any, data: Value, indices: Value, *, axis: int = 0) -> Value:
    """data[..., indices, ...] along an axis. nn.Embedding where the author has one."""
    shape, at = w.shape_in(0), w.known(indices)
    x = w.as_tensor(0, data)
    if axis == 0 and shape is not None and len(shape) == 2 and w.author_has(nn.Embedding):
        arguments = {"num_embeddings": shape[0], "embedding_dim": shape[1]}
        if (y := w.layer(nn.Embedding, w.as_tensor(1, indices), arguments, weight=data)) is not None:
            return y
    axis = axis + w.rank_in(0) if axis < 0 else axis
    before = [slice(None)] * axis
    if at is not None and at.ndim == 0:
        return x.select(axis, int(at)) if axis else x[int(at)]
    if not w.is_tensor(1):  # a size that the running module reads
        return (
            x.select(axis, w.number(indices)) if w.sizes(indices).rank == 0 else x[(*before, w.as_tensor(1, indices))]
        )
    return x[(*before, indices)]


@lowers("GatherElements")
def gather_elements(w: Any, data: Value, indices: Value, *, axis: int = 0) -> Value:
    """One element of data for each of indices, along an axis."""
    places = _places(w, 1, indices, _length(w, data, axis))
    return _moved(w, lambda x: torch.gather(x, axis, places), w.as_tensor(0, data))


@lowers("GatherND")
def gather_nd(w: Any, data: Value, indices: Value, *, batch_dims: int = 0) -> Value:
    """Data at points: the last axis of indices [..., k] counts the axes that a point names."""
    x, points = w.as_tensor(0, data), w.as_tensor(1, indices)
    depth = (w.shape_in(1) or (None,))[-1]
    if batch_dims or not isinstance(depth, int) or depth == 0:
        return w.function(selecting.gather_points, x, points, *([batch_dims] if batch_dims else []))
    return x[points[..., 0]] if depth == 1 else x[points.unbind(-1)]


@lowers("ScatterElements")
def scatter_elements(
    w: Any, data: Value, indices: Value, updates: Value, *, axis: int = 0, reduction: str = "none"
) -> Value:
    """A copy of data in which each update stands at its place along an axis, or is combined with what stood there."""
    places = _places(w, 1, indices, _length(w, data, axis))
    xs = w.as_tensor(0, data), w.as_tensor(2, updates)
    if reduction == "none":
        return _moved(w, lambda x, new: torch.scatter(x, axis, places, new), *xs)
    if reduction == "add":
        return _combined(w, reduction, lambda x, new: torch.scatter_add(x, axis, places, new), *xs)
    return _combined(
        w, reduction, lambda x, new: torch.scatter_reduce(x, axis, places, new, REDUCTIONS[reduction]), *xs
    )


@lowers("ScatterND")
def scatter_nd(w: Any, data: Value, indices: Value, updates: Value, *, reduction: str = "none") -> Value:
    """A copy of data in which each update stands at its point, or is combined with what stood there."""
    points, depth = w.as_tensor(1, indices), (w.shape_in(1) or (None,))[-1]
    xs = w.as_tensor(0, data), w.as_tensor(2, updates)
    if reduction in ("none", "add") and depth != 0:
        at = (points[..., 0],) if depth == 1 else points.unbind(-1)
        if reduction == "none":
            return _moved(w, lambda x, new: torch.index_put(x, at, new), *xs)
        return _combined(w, reduction, lambda x, new: torch.index_put(x, at, new, accumulate=True), *xs)
    if reduction == "none":  # a point that names no axis is the whole
        return xs[1].reshape(-1, *xs[0].shape)[-1]
    name = REDUCTIONS[reduction]
    return _combined(w, reduction, lambda x, new: w.function(selecting.scatter_points, x, points, new, name), *xs)


def _combined(w: Any, reduction: str, f: Callable[..., Value], *xs: Value) -> Value:
    """`f`, which combines elements, over tensors of the first input's dtype. Raises HubError where torch can't."""
    dtype = w.dtype_in(0)
    if reduction not in REDUCTIONS:
        raise HubError(f"{w.node.op_type} with the unknown reduction {reduction!r}")
    if (
        dtype == torch.bool
        or (dtype.is_complex and reduction != "add")
        or (dtype.is_floating_point and dtype.itemsize == 1)
    ):
        raise HubError(f"{w.node.op_type} with reduction {reduction!r} of {dtype}: torch combines no such elements")
    if not unsigned.is_wide(w):
        return f(*xs)
    return (unsigned.in_order if reduction in ("max", "min") else unsigned.in_int64)(w, f, *xs)


@lowers("TensorScatter")
def tensor_scatter(
    w: Any, past_cache: Value, update: Value, write_indices: Value = None, *, axis: int = -2, mode: str = "linear"
) -> Value:
    """A cache [batch, ...] with an update written along an axis, from each member's own place on."""
    axis = axis % w.rank_in(0)
    if mode not in ("linear", "circular") or axis == 0:
        raise HubError(f"TensorScatter with mode {mode!r} along axis {axis}")
    begin, options = w.as_tensor(2, write_indices), [True] if mode == "circular" else []
    return _moved(
        w,
        lambda x, new: w.function(selecting.tensor_scatter, x, new, begin, axis, *options),
        w.as_tensor(0, past_cache),
        w.as_tensor(1, update),
    )


@lowers("Compress")
def compress(w: Any, input: Value, condition: Value, *, axis: int | None = None) -> Value:  # noqa: A002
    """What stands where the condition holds, along an axis or of all elements; a short one holds nowhere else."""
    x, holds = w.as_tensor(0, input), w.as_tensor(1, condition)
    before = [slice(None)] * (0 if axis is None else axis % w.rank_in(0))
    known = w.known(condition)
    places = torch.nonzero(holds)[:, 0] if known is None else w.constant(np.flatnonzero(known), "indices")
    return (x.flatten() if axis is None else x)[(*before, places)]


@lowers("NonZero")
def non_zero(w: Any, X: Value) -> Value:
    """The places of what is not zero: [rank, count]."""
    x, dtype = w.as_tensor(0, X), w.dtype_in(0)
    has_kernel = not unsigned.is_wide(w) and (not dtype.is_floating_point or dtype.itemsize > 1)
    return torch.nonzero(x if has_kernel else x != 0).t()


@lowers("OneHot")
def one_hot(w: Any, indices: Value, depth: Value, values: Value, *, axis: int = -1) -> Value:
    """values[1] where the place along a new axis is the index, values[0] elsewhere; outside of it values[0] alone."""
    at, count = w.as_tensor(0, indices).to(torch.int64), w.number(depth)
    if w.dtype_in(1) != torch.int64:
        count = w.function(int, count) if is_computed(count) else int(count)
    rank = w.rank_in(0) + 1
    axis = axis % rank
    places = w.function(torch.arange, count, device=w.device())
    if axis != rank - 1:
        places = places.view(-1, *[1] * (rank - 1 - axis))
    is_there = places == torch.where(at < 0, at + count, at).unsqueeze(axis)
    known = w.known(values)
    if known is not None and known.dtype.kind in "iufb":
        off, on = (n.item() for n in known.reshape(-1))
        if (off, on) == (0, 1):
            return is_there.to(w.dtype_out())
    both = w.as_tensor(2, values)
    return torch.where(is_there, both[1], both[0])


@lowers("Unique")
def unique(w: Any, X: Value, *, axis: int | None = None, sorted: int = 1) -> Value:  # noqa: A002
    """The elements or slices that differ, where each stands first, which of them each is, how often each is there."""
    x = w.as_tensor(0, X) if axis is not None else w.as_tensor(0, X).flatten()
    options: dict[str, Any] = {} if axis is None else {"dim": axis % w.rank_in(0)}
    found = w.function(selecting.unique, x, **options, **({} if sorted else {"sort": False}))
    return tuple(found[i] for i in range(len(w.node.outputs)))


@lowers("ReverseSequence")
def reverse_sequence(w: Any, input: Value, sequence_lens: Value, *, batch_axis: int = 1, time_axis: int = 0) -> Value:  # noqa: A002
    """Of each member of a batch, the first steps backwards and the others as they are."""
    rank, lengths = w.rank_in(0), w.as_tensor(1, sequence_lens)
    axes = batch_axis % rank, time_axis % rank
    return _moved(w, lambda x: w.function(selecting.reverse_sequence, x, lengths, *axes), w.as_tensor(0, input))


@lowers("Trilu")
def trilu(w: Any, input: Value, k: Value = None, *, upper: int = 1) -> Value:  # noqa: A002
    """The upper or lower triangle of each matrix, from its k-th diagonal on."""
    diagonal: Sequence[Any] = [] if k is None else [w.number(k)]
    f = torch.triu if upper else torch.tril
    return _moved(w, lambda x: f(x, *diagonal), w.as_tensor(0, input))


@lowers("IsNaN")
def is_nan(w: Any, X: Value) -> Value:
    """Whether each element is no number."""
    return torch.isnan(X)
