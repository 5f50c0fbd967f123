"""Images read at places that are computed: GridSample and DeformConv, with channels last."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from keras import ops

from zoo.converters.writers.keras.operators.indexing import counted
from zoo.converters.writers.keras.operators.layouts import pictures
from zoo.converters.writers.keras.operators.precision import dtype_of, like, wide
from zoo.converters.writers.keras.operators.sizes import Size, places, product, rank, sizes
from zoo.converters.writers.keras.operators.windows import spatial, windows_of

Tensor = Any


@pictures("GridSample")
def grid_sample(
    w: Any, X: Tensor, grid: Tensor, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Tensor:
    """X [N, ..., C] read at a grid [N, ..., axes] of places between -1 and 1, last axis first."""
    name = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    if name not in ("linear", "nearest", "cubic") or padding_mode not in ("zeros", "border", "reflection"):
        raise w.refused(f"mode {mode!r} and padding {padding_mode!r}")
    dtype = dtype_of(X) if dtype_of(X) == "float64" else dtype_of(wide(grid))
    at = []
    for i, size in enumerate(spatial(X)):
        low, high = _borders(size, bool(align_corners), dtype)
        place = low + (ops.cast(grid[..., -1 - i], dtype) + 1) / 2 * (high - low)
        if name == "nearest":
            place = ops.round(place)
        if padding_mode == "border":
            last = ops.cast(size - 1, dtype)
            place = ops.where(ops.logical_or(place < low, place > high), ops.clip(place, 0, last), place)
        elif padding_mode == "reflection":
            place = reflected(place, low, high)
        at.append(place)
    return like(read_at(ops.cast(X, dtype), at, name, padding_mode, bool(align_corners)), X)


def _borders(size: Size, align_corners: bool, dtype: str) -> tuple[Tensor, Tensor]:
    low, high = (0.0, size - 1) if align_corners else (-0.5, size)
    return ops.cast(low, dtype), ops.cast(high, dtype) - (0.0 if align_corners else 0.5)


def read_at(
    x: Tensor, at: Sequence[Tensor], mode: str = "linear", padding_mode: str = "zeros", align_corners: bool = False
) -> Tensor:
    """Images [N, *sizes, C] at places [N, *out], one tensor for each axis, in pixels: [N, *out, C]."""
    have, dtype = sizes(x), dtype_of(at[0])
    neighbours = []
    for size, place in zip(have[1:-1], at, strict=True):
        last = ops.cast(size - 1, dtype)
        read = []
        for near, weight in weighted_places(place, mode):
            if padding_mode == "zeros":
                weight = weight * ops.cast(ops.logical_and(near >= 0, near <= last), dtype)
            elif padding_mode == "reflection":
                near = reflected(near, *_borders(size, align_corners, dtype))
            read.append((ops.cast(ops.clip(near, 0, last), "int32"), weight))
        neighbours.append(read)
    batch = places(have[0], 0, rank(at[0]))
    pixels = ops.reshape(x, [product(have[:-1]), have[-1]])
    total = None
    for corner in itertools.product(*neighbours):
        share = reduce(ops.multiply, [weight for _, weight in corner])
        part = ops.take(pixels, counted([batch, *(near for near, _ in corner)], have[:-1]), axis=0)
        part = part * ops.expand_dims(ops.cast(share, dtype_of(x)), -1)
        total = part if total is None else total + part
    return total


def weighted_places(at: Tensor, mode: str) -> list[tuple[Tensor, Tensor]]:
    """The neighbours that a place reads along one axis, and how much of each."""
    if mode == "nearest":
        return [(at, ops.ones_like(at))]
    first = ops.floor(at)
    t = at - first
    if mode == "linear":
        return [(first, 1 - t), (first + 1, t)]
    near = [((1.25 * d - 2.25) * d) * d + 1 for d in (t, 1 - t)]  # Keys' cubic with a = -0.75
    far = [((-0.75 * d + 3.75) * d - 6) * d + 3 for d in (t + 1, 2 - t)]
    return [(first - 1, far[0]), (first, near[0]), (first + 1, near[1]), (first + 2, far[1])]


def reflected(at: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Places between two borders, in which those outside are mirrored."""
    span = ops.maximum(high - low, ops.cast(1e-6, dtype_of(at)))  # of one pixel between its own borders nothing is left
    at = ops.mod(ops.abs(at - low), 2 * span)
    return ops.minimum(low + ops.minimum(at, 2 * span - at), high)


@pictures("DeformConv")
def deform_conv(
    w: Any,
    X: Tensor,
    W: Tensor,
    offset: Tensor,
    B: Tensor = None,
    mask: Tensor = None,
    *,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    offset_group: int = 1,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """A convolution whose kernel's elements are moved by an offset of their own at each place of the output.

    X [N, *sizes, C], W [M, C / group, *kernel], offset [N, *out, offset_group * prod(kernel) * axes], and mask
    [N, *out, offset_group * prod(kernel)], by which what is read is multiplied.
    """
    have, out, channels = spatial(X), spatial(offset), X.shape[-1]
    at = windows_of(have, W.shape[2:], "NOTSET", pads, strides, dilations)
    n, count, batch = len(have), math.prod(W.shape[2:]), sizes(X)[0]
    moved = ops.reshape(wide(offset), [batch, *out, offset_group, count, n])
    inside = np.meshgrid(*(d * np.arange(k) for k, d in zip(at.kernel, at.dilation, strict=True)), indexing="ij")
    read = []
    for g in range(offset_group):
        where = []
        for i in range(n):
            corner = places(out[i], i + 1, n + 2) * at.stride[i] - at.padding[i][0]
            where.append(moved[..., g, :, i] + like(corner + inside[i].reshape(-1).astype(np.int32), moved))
        part = channels // offset_group
        read.append(read_at(X[..., g * part : (g + 1) * part], where))  # [N, *out, count, part]
    columns = ops.stack(read, -2) if offset_group > 1 else ops.expand_dims(read[0], -2)
    if mask is not None:
        shares = ops.reshape(mask, [batch, *out, offset_group, count])
        columns = columns * ops.expand_dims(like(ops.swapaxes(shares, -1, -2), columns), -1)
    columns = ops.reshape(columns, [-1, count, group, channels // group])
    columns = ops.transpose(columns, (2, 0, 3, 1))  # [group, places, C / group, count]
    columns = ops.reshape(columns, [group, sizes(columns)[1], -1])
    kernel = ops.transpose(ops.reshape(W, [group, W.shape[0] // group, -1]), (0, 2, 1))
    y = ops.matmul(like(columns, W), kernel)  # [group, places, M / group]
    y = ops.reshape(ops.transpose(y, (1, 0, 2)), [batch, *out, W.shape[0]])
    return y if B is None else y + B
