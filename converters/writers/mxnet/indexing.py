"""ONNX's tensor operators that pick and put elements by place."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.converters.writers import numbers
from zoo.converters.writers.mxnet import lowers
from zoo.converters.writers.mxnet.sizes import Size
from zoo.converters.writers.mxnet.trace import Untraceable
from zoo.errors import HubError

Value = Any


@lowers("Where")
def where(w: Any, condition: Value, X: Value, Y: Value) -> Value:
    """X where the condition holds, Y elsewhere."""
    return w.np.where(condition, X, Y)


@lowers("Gather")
def gather(w: Any, data: Value, indices: Value, *, axis: int = 0) -> Value:
    """data[..., indices, ...] along an axis; negative indices count from the end."""
    along, known = axis % w.rank(0), w.constant(indices)
    is_embedding = along == 0 and w.rank(0) == 2 and w.node.inputs[0].name in w.graph.initializers
    if is_embedding and known is None and w.type_in(0).is_floating_point():
        rows, columns = w.whole(0)
        return w.F.Embedding(indices, data, input_dim=rows, output_dim=columns)
    if known is not None and known.ndim == 0:
        n = int(known)
        part = w.F.slice_axis(data, axis=along, begin=n, end=n + 1 if n != -1 else None)
        return w.reshape(part, ()) if w.rank(0) == 1 else w.F.squeeze(part, axis=along)
    if w.computed_in(1) == "int64" or w.computed_in(1) == "int32":
        return w.F.take(data, indices, axis=along, mode="wrap")
    return w.F.take(data, w.cast(indices, "int64"), axis=along, mode="wrap")


def _positions(w: Any, indices: Value, i: int, skip: int | None, axes: int | None = None) -> list[Value]:
    """For each axis the place of every element of the i-th input along it, in its shape; nothing for `skip`."""
    sizes = w.dims(i)
    count = len(sizes) if axes is None else axes
    if not any(isinstance(n, Size) for n in sizes):
        return [
            None if a == skip else w.array(np.ascontiguousarray(np.broadcast_to(line, sizes)).astype(np.int64))
            for a, line in enumerate(np.ogrid[tuple(slice(n) for n in sizes)][:count])
        ]
    made: list[Value] = []
    for axis in range(count):
        line = w.cast(w.F.contrib.arange_like(indices, axis=axis), "int64")
        line = w.F.reshape(line, shape=(*[1] * axis, -1, *[1] * (len(sizes) - axis - 1)))
        made.append(None if axis == skip else w.F.broadcast_like(line, indices))
    return made


def _wrapped(w: Any, indices: Value, size: Any) -> Value:
    """Indices that count from the begin, as int64."""
    at = w.cast(indices, "int64")
    if isinstance(size, Size):
        symbol, axis = size.axes[0]
        length = w.F.slice_axis(w.F.shape_array(symbol), axis=0, begin=axis, end=axis + 1)
        return w.F.broadcast_add(at, w.F.broadcast_mul(w.cast(at < 0, "int64"), length))
    return at + (at < 0) * int(size)


def _element_points(w: Any, indices: Value, axis: int) -> Value:
    """The places in data that GatherElements and ScatterElements name: int64 [rank, *indices.shape]."""
    along = axis % w.rank(0)
    at = _positions(w, indices, 1, along)
    at[along] = _wrapped(w, indices, w.dims(0)[along])
    return w.F.stack(*at, axis=0)


@lowers("GatherElements")
def gather_elements(w: Any, data: Value, indices: Value, *, axis: int = 0) -> Value:
    """One element of data for each of indices, along an axis."""
    return w.F.gather_nd(data, _element_points(w, indices, axis))


def _points(w: Any, indices: Value, batch_dims: int = 0) -> Value:
    """Points [..., k] as MXNet's gather_nd takes them: [axes, ...], the axes of the batch first."""
    rank, depth, have = w.rank(1), w.dims(1)[-1], w.dims(0)
    if isinstance(depth, Size):
        raise Untraceable(f"{w.name}: how many axes a point names has to be known")
    rows = [w.F.slice_axis(indices, axis=rank - 1, begin=i, end=i + 1) for i in range(depth)]
    rows = [w.np.squeeze(row, axis=rank - 1) if rank > 1 else w.reshape(row, (1,)) for row in rows]
    rows = [_wrapped(w, row, have[batch_dims + i]) for i, row in enumerate(rows)]
    before = []
    if batch_dims:
        sizes = w.whole(1)[:-1]
        lines = np.ogrid[tuple(slice(n) for n in sizes)][:batch_dims]
        before = [w.array(np.ascontiguousarray(np.broadcast_to(line, sizes)).astype(np.int64)) for line in lines]
    return w.F.stack(*before, *rows, axis=0)


@lowers("GatherND")
def gather_nd(w: Any, data: Value, indices: Value, *, batch_dims: int = 0) -> Value:
    """Data at points: the last axis of indices [..., k] counts the axes that a point names."""
    made = w.F.gather_nd(data, _points(w, indices, batch_dims))
    return made if w.rank(1) > 1 else w.np.squeeze(made, axis=0)


