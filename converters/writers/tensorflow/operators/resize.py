"""Pictures of another size: by TensorFlow's kernel where it computes just what ONNX asks for, in whole numbers."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from zoo.converters.writers.keras.operators import resize as keras_resize
from zoo.converters.writers.keras.operators.sizes import rank, sizes
from zoo.converters.writers.tensorflow import lowers

Tensor = Any
# powers of two: TensorFlow divides places by the factor in float32, which is exact then
EXACT = (1, 2, 4, 8, 16, 32)


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
    """An image of another size, by sizes or by scales; each place many times over is a kernel of TensorFlow's."""
    repeats = _repeats(w, X, scales, axes)
    is_plain = (mode, coordinate_transformation_mode, nearest_mode) == ("nearest", "asymmetric", "floor")
    if is_plain and repeats is not None and X.dtype == tf.float32:
        return _repeated(X, repeats)
    return keras_resize.resize(
        w,
        X,
        roi,
        scales,
        sizes,
        antialias=antialias,
        axes=axes,
        coordinate_transformation_mode=coordinate_transformation_mode,
        cubic_coeff_a=cubic_coeff_a,
        exclude_outside=exclude_outside,
        extrapolation_value=extrapolation_value,
        keep_aspect_ratio_policy=keep_aspect_ratio_policy,
        mode=mode,
        nearest_mode=nearest_mode,
    )


def _repeats(w: Any, x: Tensor, scales: Tensor, axes: Sequence[int] | None) -> tuple[int, int] | None:
    """How often each row and column of a picture [N, H, W, C] is repeated; None where that is not what scales say."""
    factors = None if scales is None else w.known(scales)
    if factors is None or factors.size == 0 or rank(x) != 4:
        return None
    found = dict.fromkeys(range(4), 1.0)
    found |= {axis % 4: float(f) for axis, f in zip(axes or range(4), factors.reshape(-1), strict=True)}
    if found[0] != 1 or found[3] != 1 or not {found[1], found[2]} <= set(EXACT):
        return None
    return int(found[1]), int(found[2])


def _repeated(x: Tensor, repeats: tuple[int, int]) -> Tensor:
    """Each row and column so often: floor(place / factor), which is how TensorFlow finds its neighbour."""
    have = sizes(x)
    size = tf.stack([have[1] * repeats[0], have[2] * repeats[1]])
    return tf.raw_ops.ResizeNearestNeighbor(images=x, size=size)
