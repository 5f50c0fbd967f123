"""Where kernels are laid over an image [N, C, ...]: numbers, one for each spatial axis; and padding."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

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
    def is_even(self) -> bool:
        """Whether both ends are padded alike, which is all that MXNet's own operators can."""
        return all(begin == end >= 0 for begin, end in self.padding)

    @property
    def is_bare(self) -> bool:
        """Whether nothing is padded."""
        return not any(n for pair in self.padding for n in pair)

    @property
    def begins(self) -> tuple[int, ...]:
        """The padding before each axis."""
        return tuple(begin for begin, _ in self.padding)

    def counts(self, sizes: Sequence[int]) -> list[int]:
        """How many windows there are along each axis of an image."""
        return [
            max((n + begin + end - (k - 1) * d - 1) // s + 1, 0)
            for n, (begin, end), k, s, d in zip(
                sizes, self.padding, self.kernel, self.stride, self.dilation, strict=True
            )
        ]


def windows_of(
    w: Any,
    kernel: Sequence[int],
    auto_pad: str,
    pads: Sequence[int] | None,
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    *,
    ceil_mode: int = 0,
) -> Windows:
    """ONNX's attributes, which have defaults and leave out, for the first input of the node at hand. Raises HubError.

    Where the padding depends on the image's sizes, they have to be known. In ceil_mode the end reaches as far as the
    last window that starts in the image or in its first padding.
    """
    n = len(kernel)
    stride, dilation, both = list(strides or [1] * n), list(dilations or [1] * n), list(pads or [0] * 2 * n)
    if (w.rank(0) - 2, len(stride), len(dilation), len(both)) != (n, n, n, 2 * n):
        raise HubError(f"{w.name}: a kernel of {n} axes, with strides {stride}, dilations {dilation} and pads {both}")
    if auto_pad not in ("NOTSET", "", "VALID", *SAME):
        raise HubError(f"{w.name}: unknown auto_pad {auto_pad!r}")
    pairs: Pairs = [(0, 0)] * n if auto_pad == "VALID" else list(zip(both[:n], both[n:], strict=True))
    if auto_pad not in SAME and (not ceil_mode or auto_pad == "VALID" or stride == [1] * n):
        return Windows(list(kernel), stride, dilation, pairs)
    for i, (size, k, s, d) in enumerate(zip(w.whole(0)[2:], kernel, stride, dilation, strict=True)):
        span = (k - 1) * d + 1
        begin, end = pairs[i]
        if auto_pad in SAME:
            total = max((-(-size // s) - 1) * s + span - size, 0)
            begin = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
            end = total - begin
        else:
            count = min(-(-(size + begin + end - span) // s) + 1, (size + begin - 1) // s + 1)
            end = (count - 1) * s + span - size - begin
        pairs[i] = (begin, end)
    return Windows(list(kernel), stride, dilation, pairs)


def padded(w: Any, x: Value, padding: Pairs, value: float = 0.0) -> Value:
    """An image with its spatial axes padded by a number, or cut where the padding is negative."""
    for axis, (begin, end) in enumerate(padding, 2):
        if begin < 0 or end < 0:
            x = w.F.slice_axis(x, axis=axis, begin=max(-begin, 0), end=min(end, 0) or None)
    widths = [(max(begin, 0), max(end, 0)) for begin, end in padding]
    if not any(n for pair in widths for n in pair):
        return x
    return w.pad(x, [(0, 0), (0, 0), *widths], value)


def taps(w: Any, x: Value, at: Windows) -> Iterator[tuple[tuple[int, ...], Value]]:
    """Each place in the kernel, and what of a padded image lies under it: [N, C, *counts]. The sizes are known."""
    counts = at.counts(w.whole(0)[2:])
    for place in itertools.product(*(range(k) for k in at.kernel)):
        begin = [k * d for k, d in zip(place, at.dilation, strict=True)]
        end = [b + (c - 1) * s + 1 for b, c, s in zip(begin, counts, at.stride, strict=True)]
        yield place, w.F.slice(x, begin=(None, None, *begin), end=(None, None, *end), step=(1, 1, *at.stride))
