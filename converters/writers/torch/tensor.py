"""ONNX's tensor operators that make and change shapes."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from zoo.converters.writers.torch import lowers, shaping
from zoo.converters.writers.torch.sizes import Sizes, is_computed, listed
from zoo.errors import HubError

Value = Any
FAR = 2**31 - 1  # what exporters write for "to the end": no axis is as long


@lowers("Identity")
def identity(w: Any, input: Value) -> Value:  # noqa: A002
    """The value itself."""
    return input


@lowers("Shape")
def shape(w: Any, data: Value, *, end: int | None = None, start: int = 0) -> Value:
    """The sizes, as Python's integers: known ones by number, free ones read from the tensor."""
    known = w.shape_in(0)
    if known is None:
        sizes = data.shape if (start, end) == (0, None) else data.shape[start:end]
        return w.function(torch.tensor, sizes, dtype=torch.int64, device=w.device())
    places = range(*slice(start, end).indices(len(known)))
    return Sizes(tuple(known[i] if isinstance(known[i], int) else data.shape[i] for i in places), 1)


@lowers("Size")
def size(w: Any, data: Value) -> Value:
    """The number of elements."""
    known = w.shape_in(0)
    is_known = known is not None and all(isinstance(d, int) for d in known)
    return Sizes((math.prod(known) if is_known else data.numel(),), 0)


@lowers("Reshape")
def reshape(w: Any, data: Value, shape: Value, *, allowzero: int = 0) -> Value:
    """The same elements in another shape; 0 copies a size of the input unless allowzero."""
    x, known, target = w.as_tensor(0, data), w.shape_in(0), listed(w, shape)
    if is_computed(target):
        return x.reshape(target) if allowzero else w.function(shaping.reshape, x, target)
    if not allowzero:
        target = [_size(x, known, i) if isinstance(t, int) and t == 0 else t for i, t in enumerate(target)]
    if known is not None and all(isinstance(t, int) for t in target) and _is_flat(target, known):
        y = w.module(nn.Flatten, x)
        return torch.flatten(x, 1) if y is None else y
    return x.reshape(target) if not target else x.reshape(*target)


def _size(x: Value, known: Sequence[Any] | None, axis: int) -> Any:
    """A size of the input: a number where it is known, read from the tensor where it is free."""
    return known[axis] if known is not None and isinstance(known[axis], int) else x.shape[axis]


def _is_flat(target: Sequence[int], known: Sequence[Any]) -> bool:
    """[-1, n] of [batch, ...] whose other sizes multiply to n: flatten reads better."""
    rest = known[1:]
    return (
        len(target) == 2 < len(known)
        and target[0] == -1
        and all(isinstance(d, int) for d in rest)
        and math.prod(rest) == target[1]
    )


@lowers("Flatten")
def flatten(w: Any, input: Value, *, axis: int = 1) -> Value:  # noqa: A002
    """A matrix: the axes before `axis`, and the rest."""
    x, known = w.as_tensor(0, input), w.shape_in(0)
    axis = axis + w.rank_in(0) if axis < 0 else axis
    if axis == 0:
        return x.reshape(1, -1)
    if known is not None and axis == len(known):
        return x.reshape(-1, 1)
    if axis == 1:
        y = w.module(nn.Flatten, x)
        return torch.flatten(x, 1) if y is None else y
    return torch.flatten(torch.flatten(x, axis), 0, axis - 1)


@lowers("Transpose")
def transpose(w: Any, data: Value, *, perm: Sequence[int] | None = None) -> Value:
    """Axes in another order; reversed without one."""
    perm = list(perm) if perm is not None else list(range(w.rank_in(0)))[::-1]
    moved = [i for i, p in enumerate(perm) if i != p]
    if not moved:
        return data
    return data.transpose(*moved) if len(moved) == 2 else data.permute(*perm)


