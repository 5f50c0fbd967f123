"""Do two runs of a model agree? The tolerances, in one place, and why they are what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.converters.runner import Array

# Largest difference over the largest magnitude of the expected output. float32 has 24 bits; a network of a hundred
# layers sums in another order in every framework and loses some seven of them. The half formats have 11 and 8 bits to
# begin with. Of 8 bits it is the root mean square over that of the expected output, and tells a model from noise, which
# has 1.4: single numbers of what a model was never trained on are far off (MiniLM, weights of 8 bits: a padded batch of
# sentences 0.24, random tokens 0.25; EfficientNet-Lite0: photographs 0.05, with activations of 8 bits 0.09).
TOLERANCES = {"float64": 1e-6, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2, "int8-dynamic": 0.5, "int8": 0.5}
OF_MEANS = ("int8-dynamic", "int8")
APART = float("inf")  # the difference of what can't be compared: another shape, a NaN on one side


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two sets of outputs differ. `top1` is the share of rows whose largest score stands in the same place.

    The tolerance is of `mean_relative`, a root mean square, where there is one, else of `max_relative`.
    """

    agrees: bool
    max_absolute: float
    max_relative: float
    top1: float | None
    tolerance: float
    mean_relative: float | None = None


def compare(expected: Mapping[str, Any], got: Mapping[str, Any], *, dtype: str = "float32") -> Agreement:
    """Compare outputs by name: arrays, sequences of them, strings, absent optionals.

    Raises nothing: another shape, kind or length, and a NaN or infinity on one side alone, is a disagreement without
    bounds. Where both have the same, the rest is compared.
    """
    found = [difference for name, want in expected.items() for difference in _differences(want, got.get(name))]
    absolute = max((absolute for absolute, _, _ in found), default=0.0)
    relative = max((relative for _, relative, _ in found), default=0.0)
    top1 = min((same for _, _, same in found if same is not None), default=None)
    tolerance = TOLERANCES[dtype]
    if dtype not in OF_MEANS or relative == APART:
        return Agreement(relative <= tolerance, absolute, relative, top1, tolerance)
    pairs = [(np.asarray(want), np.asarray(got[name])) for name, want in expected.items()]
    mean = max((_mean(want, have) for want, have in pairs if want.dtype.kind not in "OSU"), default=0.0)
    return Agreement(mean <= tolerance, absolute, relative, top1, tolerance, mean)


def _differences(want: Any, have: Any) -> Iterator[tuple[float, float, float | None]]:
    """The largest absolute and relative difference, and the share of rows with the same winner, of each array."""
    if isinstance(want, (list, tuple)):
        if not isinstance(have, (list, tuple)) or len(have) != len(want):
            yield APART, APART, None
        else:
            for w, h in zip(want, have, strict=True):
                yield from _differences(w, h)
    elif want is None or have is None or isinstance(have, (list, tuple)):
        if want is not have:
            yield APART, APART, None
    else:
        yield _difference(np.asarray(want), np.asarray(have))


def _difference(want: Array, have: Array) -> tuple[float, float, float | None]:
    if have.shape != want.shape:
        return APART, APART, None
    if want.dtype.kind in "OSU" or have.dtype.kind in "OSU":
        return (0.0, 0.0, None) if (want.astype(str) == have.astype(str)).all() else (APART, APART, None)
    if want.size == 0:
        return 0.0, 0.0, None
    number = np.complex128 if want.dtype.kind == "c" else np.float64
    a, b = want.astype(number), have.astype(number)
    finite = np.isfinite(a) & np.isfinite(b)
    if not (finite | (a == b) | (np.isnan(a) & np.isnan(b))).all():
        return APART, APART, None
    worst = float(np.abs(a[finite] - b[finite]).max()) if finite.any() else 0.0
    scale = float(np.abs(a[finite]).max()) if finite.any() else 0.0
    scores = want.ndim == 2 and want.shape[1] > 1 and want.dtype.kind in "fV"  # V: the floats that numpy lacks
    top1 = float((a.argmax(1) == b.argmax(1)).mean()) if scores else None
    return worst, worst / max(scale, 1e-12), top1


def _mean(want: Array, have: Array) -> float:
    """The root mean square of the differences of what is finite over that of what is expected."""
    finite = np.isfinite(want)
    a, b = want[finite].astype(np.float64), have[finite].astype(np.float64)
    scale = float(np.square(a).sum())
    return float(np.sqrt(np.square(a - b).sum() / max(scale, 1e-24)))
