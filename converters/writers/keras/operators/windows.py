"""Where kernels are laid over pictures [N, spatial..., C]: numbers for each axis, scalars where a size is free."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple

from keras import ops

from zoo.converters.writers.keras.operators.sizes import Size, is_known, larger, rank, sizes, smaller
from zoo.errors import HubError

Tensor = Any
Pairs = list[tuple[Size, Size]]  # (begin, end) for each spatial axis
SAME = ("SAME_UPPER", "SAME_LOWER")


class Windows(NamedTuple):
    """A kernel, its steps, and the padding (begin, end) of the picture; a negative one cuts."""

    kernel: list[int]
    stride: list[int]
    dilation: list[int]
    padding: Pairs

    @property
    def spans(self) -> list[int]:
        """How far the kernel reaches along each axis."""
        return [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]

    def counts(self, have: Sequence[Size]) -> list[Size]:
        """How many windows there are along each axis of a picture."""
        whole = [n + begin + end for n, (begin, end) in zip(have, self.padding, strict=True)]
        return [larger((n - s) // t + 1, 0) for n, s, t in zip(whole, self.spans, self.stride, strict=True)]


def spatial(x: Tensor) -> list[Size]:
    """The spatial sizes of a picture [N, spatial..., C]."""
    return sizes(x)[1:-1]


def windows_of(
    have: Sequence[Size],
    kernel: Sequence[int],
    auto_pad: str,
    pads: Sequence[int] | None,
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    *,
    ceil_mode: int = 0,
) -> Windows:
    """ONNX's attributes, which have defaults and leave out, for a picture of these spatial sizes. Raises HubError.

    In ceil_mode the end reaches as far as the last window that starts in the picture or in its first padding.
    """
    n = len(kernel)
    stride, dilation, both = list(strides or [1] * n), list(dilations or [1] * n), list(pads or [0] * 2 * n)
    if (len(have), len(stride), len(dilation), len(both)) != (n, n, n, 2 * n):
        raise HubError(
            f"a kernel of {n} axes over {len(have)}, with strides {stride}, dilations {dilation} and pads {both}"
        )
    if auto_pad not in ("NOTSET", "", "VALID", *SAME):
        raise HubError(f"unknown auto_pad {auto_pad!r}")
    pairs: Pairs = []
    for i, (size, k, s, d) in enumerate(zip(have, kernel, stride, dilation, strict=True)):
        span = (k - 1) * d + 1
        begin, end = (0, 0) if auto_pad == "VALID" else (both[i], both[n + i])
        if auto_pad in SAME:
            total = larger((-(-size // s) - 1) * s + span - size, 0)
            begin = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
            end = total - begin
        elif ceil_mode and auto_pad != "VALID":
            count = smaller(-(-(size + begin + end - span) // s) + 1, (size + begin - 1) // s + 1)
            end = (count - 1) * s + span - size - begin
        pairs.append((begin, end))
    return Windows(list(kernel), stride, dilation, pairs)


def padded(x: Tensor, padding: Sequence[tuple[Size, Size]], value: Any = 0) -> Tensor:
    """A picture with its spatial axes padded, or cut where a number is negative."""
    return padded_all(x, [(0, 0), *padding, (0, 0)], value)


def padded_all(x: Tensor, widths: Sequence[tuple[Size, Size]], value: Any = 0) -> Tensor:
    """A tensor with each axis padded by one number (Python's, or a scalar), or cut where one is negative."""
    cuts: list[Any] = [slice(None)] * len(widths)
    adds = list(widths)
    for i, (pair, size) in enumerate(zip(widths, sizes(x), strict=True)):
        if is_known(*pair) and min(pair) >= 0:
            continue
        begin, end = (smaller(n, 0) for n in pair)
        cuts[i], adds[i] = slice(-begin, size + end), (larger(pair[0], 0), larger(pair[1], 0))
    x = x if all(c == slice(None) for c in cuts) else x[tuple(cuts)]
    if all(is_known(*pair) and pair == (0, 0) for pair in adds):
        return x
    return ops.pad(x, adds, constant_values=value)


def shifted(x: Tensor, at: Windows) -> list[Tensor]:
    """For each element of the kernel, in row-major order, what the windows [N, counts..., C] read by it.

    The picture is padded already.
    """
    unpadded = at._replace(padding=[(0, 0)] * len(at.kernel))
    counts = unpadded.counts(spatial(x))
    read = []
    for offsets in itertools.product(*(range(k) for k in at.kernel)):
        index = [slice(None)]
        for offset, d, s, count in zip(offsets, at.dilation, at.stride, counts, strict=True):
            index.append(slice(offset * d, offset * d + (count - 1) * s + 1, s))
        read.append(x[tuple(index)])
    return read


def reduced(x: Tensor, at: Windows, f: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`f` over all elements of each window of a padded picture; no backend lacks a dtype or a rank for it."""
    return reduce(f, shifted(x, at))


def is_plain(at: Windows, x: Tensor) -> bool:
    """Whether Keras' own pools take these windows."""
    return max(at.dilation) == 1 and rank(x) <= 5


def volume(at: Windows) -> int:
    """The number of elements of the kernel."""
    return math.prod(at.kernel)
