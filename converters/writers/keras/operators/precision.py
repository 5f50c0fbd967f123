"""The dtypes that operators compute in: wider ones where a backend has no kernel, or a dtype too few bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.converters.writers.keras.dtypes import FLOATS, HALF, available, numpy_dtype

Tensor = Any
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")


def dtype_of(x: Tensor) -> str:
    """Keras' name of a tensor's dtype."""
    return str(keras.backend.standardize_dtype(x.dtype))


def is_float(x: Tensor) -> bool:
    """Whether a tensor is of a floating dtype."""
    return dtype_of(x) in FLOATS


def is_bool(x: Tensor) -> bool:
    """Whether a tensor is of truth values."""
    return dtype_of(x) == "bool"


def to(x: Tensor, dtype: str) -> Tensor:
    """A tensor in a dtype, or in what the backend makes of it."""
    return ops.cast(x, available(dtype))


def like(x: Tensor, other: Tensor) -> Tensor:
    """A tensor in the dtype of another."""
    return ops.cast(x, dtype_of(other))


def wide(x: Tensor) -> Tensor:
    """Half precision in float32; what is wider as it is."""
    return ops.cast(x, "float32") if dtype_of(x) in HALF else x


def floating(x: Tensor) -> Tensor:
    """Integers and truth values in float64, which has all of 32 bits; floats as they are."""
    return x if is_float(x) else to(x, "float64")


def exact(x: Tensor) -> Tensor:
    """Integers of up to 32 bits in a dtype that products of them are added up in without loss, on any backend.

    Matrix products and convolutions of integers are floating ones in most backends.
    """
    return ops.cast(x, "float64" if available("float64") == "float64" else "int32")


def in_int64(f: Callable[..., Tensor], *xs: Tensor) -> Tensor:
    """`f` of integers as int64, in the dtype of the first again: not every backend has kernels for each integer."""
    if is_float(xs[0]):
        return f(*xs)
    return like(f(*(to(x, "int64") for x in xs)), xs[0])


def lowest(dtype: str) -> Any:
    """The lowest number of a dtype of Keras'."""
    return numpy_dtype(dtype).type(-np.inf if dtype in FLOATS else np.iinfo(dtype).min)


def highest(dtype: str) -> Any:
    """The highest number of a dtype of Keras'."""
    return numpy_dtype(dtype).type(np.inf if dtype in FLOATS else np.iinfo(dtype).max)


def bits(x: Tensor, dtype: str) -> Tensor:
    """The bits of a tensor as another dtype of as many; Keras asks for a last axis whose size is known."""
    return ops.squeeze(ops.view(ops.expand_dims(x, -1), dtype), -1)


def number(x: Any, other: Tensor) -> Tensor:
    """A number as a tensor of the dtype of another."""
    return ops.convert_to_tensor(np.asarray(x, dtype=numpy_dtype(dtype_of(other))))
