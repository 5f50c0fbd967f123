"""MXNet's operators for pictures: resizing, sampling, regions of interest, boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers.adaptive import adaptive
from zoo.converters.readers.mxnet_graph import lowers
from zoo.converters.readers.mxnet_symbol import Params
from zoo.converters.readers.scribe import Fault, Scribe


@lowers("_contrib_BilinearResize2D")
def bilinear_resize(op: Scribe, p: Params, x: ir.Value, like: ir.Value | None = None) -> Any:
    """To height and width, to scales, or to another tensor's size; corners meet unless `align_corners` is false."""
    op.learn(x, 4)
    mode = p.text("mode", "size")
    if mode == "like" and like is not None:
        size = op.Shape(like, start=2)
    elif mode == "size" and "scale_height" not in p:
        size = op.const([p.integer("height", 1), p.integer("width", 1)])
    elif mode == "size":
        scales = op.const([p.number("scale_height"), p.number("scale_width")], np.float32)
        size = op.cast(op.Mul(op.cast(op.Shape(x, start=2), ir.DataType.FLOAT), scales), ir.DataType.INT64)
    else:
        raise Fault(f"resizing of mode {mode[:40]!r}", is_refusal=True)
    how = "align_corners" if p.flag("align_corners", True) else "half_pixel"
    whole = op.Concat(op.Shape(x, end=2), size, axis=0)
    return op.Resize(x, None, None, whole, mode="linear", coordinate_transformation_mode=how)


@lowers("_contrib_AdaptiveAvgPooling2D")
def adaptive_pooling(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Means of as many regions as asked for; [N, C, 1, 1] by default."""
    size = p.ints("output_size", (1,))
    size = size * 2 if len(size) == 1 else size
    return adaptive(op, x, size, "ReduceMean")


@lowers("GridGenerator")
def grid_generator(op: Scribe, p: Params, x: ir.Value) -> Any:
    """[N, 2, H, W] out of affine matrices [N, 6], or of displacements in pixels [N, 2, H, W]."""
    if p.text("transform_type") == "affine":
        height, width = p.ints("target_shape")
        theta = op.reshape(x, [-1, 2, 3])
        size = op.Concat(op.Shape(x, end=1), op.const([1, height, width]), axis=0)
        return op.Transpose(op.AffineGrid(theta, size, align_corners=1), perm=[0, 3, 1, 2])
    op.learn(x, 4)
    parts = []
    for i, axis in ((0, 3), (1, 2)):
        count = op.size(x, axis)
        places = op.cast(op.Range(op.const(0), op.Squeeze(count), op.const(1)), ir.DataType.FLOAT)
        moved = op.Add(
            op.Slice(x, op.const([i]), op.const([i + 1]), op.const([1])),
            op.reshape(places, [1, 1, 1, -1] if axis == 3 else [1, 1, -1, 1]),
        )
        half = op.Div(op.cast(op.Sub(count, op.const([1])), ir.DataType.FLOAT), op.const(2.0, np.float32))
        parts.append(op.Sub(op.Div(moved, half), op.const(1.0, np.float32)))
    return op.Concat(*parts, axis=1)


@lowers("BilinearSampler")
def bilinear_sampler(op: Scribe, p: Params, x: ir.Value, grid: ir.Value) -> Any:
    """The picture at the grid's places [N, 2, H, W], of which -1 and 1 are the outermost pixels' centres; 0 beyond."""
    op.learn(x, 4)
    places = op.Transpose(grid, perm=[0, 2, 3, 1])
    return op.GridSample(x, places, mode="linear", padding_mode="zeros", align_corners=1)


@lowers("SpatialTransformer")
def spatial_transformer(op: Scribe, p: Params, x: ir.Value, loc: ir.Value) -> Any:
    """The picture sampled by affine matrices [N, 6]."""
    height, width = p.ints("target_shape")
    size = op.Concat(op.Shape(x, end=2), op.const([height, width]), axis=0)
    grid = op.AffineGrid(op.reshape(loc, [-1, 2, 3]), size, align_corners=1)
    return op.GridSample(x, grid, mode="linear", padding_mode="zeros", align_corners=1)


@lowers("ROIPooling")
def roi_pooling(op: Scribe, p: Params, x: ir.Value, rois: ir.Value) -> Any:
    """The largest number of each part of each region; rois [R, 5] name their sample first."""
    op.learn(x, 4)
    return op.MaxRoiPool(x, rois, pooled_shape=p.ints("pooled_size"), spatial_scale=p.number("spatial_scale"))


@lowers("_contrib_ROIAlign")
def roi_align(op: Scribe, p: Params, x: ir.Value, rois: ir.Value) -> Any:
    """Means of samples of each part of each region."""
    op.learn(x, 4)
    if p.flag("position_sensitive"):
        raise Fault("position_sensitive ROIAlign", is_refusal=True)
    height, width = p.ints("pooled_size")
    sample, boxes = op.Split(rois, op.const([1, 4]), axis=1, outputs=2)
    return op.RoiAlign(
        x,
        boxes,
        op.cast(op.Squeeze(sample, op.const([1])), ir.DataType.INT64),
        output_height=height,
        output_width=width,
        sampling_ratio=max(p.integer("sample_ratio", -1), 0),
        spatial_scale=p.number("spatial_scale"),
        coordinate_transformation_mode="half_pixel" if p.flag("aligned") else "output_half_pixel",
    )


@lowers("_contrib_MultiBoxPrior", "MultiBoxPrior")
def multi_box_prior(op: Scribe, p: Params, x: ir.Value) -> Any:
    """SSD's anchors of a map [N, C, H, W]: [1, H * W * A, 4] as left, top, right, bottom in parts of the picture."""
    op.learn(x, 4)
    height, width = op.size(x, 2), op.size(x, 3)
    sizes, ratios = p.numbers("sizes", (1.0,)), p.numbers("ratios", (1.0,))
    pairs = [(s, ratios[0]) for s in sizes] + [(sizes[0], r) for r in ratios[1:]]
    step_y, step_x = p.numbers("steps", (-1.0, -1.0))
    offset_y, offset_x = p.numbers("offsets", (0.5, 0.5))
    tall, wide = (op.cast(n, ir.DataType.FLOAT) for n in (height, width))
    centres = []
    for count, size, step, offset in ((height, tall, step_y, offset_y), (width, wide, step_x, offset_x)):
        places = op.cast(op.Range(op.const(0), op.Squeeze(count), op.const(1)), ir.DataType.FLOAT)
        moved = op.Add(places, op.const(offset, np.float32))
        centres.append(op.Mul(moved, op.const(step, np.float32)) if step > 0 else op.Div(moved, size))
    y, x_ = op.reshape(centres[0], [-1, 1, 1]), op.reshape(centres[1], [1, -1, 1])
    # a size is a part of the height, so that a square on the picture takes H / W of it on the other axis
    shape = op.Div(tall, wide)
    half_width = op.Mul(op.const([s * np.sqrt(r) / 2 for s, r in pairs], np.float32), shape)
    half_height = op.const([s / np.sqrt(r) / 2 for s, r in pairs], np.float32)
    full = op.Concat(height, width, op.const([len(pairs)]), axis=0)
    sides = [op.Sub(x_, half_width), op.Sub(y, half_height), op.Add(x_, half_width), op.Add(y, half_height)]
    boxes = op.Concat(*(op.Unsqueeze(op.Expand(side, full), op.const([3])) for side in sides), axis=3)
    boxes = op.reshape(boxes, [1, -1, 4])
    return op.Clip(boxes, op.const(0.0, np.float32), op.const(1.0, np.float32)) if p.flag("clip") else boxes
