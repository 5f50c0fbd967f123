"""Images read at places that are computed: GridSample, DeformConv, RoiAlign and MaxRoiPool."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from zoo.converters.writers.jax import lowers
from zoo.converters.writers.jax.sizes import places as numbered
from zoo.converters.writers.jax.windows import along_channels, windows_of
from zoo.errors import HubError

Value = Any


@lowers("GridSample")
def grid_sample(
    w: Any, X: Value, grid: Value, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Value:
    """X [N, C, ...] read at a grid [N, ..., axes] of places between -1 and 1, last axis first."""
    name = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    if name not in ("linear", "nearest", "cubic") or padding_mode not in ("zeros", "border", "reflection"):
        raise HubError(f"GridSample with mode {mode!r} and padding {padding_mode!r}")
    wide = jnp.promote_types(X.dtype, grid.dtype) if jnp.issubdtype(X.dtype, jnp.floating) else grid.dtype
    places = []
    for i, size in enumerate(X.shape[2:]):
        low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
        at = low + (grid[..., -1 - i].astype(wide) + 1) / 2 * (high - low)
        if name == "nearest":
            at = jnp.round(at)
        if padding_mode == "border":
            at = jnp.where((at < low) | (at > high), jnp.clip(at, 0, size - 1), at)
        elif padding_mode == "reflection":
            at = reflected(at, low, high)
        places.append(at)
    return read_at(X.astype(wide), places, name, padding_mode, bool(align_corners)).astype(X.dtype)


def read_at(
    x: Value, places: Sequence[Value], mode: str = "linear", padding_mode: str = "zeros", align_corners: bool = False
) -> Value:
    """Images [N, C, *sizes] at places [N, *out], one array for each axis, in pixels: [N, C, *out]."""
    neighbours = []
    for size, at in zip(x.shape[2:], places, strict=True):
        read = []
        for place, weight in weighted_places(at, mode):
            if padding_mode == "zeros":
                weight = weight * ((place >= 0) & (place < size))
            elif padding_mode == "reflection":
                place = reflected(place, *((0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)))
            read.append((jnp.clip(place, 0, size - 1).astype(jnp.int32), weight))
        neighbours.append(read)
    batch = numbered(x.shape[0]).reshape(-1, *[1] * (places[0].ndim - 1))
    total: Value = 0
    for corner in itertools.product(*neighbours):
        share = math.prod((weight for _, weight in corner[1:]), start=corner[0][1])
        pixels = x[(batch, slice(None), *(place for place, _ in corner))]  # [N, *out, C]
        total = total + pixels * share[..., None]
    return jnp.moveaxis(total, -1, 1)


def weighted_places(at: Value, mode: str) -> list[tuple[Value, Value]]:
    """The neighbours that a place reads along one axis, and how much of each."""
    if mode == "nearest":
        return [(at, jnp.ones_like(at))]
    first = jnp.floor(at)
    t = at - first
    if mode == "linear":
        return [(first, 1 - t), (first + 1, t)]
    near = [((1.25 * d - 2.25) * d) * d + 1 for d in (t, 1 - t)]  # Keys' cubic with a = -0.75
    far = [((-0.75 * d + 3.75) * d - 6) * d + 3 for d in (t + 1, 2 - t)]
    return [(first - 1, far[0]), (first, near[0]), (first + 1, near[1]), (first + 2, far[1])]


def reflected(at: Value, low: float, high: float) -> Value:
    """Places between two borders, in which those outside are mirrored."""
    if high == low:
        return jnp.full_like(at, low)
    at = jnp.abs(at - low) % (2 * (high - low))
    return low + jnp.minimum(at, 2 * (high - low) - at)


@lowers("DeformConv")
def deform_conv(
    w: Any,
    X: Value,
    W: Value,
    offset: Value,
    B: Value = None,
    mask: Value = None,
    *,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    offset_group: int = 1,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:
    """A convolution whose kernel's elements are moved by an offset of their own at each place of the output.

    X [N, C, *sizes], W [M, C / group, *kernel], offset [N, offset_group * prod(kernel) * axes, *out], and mask
    [N, offset_group * prod(kernel), *out], by which what is read is multiplied.
    """
    sizes, kernel, out = X.shape[2:], W.shape[2:], offset.shape[2:]
    at = windows_of(sizes, kernel, "NOTSET", pads, strides, dilations)
    rank, count, batch = len(sizes), math.prod(kernel), X.shape[0] * offset_group
    wide = jnp.promote_types(offset.dtype, jnp.float32)  # half precision can't tell the pixels of a large image apart
    moved = offset.astype(wide).reshape(batch, count, rank, *out)
    inside = np.meshgrid(*(d * np.arange(k) for k, d in zip(kernel, at.dilation, strict=True)), indexing="ij")
    places = []
    for i in range(rank):
        corner = at.stride[i] * np.arange(out[i]) - at.padding[i][0]
        corner = corner.reshape([-1 if a == i else 1 for a in range(rank)])
        places.append(moved[:, :, i] + inside[i].reshape(-1, *[1] * rank) + corner)
    read = read_at(X.reshape(batch, -1, *sizes), places)
    if mask is not None:
        read = read * mask.reshape(batch, 1, count, *out)
    columns = read.astype(X.dtype).reshape(X.shape[0], group, -1, math.prod(out))
    y = jnp.matmul(W.reshape(group, W.shape[0] // group, -1), columns).reshape(X.shape[0], -1, *out)
    return y if B is None else y + along_channels(B, y)


@lowers("RoiAlign")
def roi_align(
    w: Any,
    X: Value,
    rois: Value,
    batch_indices: Value,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Value:
    """Regions [count, 4] (x1, y1, x2, y2) of images X [N, C, H, W], each read at places in its bins: [count, C, ...].

    A bin is the mean of what is read at sampling_ratio^2 places in it, or as many as it has pixels with 0, which has
    to be known; or, in the mode "max", the largest of their neighbours times the neighbours' weights, as the
    standard's reference has it.
    """
    if mode not in ("avg", "max") or coordinate_transformation_mode not in ("half_pixel", "output_half_pixel"):
        raise HubError(f"RoiAlign with mode {mode!r} and {coordinate_transformation_mode!r} coordinates")
    is_half = coordinate_transformation_mode == "half_pixel"
    wide = rois.astype(jnp.promote_types(rois.dtype, jnp.float32))
    corners = wide * spatial_scale - (0.5 if is_half else 0.0)
    least = -math.inf if is_half else 1.0
    lengths = [jnp.maximum(corners[:, i + 2] - corners[:, i], least) for i in (1, 0)]
    bins = (output_height, output_width)
    most = [sampling_ratio] * 2
    if not sampling_ratio:
        w.concrete(rois)
        most = [max(math.ceil(float(jnp.max(n, initial=0)) / b), 1) for n, b in zip(lengths, bins, strict=True)]
    along = [
        _bin_samples(corners[:, i], lengths[a], bins[a], X.shape[2 + a], sampling_ratio, most[a])
        for a, i in enumerate((1, 0))
    ]
    (rows, used_y, count_y), (columns, used_x, count_x) = along
    images = batch_indices.reshape(-1, 1, 1, 1, 1, 1)
    channels = np.arange(X.shape[1]).reshape(-1, 1, 1, 1, 1)
    read = []
    for (row, weight_y), (column, weight_x) in itertools.product(rows, columns):
        pixels = X[images, channels, row[:, None, :, :, None, None], column[:, None, None, None]]
        read.append(pixels * (weight_y[:, None, :, :, None, None] * weight_x[:, None, None, None]).astype(X.dtype))
    used = used_y[:, None, :, :, None, None] & used_x[:, None, None, None]
    if mode == "max":
        largest = jnp.max(jnp.where(used, jnp.max(jnp.stack(read), 0), -math.inf), (3, 5))
        return jnp.where(jnp.isinf(largest), 0.0, largest)
    count = jnp.maximum(count_y * count_x, 1).astype(X.dtype).reshape(-1, 1, 1, 1)
    return sum(read).sum((3, 5)) / count


def _bin_samples(begin: Value, length: Value, bins: int, size: int, ratio: int, most: int) -> tuple[Any, Value, Value]:
    """Along one axis: the two neighbours of each place that is read, [regions, bins, places], with their weights; which
    of these places are used; and how many of them each region has in a bin.
    """
    count = jnp.full_like(length, ratio) if ratio else jnp.ceil(length / bins)
    step = np.arange(most)
    used = jnp.broadcast_to((step < count[:, None])[:, None], (len(begin), bins, most))
    places = np.arange(bins)[:, None] + (step + 0.5) / jnp.maximum(count.reshape(-1, 1, 1), 1)
    at = begin.reshape(-1, 1, 1) + places * (length / bins).reshape(-1, 1, 1)
    inside = (at >= -1) & (at <= size) & used
    at = jnp.clip(at, 0, size - 1)
    low = jnp.floor(at)
    share, first = at - low, low.astype(jnp.int32)
    return [(first, (1 - share) * inside), (jnp.minimum(first + 1, size - 1), share * inside)], used, count


@lowers("MaxRoiPool")
def max_roi_pool(w: Any, X: Value, rois: Value, *, pooled_shape: Sequence[int], spatial_scale: float = 1.0) -> Value:
    """The largest of each bin of regions [count, 5] (image, x1, y1, x2, y2) of X, whole pixels; 0 in bins without any.

    Returns [count, C, *pooled_shape].
    """
    scaled = rois[:, 1:] * spatial_scale
    corners = (jnp.sign(scaled) * jnp.floor(jnp.abs(scaled) + 0.5)).astype(jnp.int32)
    images = X[rois[:, 0].astype(jnp.int32)]  # [count, C, H, W]
    columns, rows = (_bins(corners[:, i], corners[:, i + 2], pooled_shape[1 - i], X.shape[3 - i]) for i in (0, 1))
    pooled = []
    for i in range(pooled_shape[0]):
        row = jnp.max(jnp.where(rows[:, i, None, :, None], images, -math.inf), 2)  # [count, C, W]
        pooled.append(
            jnp.stack([jnp.max(jnp.where(columns[:, j, None], row, -math.inf), 2) for j in range(pooled_shape[1])], -1)
        )
    y = jnp.stack(pooled, 2)
    return jnp.where(jnp.isneginf(y), 0.0, y)


def _bins(begin: Value, end: Value, count: int, size: int) -> Value:
    """Which pixels of an axis are in each bin of each region: [regions, count, size]."""
    length = (jnp.maximum(end, begin) + 1 - begin)[:, None]
    step = np.arange(count)
    first = begin[:, None] + step * length // count
    last = begin[:, None] + -(-(step + 1) * length // count)
    places = np.arange(size)
    return (places >= first[..., None]) & (places < last[..., None])
