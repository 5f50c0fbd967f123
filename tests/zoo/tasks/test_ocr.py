"""PP-OCRv4 as its author runs it: on pages that are drawn here, whose text is therefore known."""

from __future__ import annotations

from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from zoo.converters.runner import TensorSpec
from zoo.errors import BadInput
from zoo.inference.predictor import Predictor
from zoo.tasks import processor
from zoo.tasks.labels import load
from zoo.tasks.ocr import crop
from zoo.tasks.text_recognition import ppocr_alphabet

PARTS = {"detect": "ppocr-v4-det", "classify": "ppocr-v2-cls", "recognise": "ppocr-v4-rec"}
LINES = ["Espresso and a croissant", "Order number 20394", "Please pay within thirty days", "Thank you for your visit"]


@pytest.fixture(scope="session")
def ppocr_files(real) -> dict[str, Path]:
    """The three ONNX files by part, fetched and verified."""
    return {part: real(name)[2]["model"] for part, name in PARTS.items()}


@pytest.fixture(scope="session")
def runners(ppocr_files, session):
    return {part: session(path) for part, path in ppocr_files.items()}


@pytest.fixture(scope="session")
def parts(real):
    """The arguments of each part's Processor: plain data, from the entries."""
    entries = {part: real(name)[:2] for part, name in PARTS.items()}
    return {
        part: {"task": entry.task, "input": weights.input, "output": weights.output, "labels": weights.dataset}
        for part, (entry, weights) in entries.items()
    }


@pytest.fixture(scope="session")
def ocr(runners, parts):
    return Predictor(runners, processor("ocr", parts=parts))


def page(*lines: str, size: int = 28, ink: str = "black", paper: str = "white", mode: str = "RGB") -> Image.Image:
    """A page 560 wide; a tab puts what comes after it into a second column."""
    picture = Image.new(mode, (560, 30 + 60 * len(lines)), paper)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size)
    for row, line in enumerate(lines):
        for column, text in enumerate(line.split("\t")):
            pen.text((25 + 330 * column, 25 + 60 * row), text, font=font, fill=ink)
    return picture


def reads(expected: list[str], answer, least: float = 0.95) -> None:
    """The lines of an answer are those expected, but for blanks and a few characters: the model is no better."""
    found = [line.text.replace(" ", "") for line in answer]
    assert len(expected) == len(found), (expected, found)
    for want, got in zip(expected, found, strict=True):
        assert SequenceMatcher(None, want.replace(" ", ""), got).ratio() >= least, (want, got)


@pytest.mark.network
def test_the_sample_page_is_read(ocr, samples):
    answer = ocr(samples / "page.png")
    assert "Espresso Bar\nReceipt 20394 2026-11-23\n2 Espresso 5.20\n1 Croissant 2.40\n" in f"{answer}\n"
    assert "19.30 EUR" in answer.text
    assert all(line.score > 0.6 for line in answer)


@pytest.mark.network
@pytest.mark.parametrize("angle", [0, 5, -8, 90, 180, 270])
def test_a_page_is_read_however_it_is_turned(ocr, angle):
    turned = page(*LINES).rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor="white")
    answer = ocr(turned)
    reads(sorted(LINES), sorted(answer, key=lambda line: line.text))


@pytest.mark.network
def test_columns_are_rows_side_by_side(ocr):
    answer = ocr(page("Espresso\t4.80", "Croissant\t2.10", "Total\t6.90"))
    assert ["Espresso 4.80", "Croissant 2.10", "Total 6.90"] == answer.text.splitlines()


@pytest.mark.network
@pytest.mark.parametrize(
    "drawn",
    [
        {"ink": "white", "paper": "#203050"},
        {"mode": "L"},
        {"mode": "RGBA", "paper": (0, 0, 0, 0)},
        {"mode": "RGBA", "paper": (255, 255, 255, 0), "ink": "white"},
    ],
    ids=["white on blue", "grey", "black on nothing", "white on nothing"],
)
def test_ink_and_paper_may_be_of_any_colour_and_transparent(ocr, drawn):
    reads(LINES[:2], ocr(page(*LINES[:2], **drawn)))


@pytest.mark.network
@pytest.mark.parametrize("scale", [0.6, 4.2], ids=["small", "larger than is looked at"])
def test_boxes_are_in_the_pixels_of_the_page_that_was_given(ocr, scale):
    whole = page(*LINES[:3])
    scaled = whole.resize((int(whole.width * scale), int(whole.height * scale)), Image.Resampling.LANCZOS)
    for expected, line in zip(ocr(whole), ocr(scaled), strict=True):
        assert np.abs(np.array(expected.box) - np.array(line.box) / scale).max() < 6


