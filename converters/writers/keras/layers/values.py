"""What lowerings ask of the values that they are given."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from zoo.converters.writers.keras.dtypes import FLOATS
from zoo.converters.writers.keras.parameters import Parameter

Value = Any  # KerasTensor; Parameter; numpy array of a constant; shape arithmetic; None


def is_tensor(x: Value) -> bool:
    """Whether a value is one of the functional model's tensors."""
    return isinstance(x, keras.KerasTensor)


def is_float(x: Value) -> bool:
    """Whether a value is a floating tensor of the functional model."""
    return is_tensor(x) and x.dtype in FLOATS


def is_parameter(x: Value, rank: int | None = None) -> bool:
    """Whether a value is one of the author's tensors, of a rank."""
    return isinstance(x, Parameter) and (rank is None or len(x.shape) == rank)


def is_all(x: Value, number: float) -> bool:
    """Whether a value is a constant of this number alone."""
    return isinstance(x, np.ndarray) and bool((x == number).all())


def scalar(x: Value, default: float | None = None) -> float | None:
    """The number of a constant with one element; the default where it is left out; None where it is computed."""
    if x is None:
        return default
    return float(x.reshape(-1)[0]) if isinstance(x, np.ndarray) and x.size == 1 else None


def numbers(x: Value) -> list[int] | None:
    """The integers of a constant vector."""
    return [int(i) for i in x.reshape(-1)] if isinstance(x, np.ndarray) else None
