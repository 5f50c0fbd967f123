"""Pictures to one array [N, C, H, W] or [N, H, W, C]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zoo.converters.runner import Array, TensorSpec
from zoo.errors import BadInput
from zoo.tasks.images import called, decode
from zoo.tasks.processor import Feeds
from zoo.tasks.transforms import ImageSpec, image_spec, transform


@dataclass(frozen=True, slots=True)
class ImageSample:
    """A picture as the graph wants it, float32 without the batch axis, and the size that it had, (height, width)."""

    pixels: Array
    size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Of the pixels."""
        return self.pixels.nbytes


@dataclass(frozen=True)
class ImageReader:
    """Reads what `images.decode` takes, as the spec says."""

    spec: ImageSpec
    name: str = "image"
    alpha: str = "drop"

    @property
    def max_batch(self) -> int | None:
        """1 where every picture keeps a size of its own."""
        return 1 if self.spec.mode == "free" else None

    def feeding(self, inputs: Sequence[TensorSpec]) -> ImageReader:
        """Under the name of the graph's only input, whose shape must have room for what the entry prepares."""
        if len(inputs) != 1:
            names = ", ".join(repr(spec.name) for spec in inputs)
            raise BadInput(f"a picture fills one input, and the graph has {len(inputs)}: {names}")
        (wanted,) = inputs
        made = ("N", *(size or "any" for size in self.spec.shape))
        pairs = zip(made, wanted.shape, strict=False)
        if len(made) != len(wanted.shape) or any(isinstance(b, int) and a not in (b, "N", "any") for a, b in pairs):
            raise BadInput(
                f"the graph's input {wanted.name!r} is [{', '.join(map(str, wanted.shape))}],"
                f" and input.image prepares [{', '.join(map(str, made))}]"
            )
        levels = self.spec.levels
        if wanted.dtype == "uint8" and not np.array_equal(levels, levels.astype(np.uint8)):
            raise BadInput(f"the graph's input {wanted.name!r} is uint8, and input.image prepares fractions")
        return replace(self, name=wanted.name)

    def read(self, x: Any) -> ImageSample:
        """One picture, decoded, resized, cut and normalised."""
        image = decode(x, channels=self.spec.channels, alpha=self.alpha)
        try:
            return ImageSample(transform(image, self.spec), (image.height, image.width))
        except BadInput as error:
            raise BadInput(f"{called(x)}: {error.message}", hint=error.hint) from error

    def batch(self, samples: Sequence[ImageSample]) -> Feeds:
        """One array. Lines of text of various widths get zeros to their right."""
        pixels = [sample.pixels for sample in samples]
        if self.spec.mode == "line":
            least = max(self.spec.min_width, (self.spec.size or (0, None))[1] or 0)
            pixels = _widened(pixels, -1 if self.spec.layout == "NCHW" else -2, least)
        shapes = {array.shape for array in pixels}
        if len(shapes) > 1:
            raise BadInput(f"pictures of {len(shapes)} sizes can't share a batch", hint="Use batch_size=1.")
        return {self.name: np.stack(pixels)}


def _widened(pixels: list[Array], axis: int, least: int) -> list[Array]:
    width = max(least, *(array.shape[axis] for array in pixels))
    pads = [[(0, 0)] * array.ndim for array in pixels]
    for pad, array in zip(pads, pixels, strict=True):
        pad[axis] = (0, width - array.shape[axis])
    return [np.pad(array, pad) for array, pad in zip(pixels, pads, strict=True)]


def image_reader(given: Mapping[str, Any], *, alpha: str = "drop") -> ImageReader:
    """A reader by an entry's `input.image`. Raises BadInput naming a wrong field."""
    spec = image_spec(given)
    return ImageReader(spec, alpha=alpha)