@pytest.mark.network
def test_one_low_line_is_read(ocr):
    reads(LINES[:1], ocr(page(LINES[0]).crop((0, 20, 560, 62))))


@pytest.mark.network
def test_a_page_without_text_has_no_lines(ocr, samples):
    for empty in (Image.new("RGB", (300, 200), "white"), Image.new("RGB", (1, 1)), Image.new("RGB", (4000, 3))):
        answer = ocr(empty)
        assert (0, "(no text)", "") == (len(answer), str(answer), answer.text)


@pytest.mark.network
def test_boxes_are_drawn_on_a_copy(ocr):
    picture = page(LINES[0])
    before = picture.tobytes()
    answer = ocr(picture)
    drawn = answer.draw(picture)
    (x, y), *_ = answer[0].box
    assert (picture.size, (220, 30, 30)) == (drawn.size, drawn.getpixel((x, y)))
    assert before == picture.tobytes()


@pytest.mark.network
def test_the_alphabet_is_the_one_in_the_model(runners, parts):
    assert list(load(parts["recognise"]["labels"])) == ppocr_alphabet(runners["recognise"].metadata)


@pytest.mark.network
def test_a_part_is_a_model_of_its_own(runners, parts):
    line = page(LINES[1]).crop((15, 20, 400, 65))
    recognise = Predictor(runners["recognise"], processor(**parts["recognise"]))
    reads([LINES[1]], recognise([line]))
    assert 2 == len(recognise([line, line.crop((0, 0, 120, 45))]))
    classify = Predictor(runners["classify"], processor(**parts["classify"]))
    assert ["0", "180"] == [answer.label for answer in classify([line, line.transpose(Image.Transpose.ROTATE_180)])]
    detect = Predictor(runners["detect"], processor(**parts["detect"]))
    assert [1, 2] == [len(answer) for answer in detect([page(LINES[0]), page(*LINES[:2])])]


# ---- without a model -----------------------------------------------------------------------------------------------

HALF = {"interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3}
LINE = {"size": [4, 8], "mode": "line", **HALF}


def recogniser(**output):
    return processor("text-recognition", input={"image": LINE}, output=output, labels=["a", "b", " "])


def steps(*best: int, classes: int = 4) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[None, list(best)] * 0.8


def test_ctc_drops_blanks_and_what_repeats():
    assert "aab" == recogniser().answers(steps(0, 1, 1, 0, 1, 2, 2))[0].text
    assert "b  a" == recogniser().answers(steps(2, 3, 0, 3, 1))[0].text
    (none,) = recogniser().answers(steps(0, 0, 0))
    assert ("", 0.0) == (none.text, none.score)
    assert 0.8 == pytest.approx(recogniser().answers(steps(1, 1, 0))[0].score)
    assert "ba" == recogniser(blank=3).answers(steps(1, 1, 3, 0))[0].text


def test_an_alphabet_of_another_size_is_refused():
    with pytest.raises(BadInput, match="alphabet of 3 and a blank don't fit a model with 9 classes"):
        recogniser().answers(steps(1, classes=9))
    with pytest.raises(BadInput, match="no `character`"):
        ppocr_alphabet({})


def test_a_crop_is_what_the_box_has_in_it():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    box = np.array([(10, 5), (40, 5), (40, 17), (10, 17)], float)
    tall = np.array([(10, 5), (20, 5), (20, 35), (10, 35)], float)
    upside_down = np.roll(box, 2, 0) - (1, 1)  # from the centre of the last pixel to that of the first
    for expected, corners in (
        (pixels[5:17, 10:40], box),
        (np.rot90(pixels[5:35, 10:20]), tall),
        (pixels[5:17, 10:40][::-1, ::-1], upside_down),
    ):
        found = np.asarray(crop(Image.fromarray(pixels), corners)).astype(int)
        assert np.abs(expected - found).max() <= 1  # Pillow's transforms round down


def test_parts_that_are_unknown_or_fitted_to_nothing_are_refused():
    free = {"task": "text-detection", "input": {"image": {"mode": "free", **HALF}}}
    good = {"detect": free, "recognise": {"task": "text-recognition", "input": {"image": LINE}, "labels": ["a"]}}
    assert processor("ocr", parts=good).max_batch == 1
    with pytest.raises(BadInput, match="no part 'recognize'  Did you mean 'recognise'"):
        processor("ocr", parts={**good, "recognize": good["recognise"]})
    with pytest.raises(BadInput, match="no part 'read'; it has detect, recognise"):
        processor("ocr", parts=good).feeding([TensorSpec("x", "float32", ("N", 3, "H", "W"))], "read")
    with pytest.raises(BadInput, match="three models"):
        processor("ocr", parts=good).answers({})