@lowers("Concat")
def concat(w: Any, *inputs: Value, axis: int) -> Value:
    """Tensors, one behind the other along an axis."""
    return torch.cat([w.as_tensor(i, x) for i, x in enumerate(inputs)], dim=axis)


@lowers("Split")
def split(w: Any, input: Value, split: Value = None, *, axis: int = 0, num_outputs: int | None = None) -> Value:  # noqa: A002
    """Parts along an axis: of given sizes, or as many as there are outputs, the last ones smaller if need be."""
    n, x = len(w.node.outputs), w.as_tensor(0, input)
    known = w.shape_in(0)
    length = known[axis] if known is not None else None
    if split is not None:
        sizes = listed(w, split)
        if not is_computed(sizes) and len(sizes) != n:
            raise HubError(f"Split into {len(sizes)} sizes with {n} outputs")
        parts = torch.split(x, sizes, dim=axis)
    elif not isinstance(length, int):
        parts = w.function(shaping.split_evenly, x, num_outputs or n, axis)
    elif length % (num_outputs or n) == 0 and length:
        parts = torch.chunk(x, num_outputs or n, dim=axis)
    else:
        step = -(-length // (num_outputs or n))
        parts = torch.split(x, [min(step, max(length - i * step, 0)) for i in range(num_outputs or n)], dim=axis)
    return tuple(parts[i] for i in range(n))


@lowers("Slice")
def slice_(w: Any, data: Value, starts: Value, ends: Value, axes: Value = None, steps: Value = None) -> Value:
    """data[start:end:step] along the named axes. torch has no negative steps: they are a flip where all is taken."""
    x, along, step = (
        w.as_tensor(0, data),
        None if axes is None else listed(w, axes),
        [] if steps is None else listed(w, steps),
    )
    bounds = listed(w, starts), listed(w, ends)
    if is_computed(along) or any(not isinstance(n, int) for n in step) or is_computed(step):
        return w.function(shaping.slices, x, *bounds, along, *([step] if steps is not None else []))
    if any(map(is_computed, bounds)):
        count = len(along) if along is not None else (w.shape_in(1) or (None,))[0]
        if not isinstance(count, int):
            return w.function(shaping.slices, x, *bounds, along, *([step] if steps is not None else []))
        bounds = w.ints(starts), w.ints(ends)
    along = list(range(len(bounds[0]))) if along is None else [a if a >= 0 else a + w.rank_in(0) for a in along]
    index: dict[int, slice] = {}
    for axis, begin, end, s in zip(along, *bounds, step or [1] * len(along), strict=True):
        if s > 0:
            first = None if isinstance(begin, int) and (begin == 0 or begin < -FAR) else begin
            last = None if isinstance(end, int) and end >= FAR else 0 if isinstance(end, int) and end < -FAR else end
            if first is not None or last is not None or s != 1:
                index[axis] = slice(first, last, None if s == 1 else s)
        elif _is_all_backwards(begin, end, (w.shape_in(0) or {axis: None})[axis]):
            x = torch.flip(x, [axis])
            if s != -1:
                index[axis] = slice(None, None, -s)
        else:
            x = w.function(shaping.slices, x, [begin], [end], [axis], [s])
    return x[tuple(index.get(i, slice(None)) for i in range(max(index) + 1))] if index else x


def _is_all_backwards(begin: Any, end: Any, length: Any) -> bool:
    """Whether a slice with a negative step starts at the last element and goes on to the first."""
    if not isinstance(begin, int) or not isinstance(end, int):
        return False
    if isinstance(length, int):
        return (begin == -1 or begin >= length - 1) and end < -length
    return (begin == -1 or begin >= FAR) and end < -FAR


@lowers("Squeeze")
def squeeze(w: Any, data: Value, axes: Value = None) -> Value:
    """Without axes of size one."""
    x = w.as_tensor(0, data)
    if axes is None:
        return x.squeeze()
    along = listed(w, axes)
    if is_computed(along):
        return x.squeeze(along)
    return x.squeeze(along[0] if len(along) == 1 else tuple(along))


@lowers("Unsqueeze")
def unsqueeze(w: Any, data: Value, axes: Value) -> Value:
    """With new axes of size one."""
    x, along = w.as_tensor(0, data), listed(w, axes)
    if is_computed(along):
        return w.function(shaping.unsqueeze, x, along)
    if w.shape_in(0) is None and any(a < 0 for a in along):
        return w.function(shaping.unsqueeze, x, along)
    for axis in sorted(a if a >= 0 else a + w.rank_in(0) + len(along) for a in along):
        x = x.unsqueeze(axis)
    return x


@lowers("Expand")
def expand(w: Any, input: Value, shape: Value) -> Value:  # noqa: A002
    """Broadcast to a shape; an axis of size one in the shape keeps the input's."""
    x, target, known = w.as_tensor(0, input), listed(w, shape), w.shape_in(0)
    if is_computed(target) or known is None:
        return torch.broadcast_to(x, w.function(torch.broadcast_shapes, x.shape, target))
    have = [1] * (len(target) - len(known)) + list(known)
    sizes = []
    for t, k in zip([1] * (len(known) - len(target)) + target, have, strict=True):
        if isinstance(k, int):
            sizes.append(t if k == 1 else -1)
        elif isinstance(t, int):
            sizes.append(-1 if t == 1 else t)
        else:  # either may be one: only the running module can tell
            return torch.broadcast_to(x, w.function(torch.broadcast_shapes, x.shape, tuple(target)))
    return x.expand(*sizes)


@lowers("Tile")
def tile(w: Any, input: Value, repeats: Value) -> Value:  # noqa: A002
    """Repeated along each axis."""
    x, counts = w.as_tensor(0, input), listed(w, repeats)
    return x.repeat(counts) if is_computed(counts) or not counts else x.repeat(*counts)


@lowers("ConstantOfShape")
def constant_of_shape(w: Any, input: Value, *, value: Any = None) -> Value:  # noqa: A002
    """One value everywhere; 0.0 without one."""
    fill = value.numpy().reshape(-1)[0].item() if value is not None else 0.0
    sizes = listed(w, input)
    shape = sizes if is_computed(sizes) else tuple(sizes)
    return w.function(torch.full, shape, fill, dtype=w.dtype_out(), device=w.device())


@lowers("Range")
def range_(w: Any, start: Value, limit: Value, delta: Value, *, stash_type: int = 1) -> Value:
    """start, start + delta, ... below limit; nothing where the limit lies the other way."""
    bounds = [w.number(x) for x in (start, limit, delta)]
    made = {"dtype": w.dtype_out(), "device": w.device()}
    are_sizes = all(w.sizes(x) is not None for x in (start, limit, delta))
    is_backwards = not isinstance(bounds[2], int) or bounds[2] < 0
    is_empty = all(isinstance(b, int) for b in bounds[:2]) and bounds[1] < bounds[0]
    if not are_sizes or is_backwards or is_empty:
        return w.function(shaping.arange, *bounds, **made)
    if isinstance(bounds[0], int) and (bounds[0], bounds[2]) == (0, 1):
        return w.function(torch.arange, bounds[1], **made)
    return w.function(torch.arange, *(bounds[:2] if bounds[2] == 1 else bounds), **made)


@lowers("EyeLike")
def eye_like(w: Any, input: Value, *, dtype: int | None = None, k: int = 0) -> Value:  # noqa: A002
    """Ones on the k-th diagonal of a matrix of the input's shape, zeros elsewhere."""
    known, made = w.shape_in(0), w.dtype_out()
    sizes = [_size(input, known, axis) for axis in (0, 1)]
    if k == 0 and (made.is_floating_point or made.is_signed) and made.itemsize > 1:
        return w.function(torch.eye, *sizes, dtype=made, device=w.device())
    y = w.function(torch.ones, *sizes, dtype=torch.bool, device=w.device())
    return y.tril(k).triu(k).to(made)
