"""ONNX's operators that move pixels: borders, blocks, grids."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import nn

from zoo.converters.writers.torch import lowers, shaping
from zoo.converters.writers.torch.convolution import one
from zoo.converters.writers.torch.sizes import is_computed, is_left_out, listed
from zoo.errors import HubError

Value = Any
PAD_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@lowers("Pad")
def pad(
    w: Any, data: Value, pads: Value, constant_value: Value = None, axes: Value = None, *, mode: str = "constant"
) -> Value:
    """More elements before and behind along each axis, fewer where negative: F.pad where it has the mode."""
    if mode != "constant" and mode not in PAD_MODES:
        raise HubError(f"Pad with the unknown mode {mode!r}")
    x, amounts, along = w.as_tensor(0, data), listed(w, pads), None if axes is None else listed(w, axes)
    fill = 0 if is_left_out(w, 2, constant_value) or mode != "constant" else w.number(constant_value)
    options = (
        {"mode": mode}
        if mode != "constant"
        else {}
        if isinstance(fill, (int, float)) and fill == 0
        else {"value": fill}
    )
    if is_computed(amounts) or is_computed(along):
        return w.function(shaping.pad, x, amounts, *([] if along is None else [along]), **options)
    rank = w.rank_in(0)
    along = list(range(rank)) if along is None else [a % rank for a in along]
    if len(amounts) != 2 * len(along):
        raise HubError(f"Pad of {len(along)} axes by {len(amounts)} numbers")
    pairs = {a: (amounts[i], amounts[len(along) + i]) for i, a in enumerate(along)}
    first = min((a for a, pair in pairs.items() if any(not isinstance(n, int) or n for n in pair)), default=rank - 1)
    if mode == "constant":
        return w.function(F.pad, x, [n for a in reversed(range(first, rank)) for n in pairs.get(a, (0, 0))], **options)
    known, dtype = w.shape_in(0), w.dtype_in(0)
    if dtype.is_floating_point and dtype.itemsize > 1 and 1 <= rank - first <= 3 and first in (1, 2):
        spatial = [pairs.get(a, (0, 0)) for a in range(first, rank)]
        if all(_has_native_pad(mode, pair, size) for pair, size in zip(spatial, known[first:], strict=True)):
            return w.function(F.pad, x, [n for pair in reversed(spatial) for n in pair], mode=PAD_MODES[mode])
    return w.function(shaping.pad, x, amounts, along, **options)


def _has_native_pad(mode: str, pair: tuple[Any, Any], size: Any) -> bool:
    """Whether F.pad reflects or wraps as far; what is free is taken to be large enough, as F.pad checks it again."""
    if not all(isinstance(n, int) and n >= 0 for n in pair):
        return False
    most = max(pair)
    return not isinstance(size, int) or (
        size > 0 and (mode == "edge" or most < size or (mode == "wrap" and most == size))
    )


@lowers("CenterCropPad")
def center_crop_pad(w: Any, input_data: Value, shape: Value, *, axes: Sequence[int] | None = None) -> Value:
    """The middle of the input, cut or padded with zeros to a shape."""
    x, rank, wanted, known = w.as_tensor(0, input_data), w.rank_in(0), listed(w, shape), w.shape_in(0)
    along = list(range(rank)) if axes is None else [a % rank for a in axes]
    is_fixed = not is_computed(wanted) and all(isinstance(n, int) for n in (*wanted, *(known[a] for a in along)))
    if not is_fixed:
        return w.function(shaping.center_crop_pad, x, wanted, *([] if axes is None else [along]))
    pairs = dict.fromkeys(range(rank), (0, 0))
    for axis, size in zip(along, wanted, strict=True):
        more = size - known[axis]
        begin = more // 2 if more > 0 else -(-more // 2)
        pairs[axis] = (begin, more - begin)
    return w.function(F.pad, x, [n for axis in reversed(range(min(along), rank)) for n in pairs[axis]])


@lowers("DepthToSpace")
def depth_to_space(w: Any, input: Value, *, blocksize: int, mode: str = "DCR") -> Value:  # noqa: A002
    """Channels into blocks of pixels: nn.PixelShuffle is the mode CRD, in which a channel's block stands together."""
    if mode == "CRD":
        y = w.module(nn.PixelShuffle, input, upscale_factor=blocksize)
        return F.pixel_shuffle(input, blocksize) if y is None else y
    return F.pixel_shuffle(input.unflatten(1, (blocksize**2, -1)).transpose(1, 2).flatten(1, 2), blocksize)


@lowers("SpaceToDepth")
def space_to_depth(w: Any, input: Value, *, blocksize: int, mode: str = "DCR") -> Value:  # noqa: A002
    """Blocks of pixels into channels: nn.PixelUnshuffle is the mode CRD, in which a channel's block stands together."""
    if mode == "CRD":
        y = w.module(nn.PixelUnshuffle, input, downscale_factor=blocksize)
        return F.pixel_unshuffle(input, blocksize) if y is None else y
    return F.pixel_unshuffle(input, blocksize).unflatten(1, (-1, blocksize**2)).transpose(1, 2).flatten(1, 2)


@lowers("AffineGrid")
def affine_grid(w: Any, theta: Value, size: Value, *, align_corners: int = 0) -> Value:
    """The places [N, ..., axes] that affine maps theta [N, axes, axes + 1] read for outputs of a size [N, C, ...]."""
    return w.function(F.affine_grid, w.as_tensor(0, theta), listed(w, size), align_corners=bool(align_corners))


@lowers("Col2Im")
def col2im(
    w: Any,
    input: Value,  # noqa: A002
    image_shape: Value,
    block_shape: Value,
    *,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:
    """Blocks [N, C * prod(block), L] added up where they lay in images [N, C, ...]: F.fold over two axes."""
    x, shape, block = w.as_tensor(0, input), listed(w, image_shape), listed(w, block_shape)
    both = pads or [0, 0, 0, 0]
    if w.shape_in(1) == (2,) and both[:2] == both[2:] and w.dtype_in(0).is_floating_point:
        sizes = [n if is_computed(n) else one(n) for n in (shape, block)]
        options = {"dilation": one(dilations or [1]), "padding": one(both[:2]), "stride": one(strides or [1])}
        return w.function(F.fold, x, sizes[0], sizes[1], **options)
    given = {"stride": strides, "dilation": dilations, "pads": pads}
    return w.function(shaping.fold, x, shape, block, **{name: list(n) for name, n in given.items() if n})
