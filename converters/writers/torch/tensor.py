"""ONNX's tensor operators: shapes, indices, casts."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import nn

from zoo.converters.writers.torch import lowers
from zoo.converters.writers.torch.sizes import Sizes
from zoo.errors import HubError

Value = Any


@lowers("Identity")
def identity(w: Any, input: Value) -> Value:  # noqa: A002
    """The value itself."""
    return input


@lowers("Cast")
def cast(w: Any, input: Value, *, saturate: int = 1, to: int) -> Value:  # noqa: A002
    """To another dtype."""
    x = w.tensor_of(input)
    return x.to(w.dtype_of(ir.DataType(to)))


@lowers("Shape")
def shape(w: Any, data: Value, *, end: int | None = None, start: int = 0) -> Value:
    """The sizes, as Python's integers: known ones by number, free ones read from the tensor."""
    known = w.shape_in(0)
    if known is None:
        raise HubError("the shape of a tensor whose rank is not known")
    places = range(*slice(start, end).indices(len(known)))
    return Sizes(tuple(known[i] if isinstance(known[i], int) else data.shape[i] for i in places), 1)


@lowers("Size")
def size(w: Any, data: Value) -> Value:
    """The number of elements."""
    return Sizes((data.numel(),), 0)


@lowers("Reshape")
def reshape(w: Any, data: Value, shape: Value, *, allowzero: int = 0) -> Value:
    """The same elements in another shape; 0 copies a size of the input unless allowzero."""
    target = w.ints(shape)
    known = w.shape_in(0)
    if not allowzero:
        target = [_copied(data, known, i) if isinstance(t, int) and t == 0 else t for i, t in enumerate(target)]
    if known is not None and all(isinstance(t, int) for t in target) and _is_flat(target, known):
        y = w.module(nn.Flatten, data)
        return torch.flatten(data, 1) if y is None else y
    return data.reshape(*target)


def _copied(data: Value, known: Sequence[Any] | None, i: int) -> Any:
    return known[i] if known is not None and isinstance(known[i], int) else data.shape[i]


def _is_flat(target: Sequence[int], known: Sequence[Any]) -> bool:
    """[-1, n] of [batch, ...] whose other sizes multiply to n: flatten reads better."""
    rest = known[1:]
    return (
        len(target) == 2 < len(known)
        and target[0] == -1
        and all(isinstance(d, int) for d in rest)
        and math.prod(rest) == target[1]
    )


@lowers("Transpose")
def transpose(w: Any, data: Value, *, perm: Sequence[int] | None = None) -> Value:
    """Axes in another order; reversed without one."""
    rank = w.rank_in(0)
    perm = list(perm) if perm is not None else list(range(rank))[::-1]
    moved = [i for i, p in enumerate(perm) if i != p]
    if len(moved) == 2:
        return data.transpose(*moved)
    return data.permute(*perm)


@lowers("Concat")
def concat(w: Any, *inputs: Value, axis: int) -> Value:
    """Tensors, one behind the other along an axis."""
    return torch.cat([w.tensor_of(i) for i in inputs], dim=axis)


