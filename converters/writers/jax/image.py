"""ONNX's operators that move pixels: borders, blocks, grids; and image files, by Pillow."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from zoo.converters.writers.jax import lowers
from zoo.converters.writers.numbers import decoded_image
from zoo.errors import HubError

Value = Any
PAD_MODES = ("constant", "reflect", "edge", "wrap")


@lowers("Pad")
def pad(
    w: Any, data: Value, pads: Value, constant_value: Value = None, axes: Value = None, *, mode: str = "constant"
) -> Value:
    """More elements before and behind along each axis, fewer where negative."""
    if mode not in PAD_MODES:
        raise HubError(f"Pad with the unknown mode {mode!r}")
    amounts = w.ints(pads)
    along = range(data.ndim) if axes is None else [a % data.ndim for a in w.ints(axes)]
    if len(amounts) != 2 * len(along):
        raise HubError(f"Pad of {len(along)} axes by {len(amounts)} numbers")
    widths = [(0, 0)] * data.ndim
    for i, axis in enumerate(along):
        widths[axis] = (amounts[i], amounts[len(along) + i])
    if mode == "constant":
        is_left_out = constant_value is None or constant_value.size == 0
        fill = jnp.zeros((), data.dtype) if is_left_out else constant_value.reshape(()).astype(data.dtype)
        return _padded(data, fill, widths)
    for axis, pair in enumerate(widths):
        if pair != (0, 0):
            data = jnp.take(data, _places(data.shape[axis], *pair, mode), axis)
    return data


def _padded(x: Value, fill: Value, widths: Sequence[tuple[int, int]]) -> Value:
    return lax.pad(x, fill, [(*pair, 0) for pair in widths])


def _places(length: int, begin: int, end: int, mode: str) -> Any:
    """Which element of an axis each place of a padded one shows."""
    at = np.arange(-begin, length + end)
    if mode == "wrap":
        return at % length
    if mode == "reflect" and length > 1:
        at = at % (2 * length - 2)
        at = np.where(at < length, at, 2 * length - 2 - at)
    return at.clip(0, length - 1)


@lowers("CenterCropPad")
def center_crop_pad(w: Any, input_data: Value, shape: Value, *, axes: Sequence[int] | None = None) -> Value:
    """The middle of the input, cut or padded with zeros to a shape; where that is odd, one more at the end."""
    widths = [(0, 0)] * input_data.ndim
    for axis, size in zip(range(input_data.ndim) if axes is None else axes, w.ints(shape), strict=True):
        more = size - input_data.shape[axis]
        begin = more // 2 if more > 0 else -(-more // 2)
        widths[axis % input_data.ndim] = (begin, more - begin)
    return _padded(input_data, jnp.zeros((), input_data.dtype), widths)


@lowers("DepthToSpace")
def depth_to_space(w: Any, input: Value, *, blocksize: int, mode: str = "DCR", _last: bool = False) -> Value:  # noqa: A002
    """Channels into blocks of pixels; in the mode CRD a channel's block stands together."""
    b = blocksize
    if _last:
        n, h, width, c = input.shape
        if mode == "CRD":
            y = input.reshape(n, h, width, c // b**2, b, b).transpose(0, 1, 4, 2, 5, 3)
        else:
            y = input.reshape(n, h, width, b, b, c // b**2).transpose(0, 1, 3, 2, 4, 5)
        return y.reshape(n, h * b, width * b, c // b**2)
    n, c, h, width = input.shape
    if mode == "CRD":
        y = input.reshape(n, c // b**2, b, b, h, width).transpose(0, 1, 4, 2, 5, 3)
    else:
        y = input.reshape(n, b, b, c // b**2, h, width).transpose(0, 3, 4, 1, 5, 2)
    return y.reshape(n, c // b**2, h * b, width * b)


@lowers("SpaceToDepth")
def space_to_depth(w: Any, input: Value, *, blocksize: int, mode: str = "DCR", _last: bool = False) -> Value:  # noqa: A002
    """Blocks of pixels into channels; in the mode CRD a channel's block stands together."""
    b = blocksize
    if _last:
        n, h, width, c = input.shape
        y = input.reshape(n, h // b, b, width // b, b, c)
        y = y.transpose(0, 1, 3, 5, 2, 4) if mode == "CRD" else y.transpose(0, 1, 3, 2, 4, 5)
        return y.reshape(n, h // b, width // b, c * b**2)
    n, c, h, width = input.shape
    y = input.reshape(n, c, h // b, b, width // b, b)
    y = y.transpose(0, 1, 3, 5, 2, 4) if mode == "CRD" else y.transpose(0, 3, 5, 1, 2, 4)
    return y.reshape(n, c * b**2, h // b, width // b)


@lowers("AffineGrid")
def affine_grid(w: Any, theta: Value, size: Value, *, align_corners: int = 0) -> Value:
    """The places [N, ..., axes] that affine maps theta [N, axes, axes + 1] read for outputs of a size [N, C, ...]."""
    sizes = w.ints(size)[2:]
    along = [np.linspace(-1, 1, n) if align_corners else (2 * np.arange(n) + 1) / n - 1 for n in sizes]
    if align_corners:
        along = [at if n > 1 else np.zeros(1) for at, n in zip(along, sizes, strict=True)]
    places = np.meshgrid(*along, indexing="ij")[::-1]
    base = jnp.asarray(np.stack([*places, np.ones(sizes)], -1), theta.dtype)
    return jnp.einsum("...j,nij->n...i", base, theta)


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
    """Blocks [N, C * prod(block), L] added up where they lay in images [N, C, ...]."""
    shape, block = w.ints(image_shape), w.ints(block_shape)
    n = len(shape)
    both, stride, dilation = list(pads or [0] * 2 * n), strides or [1] * n, dilations or [1] * n
    padded = [size + both[i] + both[n + i] for i, size in enumerate(shape)]
    places = np.zeros((1, 1), np.int64)  # [element of a block, block]
    for size, k, s, d in zip(padded, block, stride, dilation, strict=True):
        along = d * np.arange(k)[:, None] + s * np.arange((size - (k - 1) * d - 1) // s + 1)
        places = places[:, None, :, None] * size + along[None, :, None, :]
        places = places.reshape(places.shape[0] * k, -1)
    blocks = input.reshape(input.shape[0], -1, places.size)
    image = jnp.zeros((*blocks.shape[:2], math.prod(padded)), input.dtype)
    image = image.at[:, :, places.reshape(-1)].add(blocks).reshape(*blocks.shape[:2], *padded)
    return image[(slice(None), slice(None), *(slice(both[i], both[i] + size) for i, size in enumerate(shape)))]


@lowers("ImageDecoder")
def image_decoder(w: Any, encoded_stream: Value, *, pixel_format: str = "RGB") -> Value:
    """The bytes of an image file, uint8 [n] -> uint8 [height, width, 3], or [height, width, 1] for Grayscale."""
    return jnp.asarray(decoded_image(w.concrete(encoded_stream), pixel_format))
