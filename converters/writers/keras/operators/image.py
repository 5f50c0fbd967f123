"""ONNX's operators that move pixels: borders, blocks, grids; and image files, by Pillow."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.operators.indexing import counted
from zoo.converters.writers.keras.operators.layouts import pictures
from zoo.converters.writers.keras.operators.precision import dtype_of
from zoo.converters.writers.keras.operators.sizes import Size, is_known, places, product, rank, sizes
from zoo.converters.writers.keras.operators.windows import padded_all
from zoo.converters.writers.numbers import decoded_image

Tensor = Any
PAD_MODES = ("constant", "reflect", "edge", "wrap")


@lowers("Pad")
def pad(
    w: Any, data: Tensor, pads: Tensor, constant_value: Tensor = None, axes: Tensor = None, *, mode: str = "constant"
) -> Tensor:
    """More elements before and behind along each axis, fewer where negative."""
    if mode not in PAD_MODES:
        raise w.refused(f"unknown mode {mode!r}")
    amounts = w.ints(pads)
    along = range(rank(data)) if axes is None else [a % rank(data) for a in w.ints(axes)]
    if len(amounts) != 2 * len(along):
        raise w.refused(f"{len(along)} axes by {len(amounts)} numbers")
    widths: list[tuple[Size, Size]] = [(0, 0)] * rank(data)
    for i, axis in enumerate(along):
        widths[axis] = (amounts[i], amounts[len(along) + i])
    if mode == "constant":
        if constant_value is None or 0 in tuple(constant_value.shape):
            return padded_all(data, widths)
        fill = w.numbers(constant_value)
        return padded_all(data, widths, constant_value if fill is None else fill.reshape(-1)[0].item())
    for axis, (begin, end) in enumerate(widths):
        if not (is_known(begin, end) and begin == end == 0):
            data = ops.take(data, _shown(sizes(data)[axis], begin, end, mode), axis=axis)
    return data


def _shown(length: Size, begin: Size, end: Size, mode: str) -> Tensor:
    """Which element of an axis each place of a padded one shows."""
    at = places(begin + length + end) - begin
    if mode == "wrap":
        return at % length
    if mode == "reflect" and not (is_known(length) and length == 1):
        at = at % (2 * length - 2)
        at = ops.where(at < length, at, 2 * length - 2 - at)
    return ops.clip(at, 0, length - 1)


@lowers("CenterCropPad")
def center_crop_pad(w: Any, input_data: Tensor, shape: Tensor, *, axes: Sequence[int] | None = None) -> Tensor:
    """The middle of the input, cut or padded with zeros to a shape; where that is odd, one more at the end."""
    n, have = rank(input_data), sizes(input_data)
    widths: list[tuple[Size, Size]] = [(0, 0)] * n
    for axis, size in zip(range(n) if axes is None else axes, w.ints(shape), strict=True):
        more = size - have[axis]
        if is_known(more):
            begin = more // 2 if more > 0 else -(-more // 2)
        else:
            begin = ops.where(more > 0, more // 2, -(-more // 2))
        widths[axis % n] = (begin, more - begin)
    return padded_all(input_data, widths)


@pictures("DepthToSpace")
def depth_to_space(w: Any, input: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:  # noqa: A002
    """Channels into blocks of pixels; in the mode CRD a channel's block stands together."""
    n, h, width, c = sizes(input)
    b = blocksize
    if mode == "CRD":
        y = ops.transpose(ops.reshape(input, [n, h, width, c // b**2, b, b]), (0, 1, 4, 2, 5, 3))
    else:
        y = ops.transpose(ops.reshape(input, [n, h, width, b, b, c // b**2]), (0, 1, 3, 2, 4, 5))
    return ops.reshape(y, [n, h * b, width * b, c // b**2])


@pictures("SpaceToDepth")
def space_to_depth(w: Any, input: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:  # noqa: A002
    """Blocks of pixels into channels; in the mode CRD a channel's block stands together."""
    n, h, width, c = sizes(input)
    b = blocksize
    y = ops.reshape(input, [n, h // b, b, width // b, b, c])
    y = ops.transpose(y, (0, 1, 3, 5, 2, 4) if mode == "CRD" else (0, 1, 3, 2, 4, 5))
    return ops.reshape(y, [n, h // b, width // b, c * b**2])


@lowers("AffineGrid")
def affine_grid(w: Any, theta: Tensor, size: Tensor, *, align_corners: int = 0) -> Tensor:
    """The places [N, ..., axes] that affine maps theta [N, axes, axes + 1] read for outputs of a size [N, C, ...]."""
    have = w.ints(size)[2:]
    n, dtype = len(have), dtype_of(theta)
    along = []
    for i, count in enumerate(have):
        at = ops.cast(places(count, i, n), dtype)
        if align_corners:
            last = count - 1
            along.append(at / ops.cast(last, dtype) * 2 - 1 if not is_known(last) or last else at)
        else:
            along.append((2 * at + 1) / ops.cast(count, dtype) - 1)
    columns = [ops.broadcast_to(at, have) for at in reversed(along)]
    base = ops.reshape(ops.stack([*columns, ops.ones_like(columns[0])], -1), [-1, n + 1])
    y = ops.matmul(base, ops.transpose(theta, (0, 2, 1)))  # [N, places, axes]
    return ops.reshape(y, [-1, *have, n])


@lowers("Col2Im")
def col2im(
    w: Any,
    input: Tensor,  # noqa: A002
    image_shape: Tensor,
    block_shape: Tensor,
    *,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Blocks [N, C * prod(block), L] added up where they lay in images [N, C, ...]."""
    shape, block = w.ints(image_shape), w.ints(block_shape)
    n = len(shape)
    both, stride, dilation = list(pads or [0] * 2 * n), strides or [1] * n, dilations or [1] * n
    padded = [size + both[i] + both[n + i] for i, size in enumerate(shape)]
    along = []  # for each axis [element of the block..., block...]
    for i, (size, k, s, d) in enumerate(zip(padded, block, stride, dilation, strict=True)):
        count = (size - (k - 1) * d - 1) // s + 1
        along.append(d * places(k, i, 2 * n) + s * places(count, n + i, 2 * n))
    at = ops.reshape(counted(along, padded), [-1, 1])
    batch = sizes(input)[0]
    blocks = ops.reshape(input, [batch * (input.shape[1] // product(block)), -1])
    image = ops.zeros([product(padded), sizes(blocks)[0]], dtype=dtype_of(input))
    image = ops.scatter_update(image, at, ops.transpose(blocks), reduction="add")
    y = ops.reshape(ops.transpose(image), [batch, -1, *padded])
    return y[(slice(None), slice(None), *(slice(both[i], both[i] + size) for i, size in enumerate(shape)))]


@lowers("ImageDecoder")
def image_decoder(w: Any, encoded_stream: Tensor, *, pixel_format: str = "RGB") -> Tensor:
    """The bytes of an image file, uint8 [n] -> uint8 [height, width, 3], or [height, width, 1] for Grayscale."""
    return decoded_image(w.concrete(encoded_stream), pixel_format)