@lowers("ScatterElements")
def scatter_elements(
    w: Any, data: Value, indices: Value, updates: Value, *, axis: int = 0, reduction: str = "none"
) -> Value:
    """A copy of data in which each update stands at its place along an axis, or is combined with what stood there."""
    return _put(w, data, _element_points(w, indices, axis), updates, reduction)


@lowers("ScatterND")
def scatter_nd(w: Any, data: Value, indices: Value, updates: Value, *, reduction: str = "none") -> Value:
    """A copy of data in which each update stands at its point, or is combined with what stood there."""
    at = _points(w, indices)
    return _put(w, data, at, updates if w.rank(1) > 1 else w.F.expand_dims(updates, axis=0), reduction)


REDUCERS: dict[str, Any] = {"mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _put(w: Any, data: Value, at: Value, updates: Value, reduction: str) -> Value:
    """Elements at their places; of equal places one. MXNet adds up itself, other combinations are numpy's."""
    if reduction == "add":
        return w.F.broadcast_add(data, _spread(w, data, at, updates))
    if reduction == "none":
        hit = w.F.scatter_nd(w.F.ones_like(updates), at, shape=tuple(w.whole(0)))
        return w.np.where(hit, w.F.scatter_nd(updates, at, shape=tuple(w.whole(0))), data)
    if reduction not in REDUCERS:
        raise HubError(f"{w.name} with the reduction {reduction!r}")
    if w.is_symbolic:
        raise Untraceable(f"{w.name}: MXNet has no operator that puts elements by {reduction}")
    made = data.asnumpy().copy()
    REDUCERS[reduction].at(made, tuple(at.asnumpy()), updates.asnumpy())
    return w.array(made)


def _spread(w: Any, data: Value, at: Value, updates: Value) -> Value:
    """Zeros of data's shape with updates added up at places."""
    return w.F._internal._backward_gather_nd(updates, at, shape=tuple(w.whole(0)))


@lowers("OneHot")
def one_hot(w: Any, indices: Value, depth: Value, values: Value, *, axis: int = -1) -> Value:
    """Along a new axis the second of `values` at each index, the first elsewhere; negative ones count from the end."""
    count, rank = int(w.number(depth)), w.rank(0) + 1
    at = w.cast(indices, "int64")
    at = at + (at < 0) * count
    hot = w.F.one_hot(at, depth=count, dtype="float32") if rank > 1 else None
    if hot is None:
        hot = w.reshape(w.F.one_hot(w.reshape(at, (1,)), depth=count, dtype="float32"), (count,))
    along = axis % rank
    if along != rank - 1:
        hot = w.F.transpose(hot, axes=(*range(along), rank - 1, *range(along, rank - 1)))
    off, on = (w.F.slice_axis(values, axis=0, begin=i, end=i + 1) for i in (0, 1))
    return w.np.where(hot == 1, on, off)


@lowers("NonZero")
def non_zero(w: Any, X: Value) -> Value:
    """The places of what is not zero, [rank, count]: how many there are has to be known."""
    found = np.nonzero(np.atleast_1d(w.concrete(X)))
    return w.array(np.stack(found).astype(np.int64))


@lowers("Compress")
def compress(w: Any, input: Value, condition: Value, *, axis: int | None = None) -> Value:  # noqa: A002
    """The elements, or the slices along an axis, for which the condition holds; it may be short."""
    places = np.nonzero(w.concrete(condition))[0].astype(np.int64)
    if axis is None:
        return w.F.take(w.reshape(input, (-1,)), w.array(places))
    return w.F.take(input, w.array(places), axis=axis % w.rank(0))


@lowers("Unique")
def unique(w: Any, X: Value, *, axis: int | None = None, sorted: int = 1) -> Value:  # noqa: A002
    """What differs, where each stands first, which of them each is, and how many: their count has to be known."""
    return tuple(w.array(x) for x in numbers.unique(w.concrete(X), axis, bool(sorted)))


@lowers("ReverseSequence")
def reverse_sequence(w: Any, input: Value, sequence_lens: Value, *, batch_axis: int = 1, time_axis: int = 0) -> Value:  # noqa: A002
    """Of each sample the first elements in time turned around, as many as its length says."""
    x = input if time_axis == 0 else w.F.swapaxes(input, dim1=0, dim2=1)
    y = w.F.SequenceReverse(x, sequence_lens, use_sequence_length=True)
    return y if time_axis == 0 else w.F.swapaxes(y, dim1=0, dim2=1)


@lowers("NonMaxSuppression")
def non_max_suppression(
    w: Any,
    boxes: Value,
    scores: Value,
    max_output_boxes_per_class: Value = None,
    iou_threshold: Value = None,
    score_threshold: Value = None,
    *,
    center_point_box: int = 0,
) -> Value:
    """(batch, class, box) of each box that is kept; how many are has to be known."""
    most = 0 if max_output_boxes_per_class is None else w.number(max_output_boxes_per_class)
    overlap = 0.0 if iou_threshold is None else w.number(iou_threshold)
    least = None if score_threshold is None else w.number(score_threshold)
    found = numbers.non_max_suppression(
        w.concrete(boxes), w.concrete(scores), most, overlap, least, is_centered=bool(center_point_box)
    )
    return w.array(found)
