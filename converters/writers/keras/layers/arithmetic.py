"""Tensors joined element by element."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

import keras

from zoo.converters.writers.keras import lowers
from zoo.converters.writers.keras.layers.values import is_float

Value = Any


def _merged(w: Any, cls: type[keras.layers.Layer], *xs: Value) -> Value:
    """A merging layer: of tensors of one rank and batch that broadcast, at least two of them."""
    if len(xs) < 2 or not all(map(is_float, xs)) or len({x.dtype for x in xs}) > 1:
        return None
    shapes = {x.shape for x in xs}
    if len({len(shape) for shape in shapes}) > 1 or () in shapes or len({shape[0] for shape in shapes}) > 1:
        return None
    return w.layer(cls, list(xs))


@lowers("Add")
def add(w: Any, A: Value, B: Value) -> Value:
    """A + B."""
    return _merged(w, keras.layers.Add, A, B)


@lowers("Sub")
def sub(w: Any, A: Value, B: Value) -> Value:
    """A - B."""
    return _merged(w, keras.layers.Subtract, A, B)


@lowers("Mul")
def mul(w: Any, A: Value, B: Value) -> Value:
    """A * B."""
    return _merged(w, keras.layers.Multiply, A, B)


@lowers("Sum")
def sum_(w: Any, *data_0: Value) -> Value:
    """The sum of all."""
    return _merged(w, keras.layers.Add, *data_0)


@lowers("Mean")
def mean(w: Any, *data_0: Value) -> Value:
    """The mean of all."""
    return _merged(w, keras.layers.Average, *data_0)


@lowers("Max")
def max_(w: Any, *data_0: Value) -> Value:
    """The largest of all."""
    return _merged(w, keras.layers.Maximum, *data_0)


@lowers("Min")
def min_(w: Any, *data_0: Value) -> Value:
    """The smallest of all."""
    return _merged(w, keras.layers.Minimum, *data_0)
