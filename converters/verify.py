"""Do two runs of a model agree? The tolerances, in one place, and why they are what they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zoo.converters.runner import Array

# Largest difference over the largest magnitude of the expected output. float32 has 24 bits; a network of a hundred
# layers sums in another order in every framework and loses some seven of them. The half formats have 11 and 8 bits to
# begin with.
TOLERANCES = {"float64": 1e-6, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two sets of outputs differ. `top1` is the share of rows whose largest score stands in the same place."""

    agrees: bool
    max_absolute: float
    max_relative: float
    top1: float | None
    tolerance: float


def compare(expected: Mapping[str, Array], got: Mapping[str, Array], *, dtype: str = "float32") -> Agreement:
    """Compare outputs by name. Raises nothing: a shape that differs is a disagreement without bounds."""
    absolute, relative, same = 0.0, 0.0, []
    for name, want in expected.items():
        have = got.get(name)
        if have is None or have.shape != want.shape:
            return Agreement(False, float("inf"), float("inf"), None, TOLERANCES[dtype])
        if want.size == 0:
            continue
        a, b = want.astype(np.float64), have.astype(np.float64)
        if (np.isfinite(a) != np.isfinite(b)).any():
            return Agreement(False, float("inf"), float("inf"), None, TOLERANCES[dtype])
        worst = float(np.abs(np.nan_to_num(a) - np.nan_to_num(b)).max())
        scale = float(np.abs(np.nan_to_num(a)).max())
        absolute, relative = max(absolute, worst), max(relative, worst / max(scale, 1e-12))
        if want.ndim == 2 and want.shape[1] > 1 and want.dtype.kind == "f":
            same.append(float((a.argmax(1) == b.argmax(1)).mean()))
    top1 = min(same) if same else None
    tolerance = TOLERANCES[dtype]
    return Agreement(relative <= tolerance, absolute, relative, top1, tolerance)
