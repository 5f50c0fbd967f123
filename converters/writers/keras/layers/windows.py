"""Where ONNX lays a kernel, in Keras' words: `valid`, `same`, or rows of zeros put around first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from zoo.errors import HubError

Value = Any
Pair = tuple[int, int]  # (begin, end) of an axis
ZERO_PADDING = {1: keras.layers.ZeroPadding1D, 2: keras.layers.ZeroPadding2D, 3: keras.layers.ZeroPadding3D}
CROPPING = {1: keras.layers.Cropping1D, 2: keras.layers.Cropping2D, 3: keras.layers.Cropping3D}
LAST = {"data_format": "channels_last"}


class Windows(NamedTuple):
    """A kernel; a number for each spatial axis. The padding in numbers; None where it depends on a free size."""

    kernel: list[int]
    stride: list[int]
    dilation: list[int]
    pairs: list[Pair] | None
    is_same: bool  # what TensorFlow calls SAME

    @property
    def spans(self) -> list[int]:
        """How far the kernel reaches along each axis."""
        return [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]

    @property
    def is_valid(self) -> bool:
        """Whether nothing is padded."""
        return self.pairs is not None and not any(map(any, self.pairs))


def windows_of(
    kernel: Sequence[int],
    sizes: Sequence[int | None],
    auto_pad: str,
    pads: Sequence[int] | None,
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    *,
    ceil_mode: bool = False,
) -> Windows:
    """ONNX's attributes, over a picture of these sizes. Raises HubError where they don't fit each other."""
    n = len(kernel)
    stride, dilation, both = list(strides or [1] * n), list(dilations or [1] * n), list(pads or [0] * 2 * n)
    if (len(stride), len(dilation), len(both)) != (n, n, 2 * n):
        raise HubError(f"a kernel of {n} axes with strides {stride}, dilations {dilation} and pads {both}")
    at = Windows(list(kernel), stride, dilation, list(zip(both[:n], both[n:], strict=True)), is_same=False)
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        found = [_same(auto_pad, *axis) for axis in zip(sizes, at.spans, stride, strict=True)]
        pairs = [pair for pair in found if pair is not None]
        at = at._replace(pairs=pairs if len(pairs) == n else None, is_same=auto_pad == "SAME_UPPER")
    elif auto_pad == "VALID":
        at = at._replace(pairs=[(0, 0)] * n)
    if ceil_mode and at.pairs is not None:
        ends = [_ceil(*axis) for axis in zip(sizes, at.pairs, at.spans, stride, strict=True)]
        at = at._replace(pairs=None if None in ends else [p for p in ends if p is not None])
    same = [_same("SAME_UPPER", *axis) for axis in zip(sizes, at.spans, stride, strict=True)]
    return at._replace(is_same=at.is_same or at.pairs == same)


def _same(auto_pad: str, size: int | None, span: int, stride: int) -> Pair | None:
    """What SAME pads; with a stride of 1 it is the same for every size."""
    if stride == 1:
        total = span - 1
    elif size is None:
        return None
    else:
        total = max((-(-size // stride) - 1) * stride + span - size, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if auto_pad == "SAME_UPPER" else (large, small)


def _ceil(size: int | None, pair: Pair, span: int, stride: int) -> Pair | None:
    """The padding with as much more at the end as a last window takes, if it begins before that."""
    if stride == 1:
        return pair
    if size is None:
        return None
    room = size + sum(pair) - span
    steps = -(-room // stride)
    if steps * stride >= size + pair[0]:
        steps -= 1
    return pair[0], pair[1] + max(steps * stride - room, 0)


def one(numbers: Sequence[int]) -> int | tuple[int, ...]:
    """(2, 2) as 2, the way people write it."""
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


def padded(w: Any, x: Value, pairs: Sequence[Pair]) -> Value:
    """Zeros around a picture [N, spatial..., C]."""
    return w.layer(ZERO_PADDING[len(pairs)], x, _sides(pairs, "padding"), part="pad")


def cropped(w: Any, x: Value, pairs: Sequence[Pair]) -> Value:
    """The inner part of a picture [N, spatial..., C]."""
    return w.layer(CROPPING[len(pairs)], x, _sides(pairs, "cropping"), part="crop")


def _sides(pairs: Sequence[Pair], argument: str) -> dict[str, Any]:
    if len(pairs) == 1:
        return {argument: tuple(pairs[0]), **LAST}
    symmetric = all(begin == end for begin, end in pairs)
    sides = tuple(begin for begin, _ in pairs) if symmetric else tuple(tuple(pair) for pair in pairs)
    return {argument: sides, **LAST}
