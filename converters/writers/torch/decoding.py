"""ONNX's ImageDecoder, by Pillow: torch itself reads no image files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from PIL import Image

from zoo.converters.writers.torch import lowers
from zoo.errors import HubError

Value = Any


def decode_image(encoded: torch.Tensor, pixel_format: str = "RGB") -> torch.Tensor:
    """The bytes of an image file, uint8 [n] -> uint8 [height, width, 3], or [height, width, 1] for Grayscale.

    Raises what Pillow raises for bytes that are no image, or one of an absurd size.
    """
    with Image.open(io.BytesIO(encoded.numpy(force=True).tobytes())) as image:
        pixels = np.array(image.convert("L" if pixel_format == "Grayscale" else "RGB"))
    if pixel_format == "BGR":
        pixels = pixels[:, :, ::-1]
    return torch.tensor(pixels.reshape(*pixels.shape[:2], -1).copy(), device=encoded.device)


@lowers("ImageDecoder")
def image_decoder(w: Any, encoded_stream: Value, *, pixel_format: str = "RGB") -> Value:
    """An image file's pixels, channels last."""
    if pixel_format not in ("RGB", "BGR", "Grayscale"):
        raise HubError(f"ImageDecoder with pixel format {pixel_format!r}; there are RGB, BGR and Grayscale")
    return w.function(decode_image, encoded_stream, pixel_format)
