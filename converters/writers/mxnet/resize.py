"""ONNX's Resize, one axis after the other: nearest reads places, linear and cubic multiply by a matrix of weights."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo.converters.writers.mxnet import lowers
from zoo.converters.writers.mxnet.math import FLOATS
from zoo.converters.writers.mxnet.sizes import Size
from zoo.converters.writers.mxnet.types import Array
from zoo.converters.writers.numbers import source_places, weighted_neighbours
from zoo.errors import HubError

Value = Any
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
    if mode not in ("nearest", *RADIUS):
        raise HubError(f"Resize with mode {mode!r}")
    rank, own = w.rank(0), w.computed_in(0)
    along = [a % rank for a in axes] if axes is not None else list(range(rank))
    factors, wanted = _sizes(w, along, scales, sizes, keep_aspect_ratio_policy)
    is_crop = coordinate_transformation_mode == "tf_crop_and_resize"
    region = w.concrete(roi).reshape(-1).tolist() if is_crop else [0.0] * len(along) + [1.0] * len(along)
    y = X if mode == "nearest" or own in FLOATS else w.cast(X, "float64")
    outside = np.zeros((), bool)
    for i, (axis, size, scale) in enumerate(zip(along, wanted, factors, strict=True)):
        if scale == 1 and not is_crop:
            continue
        rounds = ROUNDS.get(nearest_mode, np.floor)
        if mode == "nearest" and not is_crop and _repeats(scale, coordinate_transformation_mode, rounds):
            y = w.F.repeat(y, repeats=int(scale), axis=axis)
            continue
        n = _length(w, axis)
        at = source_places(size, n, scale, coordinate_transformation_mode, region[i], region[len(along) + i])
        if is_crop:
            outside = outside | ((at < 0) | (at > n - 1)).reshape([-1 if a == axis else 1 for a in range(rank)])
        if mode == "nearest":
            places = rounds(at).astype(np.int64).clip(0, n - 1)
            y = w.F.take(y, w.array(places), axis=axis)
            continue
        neighbours, weights = weighted_neighbours(
            at, RADIUS[mode], min(scale, 1.0) if antialias else 1.0, cubic_coeff_a
        )
        if exclude_outside:
            weights = weights * ((neighbours >= 0) & (neighbours < n))
            weights = weights / weights.sum(-1, keepdims=True)
        matrix = np.zeros((n, size))
        np.add.at(matrix, (neighbours.clip(0, n - 1), np.arange(size)[:, None]), weights)
        y = _multiplied(w, y, axis, rank, matrix.astype(own if own in FLOATS else "float64"))
    if is_crop:
        y = w.np.where(w.array(outside), w.F.zeros_like(y) + extrapolation_value, y)
    if mode != "nearest" and own not in FLOATS:
        limits = np.iinfo(own)
        y = w.cast(w.F.clip(w.F.floor(y + 0.5), a_min=float(limits.min), a_max=float(limits.max)), own)
    return y


def _repeats(scale: float, coordinates: str, rounds: Callable[[Array], Array]) -> bool:
    """Whether every place is read as often as a whole scale says: then an axis may be of any size."""
    n, size = 5, int(scale)  # the places of an axis do not depend on how long it is, but for its ends
    if scale != size or size < 1 or coordinates not in ("half_pixel", "pytorch_half_pixel", "asymmetric"):
        return False
    at = rounds(source_places(n * size, n, scale, coordinates, 0.0, 1.0)).clip(0, n - 1)
    return bool((at == np.arange(n * size) // size).all())


def _multiplied(w: Any, x: Value, axis: int, rank: int, matrix: Array) -> Value:
    """The product of a matrix [n, size] with an axis of n."""
    if axis == rank - 1:
        return w.F.dot(x, w.array(matrix))
    return w.F.swapaxes(w.F.dot(w.F.swapaxes(x, dim1=axis, dim2=rank - 1), w.array(matrix)), dim1=axis, dim2=rank - 1)


def _length(w: Any, axis: int) -> int:
    have = w.dims(0)
    if not isinstance(have[axis], int):
        w.whole(0)
    return int(have[axis])


def _sizes(w: Any, along: Sequence[int], scales: Value, sizes: Value, policy: str) -> tuple[list[float], list[Any]]:
    """The factor and the new size of each axis; of an axis that stays as it is the size may be free."""
    have = [w.dims(0)[axis] for axis in along]
    if sizes is None:
        factors = w.concrete(scales).reshape(-1).tolist()
        wanted = [
            n if s == 1 else n * int(s) if isinstance(n, Size) and s == int(s) else math.floor(s * _length(w, a))
            for s, n, a in zip(factors, have, along, strict=True)
        ]
        return factors, wanted
    wanted = w.sizes(sizes)
    if len(wanted) != len(along):
        raise HubError(f"{w.name}: {len(along)} axes and {len(wanted)} sizes")
    factors = [1.0 if size == n else size / _length(w, a) for size, n, a in zip(wanted, have, along, strict=True)]
    if policy != "stretch":
        scale = min(factors) if policy == "not_larger" else max(factors)
        return [scale] * len(have), [math.floor(scale * _length(w, a) + 0.5) for a in along]
    return factors, wanted
