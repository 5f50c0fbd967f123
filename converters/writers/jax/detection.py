"""ONNX's NonMaxSuppression: how many boxes come out depends on the numbers, so it is computed outside of jit."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.converters.writers.jax import lowers
from zoo.converters.writers.jax.types import Array

Value = Any


@lowers("NonMaxSuppression")
def non_max_suppression(
    w: Any,
    boxes: Value,
    scores: Value,
    max_output_boxes_per_class: Value = None,
    iou_threshold: Value = None,
    score_threshold: Value = None,
    *,
    center_point_box: int = 0,
) -> Value:
    """(batch, class, box) of each box that no better one of its class overlaps by more than the threshold, best first.

    boxes [batch, boxes, 4] as (y1, x1, y2, x2), corners in any order, or (x, y, width, height) about the centre; scores
    [batch, classes, boxes]. Returns int64 [count, 3].
    """
    most = 0 if max_output_boxes_per_class is None else int(w.number(max_output_boxes_per_class))
    overlap = 0.0 if iou_threshold is None else float(w.number(iou_threshold))
    least = None if score_threshold is None else float(w.number(score_threshold))
    places, marks = w.concrete(boxes), w.concrete(scores)
    if center_point_box:
        begin, end = places[..., :2] - places[..., 2:] / 2, places[..., :2] + places[..., 2:] / 2
    else:
        begin, end = np.minimum(places[..., :2], places[..., 2:]), np.maximum(places[..., :2], places[..., 2:])
    found = [
        (batch, kind, box)
        for batch, kind in np.ndindex(marks.shape[:2])
        for box in _kept(begin[batch], end[batch], marks[batch, kind], most, overlap, least)
    ]
    return np.array(found, dtype=np.int64).reshape(-1, 3)


def _kept(low: Array, high: Array, marks: Array, most: int, overlap: float, least: float | None) -> list[int]:
    """The boxes of one class that stay, best first."""
    area = (high - low).prod(-1)
    order = np.argsort(-marks, kind="stable")
    if least is not None:
        order = order[marks[order] > least]
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, order = order[0], order[1:]
        kept.append(int(best))
        sides = np.minimum(high[best], high[order]) - np.maximum(low[best], low[order])
        common = sides.clip(0).prod(-1)
        with np.errstate(invalid="ignore", divide="ignore"):  # two boxes without an area share 0 / 0, which is no more
            order = order[~(common / (area[best] + area[order] - common) > overlap)]
    return kept
