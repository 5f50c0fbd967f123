"""ONNX's NonMaxSuppression: how many boxes come out depends on the numbers, so it is computed outside of jit."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

from zoo.converters.writers.jax import lowers
from zoo.converters.writers.numbers import non_max_suppression as suppressed

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
    return suppressed(w.concrete(boxes), w.concrete(scores), most, overlap, least, is_centered=bool(center_point_box))
