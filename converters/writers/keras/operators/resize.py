"""ONNX's Resize, one axis after the other: every place of the output reads a few neighbours with a few weights.

Which and how much is computed by numpy; by keras.ops along an axis whose size is free.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.dtypes import FLOATS
from zoo.converters.writers.keras.operators.precision import dtype_of, is_float, to, wide
from zoo.converters.writers.keras.operators.sizes import Size, along, is_known, rank, sized, sizes

Tensor = Any
Places = Any  # numpy's, or a tensor's where a size is free
COORDINATES = {
    *("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "align_corners", "asymmetric", "tf_crop_and_resize")
}
ROUNDS: dict[str, Callable[[Any, Places], Places]] = {
    "floor": lambda m, at: m.floor(at),
    "ceil": lambda m, at: m.ceil(at),
    "round_prefer_floor": lambda m, at: m.ceil(at - 0.5),
    "round_prefer_ceil": lambda m, at: m.floor(at + 0.5),
}
RADIUS = {"linear": 1, "cubic": 2}


@lowers("Resize")
def resize(
    w: Any,
    X: Tensor,
    roi: Tensor = None,
    scales: Tensor = None,
    sizes: Tensor = None,
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
) -> Tensor:
    """An image of another size, by sizes or by scales of all axes or of some; of integers, rounded and kept in range.

    `roi` has the begins and then the ends of what is cut out (coordinates "tf_crop_and_resize"), the image being 1
    long; what lies outside of the image is `extrapolation_value`.
    """
    if mode not in ("nearest", *RADIUS) or coordinate_transformation_mode not in COORDINATES:
        raise w.refused(f"mode {mode!r} and {coordinate_transformation_mode!r} coordinates")
    if mode != "nearest" and dtype_of(X) in ("bool", "complex64", "complex128"):
        raise w.refused(f"by {mode} of {dtype_of(X)}, which has no meaning in ONNX")
    n = rank(X)
    which = [a % n for a in axes] if axes is not None else list(range(n))
    have = [_sizes_of(X)[axis] for axis in which]
    factors, wanted = _wanted(w, have, scales, sizes, keep_aspect_ratio_policy)
    is_crop = coordinate_transformation_mode == "tf_crop_and_resize"
    region = w.concrete(roi).reshape(-1).tolist() if is_crop else [0.0] * len(have) + [1.0] * len(have)
    y = X if mode == "nearest" else wide(X) if is_float(X) else to(X, "float64")
    outside = None
    for i, (axis, length, size, scale) in enumerate(zip(which, have, wanted, factors, strict=True)):
        if is_known(size, length) and size == length and scale == 1 and not is_crop:
            continue
        module: Any = np if is_known(size, length) and isinstance(scale, float) else ops
        at = source_places(size, length, scale, coordinate_transformation_mode, region[i], region[len(which) + i])
        if is_crop:
            beyond = along(ops.convert_to_tensor((at < 0) | (at > _bound(module, length - 1, at))), axis, n)
            outside = beyond if outside is None else ops.logical_or(outside, beyond)
        if mode == "nearest":
            y = ops.take(y, _within(module, ROUNDS[nearest_mode](module, at), length), axis=axis)
            continue
        if antialias and not isinstance(scale, float):
            raise w.untraceable("how many elements a smaller image reads")
        shrink = min(scale, 1.0) if antialias else 1.0
        neighbours, weights = weighted_neighbours(module, at, RADIUS[mode], shrink, cubic_coeff_a)
        if exclude_outside:
            weights = weights * _as(
                module, (neighbours >= 0) & (neighbours < _bound(module, length, neighbours)), weights
            )
            weights = weights / module.sum(weights, -1, keepdims=True)
        y = _read(y, axis, _within(module, neighbours, length), weights)
    if outside is not None:
        y = ops.where(outside, ops.cast(extrapolation_value, dtype_of(y)), y)
    if not is_float(X) and dtype_of(y) in FLOATS:
        limits = np.iinfo(dtype_of(X))
        y = ops.clip(ops.round(y), float(limits.min), float(limits.max))
    return ops.cast(y, dtype_of(X))


def _sizes_of(x: Tensor) -> list[Size]:
    return sizes(x)


def _as(module: Any, x: Places, other: Places) -> Places:
    return x if module is np else ops.cast(x, dtype_of(other))


def _bound(module: Any, n: Size, at: Places) -> Size:
    """A size to compare places with."""
    return n if module is np else sized(n, dtype_of(at))


def _within(module: Any, at: Places, length: Size) -> Tensor:
    """Places that an axis has."""
    if module is np:
        return at.clip(0, length - 1).astype(np.int32)
    return ops.clip(ops.cast(at, "int32"), 0, length - 1)


def _wanted(w: Any, have: Sequence[Size], scales: Tensor, sizes: Tensor, policy: str) -> tuple[list[Any], list[Size]]:
    """The factor and the new size of each axis."""
    if sizes is None or 0 in tuple(sizes.shape):
        factors = [float(s) for s in w.concrete(scales).reshape(-1)]
        _check(w, have, factors, "scales")
        return factors, [_scaled(scale, n, 0.0) for scale, n in zip(factors, have, strict=True)]
    wanted = w.ints(sizes)
    _check(w, have, wanted, "sizes")
    factors = [_factor(size, n) for size, n in zip(wanted, have, strict=True)]
    if policy != "stretch":
        if not is_known(*have, *wanted):
            raise w.untraceable(f"the size that is {policy}")
        factors = [min(factors) if policy == "not_larger" else max(factors)] * len(have)
        wanted = [_scaled(scale, n, 0.5) for scale, n in zip(factors, have, strict=True)]
    return factors, wanted


def _scaled(scale: float, n: Size, more: float) -> Size:
    if is_known(n):
        return math.floor(scale * n + more)
    return n if scale == 1.0 else ops.cast(ops.floor(to(n, "float64") * scale + more), "int32")


def _factor(size: Size, n: Size) -> Any:
    """A float; a scalar where a size is free."""
    return size / n if is_known(size, n) else to(size, "float64") / to(n, "float64")


def _check(w: Any, have: Sequence[Size], given: Sequence[Any], what: str) -> None:
    if len(have) != len(given):
        raise w.refused(f"{len(have)} axes by {len(given)} {what}")


def _read(x: Tensor, axis: int, neighbours: Tensor, weights: Places) -> Tensor:
    """The sum of the neighbours [n, count] of each place along an axis, each times its weight."""
    total = None
    for k in range(neighbours.shape[1]):
        share = along(ops.cast(weights[:, k], dtype_of(x)), axis, rank(x))
        part = ops.take(x, neighbours[:, k], axis=axis) * share
        total = part if total is None else total + part
    return total


def source_places(size: Size, have: Size, scale: Any, coordinates: str, begin: float, end: float) -> Places:
    """Where the places of an output of `size` lie along an axis of `have` elements."""
    if is_known(size, have) and isinstance(scale, float):
        at: Places = np.arange(size, dtype=np.float64)
        length = scale * have  # ONNX counts with the size before it is rounded
        module: Any = np
    else:
        at, have, module = ops.cast(ops.arange(size), "float64"), to(have, "float64"), ops
        length = have * scale
    is_one = length == 1
    span = module.where(is_one, 1.0, length - 1)
    if coordinates == "align_corners":
        return at * module.where(is_one, 0.0, (have - 1) / span)
    if coordinates == "asymmetric":
        return at / scale
    if coordinates == "tf_crop_and_resize":
        middle = (begin + end) * (have - 1) / 2
        return module.where(is_one, middle, begin * (have - 1) + at * (end - begin) * (have - 1) / span)
    if coordinates == "pytorch_half_pixel":
        return module.where(is_one, -0.5, (at + 0.5) / scale - 0.5)
    shift = have / 2 * (1 - size / length) if coordinates == "half_pixel_symmetric" else 0.0
    return (at + 0.5) / scale - 0.5 + shift


def weighted_neighbours(
    module: Any, at: Places, radius: int, shrink: float, cubic_coeff_a: float
) -> tuple[Places, Places]:
    """Which elements each place reads and how much of each, [n, count] both: a triangle of radius 1, a cubic of 2.

    `shrink` below 1 widens the kernel, so that an image that becomes smaller is smoothed (antialias).
    """
    first = math.floor(-radius / shrink) + 1
    base = module.floor(at)
    offsets = np.arange(first, 2 - first)
    distance = module.abs((offsets - (at - base)[:, None]) * shrink)
    if radius == 1:
        weights = module.maximum(1 - distance, 0)
    else:
        a = cubic_coeff_a
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        weights = module.where(distance <= 1, near, module.where(distance < 2, far, 0.0))
    if shrink != 1.0:
        weights = weights / module.sum(weights, -1, keepdims=True)
    return base[:, None] + offsets, weights
