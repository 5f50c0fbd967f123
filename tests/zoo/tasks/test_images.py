from __future__ import annotations

import io
import os
import random
import struct
import warnings
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from zoo.errors import BadInput
from zoo.tasks.images import decode

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)


def encoded(image: Image.Image, form: str = "PNG", **options) -> bytes:
    image.save(file := io.BytesIO(), form, **options)
    return file.getvalue()


def same(expected: np.ndarray, image: Image.Image) -> None:
    np.testing.assert_array_equal(expected, np.asarray(image))


# ---- every form of input, every mode -------------------------------------------------------------------------------


def test_a_picture_is_the_same_in_every_form_that_it_is_given_in(tmp_path):
    picture = Image.fromarray(PIXELS)
    content = encoded(picture)
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with path.open("rb") as file:
        forms = [path, str(path), content, bytearray(content), memoryview(content), file, picture, PIXELS]
        for form in [*forms, np.dstack([PIXELS, np.full((6, 5), 255, np.uint8)]), PIXELS[::-1][::-1]]:
            same(PIXELS, decode(form))


def test_a_pipe_is_read(tmp_path):
    read, write = os.pipe()
    os.write(write, encoded(Image.fromarray(PIXELS)))
    os.close(write)
    same(PIXELS, decode(f"/dev/fd/{read}"))
    os.close(read)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "La", "RGBa"]
)
def test_every_mode_becomes_what_pillow_converts_it_to(mode):
    rgba = Image.fromarray(RNG.integers(0, 256, (6, 5, 4), dtype=np.uint8), "RGBA")
    picture = (rgba if mode in ("LA", "PA", "RGBA", "La", "RGBa") else rgba.convert("RGB")).convert(
        {"La": "LA", "RGBa": "RGBA", "PA": "P"}.get(mode, mode)
    )
    picture = picture.convert(mode) if picture.mode != mode else picture
    straight = picture.convert({"La": "LA", "RGBa": "RGBA"}.get(mode, mode))
    same(np.asarray(straight.convert("RGB")), decode(picture))


def test_grey_levels_stay_what_they_are_where_the_model_takes_grey():
    grey = PIXELS[..., 0]
    same(grey, decode(grey, channels="grey"))
    same(grey, decode(encoded(Image.fromarray(grey)), channels="grey"))
    same(np.asarray(Image.fromarray(PIXELS).convert("L")), decode(PIXELS, channels="grey"))
    same(np.stack([grey] * 3, -1), decode(grey[..., None]))


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_greyscale_is_scaled_and_not_clipped(form):
    wide = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    expected = np.array([[0, 0, 1, 1, 128, 255]], np.uint8)
    same(expected, decode(encoded(Image.fromarray(wide), form), channels="grey"))
    same(expected, decode(wide, channels="grey"))
    same(expected, decode(Image.fromarray(wide.astype(np.int32)), channels="grey"))


def test_16_bit_colour_arrays_are_scaled():
    same(PIXELS, decode(PIXELS.astype(np.uint16) * 257))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    turns = [lambda a: a, np.fliplr, lambda a: np.rot90(a, 2), np.flipud, lambda a: np.transpose(a, (1, 0, 2))]
    turns += [lambda a: np.rot90(a, -1), lambda a: np.rot90(np.transpose(a, (1, 0, 2)), 2), np.rot90]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for form in ("PNG", "TIFF", "WEBP"):
        options = {"lossless": True} if form == "WEBP" else {}
        same(turns[orientation - 1](PIXELS), decode(encoded(Image.fromarray(PIXELS), form, exif=exif, **options)))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_leaves_the_picture_as_it_is():
    for junk in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nothing", b"Exif\0\0MM\0*\0\0\0\x08\x00\x01\x01\x12"):
        assert (5, 6) == decode(encoded(Image.fromarray(PIXELS), "JPEG", exif=junk)).size


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "green", "blue")]
    for form in ("GIF", "WEBP", "PNG", "TIFF"):
        content = encoded(frames[0], form, save_all=True, append_images=frames[1:])
        red, green, blue = np.asarray(decode(content)).reshape(-1, 3)[0].tolist()
        assert red > 200 and green < 60 and blue < 60


