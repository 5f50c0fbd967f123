"""Anything that is a picture -> an upright 8-bit PIL image.

What publishers do is Pillow's `convert("RGB")`, and so do we: transparency is dropped (the colours under it stand),
CMYK and palettes are converted, colour profiles are ignored, of an animation the first frame is taken. Three things are
done that they leave out, since nobody wants the other: EXIF orientation is applied, 16-bit greyscale is scaled to 8
(Pillow clips it to white), and EPS, for which Pillow starts another program, is refused.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from typing import Any

import numpy as np
import PIL
from PIL import Image, UnidentifiedImageError

from zoo.converters.runner import Array
from zoo.errors import BadInput

# What Pillow's decoders have been seen to raise on broken files; the message of most means nothing without the file.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    AssertionError,
)
ACCEPTED = "a path, bytes, an open file, a PIL image, or an array [H, W] or [H, W, 1 | 3 | 4] of uint8 or uint16"


def decode(x: Any, *, channels: str = "rgb", alpha: str = "drop") -> Image.Image:
    """A picture, upright, as mode RGB, or L where `channels` is "grey".

    `x` is a path (str or PathLike), the bytes of an image file, an open binary file, a PIL image, or a numpy array
    [H, W], [H, W, 1], [H, W, 3] (RGB) or [H, W, 4] (RGBA) of uint8 or uint16. `alpha="drop"` keeps the colours under
    transparent pixels as convert("RGB") does; "contrast" lays the picture on white, or on black where what is visible
    of it is bright.

    Raises BadInput, naming the file, when there is no such file, when it is empty, cut short, corrupt, no image, or of
    more pixels than Pillow takes for harmless (twice PIL.Image.MAX_IMAGE_PIXELS).
    """
    name = called(x)
    with _failing(name):
        if isinstance(x, Image.Image):
            return _flat(_upright(x, name), name, channels, alpha)
        if isinstance(x, np.ndarray):
            return _flat(_of_array(x, name), name, channels, alpha)
        with _opened(x, name) as image:
            return _flat(_upright(image, name), name, channels, alpha)


def called(x: Any) -> str:
    """What an error calls an input: its path, or what kind of thing it is."""
    if isinstance(x, str | PathLike):
        path = fspath(x)
        shown = path if isinstance(path, str) else repr(path)
        return shown if len(shown) <= 300 else f"{shown[:300]}..."
    if isinstance(x, Image.Image):
        return getattr(x, "filename", "") or "PIL image"
    if isinstance(x, np.ndarray):
        return f"array {list(x.shape)}"
    if isinstance(x, bytes | bytearray | memoryview):
        return f"{memoryview(x).nbytes:,} bytes"
    named = getattr(x, "name", None)
    return named if isinstance(named, str) else type(x).__name__


@contextmanager
def _failing(name: str) -> Iterator[None]:
    """Whatever a decoder raises as one BadInput."""
    try:
        yield
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise BadInput(
            f"{name}: more than {limit:,} pixels, perhaps a decompression bomb",
            hint="Raise PIL.Image.MAX_IMAGE_PIXELS if you trust it.",
        ) from error
    except UnidentifiedImageError as error:
        raise BadInput(f"{name}: not an image of a format that Pillow {PIL.__version__} reads") from error
    except BROKEN as error:
        raise BadInput(f"{name}: the image is cut short or corrupt ({type(error).__name__}: {error})") from error


def _opened(x: Any, name: str) -> Image.Image:
    """What holds an encoded picture, opened and not yet decoded: of several frames the first."""
    if isinstance(x, str) and x.lower().startswith(("http://", "https://", "ftp://", "data:")):
        raise BadInput(f"{name[:80]}: URLs are not fetched here", hint="Download it first and give the file.")
    if isinstance(x, str | PathLike):
        return _from_file(x, name)
    if isinstance(x, bytes | bytearray | memoryview):
        content = bytes(x)
    elif callable(getattr(x, "read", None)):
        content = x.read()
        if not isinstance(content, bytes):
            raise BadInput(f"{name}: a file opened as text", hint='Open it with mode "rb".')
    else:
        raise BadInput(f"{type(x).__name__} is no picture; give {ACCEPTED}")
    if not content:
        raise BadInput(f"{name}: empty")
    return Image.open(io.BytesIO(content))


def _from_file(path: str | PathLike[str], name: str) -> Image.Image:
    """By its path, since Pillow imports a single decoder if the name's ending tells which."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):  # a pipe, such as /dev/fd/63
        with open(path, "rb") as pipe:
            return _opened(pipe, name)
    try:
        return Image.open(path)
    except FileNotFoundError as error:
        raise BadInput(f"{name}: no such file") from error
    except IsADirectoryError as error:
        raise BadInput(f"{name}: a folder, not a picture", hint="Give the files in it.") from error
    except UnidentifiedImageError as error:
        if os.path.getsize(path) == 0:
            raise BadInput(f"{name}: empty") from error
        raise
    except OSError as error:
        if error.errno is None:  # not the system's: a decoder's
            raise
        raise BadInput(f"{name}: cannot be read ({error.strerror})") from error


PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}  # convert knows one step from these
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by the value of EXIF's Orientation (0x0112)


def _upright(image: Image.Image, name: str) -> Image.Image:
    if image.format == "EPS" and getattr(image, "tile", None):  # opened, and not yet decoded by whoever gives it
        raise BadInput(f"{name}: EPS is refused: Pillow would start Ghostscript on it")
    image.load()  # here, not in the middle of a conversion: a file that is cut short fails with its own message
    try:
        orientation = image.getexif().get(0x0112)
    except BROKEN:
        orientation = None  # no viewer refuses a picture for its metadata
    turn = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _of_array(array: Array, name: str) -> Image.Image:
    if array.dtype not in (np.uint8, np.uint16) or array.ndim not in (2, 3):
        hint = "Give a list for a batch of several." if array.ndim == 4 else ""
        raise BadInput(f"{name} of {array.dtype} is no picture; give {ACCEPTED}", hint=hint)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise BadInput(f"{name} is no picture; give {ACCEPTED}")
    return Image.fromarray(np.ascontiguousarray(_eight_bits(array) if array.dtype == np.uint16 else array))


def _eight_bits(array: Array) -> Array:
    """16-bit values to the nearest of 8 bits: white, 65535, is 255."""
    return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _flat(image: Image.Image, name: str, channels: str, alpha: str) -> Image.Image:
    """Mode RGB or L, whatever the mode was."""
    if 0 in image.size:
        raise BadInput(f"{name}: the image has no pixels: {image.width} x {image.height}")
    if image.mode == "F":
        raise BadInput(f"{name}: floating-point pixels don't say what white is", hint="Convert them to 8 bits first.")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 0xFFFF:
            raise BadInput(f"{name}: pixels from {low} to {high} are no 16-bit greyscale")
        image = Image.fromarray(_eight_bits(values))
    if _is_transparent(image):
        image = image.convert(PREMULTIPLIED.get(image.mode, image.mode))
        # Through RGBA also where transparency is dropped: Pillow warns of a palette with transparency else.
        image = image.convert("RGBA")
        if alpha == "contrast":
            image = _on_contrast(image)
    if channels == "grey" and image.mode in ("L", "1"):
        return image.convert("L")
    return image.convert("RGB").convert("L") if channels == "grey" else image.convert("RGB")


def _is_transparent(image: Image.Image) -> bool:
    """Pillow's `has_transparency_data`, which fails on palettes that a plugin left to its C part (ICNS)."""
    if image.mode == "P" and image.palette is not None and image.palette.mode.endswith("A"):
        return True
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def _on_contrast(image: Image.Image) -> Image.Image:
    """A transparent RGBA picture on white, or on black where what is visible is bright."""
    opacity = np.asarray(image.getchannel("A"), np.float64)
    brightness = np.asarray(image.convert("RGB").convert("L"), np.float64)
    visible = opacity.sum()
    bright = visible > 0 and visible < opacity.size * 255 and (brightness * opacity).sum() / visible >= 128
    ground = Image.new("RGBA", image.size, (0, 0, 0, 255) if bright else (255, 255, 255, 255))
    return Image.alpha_composite(ground, image)
