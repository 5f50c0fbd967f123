"""Shapes that are computed when a module runs, and borders that F.pad has not: plain torch functions.

Lists of numbers are what `tensor.tolist()` gives; they mean what ONNX's inputs of the same name mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F


def reshape(x: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """The elements in another shape, in which 0 stands for x's own size there."""
    return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(shape)])


def unsqueeze(x: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
    """With new axes of size one, where `axes` says that they stand afterwards."""
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def split_evenly(x: torch.Tensor, count: int, axis: int) -> tuple[torch.Tensor, ...]:
    """Parts of one size, of which the last are smaller, or empty."""
    length = x.shape[axis]
    step = -(-length // count)
    sizes = [min(step, max(length - i * step, 0)) for i in range(count)]
    return tuple(x.split_with_sizes(sizes, axis))


def slices(
    x: torch.Tensor,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
) -> torch.Tensor:
    """x[start:end:step] along each of `axes`; a negative step goes backwards, from a start that is kept in range."""
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = (i if axes is None else axes[i]) % x.dim()
        step, length = 1 if steps is None else steps[i], x.shape[axis]
        if step > 0:
            first, last = max(start, -length), max(end, -length)  # torch warns of more
            x = x[(*[slice(None)] * axis, slice(first, last, step))]
            continue
        first = min(max(start + length if start < 0 else start, 0), length - 1)
        last = min(max(end + length if end < 0 else end, -1), length - 1)
        places = first + step * torch.arange(max((first - last - step - 1) // -step, 0), device=x.device)
        x = x.index_select(axis, places)
    return x


def pad(
    x: torch.Tensor, pads: Sequence[int], axes: Sequence[int] | None = None, mode: str = "constant", value: float = 0
) -> torch.Tensor:
    """More elements before and behind along `axes`, fewer where `pads` (all begins, then all ends) is negative."""
    axes = range(x.dim()) if axes is None else [axis % x.dim() for axis in axes]
    if mode == "constant":
        amounts = [0] * (2 * x.dim())
        for i, axis in enumerate(axes):
            at = 2 * (x.dim() - 1 - axis)
            amounts[at : at + 2] = [pads[i], pads[len(axes) + i]]
        return F.pad(x, amounts, value=value)
    for i, axis in enumerate(axes):
        length = x.shape[axis]
        places = torch.arange(-pads[i], length + pads[len(axes) + i], device=x.device)
        if mode == "wrap":
            places = places % length
        elif mode == "reflect" and length > 1:
            places = places % (2 * length - 2)
            places = torch.where(places < length, places, 2 * length - 2 - places)
        x = x.index_select(axis, places.clamp(0, length - 1))
    return x


def center_crop_pad(x: torch.Tensor, shape: Sequence[int], axes: Sequence[int] | None = None) -> torch.Tensor:
    """Cut or padded with zeros on both sides to `shape`; where that is odd, one more at the end."""
    amounts = [0] * (2 * x.dim())
    for size, axis in zip(shape, range(x.dim()) if axes is None else axes, strict=True):
        more = size - x.shape[axis]
        begin = more // 2 if more > 0 else -(-more // 2)
        at = 2 * (x.dim() - 1 - axis % x.dim())
        amounts[at : at + 2] = [begin, more - begin]
    return F.pad(x, amounts)


def fold(
    x: torch.Tensor,
    image_shape: Sequence[int],
    block_shape: Sequence[int],
    stride: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
) -> torch.Tensor:
    """Blocks [N, C * prod(block_shape), L] added up where they lay in [N, C, *image_shape]: F.fold of any rank.

    `pads` has all begins, then all ends.
    """
    axes = len(image_shape)
    stride, dilation, pads = stride or [1] * axes, dilation or [1] * axes, pads or [0] * 2 * axes
    places = torch.zeros(1, 1, dtype=torch.int64, device=x.device)  # [element of a block, block]
    padded = [size + pads[i] + pads[axes + i] for i, size in enumerate(image_shape)]
    for size, k, s, d in zip(padded, block_shape, stride, dilation, strict=True):
        inside = d * torch.arange(k, device=x.device)
        corner = s * torch.arange((size - (k - 1) * d - 1) // s + 1, device=x.device)
        along = inside[:, None] + corner
        places = (places[:, None, :, None] * size + along[None, :, None]).flatten(2, 3).flatten(0, 1)
    blocks = x.unflatten(1, (-1, len(places))).flatten(2)
    image = x.new_zeros(*blocks.shape[:2], math.prod(padded)).index_add(2, places.flatten(), blocks)
    image = image.unflatten(2, padded)
    for i, size in enumerate(image_shape):
        image = image.narrow(2 + i, pads[i], size)
    return image


def arange(
    start: float, limit: float, delta: float, dtype: torch.dtype, device: torch.device | str | None = None
) -> torch.Tensor:
    """start, start + delta, ... as far as the limit, which is left out; nothing where it lies the other way."""
    steps = limit - start
    count = -(-steps // delta) if isinstance(steps, int) else math.ceil(steps / delta)
    exact = torch.int64 if isinstance(steps, int) else torch.float64
    if device is not None and torch.device(device).type == "mps" and exact == torch.float64:
        exact = torch.float32  # MPS has no float64
    return (start + delta * torch.arange(max(count, 0), dtype=exact, device=device)).to(dtype)