def test_colours_under_transparency_stand_unless_a_contrast_is_asked_for():
    clear_black = np.zeros((2, 3, 4), np.uint8)
    clear_black[0, 0, 3] = 255
    assert not np.asarray(decode(clear_black)).any()
    assert 255 == np.asarray(decode(clear_black, alpha="contrast"))[1, 1, 0]
    bright = np.full((2, 3, 4), 255, np.uint8)
    bright[1:, :, 3] = 0
    assert 0 == np.asarray(decode(bright, alpha="contrast"))[1, 1, 0]


def test_a_palette_with_transparency_warns_of_nothing():
    palette = Image.fromarray(PIXELS).quantize(8)
    content = encoded(palette, transparency=bytes(range(0, 256, 32)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(np.asarray(palette.convert("RGB")), decode(content))


def test_the_picture_that_was_given_is_not_changed():
    for mode in ("RGB", "L", "P"):
        picture = Image.fromarray(PIXELS).convert(mode)
        before = picture.tobytes(), picture.mode, picture.size
        decode(picture)
        assert before == (picture.tobytes(), picture.mode, picture.size)


# ---- what is no picture --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ("nowhere/at/all.png", "nowhere/at/all.png: no such file"),
        ("with\0nul.png", "embedded null byte"),
        ("a text, and no path " * 999, r"a text, and no path \.\.\.: cannot be read \(File name too long\)"),
        (".", "a folder"),
        ("https://example.org/a.png", "URLs are not fetched"),
        (b"", "empty"),
        (b"not an image", "not an image of a format"),
        (b"%PDF-1.7", "not an image of a format"),
        (None, "NoneType is no picture"),
        (3, "int is no picture"),
        ({"a": 1}, "dict is no picture"),
        (io.StringIO("text"), "opened as text"),
        (io.BytesIO(), "empty"),
        (np.zeros((4, 4, 3)), "float64"),
        (np.zeros((4, 4), bool), "bool"),
        (np.zeros((0, 4, 3), np.uint8), r"array \[0, 4, 3\]"),
        (np.zeros((4, 4, 2), np.uint8), r"array \[4, 4, 2\]"),
        (np.zeros((2, 4, 4, 3), np.uint8), "Give a list"),
        (np.zeros(4, np.uint8), r"array \[4\]"),
        (Image.new("RGB", (0, 3)), "no pixels"),
        (Image.new("F", (2, 2)), "floating-point"),
        (Image.fromarray(np.full((2, 2), 70000, np.int32)), "no 16-bit greyscale"),
    ],
    ids=lambda x: (
        x if isinstance(x, str) else type(x).__name__
    ),  # a repr holds an address, which differs between processes
)
def test_what_is_no_picture_is_an_error_that_says_why(x, words):
    with pytest.raises(BadInput, match=words):
        decode(x)


def test_an_unreadable_file_is_named(tmp_path):
    path = tmp_path / "cut.jpg"
    path.write_bytes(encoded(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)), "JPEG")[:900])
    with pytest.raises(BadInput, match="cut.jpg: the image is cut short or corrupt"):
        decode(path)


def test_a_decompression_bomb_is_refused():
    bomb = bytearray(encoded(Image.new("1", (1, 1))))
    bomb[16:24] = struct.pack(">II", 20_000, 20_000)  # the size that its header states
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    with pytest.raises(BadInput, match="more than 178,956,970 pixels, perhaps a decompression bomb"):
        decode(bytes(bomb))


def test_a_format_that_starts_a_program_is_refused():
    eps = encoded(Image.fromarray(PIXELS), "EPS")
    with pytest.raises(BadInput, match="EPS is refused: Pillow would start Ghostscript"):
        decode(eps)
    with pytest.raises(BadInput, match="EPS is refused"):
        decode(Image.open(io.BytesIO(eps)))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO", "JPEG2000", "PCX"])
def test_broken_bytes_raise_nothing_but_bad_input(form):
    """Cut anywhere or with bytes overwritten: a picture, or one kind of error."""
    rng = random.Random(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif} if form in ("PNG", "JPEG", "TIFF", "WEBP") else {}
    whole = encoded(Image.fromarray(RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)), form, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(150):
            broken = bytearray(whole[: rng.randrange(1, len(whole))] if rng.random() < 0.4 else whole)
            for _ in range(rng.randrange(8)):
                broken[rng.randrange(len(broken))] = rng.randrange(256)
            with suppress(BadInput):
                assert "RGB" == decode(bytes(broken)).mode
