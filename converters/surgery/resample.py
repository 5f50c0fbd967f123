"""Position embeddings at another grid: bicubic, with antialiasing where the grid shrinks, as timm and Pillow do it.

`F.interpolate(mode="bicubic", antialias=True)` of torch, in float64: Keys' cubic kernel with a = -0.5, of four places,
as much wider as the grid shrinks; centres aligned (`align_corners=False`), the weights of what lies inside add up to 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
KEYS = -0.5


def resample(grid: Array, height: int, width: int) -> Array:
    """[h, w, ...] at [height, width, ...], in the same dtype.

    >>> resample(np.ones((2, 2, 1), np.float32), 3, 5).shape
    (3, 5, 1)
    """
    rows, columns = weights(grid.shape[0], height), weights(grid.shape[1], width)
    wide = np.tensordot(columns, grid.astype(np.float64), axes=(1, 1))  # [width, h, ...]
    return np.tensordot(rows, wide, axes=(1, 1)).astype(grid.dtype)  # [height, width, ...]


def weights(size: int, to: int) -> Array:
    """The matrix [to, size] that resamples one axis; each row adds up to 1."""
    scale = size / to
    stretch = max(scale, 1.0)
    matrix = np.zeros((to, size))
    for i in range(to):
        centre = (i + 0.5) * scale
        first, last = max(int(centre - 2 * stretch + 0.5), 0), min(int(centre + 2 * stretch + 0.5), size)
        row = [_keys((place - centre + 0.5) / stretch) for place in range(first, last)]
        matrix[i, first:last] = np.array(row) / math.fsum(row)
    return matrix


def _keys(x: float) -> float:
    """Keys' cubic convolution kernel (IEEE Trans. ASSP 29, 1981)."""
    x, a = abs(x), KEYS
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0
