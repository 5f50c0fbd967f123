"""Images read at places that are computed, where torch has no call for it: plain torch functions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch


def grid_sample(
    x: torch.Tensor, grid: torch.Tensor, mode: str = "linear", padding_mode: str = "zeros", align_corners: bool = False
) -> torch.Tensor:
    """F.grid_sample over any number of axes: x [N, C, *sizes] at grid [N, *places, len(sizes)], last axis first."""
    places = []
    for size, at in zip(x.shape[2:], reversed(grid.unbind(-1)), strict=True):
        low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
        at = low + (at + 1) / 2 * (high - low)
        if mode == "nearest":
            at = at.round()
        if padding_mode == "border":
            at = torch.where((at < low) | (at > high), at.clamp(0, size - 1), at)
        elif padding_mode == "reflection":
            at = reflected(at, low, high)
        places.append(at)
    return read_at(x, places, mode, padding_mode, align_corners)


def read_at(
    x: torch.Tensor,
    places: Sequence[torch.Tensor],
    mode: str = "linear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> torch.Tensor:
    """Images [N, C, *sizes] at places [N, *out], one tensor for each axis, in pixels: [N, C, *out]."""
    sizes, neighbours = x.shape[2:], []
    for size, at in zip(sizes, places, strict=True):
        read = []
        for place, weight in weighted_places(at, mode):
            if padding_mode == "zeros":
                weight = weight * ((place >= 0) & (place < size))
            elif padding_mode == "reflection":
                place = reflected(place, *((0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)))
            read.append((place.clamp(0, size - 1).to(torch.int64), weight))
        neighbours.append(read)
    batch, channels = x.shape[:2]
    planes = x.flatten(2)
    total = torch.zeros((), dtype=x.dtype, device=x.device)
    for corner in itertools.product(*neighbours):
        flat, share = torch.zeros_like(corner[0][0]), torch.ones_like(corner[0][1])
        for size, (place, weight) in zip(sizes, corner, strict=True):
            flat, share = flat * size + place, share * weight
        pixels = planes.gather(2, flat.reshape(batch, 1, -1).expand(-1, channels, -1))
        total = total + pixels * share.reshape(batch, 1, -1)
    return total.view(batch, channels, *places[0].shape[1:])


def weighted_places(at: torch.Tensor, mode: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The neighbours that a place reads along one axis, and how much of each."""
    if mode == "nearest":
        return [(at, torch.ones_like(at))]
    first = at.floor()
    t = at - first
    if mode == "linear":
        return [(first, 1 - t), (first + 1, t)]
    near = [((1.25 * d - 2.25) * d) * d + 1 for d in (t, 1 - t)]  # Keys' cubic with a = -0.75
    far = [((-0.75 * d + 3.75) * d - 6) * d + 3 for d in (t + 1, 2 - t)]
    return [(first - 1, far[0]), (first, near[0]), (first + 1, near[1]), (first + 2, far[1])]


def reflected(at: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Places between two borders, in which those outside are mirrored."""
    if high == low:
        return torch.full_like(at, low)
    at = (at - low).abs() % (2 * (high - low))
    return low + torch.minimum(at, 2 * (high - low) - at)


def deform_conv(
    x: torch.Tensor,
    offset: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    *,
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    groups: int = 1,
    offset_groups: int = 1,
) -> torch.Tensor:
    """A convolution that reads, for each place of its output, where `offset` has moved its kernel's elements to.

    x [N, C, *sizes], weight [M, C / groups, *kernel], offset [N, offset_groups * prod(kernel) * axes, *out], and mask
    [N, offset_groups * prod(kernel), *out], by which what is read is multiplied.
    """
    sizes, kernel, out = x.shape[2:], weight.shape[2:], offset.shape[2:]
    count, batch = math.prod(kernel), x.shape[0] * offset_groups
    wide = torch.promote_types(
        offset.dtype, torch.float32
    )  # half precision can't tell the pixels of a large image apart
    moved = offset.to(wide).reshape(batch, count, len(sizes), *out).unbind(2)
    steps = [d * torch.arange(k, device=x.device) for k, d in zip(kernel, dilation, strict=True)]
    inside = torch.meshgrid(*steps, indexing="ij")
    places = []
    for i, at in enumerate(moved):
        corner = stride[i] * torch.arange(out[i], device=x.device) - padding[i][0]
        places.append(at + inside[i].reshape(-1, *[1] * len(out)) + corner.view(-1, *[1] * (len(out) - 1 - i)))
    read = read_at(x.reshape(batch, -1, *sizes), places)
    if mask is not None:
        read = read * mask.reshape(batch, 1, count, *out)
    columns = read.to(x.dtype).reshape(x.shape[0], groups, -1, math.prod(out))
    y = (weight.reshape(groups, weight.shape[0] // groups, -1) @ columns).reshape(x.shape[0], -1, *out)
    return y if bias is None else y + bias.view(-1, *[1] * len(out))
