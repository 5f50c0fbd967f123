"""Sliding windows that torch's convolutions and pools lack: plain torch functions, which a forward calls.

Every sequence of numbers has one for each spatial axis of x [N, C, ...]. `padding` is (begin, end) for each axis, or
"same_upper" or "same_lower": ceil(size / stride) windows, and where the padding is odd more of it at the end or begin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F


def window_padding(
    sizes: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[tuple[int, int]] | str,
    ceil_mode: bool = False,
) -> list[tuple[int, int]]:
    """(begin, end) for each axis, so that the windows fit.

    In ceil_mode the end reaches as far as the last window that starts in the image or in its first padding: that may
    be farther than the padding asked for, and where it is less, the end is negative and cuts.
    """
    amounts = []
    for i, (size, k, s, d) in enumerate(zip(sizes, kernel_size, stride, dilation, strict=True)):
        span = (k - 1) * d + 1
        if isinstance(padding, str):
            total = max((-(-size // s) - 1) * s + span - size, 0)
            begin = total // 2 if padding == "same_upper" else total - total // 2
            end = total - begin
        else:
            begin, end = padding[i]
            if ceil_mode:
                count = min(-(-(size + begin + end - span) // s) + 1, (size + begin - 1) // s + 1)
                end = (count - 1) * s + span - size - begin
        amounts.append((begin, end))
    return amounts


def pad_windows(
    x: torch.Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[tuple[int, int]] | str,
    ceil_mode: bool = False,
    value: float = 0.0,
) -> torch.Tensor:
    """The input padded as far as `window_padding` says."""
    amounts = window_padding(x.shape[2:], kernel_size, stride, dilation, padding, ceil_mode)
    return F.pad(x, [n for pair in reversed(amounts) for n in pair], value=value)


def cut(x: torch.Tensor, sizes: Sequence[int], extra: Sequence[int], padding: str) -> torch.Tensor:
    """A transposed convolution without padding, cut to `sizes` after `extra` zeros at the end; too few are made up."""
    amounts: list[int] = []
    for size, want, more in zip(x.shape[2:], sizes, extra, strict=True):
        total = max(size + more - want, 0)
        begin = total // 2 if padding == "same_upper" else total - total // 2
        amounts = [-begin, want - size + begin, *amounts]
    return F.pad(x, amounts)


def windows(
    x: torch.Tensor, kernel_size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> torch.Tensor:
    """Each window's elements along a last axis: [N, C, *count, prod(kernel_size)]."""
    for i, (k, s, d) in enumerate(zip(kernel_size, stride, dilation, strict=True)):
        x = x.unfold(2 + i, (k - 1) * d + 1, s)[..., ::d]
    return x.flatten(-len(kernel_size))


def average_pool(
    x: torch.Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[tuple[int, int]] | str,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> torch.Tensor:
    """The mean of each window over what lies in the image, and in its padding with `count_include_pad`."""
    asked = window_padding(x.shape[2:], kernel_size, stride, dilation, padding)
    reached = window_padding(x.shape[2:], kernel_size, stride, dilation, padding, ceil_mode)
    counted = F.pad(torch.ones_like(x[:1, :1]), [n for pair in reversed(asked) for n in pair], value=count_include_pad)
    counted = F.pad(counted, [n for a, r in zip(asked[::-1], reached[::-1], strict=True) for n in (0, r[1] - a[1])])
    x = F.pad(x, [n for pair in reversed(reached) for n in pair])
    return windows(x, kernel_size, stride, dilation).sum(-1) / windows(counted, kernel_size, stride, dilation).sum(-1)


def max_pool(
    x: torch.Tensor, kernel_size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest of each window, and where it stands in its plane: torch's own, for planes of any rank."""
    places = torch.arange(math.prod(x.shape[2:]), device=x.device).view(1, 1, *x.shape[2:])
    largest, which = windows(x, kernel_size, stride, dilation).max(-1)
    places = windows(places, kernel_size, stride, dilation).expand(*which.shape, -1)
    return largest, places.gather(-1, which[..., None])[..., 0]


def flat_indices(
    indices: torch.Tensor,
    sizes: Sequence[int],
    padding: Sequence[tuple[int, int]] | None = None,
    column_major: bool = False,
) -> torch.Tensor:
    """Places in planes [N, C, ...] as places in the whole tensor, whose planes have these sizes.

    `indices` counts in padded planes where their `padding` is given.
    """
    strides = [math.prod(sizes[:i]) if column_major else math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    batch, channels = indices.shape[:2]
    planes = torch.arange(batch * channels, device=indices.device).view(batch, channels, *[1] * len(sizes))
    flat = planes * math.prod(sizes)
    pairs = padding or [(0, 0)] * len(sizes)
    for size, stride, (begin, end) in reversed(list(zip(sizes, strides, pairs, strict=True))):
        flat = flat + (indices % (size + begin + end) - begin) * stride
        indices = indices // (size + begin + end)
    return flat


def max_unpool(
    x: torch.Tensor, indices: torch.Tensor, sizes: Sequence[int], wanted: Sequence[int] | None = None
) -> torch.Tensor:
    """Zeros of `sizes` with x at places in the whole tensor; then zeros at each end until it is of the sizes wanted."""
    y = x.new_zeros(x.shape[0] * x.shape[1] * math.prod(sizes)).index_put((indices.flatten(),), x.flatten())
    y = y.view(*x.shape[:2], *sizes)
    return (
        y
        if wanted is None
        else F.pad(y, [n for a, b in zip(sizes[::-1], wanted[::-1], strict=True) for n in (0, b - a)])
    )
