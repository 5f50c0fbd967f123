"""torchvision's own operators, which its detectors call."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers.scribe import Scribe
from zoo.converters.readers.torch_aten import lowers

ALL = 2**31 - 1


@lowers("torchvision::nms")
def nms(op: Scribe, dets: ir.Value, scores: ir.Value, iou_threshold: float) -> Any:
    """Which boxes [N, 4] stay, the best first."""
    axes = op.const([0])
    boxes, ranked = op.Unsqueeze(dets, axes), op.Unsqueeze(scores, op.const([0, 1]))
    found = op.NonMaxSuppression(boxes, ranked, op.const([ALL]), op.const([iou_threshold], np.float32))
    return op.Gather(found, op.const(2), axis=1)


@lowers("torchvision::roi_align")
def roi_align(op: Scribe, input: ir.Value, rois: ir.Value, spatial_scale: float, pooled_height: int, pooled_width: int,  # noqa: A002
              sampling_ratio: int, aligned: bool) -> Any:  # fmt: skip
    """Means of samples of each part of each region; rois [R, 5] name their sample first."""
    sample, boxes = op.Split(rois, op.const([1, 4]), axis=1, outputs=2)
    return op.RoiAlign(
        input,
        boxes,
        op.cast(op.Squeeze(sample, op.const([1])), ir.DataType.INT64),
        output_height=pooled_height,
        output_width=pooled_width,
        sampling_ratio=max(sampling_ratio, 0),
        spatial_scale=float(spatial_scale),
        coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel",
    )


@lowers("torchvision::roi_pool")
def roi_pool(
    op: Scribe, input: ir.Value, rois: ir.Value, spatial_scale: float, pooled_height: int, pooled_width: int
) -> Any:  # noqa: A002
    """The largest number of each part of each region."""
    made = op.MaxRoiPool(input, rois, pooled_shape=[pooled_height, pooled_width], spatial_scale=float(spatial_scale))
    return made, made
