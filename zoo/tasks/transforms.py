"""A publisher's image preprocessing as data, and what it does to a picture.

Of an entry's `input.image` it takes

    size: [h, w]           what the graph wants; absent in mode free; w null in mode line: any width
    resize: int | [h, w]   torchvision's: the shortest side becomes int and the other keeps the ratio, rounded down; or
                           both are given. Then the centre `size` is cut out, on black where the picture is smaller
    crop: fraction         timm's crop_pct: the picture is resized to size / crop, rounded down, and cut as `mode` says.
                           Where resize is stated too they must agree; with neither, crop is 1
    mode: center           timm's crop_mode: the shortest side to size / crop, the centre cut out
          squash           both sides to size / crop whatever the ratio was, the centre cut out
          border           the longest side to size / crop, the centre cut out or laid on a ground of `mean`'s colour
          free             (text detection) enlarged until the shortest side is `min_side`, then both sides rounded to a
                           `multiple`; nothing is cut
          line             (text recognition) to height h with its ratio kept, at most w wide; zeros to the right, up to
                           w or `min_width`
    interpolation: bicubic | bilinear | nearest | lanczos | box | hamming
    antialias: true        Pillow's, whose kernel grows with the reduction; false: OpenCV's bilinear, of 2 x 2 pixels
    scale: 1/255           then (pixel * scale - mean) / std by channel, in float32
    mean: [...]            by channel, in the order of `channels`
    std: [...]
    channels: rgb | bgr | grey
    layout: NCHW | NHWC

The size (but in mode free), the interpolation, mean and std must be stated: each is wrong for some publisher.

Equal bit for bit to torchvision's `weights.transforms()` on PIL images and to timm's `create_transform(**cfg)`: the
tests run both. For torchvision state `resize` and `size`; for timm `size` (input_size[1:]), `crop` (crop_pct), `mode`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from zoo.converters.runner import Array
from zoo.errors import BadInput
from zoo.tasks.fields import Fields, each, number, one_of, truth, whole

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
MODES = ("center", "squash", "border", "free", "line")
ONLY_IN = {
    "resize": ("center",),
    "crop": ("center", "squash", "border"),
    "size": ("center", "squash", "border", "line"),
    "min_side": ("free",),
    "multiple": ("free",),
    "min_width": ("line",),
}


@dataclass(frozen=True)
class ImageSpec:
    """An entry's `input.image`, checked; sizes are (height, width)."""

    size: tuple[int, int | None] | None
    resize: int | tuple[int, int] | None
    crop: float | None
    mode: str
    interpolation: str
    antialias: bool
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: str
    layout: str
    min_side: int
    multiple: int
    min_width: int

    @property
    def shape(self) -> tuple[int | None, ...]:
        """What one picture becomes: (C, H, W) or (H, W, C); None for a size that depends on the picture."""
        size = self.size or (None, None)
        planes = 1 if self.channels == "grey" else 3
        return (planes, *size) if self.layout == "NCHW" else (*size, planes)

    @cached_property
    def levels(self) -> Array:
        """What each of the 256 grey levels becomes, float32 [C, 256]: the arithmetic once, exactly as on a picture."""
        level = np.arange(256, dtype=np.float32)
        # torchvision divides by 255; a product with float32(1/255) is another number in the last bit.
        level = level / np.float32(255) if self.scale == 1 / 255 else level * np.float32(self.scale)
        mean, std = (np.array(v, np.float32)[:, None] for v in (self.mean, self.std))
        return np.ascontiguousarray((level - mean) / std)


def image_spec(given: Mapping[str, Any], place: str = "input.image") -> ImageSpec:
    """Checks an entry's fields. Raises BadInput naming the field and what was expected.

    >>> half = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    >>> image_spec({"size": [224, 224], "crop": 0.875, **half}).mode
    'center'
    """
    take = (fields := Fields(given, place)).take
    mode = take("mode", one_of(*MODES), "center")
    channels = take("channels", one_of("rgb", "bgr", "grey"), "rgb")
    count = 1 if channels == "grey" else 3
    spec = ImageSpec(
        size=take("size", _size_free if mode == "line" else _size, *([None] if mode == "free" else [])),
        resize=take("resize", lambda v, at: _size(v, at) if isinstance(v, list | tuple) else whole()(v, at), None),
        crop=take("crop", number(0.01, 2), None),
        mode=mode,
        interpolation=take("interpolation", one_of(*FILTERS)),
        antialias=take("antialias", truth, True),
        scale=take("scale", number(), 1 / 255),
        mean=take("mean", each(number(), count)),
        std=take("std", each(number(), count)),
        channels=channels,
        layout=take("layout", one_of("NCHW", "NHWC"), "NCHW"),
        min_side=take("min_side", whole(), 1),
        multiple=take("multiple", whole(), 1),
        min_width=take("min_width", whole(), 1),
    )
    fields.done()
    _consistent(spec, place)
    return spec


def _size(value: Any, place: str) -> tuple[int, int]:
    height, width = each(whole(), 2)(value, place)
    return height, width


def _size_free(value: Any, place: str) -> tuple[int, int | None]:
    height, width = each(lambda v, at: None if v is None else whole()(v, at), 2)(value, place)
    if height is None:
        raise BadInput(f"{place}: expected [height, width] or [height, null], got {value!r}")
    return height, width


