"""The author's tensors in Keras' layers: how each is turned to the layer's layout, and back, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import onnx_ir as ir

Array = np.ndarray[Any, np.dtype[Any]]
# ("transpose", axes), ("reshape", sizes), or as the first one ("slice", (axis, start, end))
View = tuple[str, tuple[int, ...]]


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

    def sliced(self, axis: int, start: int, count: int) -> Parameter:
        """So many of an axis, from one on; the tensor itself where that is all. Of the author's own axes."""
        if count == self.shape[axis]:
            return self
        return Parameter(self.name, self.value, (*self.views, ("slice", (axis, start, start + count))))

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
        if kind == "slice":
            axis, start, end = numbers
            made.append((*made[-1][:axis], end - start, *made[-1][axis + 1 :]))
        else:
            made.append(tuple(made[-1][axis] for axis in numbers) if kind == "transpose" else tuple(numbers))
    return made


def seen(array: Array, views: Sequence[View]) -> Array:
    """An author's array through views."""
    return reduce(_view, views, array)


def _view(array: Array, view: View) -> Array:
    kind, numbers = view
    if kind == "slice":
        axis, start, end = numbers
        return array[(*[slice(None)] * axis, slice(start, end))]
    return array.transpose(numbers) if kind == "transpose" else array.reshape(numbers)


def unseen(array: Array, shape: Sequence[int], views: Sequence[View]) -> Array:
    """The author's array, of `shape`, out of what is seen through views; of a slice the part of it."""
    for (kind, numbers), before in zip(reversed(views), reversed(shapes(shape, views)[:-1]), strict=True):
        if kind == "slice":
            break
        array = array.transpose(np.argsort(numbers)) if kind == "transpose" else array.reshape(before)
    return np.ascontiguousarray(array)


def part_of(views: Sequence[View]) -> tuple[int, int, int] | None:
    """The axis, start and end of the part that is seen of an author's array; None where it is all of it."""
    if not views or views[0][0] != "slice":
        return None
    axis, start, end = views[0][1]
    return axis, start, end


def joined(parts: Sequence[tuple[tuple[int, int, int], Array]]) -> Array:
    """An author's array of its parts."""
    return np.concatenate([array for _, array in sorted(parts, key=lambda part: part[0])], parts[0][0][0])
