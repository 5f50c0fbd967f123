"""Images of other sizes by ONNX's rules, where F.interpolate has others: plain torch functions, which a forward calls.

Resizing is separable: along each axis, every place of the output reads a few neighbours with a few weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


def resize(
    x: torch.Tensor,
    axes: Sequence[int],
    sizes: Sequence[int] | None = None,
    scales: Sequence[float] | None = None,
    region: Sequence[float] | torch.Tensor | None = None,
    *,
    mode: str = "nearest",
    coordinates: str = "half_pixel",
    rounding: str = "round_prefer_floor",
    aspect_ratio: str = "stretch",
    antialias: bool = False,
    exclude_outside: bool = False,
    cubic_coeff_a: float = -0.75,
    extrapolation_value: float = 0.0,
) -> torch.Tensor:
    """The image with other sizes along `axes`: as given, or times `scales`; of integers, rounded and kept in range.

    `region` has the begins and then the ends of what is cut out (coordinates "tf_crop_and_resize"), the image being 1
    long; what lies outside of the image is `extrapolation_value`.
    """
    have = [x.shape[axis] for axis in axes]
    if scales is None:
        scales = [size / n for size, n in zip(sizes or [], have, strict=True)]
        if aspect_ratio != "stretch":
            scales = [min(scales) if aspect_ratio == "not_larger" else max(scales)] * len(have)
            sizes = [math.floor(scale * n + 0.5) for scale, n in zip(scales, have, strict=True)]
    if sizes is None:
        sizes = [math.floor(scale * n) for scale, n in zip(scales, have, strict=True)]
    exact = torch.float32 if x.device.type == "mps" else torch.float64  # MPS has no float64
    y = x
    if mode != "nearest" and x.dtype not in (torch.float32, torch.float64):
        y = x.float() if x.is_floating_point() else x.to(exact)
    outside = torch.zeros((), dtype=torch.bool, device=x.device)
    for i, (axis, size, scale) in enumerate(zip(axes, sizes, scales, strict=True)):
        if size == x.shape[axis] and scale == 1 and region is None:
            continue
        begin, end = (0.0, 1.0) if region is None else (region[i], region[len(axes) + i])
        at = torch.arange(size, device=x.device, dtype=exact)
        at = source_places(at, x.shape[axis], scale, coordinates, begin, end)
        if coordinates == "tf_crop_and_resize":
            beyond = (at < 0) | (at > x.shape[axis] - 1)
            outside = outside | beyond.view([-1 if a == axis else 1 for a in range(x.dim())])
        if mode == "nearest":
            y = y.index_select(axis, rounded(at, rounding).clamp(0, x.shape[axis] - 1))
        else:
            radius, shrink = 1 if mode == "linear" else 2, min(scale, 1.0) if antialias else 1.0
            neighbours, weights = weighted_neighbours(at, radius, shrink, cubic_coeff_a)
            if exclude_outside:
                weights = weights * ((neighbours >= 0) & (neighbours < x.shape[axis]))
                weights = weights / weights.sum(-1, keepdim=True)
            read = y.index_select(axis, neighbours.clamp(0, x.shape[axis] - 1).flatten()).unflatten(axis, weights.shape)
            weights = weights.to(y.dtype).view(*weights.shape, *[1] * (x.dim() - axis - 1))
            y = (read * weights).sum(axis + 1)
    if coordinates == "tf_crop_and_resize":
        y = y.masked_fill(outside, extrapolation_value)
    if y.dtype != x.dtype and not x.is_floating_point():
        limits = torch.iinfo(x.dtype)
        y = y.round().clamp(limits.min, limits.max)
    return y.to(x.dtype)


def source_places(
    at: torch.Tensor, have: int, scale: float, coordinates: str, begin: float | torch.Tensor, end: float | torch.Tensor
) -> torch.Tensor:
    """Where the places 0, 1, ... of an output lie along an axis of `have` elements."""
    length = scale * have  # ONNX counts with the size before it is rounded
    if coordinates == "align_corners":
        return at * (have - 1) / (length - 1) if length != 1 else at * 0
    if coordinates == "asymmetric":
        return at / scale
    if coordinates == "tf_crop_and_resize":
        middle = at * 0 + (end - begin) * (have - 1) / 2
        return begin * (have - 1) + (at * (end - begin) * (have - 1) / (length - 1) if length != 1 else middle)
    if coordinates == "pytorch_half_pixel" and length == 1:
        return at * 0 - 0.5
    shift = have / 2 * (1 - len(at) / length) if coordinates == "half_pixel_symmetric" else 0.0
    return shift + (at + 0.5) / scale - 0.5


def rounded(at: torch.Tensor, rounding: str) -> torch.Tensor:
    """Places as whole numbers."""
    if rounding == "floor":
        at = at.floor()
    elif rounding == "ceil":
        at = at.ceil()
    else:
        at = (at - 0.5).ceil() if rounding == "round_prefer_floor" else (at + 0.5).floor()
    return at.to(torch.int64)


def weighted_neighbours(
    at: torch.Tensor, radius: int, shrink: float, cubic_coeff_a: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which elements each place reads and how much of each, [n, count] both: a triangle of radius 1, a cubic of 2.

    `shrink` below 1 widens the kernel, so that an image that becomes smaller is smoothed (antialias).
    """
    first = math.floor(-radius / shrink) + 1
    base = at.floor()
    offsets = torch.arange(first, 2 - first, device=at.device, dtype=at.dtype)
    distance = ((offsets - (at - base)[:, None]) * shrink).abs()
    if radius == 1:
        weights = (1 - distance).clamp(min=0)
    else:
        a = cubic_coeff_a
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        weights = torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))
    if shrink != 1.0:
        weights = weights / weights.sum(-1, keepdim=True)
    return (base[:, None] + offsets).to(torch.int64), weights
