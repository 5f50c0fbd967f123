"""What detectors do with boxes and regions of images, in plain torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F


def non_max_suppression(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    max_output_boxes_per_class: int = 0,
    iou_threshold: float = 0.0,
    score_threshold: float | None = None,
    center_point_box: bool = False,
) -> torch.Tensor:
    """(batch, class, box) of each box that no better one of its class overlaps by more than the threshold, best first.

    boxes [batch, boxes, 4] as (y1, x1, y2, x2), corners in any order, or (x, y, width, height) about the centre; scores
    [batch, classes, boxes]. Returns int64 [count, 3].
    """
    if center_point_box:
        begin, end = boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2
    else:
        begin, end = torch.minimum(boxes[..., :2], boxes[..., 2:]), torch.maximum(boxes[..., :2], boxes[..., 2:])
    areas = (end - begin).prod(-1)
    found = [torch.zeros(0, 3, dtype=torch.int64, device=boxes.device)]
    for batch in range(scores.shape[0]):
        low, high, area = begin[batch], end[batch], areas[batch]
        for kind in range(scores.shape[1]):
            order = scores[batch, kind].argsort(descending=True, stable=True)
            if score_threshold is not None:
                order = order[scores[batch, kind][order] > score_threshold]
            kept: list[torch.Tensor] = []
            while len(order) and len(kept) < max_output_boxes_per_class:
                best, order = order[0], order[1:]
                kept.append(best)
                sides = torch.minimum(high[best], high[order]) - torch.maximum(low[best], low[order])
                common = sides.clamp(min=0).prod(-1)
                order = order[~(common / (area[best] + area[order] - common) > iou_threshold)]
            if kept:
                of = torch.tensor([batch, kind], device=boxes.device).expand(len(kept), 2)
                found.append(torch.cat([of, torch.stack(kept)[:, None]], 1))
    return torch.cat(found)


def roi_align(
    x: torch.Tensor,
    rois: torch.Tensor,
    batch_indices: torch.Tensor,
    output_size: tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    half_pixel: bool = True,
    mode: str = "avg",
) -> torch.Tensor:
    """Regions [count, 4] (x1, y1, x2, y2) of images x [N, C, H, W], each divided into bins: [count, C, *output_size].

    A bin is the mean of what is read at sampling_ratio^2 places in it, or as many as it has pixels with 0; or, in the
    mode "max", the largest of their neighbours times the neighbours' weights, as the standard's reference has it.
    """
    rois = rois.to(torch.promote_types(rois.dtype, torch.float32))  # half precision can't tell far pixels apart
    left, top, right, bottom = (rois * spatial_scale - (0.5 if half_pixel else 0.0)).unbind(1)
    least = -float("inf") if half_pixel else 1.0
    along = [
        bin_samples(top, (bottom - top).clamp(min=least), output_size[0], x.shape[2], sampling_ratio),
        bin_samples(left, (right - left).clamp(min=least), output_size[1], x.shape[3], sampling_ratio),
    ]
    (rows, used_y, count_y), (columns, used_x, count_x) = along
    images = batch_indices.to(torch.int64).view(-1, 1, 1, 1, 1, 1)
    channels = torch.arange(x.shape[1], device=x.device).view(-1, 1, 1, 1, 1)
    read = []
    for row, weight_y in rows:
        for column, weight_x in columns:
            pixels = x[images, channels, row[:, None, :, :, None, None], column[:, None, None, None]]
            read.append(pixels * (weight_y[:, None, :, :, None, None] * weight_x[:, None, None, None]).to(x.dtype))
    used = used_y[:, None, :, :, None, None] & used_x[:, None, None, None]
    if mode == "max":
        largest = torch.stack(read).amax(0).masked_fill(~used, -float("inf")).amax((3, 5))
        return torch.where(torch.isinf(largest), 0.0, largest)
    count = (count_y * count_x).clamp(min=1).to(x.dtype).view(-1, 1, 1, 1)
    return (read[0] + read[1] + read[2] + read[3]).sum((3, 5)) / count


def bin_samples(
    begin: torch.Tensor, length: torch.Tensor, bins: int, size: int, sampling_ratio: int
) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], torch.Tensor, torch.Tensor]:
    """Along one axis: the two neighbours of each place that is read, [regions, bins, places], with their weights; which
    of these places are used; and how many of them each region has in a bin.
    """
    count = torch.full_like(length, sampling_ratio) if sampling_ratio else (length / bins).ceil()
    most = sampling_ratio or max(int(count.max().item()) if len(count) else 1, 1)
    step = torch.arange(most, device=begin.device)
    used = (step < count[:, None])[:, None].expand(-1, bins, -1)
    places = torch.arange(bins, device=begin.device)[:, None] + (step + 0.5) / count.view(-1, 1, 1).clamp(min=1)
    at = begin.view(-1, 1, 1) + places * (length / bins).view(-1, 1, 1)
    inside = (at >= -1) & (at <= size) & used
    at = at.clamp(0, size - 1)
    low = at.floor()
    share = at - low
    first = low.to(torch.int64)
    second = (first + 1).clamp(max=size - 1)
    return [(first, (1 - share) * inside), (second, share * inside)], used, count


def max_roi_pool(
    x: torch.Tensor, rois: torch.Tensor, pooled_shape: Sequence[int], spatial_scale: float = 1.0
) -> torch.Tensor:
    """The largest of each bin of regions [count, 5] (image, x1, y1, x2, y2) of x [N, C, H, W], whole pixels; 0 in bins
    without any: [count, C, *pooled_shape].
    """
    scaled = rois[:, 1:] * spatial_scale
    corners = (scaled.sign() * (scaled.abs() + 0.5).floor()).to(torch.int64).tolist()
    height, width = x.shape[2:]
    pooled = [x.new_zeros(0, x.shape[1], *pooled_shape)]
    for image, (left, top, right, bottom) in zip(rois[:, 0].to(torch.int64).tolist(), corners, strict=True):
        right, bottom = max(right, left) + 1, max(bottom, top) + 1
        inside = x[image, :, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        around = [max(-left, 0), max(right - width, 0), max(-top, 0), max(bottom - height, 0)]
        if 0 in inside.shape:
            pooled.append(x.new_zeros(1, x.shape[1], *pooled_shape))
        else:
            region = F.pad(inside, around, value=-float("inf"))
            pooled.append(F.adaptive_max_pool2d(region[None], tuple(pooled_shape)))
    y = torch.cat(pooled)
    return torch.where(torch.isneginf(y), 0.0, y)
