"""Regions of images: RoiAlign and MaxRoiPool with channels last, NonMaxSuppression."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.operators.indexing import counted
from zoo.converters.writers.keras.operators.layouts import pictures
from zoo.converters.writers.keras.operators.precision import dtype_of, wide
from zoo.converters.writers.keras.operators.sizes import Size, places, product, sizes
from zoo.converters.writers.numbers import non_max_suppression as suppressed

Tensor = Any


@pictures("RoiAlign")
def roi_align(
    w: Any,
    X: Tensor,
    rois: Tensor,
    batch_indices: Tensor,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Tensor:
    """Regions [count, 4] (x1, y1, x2, y2) of images X [N, H, W, C], each read at places in its bins: [count, ..., C].

    A bin is the mean of what is read at sampling_ratio^2 places in it, or as many as it has pixels with 0, which has
    to be known; or, in the mode "max", the largest of their neighbours times the neighbours' weights, as the
    standard's reference has it.
    """
    if mode not in ("avg", "max") or coordinate_transformation_mode not in ("half_pixel", "output_half_pixel"):
        raise w.refused(f"mode {mode!r} and {coordinate_transformation_mode!r} coordinates")
    is_half = coordinate_transformation_mode == "half_pixel"
    have, boxes = sizes(X), wide(rois)
    corners = boxes * spatial_scale - (0.5 if is_half else 0.0)
    lengths = [corners[:, i + 2] - corners[:, i] for i in (1, 0)]
    if not is_half:
        lengths = [ops.maximum(n, 1.0) for n in lengths]
    bins = (output_height, output_width)
    most = [sampling_ratio] * 2
    if not sampling_ratio:
        known = [w.concrete(n) for n in lengths]
        most = [max(math.ceil(float(np.max(n, initial=0)) / b), 1) for n, b in zip(known, bins, strict=True)]
    (rows, used_y, count_y), (columns, used_x, count_x) = (
        _bin_samples(corners[:, i], lengths[a], bins[a], have[1 + a], sampling_ratio, most[a])
        for a, i in enumerate((1, 0))
    )
    images = ops.reshape(ops.cast(batch_indices, "int32"), [-1, 1, 1, 1, 1])
    pixels = ops.reshape(X, [product(have[:-1]), have[-1]])
    read = []
    for (row, weight_y), (column, weight_x) in itertools.product(rows, columns):
        at = counted([images, row[:, :, :, None, None], column[:, None, None]], have[:-1])
        share = weight_y[:, :, :, None, None] * weight_x[:, None, None]
        read.append(ops.take(pixels, at, axis=0) * ops.cast(share, dtype_of(X))[..., None])
    # [count, bins, places, bins, places, C]
    used = ops.logical_and(used_y[:, :, :, None, None], used_x[:, None, None])[..., None]
    if mode == "max":
        largest = ops.max(ops.stack(read), 0)
        largest = ops.max(ops.where(used, largest, ops.full_like(largest, -math.inf)), (2, 4))
        return ops.where(ops.isinf(largest), ops.zeros_like(largest), largest)
    count = ops.reshape(ops.cast(ops.maximum(count_y * count_x, 1.0), dtype_of(X)), [-1, 1, 1, 1])
    return ops.sum(sum(read[1:], read[0]), (2, 4)) / count


def _bin_samples(
    begin: Tensor, length: Tensor, bins: int, size: Size, ratio: int, most: int
) -> tuple[list[tuple[Tensor, Tensor]], Tensor, Tensor]:
    """Along one axis: the two neighbours of each place that is read, [regions, bins, places], with their weights; which
    of these places are used; and how many of them each region has in a bin.
    """
    dtype = dtype_of(begin)
    count = ops.full_like(length, ratio) if ratio else ops.ceil(length / bins)
    step = ops.cast(places(most), dtype)
    used = ops.tile(ops.expand_dims(step < count[:, None], 1), [1, bins, 1])
    inside = (step + 0.5) / ops.maximum(count[:, None, None], 1.0)
    at = begin[:, None, None] + (ops.cast(places(bins, 0, 2), dtype) + inside) * (length / bins)[:, None, None]
    share = ops.cast(ops.logical_and(ops.logical_and(at >= -1, at <= ops.cast(size, dtype)), used), dtype)
    last = ops.cast(size - 1, dtype)
    at = ops.clip(at, 0, last)
    low = ops.floor(at)
    first, second = ops.cast(low, "int32"), ops.cast(ops.minimum(low + 1, last), "int32")
    return [(first, (1 - at + low) * share), (second, (at - low) * share)], used, count


@pictures("MaxRoiPool")
def max_roi_pool(w: Any, X: Tensor, rois: Tensor, *, pooled_shape: Sequence[int], spatial_scale: float = 1.0) -> Tensor:
    """The largest of each bin of regions [count, 5] (image, x1, y1, x2, y2) of X, whole pixels; 0 in bins without any.

    Returns [count, *pooled_shape, C].
    """
    have, scaled = sizes(X), wide(rois)[:, 1:] * spatial_scale
    corners = ops.cast(ops.sign(scaled) * ops.floor(ops.abs(scaled) + 0.5), "int32")
    images = ops.take(X, ops.cast(rois[:, 0], "int32"), axis=0)  # [count, H, W, C]
    columns, rows = (_bins(corners[:, i], corners[:, i + 2], pooled_shape[1 - i], have[2 - i]) for i in (0, 1))
    lowest = ops.full_like(images, -math.inf)
    pooled = []
    for i in range(pooled_shape[0]):
        row = ops.max(ops.where(rows[:, i, :, None, None], images, lowest), 1)  # [count, W, C]
        kept = [ops.where(columns[:, j, :, None], row, lowest[:, 0]) for j in range(pooled_shape[1])]
        pooled.append(ops.stack([ops.max(x, 1) for x in kept], 1))
    y = ops.stack(pooled, 1)
    return ops.where(ops.isneginf(y), ops.zeros_like(y), y)


def _bins(begin: Tensor, end: Tensor, count: int, size: Size) -> Tensor:
    """Which pixels of an axis are in each bin of each region: [regions, count, size]."""
    length = (ops.maximum(end, begin) + 1 - begin)[:, None]
    step = places(count, 1, 2)
    first = begin[:, None] + step * length // count
    last = begin[:, None] - (-(step + 1) * length // count)
    at = places(size, 2, 3)
    return ops.logical_and(at >= first[..., None], at < last[..., None])


@lowers("NonMaxSuppression")
def non_max_suppression(
    w: Any,
    boxes: Tensor,
    scores: Tensor,
    max_output_boxes_per_class: Tensor = None,
    iou_threshold: Tensor = None,
    score_threshold: Tensor = None,
    *,
    center_point_box: int = 0,
) -> Tensor:
    """(batch, class, box) of each box that no better one of its class overlaps by more than the threshold, best first.

    boxes [batch, boxes, 4] as (y1, x1, y2, x2), corners in any order, or (x, y, width, height) about the centre; scores
    [batch, classes, boxes]. Returns int64 [count, 3]. How many come out depends on the numbers: it is numpy's.
    """
    most = 0 if max_output_boxes_per_class is None else int(w.number(max_output_boxes_per_class))
    overlap = 0.0 if iou_threshold is None else float(w.number(iou_threshold))
    least = None if score_threshold is None else float(w.number(score_threshold))
    return suppressed(w.concrete(boxes), w.concrete(scores), most, overlap, least, is_centered=bool(center_point_box))
