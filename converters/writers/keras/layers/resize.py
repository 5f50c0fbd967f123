"""Pictures made larger by whole numbers."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from zoo.converters.writers.keras import lowers
from zoo.converters.writers.keras.layers.values import is_float
from zoo.converters.writers.keras.layers.windows import LAST, one

Value = Any
# (where a place comes from, which neighbour is taken) that repeat each element a whole number of times
REPEATS = {("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil")}


@lowers("Resize")
def resize(
    w: Any,
    X: Value,
    roi: Value = None,
    scales: Value = None,
    sizes: Value = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Value:
    """X [N, H, W, C] by whole numbers: UpSampling2D."""
    if not is_float(X) or len(X.shape) != 4 or exclude_outside:
        return None
    factors = _factors(X, scales, sizes, axes)
    if factors is None or not all(f >= 1 and f == int(f) for f in factors) or factors[0] != 1 or factors[3] != 1:
        return None
    where = coordinate_transformation_mode
    if where == "pytorch_half_pixel" and all((X.shape[i] or 2) * factors[i] > 1 for i in (1, 2)):
        where = "half_pixel"
    is_nearest = mode == "nearest" and (where, nearest_mode) in REPEATS
    if not is_nearest and not (mode == "linear" and where == "half_pixel"):
        return None
    config = {"size": one([int(f) for f in factors[1:3]]), "interpolation": "nearest" if is_nearest else "bilinear"}
    return w.layer(keras.layers.UpSampling2D, X, {**config, **LAST})


def _factors(x: Value, scales: Value, sizes: Value, axes: Sequence[int] | None) -> list[float] | None:
    """How much larger along each axis; None where that is computed, or was asked for by a size of a free axis."""
    given = scales if isinstance(scales, np.ndarray) and scales.size else sizes
    if not isinstance(given, np.ndarray):
        return None
    named = [a % 4 for a in axes] if axes is not None else [0, 1, 2, 3]
    found = [1.0] * 4
    for axis, number in zip(named, given.reshape(-1), strict=True):
        if given is scales:
            found[axis] = float(number)
        elif isinstance(x.shape[axis], int):
            found[axis] = float(number) / x.shape[axis]
        else:
            return None
    return found
