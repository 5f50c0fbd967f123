"""ONNX's operators of detectors: boxes, and what is read from an image at places that are computed."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from zoo.converters.writers.torch import lowers, regions, sampling
from zoo.converters.writers.torch.convolution import windows_of
from zoo.errors import HubError

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
    """(batch, class, box) of the boxes that no better one of their class overlaps: int64 [count, 3]."""
    limits = {
        "max_output_boxes_per_class": max_output_boxes_per_class,
        "iou_threshold": iou_threshold,
        "score_threshold": score_threshold,
    }
    options = {name: w.number(value) for name, value in limits.items() if value is not None}
    if center_point_box:
        options["center_point_box"] = True
    return w.function(regions.non_max_suppression, w.as_tensor(0, boxes), w.as_tensor(1, scores), **options)


@lowers("RoiAlign")
def roi_align(
    w: Any,
    X: Value,
    rois: Value,
    batch_indices: Value,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Value:
    """Regions of images, each read at places in its bins: [regions, C, output_height, output_width]."""
    if mode not in ("avg", "max") or coordinate_transformation_mode not in ("half_pixel", "output_half_pixel"):
        raise HubError(f"RoiAlign with mode {mode!r} and {coordinate_transformation_mode!r} coordinates")
    options = {
        "spatial_scale": (spatial_scale, 1.0),
        "sampling_ratio": (sampling_ratio, 0),
        "half_pixel": (coordinate_transformation_mode == "half_pixel", True),
        "mode": (mode, "avg"),
    }
    given = {name: value for name, (value, default) in options.items() if value != default}
    inputs = [w.as_tensor(i, x) for i, x in enumerate((X, rois, batch_indices))]
    return w.function(regions.roi_align, *inputs, (output_height, output_width), **given)


@lowers("MaxRoiPool")
def max_roi_pool(w: Any, X: Value, rois: Value, *, pooled_shape: Sequence[int], spatial_scale: float = 1.0) -> Value:
    """The largest of each bin of regions of images: [regions, C, *pooled_shape]."""
    scale = [] if spatial_scale == 1.0 else [spatial_scale]
    return w.function(regions.max_roi_pool, X, w.as_tensor(1, rois), tuple(pooled_shape), *scale)


@lowers("DeformConv")
def deform_conv(
    w: Any,
    X: Value,
    W: Value,
    offset: Value,
    B: Value = None,
    mask: Value = None,
    *,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    offset_group: int = 1,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:
    """A convolution whose kernel's elements are moved by an offset of their own at each place of the output."""
    rank = w.rank_in(0)
    if rank < 3:
        raise HubError(f"DeformConv of a tensor of rank {rank}")
    at = windows_of(kernel_shape or [1] * (rank - 2), "NOTSET", pads, strides, dilations)
    options: dict[str, Any] = {"stride": at.stride, "padding": at.padding, "dilation": at.dilation}
    options |= {"groups": group} if group != 1 else {}
    options |= {"offset_groups": offset_group} if offset_group != 1 else {}
    return w.function(sampling.deform_conv, X, offset, W, B, mask, **options)


@lowers("GridSample")
def grid_sample(
    w: Any, X: Value, grid: Value, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Value:
    """X [N, C, ...] read at a grid [N, ..., axes] of places between -1 and 1: F.grid_sample over two and three axes.

    It has no cubic over three, and over two takes a border for its neighbours, not for the place itself as ONNX does.
    """
    name = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    if name not in ("linear", "nearest", "cubic") or padding_mode not in ("zeros", "border", "reflection"):
        raise HubError(f"GridSample with mode {mode!r} and padding {padding_mode!r}")
    dtype, places = w.dtype_in(0), w.dtype_in(1)
    wide = torch.promote_types(dtype, places) if dtype.is_floating_point else places
    x, at = X if dtype == wide else X.to(wide), grid if places == wide else grid.to(wide)
    axes = w.rank_in(0) - 2
    if (axes == 2 and (name, padding_mode) != ("cubic", "border")) or (axes == 3 and name != "cubic"):
        options = {"linear": {}, "nearest": {"mode": "nearest"}, "cubic": {"mode": "bicubic"}}[name]
        options |= {"padding_mode": padding_mode} if padding_mode != "zeros" else {}
        y = w.function(F.grid_sample, x, at, **options, align_corners=bool(align_corners))
    else:
        y = w.function(sampling.grid_sample, x, at, name, padding_mode, bool(align_corners))
    return y if dtype == wide else y.to(dtype)
