"""The author's tensors in Keras' layers: how each is turned to the layer's layout, and back, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import onnx_ir as ir

Array = np.ndarray[Any, np.dtype[Any]]
View = tuple[str, tuple[int, ...]]  # ("transpose", axes) or ("reshape", sizes)


@dataclass(frozen=True)
class Parameter:
    """One of the author's tensors, seen through views: what lowerings are given for it."""

    name: str
    value: ir.Value
    views: tuple[View, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape, seen so."""
        return tuple(int(n) for n in shapes(author_shape(self.value), self.views)[-1])

    @property
    def dtype(self) -> ir.DataType:
        """ONNX's dtype."""
        return self.value.dtype or ir.DataType.FLOAT

    def transposed(self, *axes: int) -> Parameter:
        """With its axes in another order."""
        return Parameter(self.name, self.value, (*self.views, ("transpose", axes)))

    def reshaped(self, *sizes: int) -> Parameter:
        """In another shape of as many elements."""
        return Parameter(self.name, self.value, (*self.views, ("reshape", sizes)))


def author_shape(value: ir.Value) -> tuple[int, ...]:
    """The shape that the author's tensor has."""
    return tuple(int(d) for d in value.shape or ())  # type: ignore[arg-type]  # a parameter's sizes are known


def shapes(shape: Sequence[int], views: Sequence[View]) -> list[tuple[int, ...]]:
    """The shape before the first view, and behind each."""
    made = [tuple(shape)]
    for kind, numbers in views:
        made.append(tuple(made[-1][axis] for axis in numbers) if kind == "transpose" else tuple(numbers))
    return made


def seen(array: Array, views: Sequence[View]) -> Array:
    """An author's array through views."""
    return reduce(lambda a, v: a.transpose(v[1]) if v[0] == "transpose" else a.reshape(v[1]), views, array)


def unseen(array: Array, shape: Sequence[int], views: Sequence[View]) -> Array:
    """The author's array, of `shape`, out of what is seen through views."""
    for (kind, numbers), before in zip(reversed(views), reversed(shapes(shape, views)[:-1]), strict=True):
        array = array.transpose(np.argsort(numbers)) if kind == "transpose" else array.reshape(before)
    return np.ascontiguousarray(array)
