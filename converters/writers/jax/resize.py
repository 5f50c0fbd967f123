"""ONNX's Resize, one axis after the other: every place of the output reads a few neighbours with a few weights.

Which and how much is known when jax traces, and computed by numpy.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from zoo.converters.writers.jax import lowers
from zoo.converters.writers.jax.types import Array
from zoo.converters.writers.numbers import source_places, weighted_neighbours
from zoo.errors import HubError

Value = Any
COORDINATES = {
    *("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "align_corners", "asymmetric", "tf_crop_and_resize")
}
ROUNDS: dict[str, Callable[[Array], Array]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5),
}
RADIUS = {"linear": 1, "cubic": 2}


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
    """An image of another size, by sizes or by scales of all axes or of some; of integers, rounded and kept in range.

    `roi` has the begins and then the ends of what is cut out (coordinates "tf_crop_and_resize"), the image being 1
    long; what lies outside of the image is `extrapolation_value`.
    """
    if mode not in ("nearest", *RADIUS) or coordinate_transformation_mode not in COORDINATES:
        raise HubError(f"Resize with mode {mode!r} and {coordinate_transformation_mode!r} coordinates")
    if mode != "nearest" and (X.dtype == bool or jnp.issubdtype(X.dtype, jnp.complexfloating)):
        raise HubError(f"Resize by {mode} of {X.dtype} has no meaning in ONNX")
    along = [a % X.ndim for a in axes] if axes is not None else list(range(X.ndim))
    have = [X.shape[axis] for axis in along]
    factors, wanted = _sizes(w, have, scales, sizes, keep_aspect_ratio_policy)
    is_crop = coordinate_transformation_mode == "tf_crop_and_resize"
    region = [float(n) for n in w.concrete(roi).reshape(-1)] if is_crop else [0.0] * len(have) + [1.0] * len(have)
    is_narrow = mode != "nearest" and X.dtype not in (jnp.float32, jnp.float64)
    y = X.astype(jnp.float32 if jnp.issubdtype(X.dtype, jnp.floating) else float) if is_narrow else X
    outside = np.zeros((), bool)
    for i, (axis, n, size, scale) in enumerate(zip(along, have, wanted, factors, strict=True)):
        if size == n and scale == 1 and not is_crop:
            continue
        at = source_places(size, n, scale, coordinate_transformation_mode, region[i], region[len(along) + i])
        if is_crop:
            outside = outside | ((at < 0) | (at > n - 1)).reshape([-1 if a == axis else 1 for a in range(X.ndim)])
        if mode == "nearest":
            y = jnp.take(y, ROUNDS[nearest_mode](at).astype(np.int64).clip(0, n - 1), axis)
            continue
        shrink = min(scale, 1.0) if antialias else 1.0
        places, weights = weighted_neighbours(at, RADIUS[mode], shrink, cubic_coeff_a)
        if exclude_outside:
            weights = weights * ((places >= 0) & (places < n))
            weights = weights / weights.sum(-1, keepdims=True)
        y = _read(y, axis, places.clip(0, n - 1), weights)
    if is_crop:
        y = jnp.where(outside, extrapolation_value, y)
    if y.dtype != X.dtype and jnp.issubdtype(X.dtype, jnp.integer):
        limits = jnp.iinfo(X.dtype)
        y = jnp.clip(jnp.round(y), limits.min, limits.max)
    return y.astype(X.dtype)


def _sizes(w: Any, have: Sequence[int], scales: Value, sizes: Value, policy: str) -> tuple[list[float], list[int]]:
    """The factor and the new size of each axis."""
    if sizes is None or sizes.size == 0:
        factors = [float(s) for s in w.concrete(scales).reshape(-1)]
        _check(have, factors, "scales")
        return factors, [n if scale == 1 else math.floor(scale * n) for scale, n in zip(factors, have, strict=True)]
    wanted = w.ints(sizes)
    _check(have, wanted, "sizes")
    factors = [1.0 if size == n else size / n for size, n in zip(wanted, have, strict=True)]  # of symbols: the batch's
    if policy != "stretch":
        factors = [min(factors) if policy == "not_larger" else max(factors)] * len(have)
        wanted = [math.floor(scale * n + 0.5) for scale, n in zip(factors, have, strict=True)]
    return factors, wanted


def _check(have: Sequence[int], given: Sequence[float], what: str) -> None:
    if len(have) != len(given):
        raise HubError(f"Resize of {len(have)} axes by {len(given)} {what}")


def _read(x: Value, axis: int, places: Array, weights: Array) -> Value:
    """The sum of the neighbours [n, count] of each place along an axis, each times its weight."""
    shape = [-1 if a == axis else 1 for a in range(x.ndim)]
    total = None
    for k in range(places.shape[1]):
        part = jnp.take(x, places[:, k], axis) * jnp.asarray(weights[:, k], x.dtype).reshape(shape)
        total = part if total is None else total + part
    return total
