"""Sizes of tensors, which are Python's integers, or scalars where the backend traces a free one; and places in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from keras import ops

Tensor = Any
Size = Any  # an integer; an int32 scalar of the backend's where the size is free


def sizes(x: Tensor) -> list[Size]:
    """The shape of a tensor."""
    return list(x.shape) if isinstance(x, np.ndarray) else list(ops.shape(x))


def rank(x: Tensor) -> int:
    """How many axes a tensor has."""
    return len(x.shape)


def is_known(*found: Size) -> bool:
    """Whether sizes are Python's integers."""
    return all(isinstance(n, (int, np.integer)) for n in found)


def product(found: Iterable[Size]) -> Size:
    """The number of elements of a shape."""
    return math.prod(found)


def sized(n: Size, dtype: str) -> Size:
    """A size to compute with tensors of a dtype."""
    return n if is_known(n) else ops.cast(n, dtype)


def larger(a: Size, b: Size) -> Size:
    """The larger of two sizes."""
    return max(a, b) if is_known(a, b) else ops.maximum(a, b)


def smaller(a: Size, b: Size) -> Size:
    """The smaller of two sizes."""
    return min(a, b) if is_known(a, b) else ops.minimum(a, b)


def broadcast(a: Sequence[Size], b: Sequence[Size]) -> list[Size]:
    """The shape that two shapes broadcast to."""
    n = max(len(a), len(b))
    pairs = zip([1] * (n - len(a)) + list(a), [1] * (n - len(b)) + list(b), strict=True)
    return [_both(x, y) for x, y in pairs]


def _both(a: Size, b: Size) -> Size:
    if is_known(a):
        return b if a == 1 else a
    return a if is_known(b) and b == 1 else b if is_known(b) else ops.where(a == 1, b, a)


def places(n: Size, axis: int = 0, rank: int = 1, dtype: str = "int32") -> Tensor:
    """0, 1, ..., n - 1 along an axis of a tensor of `rank` axes, whose other sizes are 1."""
    at = np.arange(n, dtype=dtype) if is_known(n) else ops.arange(n, dtype=dtype)
    return ops.reshape(at, [-1 if i == axis % rank else 1 for i in range(rank)])


def grid(shape: Sequence[Size], dtype: str = "int32") -> list[Tensor]:
    """The place of each element of a shape along each axis, of shapes that broadcast to it."""
    return [places(n, i, len(shape), dtype) for i, n in enumerate(shape)]


def along(v: Tensor, axis: int, rank: int) -> Tensor:
    """A vector along an axis of a tensor of `rank` axes, whose other sizes are 1."""
    return ops.reshape(v, [-1 if i == axis % rank else 1 for i in range(rank)])


def cut(x: Tensor, axis: int, begin: Size, end: Size, step: int = 1) -> Tensor:
    """x[begin:end:step] along an axis."""
    index = [slice(None)] * rank(x)
    index[axis % rank(x)] = slice(begin, end, step)
    return x[tuple(index)]


def parts(x: Tensor, lengths: Sequence[Size], axis: int) -> list[Tensor]:
    """What lies one behind the other along an axis."""
    made, begin = [], 0
    for n in lengths:
        made.append(cut(x, axis, begin, begin + n))
        begin = begin + n
    return made