@lowers("Split")
def split(w: Any, input: Value, split: Value = None, *, axis: int = 0, num_outputs: int | None = None) -> Value:  # noqa: A002
    """Parts along an axis: of given sizes, or as many as there are outputs, the last one smaller if need be."""
    n = len(w.node.outputs)
    if split is not None:
        parts = torch.split(input, w.ints(split), dim=axis)
    else:
        length = (w.shape_in(0) or ())[axis]
        if not isinstance(length, int):
            length = input.shape[axis]
        parts = torch.split(input, -(-length // (num_outputs or n)), dim=axis)
    return tuple(parts[i] for i in range(n))


@lowers("Slice")
def slice_(w: Any, data: Value, starts: Value, ends: Value, axes: Value = None, steps: Value = None) -> Value:
    """data[start:end:step] along the named axes."""
    begin, end = w.ints(starts), w.ints(ends)
    rank = w.rank_in(0)
    along = [a % rank for a in w.ints(axes)] if axes is not None else list(range(len(begin)))
    step = w.ints(steps) if steps is not None else [1] * len(begin)
    index: dict[int, slice] = {}
    for axis, b, e, s in zip(along, begin, end, step, strict=True):
        if not isinstance(s, int) or s < 0:
            data, b, e, s = _reversed(w, data, axis, b, e, s)
        first = None if isinstance(b, int) and b == 0 else b
        last = None if isinstance(e, int) and e >= 2**31 - 1 else e
        if first is not None or last is not None or s != 1:
            index[axis] = slice(first, last, None if s == 1 else s)
    return data[tuple(index.get(i, slice(None)) for i in range(max(index) + 1))] if index else data


def _reversed(w: Any, data: Value, axis: int, begin: Any, end: Any, step: Any) -> tuple[Value, Any, Any, int]:
    """data[begin:end:-s] as a flip and a slice with a positive step: torch has no negative ones."""
    length = w.shape_in(0)[axis]
    if not all(isinstance(x, int) for x in (begin, end, step, length)):
        raise HubError("a slice backwards wants known bounds and a fixed size")
    places = range(*slice(begin, max(end, -length - 1) if end < 0 else end, step).indices(length))
    if end < -length:
        places = range(*slice(begin, None, step).indices(length))
    if len(places) == 0:
        return data, 0, 0, 1
    first = length - 1 - places[0]
    return torch.flip(data, [axis]), first, first + (len(places) - 1) * -step + 1, -step


@lowers("Squeeze")
def squeeze(w: Any, data: Value, axes: Value = None) -> Value:
    """Without axes of size one."""
    if axes is None:
        return data.squeeze()
    along = w.ints(axes)
    return data.squeeze(along[0] if len(along) == 1 else tuple(along))


@lowers("Unsqueeze")
def unsqueeze(w: Any, data: Value, axes: Value) -> Value:
    """With new axes of size one."""
    x = w.tensor_of(data)
    rank = w.rank_in(0) + len(w.ints(axes))
    for axis in sorted(a % rank for a in w.ints(axes)):
        x = x.unsqueeze(axis)
    return x


@lowers("Expand")
def expand(w: Any, input: Value, shape: Value) -> Value:  # noqa: A002
    """Broadcast to a shape; an axis of size one in the shape keeps the input's."""
    x, target = w.tensor_of(input), w.ints(shape)
    known = list(w.shape_in(0) or ())
    target = [1] * (len(known) - len(target)) + target
    known = [1] * (len(target) - len(known)) + known
    sizes = []
    for t, k in zip(target, known, strict=True):
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
    return input.repeat(*w.ints(repeats))


@lowers("ConstantOfShape")
def constant_of_shape(w: Any, input: Value, *, value: Any = None) -> Value:  # noqa: A002
    """One value everywhere; 0.0 without one."""
    fill = value.numpy().reshape(-1)[0].item() if value is not None else 0.0
    return w.function(torch.full, tuple(w.ints(input)), fill, dtype=w.dtype_out(), device=w.device())


@lowers("Range")
def range_(w: Any, start: Value, limit: Value, delta: Value) -> Value:
    """start, start + delta, ... below limit."""
    bounds = [x.items[0] if isinstance(x, Sizes) else w.number(x) for x in (start, limit, delta)]
    if isinstance(bounds[0], int) and isinstance(bounds[2], int) and (bounds[0], bounds[2]) == (0, 1):
        return w.function(torch.arange, bounds[1], dtype=w.dtype_out(), device=w.device())
    return w.function(torch.arange, *bounds, dtype=w.dtype_out(), device=w.device())


@lowers("Where")
def where(w: Any, condition: Value, X: Value, Y: Value) -> Value:
    """X where the condition holds, Y elsewhere."""
    y = torch.where(condition, X, Y)
    return y if any(hasattr(v, "node") for v in (X, Y)) else y.to(w.dtype_out())


@lowers("Gather")
def gather(w: Any, data: Value, indices: Value, *, axis: int = 0) -> Value:
    """data[..., indices, ...] along an axis. nn.Embedding where the author has one."""
    shape, at = w.shape(data), w.known(indices)
    if axis == 0 and shape is not None and len(shape) == 2 and w.author_has(nn.Embedding):
        arguments = {"num_embeddings": shape[0], "embedding_dim": shape[1]}
        if (y := w.layer(nn.Embedding, indices, arguments, weight=data)) is not None:
            return y
    rank = w.rank_in(0)
    axis = axis % rank
    if at is not None and at.ndim == 0:
        return data.select(axis, int(at)) if axis else data[int(at)]
    if at is not None:
        return data[
            (*[slice(None)] * axis, w.constant(at % _length(w, data, axis) if (at < 0).any() else at, "indices"))
        ]
    indices = w.tensor_of(indices)
    length = _length(w, data, axis)
    indices = torch.where(indices < 0, indices + length, indices)
    return data[(*[slice(None)] * axis, indices)]


def _length(w: Any, data: Value, axis: int) -> Any:
    known = (w.shape_in(0) or ())[axis]
    return known if isinstance(known, int) else data.shape[axis]


@lowers("GatherElements")
def gather_elements(w: Any, data: Value, indices: Value, *, axis: int = 0) -> Value:
    """One element of data for each of indices, along an axis."""
    length = _length(w, data, axis)
    return torch.gather(data, axis, torch.where(indices < 0, indices + length, indices))


@lowers("GatherND")
def gather_nd(w: Any, data: Value, indices: Value, *, batch_dims: int = 0) -> Value:
    """Data at points: the last axis of indices [..., k] counts the axes that a point names."""
    if batch_dims:
        raise HubError("GatherND with batch dimensions")
    depth = (w.shape_in(1) or (None,))[-1]
    if not isinstance(depth, int):
        raise HubError("GatherND whose points have no fixed length")
    x = w.tensor_of(data)
    return x[tuple(indices[..., i] for i in range(depth))]


@lowers("ScatterND")
def scatter_nd(w: Any, data: Value, indices: Value, updates: Value, *, reduction: str = "none") -> Value:
    """A copy of data with updates put at points."""
    depth = (w.shape_in(1) or (None,))[-1]
    if reduction not in ("none", "add") or not isinstance(depth, int):
        raise HubError(f"ScatterND with reduction {reduction!r} or points of no fixed length")
    return torch.index_put(data, tuple(indices[..., i] for i in range(depth)), updates, accumulate=reduction == "add")


@lowers("Pad")
def pad(
    w: Any, data: Value, pads: Value, constant_value: Value = None, axes: Value = None, *, mode: str = "constant"
) -> Value:
    """More elements before and behind along each axis; fewer where negative."""
    rank, amounts = w.rank_in(0), w.ints(pads)
    along = [a % rank for a in w.ints(axes)] if axes is not None else list(range(rank))
    before, after = dict(zip(along, amounts, strict=False)), dict(zip(along, amounts[len(along) :], strict=True))
    flat = [p for axis in reversed(range(rank)) for p in (before.get(axis, 0), after.get(axis, 0))]
    while len(flat) > 2 and all(isinstance(p, int) and p == 0 for p in flat[-2:]):
        flat = flat[:-2]
    if mode == "constant":
        fill = 0 if constant_value is None else w.number(constant_value)
        return F.pad(data, flat) if isinstance(fill, (int, float)) and fill == 0 else F.pad(data, flat, value=fill)
    names = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    if rank - len(flat) // 2 > 2 or len(flat) > 6:
        raise HubError(
            f"Pad by {mode} of {len(flat) // 2} axes of {rank}: "
            "torch pads the last three of five, two of four, one of three"
        )
    return F.pad(data, flat, mode=names[mode])


@lowers("Resize")
def resize(
    w: Any,
    X: Value,
    roi: Value = None,
    scales: Value = None,
    sizes: Value = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Value:
    """An image of another size, in the ways that F.interpolate has; every other way is refused by name."""
    rank = w.rank_in(0)
    name = _interpolation(mode, coordinate_transformation_mode, nearest_mode, rank, (exclude_outside, cubic_coeff_a))
    if axes is not None and sorted(a % rank for a in axes) != list(range(2, rank)):
        raise HubError(f"Resize of the axes {list(axes)}: torch resizes all but the first two")
    spatial = slice(0 if axes is not None else 2, None)
    options: dict[str, Any] = {"mode": name}
    if mode != "nearest":
        options["align_corners"] = coordinate_transformation_mode == "align_corners"
    if antialias:
        options["antialias"] = True
    if sizes is not None:
        return F.interpolate(X, size=w.ints(sizes)[spatial], **options)
    factors = w.known(scales)
    if factors is None:
        raise HubError("Resize by scales that are computed")
    return F.interpolate(X, scale_factor=[float(f) for f in factors[spatial]], **options)


def _interpolation(mode: str, coordinates: str, nearest: str, rank: int, cubic: tuple[int, float]) -> str:
    """F.interpolate's name of ONNX's mode, or HubError."""
    if mode == "nearest":
        if coordinates == "asymmetric" and nearest == "floor":
            return "nearest"
        if coordinates == "half_pixel" and nearest == "round_prefer_ceil":
            return "nearest-exact"
    elif coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        if mode == "linear":
            return {3: "linear", 4: "bilinear", 5: "trilinear"}[rank]
        if mode == "cubic" and rank == 4 and cubic == (0, -0.75):
            return "bicubic"
    raise HubError(f"Resize by {mode} with {coordinates} coordinates ({nearest}): torch's interpolate has no such mode")


@lowers("DepthToSpace")
def depth_to_space(w: Any, input: Value, *, blocksize: int, mode: str = "DCR") -> Value:  # noqa: A002
    """Channels into blocks of pixels: nn.PixelShuffle is the mode CRD."""
    if mode == "CRD":
        return F.pixel_shuffle(input, blocksize)
    n, c, h, wide = (input.shape[i] for i in range(4))
    x = input.reshape(n, blocksize, blocksize, c // (blocksize * blocksize), h, wide)
    return x.permute(0, 3, 4, 1, 5, 2).reshape(n, c // (blocksize * blocksize), h * blocksize, wide * blocksize)


@lowers("Trilu")
def trilu(w: Any, input: Value, k: Value = None, *, upper: int = 1) -> Value:  # noqa: A002
    """The upper or lower triangle of each matrix."""
    diagonal = 0 if k is None else int(w.number(k))
    return torch.triu(input, diagonal) if upper else torch.tril(input, diagonal)


@lowers("IsNaN")
def is_nan(w: Any, X: Value) -> Value:
    """Whether each element is no number."""
    return torch.isnan(X)
