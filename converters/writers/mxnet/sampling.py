"""Images read at places that are computed: GridSample."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from zoo.converters.writers.mxnet import lowers
from zoo.converters.writers.mxnet.math import round_
from zoo.errors import HubError

Value = Any


@lowers("GridSample")
def grid_sample(
    w: Any, X: Value, grid: Value, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Value:
    """X [N, C, ...] read at a grid [N, ..., axes] of places between -1 and 1, last axis first."""
    name = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    if name not in ("linear", "nearest", "cubic") or padding_mode not in ("zeros", "border", "reflection"):
        raise HubError(f"GridSample with mode {mode!r} and padding {padding_mode!r}")
    batch, channels, *sizes = w.whole(0)
    out, rank = w.whole(1)[1:-1], len(sizes)
    neighbours = []
    for i, size in enumerate(sizes):
        low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
        at = w.F.slice_axis(grid, axis=rank + 1, begin=rank - 1 - i, end=rank - i)
        at = (w.F.squeeze(at, axis=rank + 1) + 1) * ((high - low) / 2) + low
        at = round_(w, at) if name == "nearest" else at
        if padding_mode == "border":
            at = w.F.clip(at, a_min=0.0, a_max=size - 1.0)
        elif padding_mode == "reflection":
            at = _reflected(w, at, low, high)
        read = []
        for place, weight in _weighted(w, at, name):
            if padding_mode == "zeros":
                weight = weight * (place >= 0) * (place < size)
            elif padding_mode == "reflection":
                place = _reflected(w, place, low, high)
            read.append((w.cast(w.F.clip(place, a_min=0.0, a_max=size - 1.0), "int64"), weight))
        neighbours.append(read)
    samples = w.array(np.ascontiguousarray(np.broadcast_to(np.arange(batch).reshape(-1, *[1] * rank), [batch, *out])))
    pixels = w.F.transpose(X, axes=(0, *range(2, rank + 2), 1))
    total: Value = None
    for corner in itertools.product(*neighbours):
        share = corner[0][1]
        for _, weight in corner[1:]:
            share = share * weight
        values = w.F.gather_nd(pixels, w.F.stack(samples, *(place for place, _ in corner), axis=0))
        part = w.F.broadcast_mul(w.cast(values, w.computed_in(1)), w.F.expand_dims(share, axis=rank + 1))
        total = part if total is None else total + part
    return w.cast(w.F.transpose(total, axes=(0, rank + 1, *range(1, rank + 1))), w.computed_in(0))


def _weighted(w: Any, at: Value, mode: str) -> list[tuple[Value, Value]]:
    """The neighbours that a place reads along one axis, and how much of each."""
    if mode == "nearest":
        return [(at, w.F.ones_like(at))]
    first = w.F.floor(at)
    t = at - first
    if mode == "linear":
        return [(first, 1 - t), (first + 1, t)]
    near = [((1.25 * d - 2.25) * d) * d + 1 for d in (t, 1 - t)]  # Keys' cubic with a = -0.75
    far = [((-0.75 * d + 3.75) * d - 6) * d + 3 for d in (t + 1, 2 - t)]
    return [(first - 1, far[0]), (first, near[0]), (first + 1, near[1]), (first + 2, far[1])]


def _reflected(w: Any, at: Value, low: float, high: float) -> Value:
    """Places between two borders, in which those outside are mirrored."""
    if high == low:
        return w.F.zeros_like(at) + low
    span = 2 * (high - low)
    away = w.F.abs(at - low)
    away = away - w.F.floor(away / span) * span
    return w.F.broadcast_minimum(away, span - away) + low