def _consistent(spec: ImageSpec, place: str) -> None:
    if 0 in spec.std:
        raise BadInput(f"{place}.std: a channel is divided by 0")
    if not spec.antialias and spec.interpolation != "bilinear":
        raise BadInput(f"{place}.antialias: false is known for bilinear only, not for {spec.interpolation}")
    for name, modes in ONLY_IN.items():
        if spec.mode not in modes and getattr(spec, name) not in (None, 1):
            raise BadInput(f"{place}.{name}: goes with mode {' or '.join(modes)}, and the mode is {spec.mode}")
    if spec.resize is None or spec.crop is None:
        return
    want = _scaled(spec)
    got = spec.resize if isinstance(spec.resize, tuple) else (spec.resize, spec.resize)
    if want != got:
        raise BadInput(f"{place}: resize {list(got)} and crop {spec.crop} disagree: size / crop is {list(want)}")


def _scaled(spec: ImageSpec) -> tuple[int, int]:
    """The size by crop, rounded down."""
    assert spec.size is not None and spec.size[1] is not None
    return math.floor(spec.size[0] / (spec.crop or 1)), math.floor(spec.size[1] / (spec.crop or 1))


def transform(image: Image.Image, spec: ImageSpec) -> Array:
    """A decoded picture (`images.decode` with the same `channels`) as float32 [C, H, W] or [H, W, C], by the layout."""
    pixels = np.asarray(_framed(image, spec))
    if spec.channels == "bgr":
        pixels = pixels[..., ::-1]
    if spec.channels == "grey":
        pixels = pixels[..., None]
    planes = [level.take(pixels[..., c]) for c, level in enumerate(spec.levels)]
    return np.stack(planes, axis=0 if spec.layout == "NCHW" else -1)


def _framed(image: Image.Image, spec: ImageSpec) -> Image.Image:
    if spec.mode == "free":
        return _resized(image, free_size(image.height, image.width, spec), spec)
    assert spec.size is not None
    if spec.mode == "line":
        height, most = spec.size
        width = max(1, math.ceil(height * image.width / image.height))
        return _resized(image, (height, width if most is None else min(width, most)), spec)
    height, width = spec.size[0], spec.size[1] or 0
    if spec.mode == "border":
        ground = tuple(round(255 * mean) for mean in spec.mean)
        return _cut(_resized(image, _ratio_kept(image, _scaled(spec), max), spec), height, width, ground)
    if spec.mode == "squash":
        return _cut(_resized(image, _scaled(spec), spec), height, width)
    to = spec.resize if spec.resize is not None else _scaled(spec)
    if spec.resize is None and not isinstance(to, int):
        to = to[0] if to[0] == to[1] else _ratio_kept(image, to, min)
    return _cut(_resized(image, _shortest(image, to) if isinstance(to, int) else to, spec), height, width)


def _shortest(image: Image.Image, side: int) -> tuple[int, int]:
    """Resize(int) of torchvision: the shortest side to `side`, the other rounded down."""
    height, width = image.height, image.width
    if width <= height:
        return int(side * height / width), side
    return side, int(side * width / height)


def _ratio_kept(image: Image.Image, to: tuple[int, int], pick: Any) -> tuple[int, int]:
    """ResizeKeepRatio of timm: one ratio for both sides, the larger (all fits into `to`) or the smaller."""
    ratio = pick(image.height / to[0], image.width / to[1])
    return max(1, round(image.height / ratio)), max(1, round(image.width / ratio))


def free_size(height: int, width: int, spec: ImageSpec) -> tuple[int, int]:
    """The size that mode `free` gives a picture: PaddleOCR's `limit_type: min`, each side at least one `multiple`."""
    ratio = max(1.0, spec.min_side / min(height, width))
    n = spec.multiple
    return max(n, round(int(height * ratio) / n) * n), max(n, round(int(width * ratio) / n) * n)


def _resized(image: Image.Image, to: tuple[int, int], spec: ImageSpec) -> Image.Image:
    height, width = to
    if (height, width) == (image.height, image.width):
        return image
    if height * width > 2 * (Image.MAX_IMAGE_PIXELS or math.inf):
        raise BadInput(f"a picture of {image.width} x {image.height} pixels would be resized to {width} x {height}")
    if spec.antialias:
        return image.resize((width, height), FILTERS[spec.interpolation])
    return Image.fromarray(bilinear(np.asarray(image), height, width))


def bilinear(pixels: Array, height: int, width: int) -> Array:
    """Pixels uint8 [h, w] or [h, w, C] to another size, each from the nearest 2 x 2; centres aligned, edges repeated.

    OpenCV's INTER_LINEAR to a rounding (its weights have 11 bits). Enlarging, it is Pillow's bilinear as well.
    """
    for axis, to in enumerate((height, width)):
        size = pixels.shape[axis]
        place = np.clip((np.arange(to) + 0.5) * (size / to) - 0.5, 0, size - 1)
        below = np.floor(place).astype(np.intp)
        part = (place - below).astype(np.float32)
        part = part[:, None] if axis == 0 else part
        part = part[..., None] if pixels.ndim == 3 else part
        low = pixels.take(below, axis).astype(np.float32)
        high = pixels.take(np.minimum(below + 1, size - 1), axis)
        pixels = low + (high - low) * part
    return np.rint(pixels).astype(np.uint8)


def _cut(image: Image.Image, height: int, width: int, ground: tuple[int, ...] | None = None) -> Image.Image:
    """The centre, on a ground (black) where the picture is smaller; odd remainders as in torchvision's center_crop."""
    if (height, width) == (image.height, image.width):
        return image
    across, down = max(0, width - image.width), max(0, height - image.height)
    if across or down:
        colour = ground if ground is None or len(ground) > 1 else ground[0]
        padded = Image.new(image.mode, (image.width + across, image.height + down), colour or 0)
        padded.paste(image, (across // 2, down // 2))
        image = padded
    top, left = round((image.height - height) / 2), round((image.width - width) / 2)
    return image.crop((left, top, left + width, top + height))
