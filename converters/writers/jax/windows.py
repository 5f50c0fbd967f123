"""Where kernels are laid over an image: numbers, one for each spatial axis, known when jax traces.

An image is [N, C, ...], or [N, ..., C] with `last`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from zoo.errors import HubError

Value = Any
Pairs = list[tuple[int, int]]  # (begin, end) for each spatial axis
SAME = ("SAME_UPPER", "SAME_LOWER")


class Windows(NamedTuple):
    """A kernel, its steps, and the padding (begin, end) of the image; a negative one cuts."""

    kernel: list[int]
    stride: list[int]
    dilation: list[int]
    padding: Pairs

    @property
    def spans(self) -> list[int]:
        """How far the kernel reaches along each axis."""
        return [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]

    def counts(self, sizes: Sequence[int]) -> list[int]:
        """How many windows there are along each axis of an image."""
        padded = [n + begin + end for n, (begin, end) in zip(sizes, self.padding, strict=True)]
        return [max((n - s) // t + 1, 0) for n, s, t in zip(padded, self.spans, self.stride, strict=True)]


def windows_of(
    sizes: Sequence[int],
    kernel: Sequence[int],
    auto_pad: str,
    pads: Sequence[int] | None,
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    *,
    ceil_mode: int = 0,
) -> Windows:
    """ONNX's attributes, which have defaults and leave out, for an image of these sizes. Raises HubError.

    In ceil_mode the end reaches as far as the last window that starts in the image or in its first padding.
    """
    n = len(kernel)
    stride, dilation, both = list(strides or [1] * n), list(dilations or [1] * n), list(pads or [0] * 2 * n)
    if (len(sizes), len(stride), len(dilation), len(both)) != (n, n, n, 2 * n):
        raise HubError(
            f"a kernel of {n} axes over {len(sizes)}, with strides {stride}, dilations {dilation} and pads {both}"
        )
    if auto_pad not in ("NOTSET", "", "VALID", *SAME):
        raise HubError(f"unknown auto_pad {auto_pad!r}")
    pairs: Pairs = []
    for i, (size, k, s, d) in enumerate(zip(sizes, kernel, stride, dilation, strict=True)):
        span = (k - 1) * d + 1
        begin, end = (0, 0) if auto_pad == "VALID" else (both[i], both[n + i])
        if auto_pad in SAME:
            total = max((-(-size // s) - 1) * s + span - size, 0)
            begin = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
            end = total - begin
        elif ceil_mode and auto_pad != "VALID":
            count = min(-(-(size + begin + end - span) // s) + 1, (size + begin - 1) // s + 1)
            end = (count - 1) * s + span - size - begin
        pairs.append((begin, end))
    return Windows(list(kernel), stride, dilation, pairs)


def spatial(x: Value, last: bool = False) -> tuple[int, ...]:
    """The sizes of an image."""
    sizes: tuple[int, ...] = x.shape[1:-1] if last else x.shape[2:]
    return sizes


def spatial_axes(x: Value, last: bool = False) -> tuple[int, ...]:
    """The axes of an image that are neither batch nor channels."""
    return tuple(range(1, x.ndim - 1) if last else range(2, x.ndim))


def along_channels(v: Value, x: Value, last: bool = False) -> Value:
    """A vector of one number for each channel of x, so that it broadcasts."""
    return v if last else v.reshape([-1] + [1] * (x.ndim - 2))


def _along(numbers: Sequence[Any], other: Any, last: bool) -> list[Any]:
    """One thing for each spatial axis, and the other one for batch and channels."""
    return [other, *numbers, other] if last else [other, other, *numbers]


def padded(x: Value, padding: Sequence[tuple[int, int]], value: Any = 0, last: bool = False) -> Value:
    """An image with its spatial axes padded, or cut where a number is negative."""
    config = _along([(begin, end, 0) for begin, end in padding], (0, 0, 0), last)
    return lax.pad(x, jnp.asarray(value, x.dtype), config)


def reduce_windows(x: Value, at: Windows, start: Any, f: Any, last: bool = False) -> Value:
    """`f` over each window of an image, from `start`, which is what the padding counts as."""
    padding = at.padding
    if any(n < 0 for pair in padding for n in pair):
        cuts = [(min(begin, 0), min(end, 0)) for begin, end in padding]
        x, padding = padded(x, cuts, last=last), [(max(begin, 0), max(end, 0)) for begin, end in padding]
    return lax.reduce_window(
        x,
        np.array(start, x.dtype)[()],
        f,
        _along(at.kernel, 1, last),
        _along(at.stride, 1, last),
        _along(padding, (0, 0), last),
        window_dilation=_along(at.dilation, 1, last),
    )


def windows(x: Value, at: Windows, value: Any) -> tuple[Value, Any]:
    """Each window's elements along a last axis [N, C, *counts, prod(kernel)], and where in its plane each stands.

    The places [*counts, prod(kernel)] count in the image without its padding, and are -1 in it.
    """
    sizes, counts = x.shape[2:], at.counts(x.shape[2:])
    rank, index, places, inside = len(sizes), [], np.zeros(1, np.int64), np.ones(1, bool)
    for i, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        along = np.arange(count)[:, None] * at.stride[i] + np.arange(at.kernel[i]) * at.dilation[i]
        shape = [1] * (2 * rank)
        shape[i], shape[rank + i] = along.shape
        index.append(along.reshape(shape))
        place = along.reshape(shape) - at.padding[i][0]
        inside = inside & (place >= 0) & (place < size)
        places = places * size + place
    read = padded(x, at.padding, value)[(slice(None), slice(None), *index)]
    flat = (*counts, math.prod(at.kernel))
    full = (*counts, *at.kernel)
    at_place = np.broadcast_to(np.where(inside, places, -1), full).reshape(flat)
    return read.reshape(*x.shape[:2], *flat), at_place
