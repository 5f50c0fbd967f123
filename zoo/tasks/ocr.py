"""Pictures of text to its lines: a detector, a classifier of direction and a recogniser, one after the other.

The parts are `detect` (text-detection), `classify` (text-direction, may be absent) and `recognise` (text-recognition).
The order of events and the numbers are RapidOCR's for PP-OCRv4, but for one thing: the classifier errs on long lines,
so a line that reads badly is read the other way up too. Of an entry's `input.image` and `output` it takes

    max_side: 2000    a page with a longer side is made smaller, in pixels
    min_side: 30      a page with a shorter side is made larger
    max_ratio: 8      a page that is wider by its height gets black above and below
    min_score: 0.5    lines that are recognised with less are left out
    min_turn: 0.9     how sure the classifier must be that a line is upside down
    sure_score: 0.8   lines that are recognised with less are turned and recognised again; the better reading stands
    lines: 6          lines a batch
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoo.converters.runner import Array, TensorSpec
from zoo.errors import BadInput, did_you_mean
from zoo.tasks.fields import Fields, number, whole
from zoo.tasks.images import decode
from zoo.tasks.processor import Feeds, Outputs, Parts, Processor, Steps
from zoo.tasks.regions import in_reading_order
from zoo.tasks.results import Box, Page, Result, TextLine
from zoo.tasks.transforms import bilinear

WANTED, OPTIONAL = ("detect", "recognise"), ("classify",)
UPRIGHT_RATIO = 1.5  # a box so much taller than wide is a line written downwards
GRAIN = 32  # pages are resized to multiples of it


@dataclass(frozen=True, slots=True)
class PageSample:
    """A page as it is looked at: resized, on black above and below where it is very wide; and the size that it had."""

    image: Image.Image
    top: int  # pixels of black above
    inner: tuple[int, int]  # (height, width) of the page in it
    size: tuple[int, int]  # (height, width) of the page as given

    @property
    def nbytes(self) -> int:
        """Of the pixels."""
        return 3 * self.image.width * self.image.height


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers of `input` and `output`."""

    max_side: int
    min_side: int
    max_ratio: float
    min_score: float
    min_turn: float
    sure_score: float
    lines: int


@dataclass(frozen=True)
class Ocr:
    """The Processor of a model of three models. Its steps are of the parts `detect`, `classify` and `recognise`."""

    parts: Parts
    limits: Limits
    max_batch: int | None = 1

    @property
    def labels(self) -> None:
        """None: the recogniser has an alphabet, and pages have no labels."""

    def feeding(self, inputs: Sequence[TensorSpec], part: str = "") -> Ocr:
        """The same, fitted to the graph of one part."""
        if part not in self.parts:
            raise BadInput(f"ocr has no part {part!r}; it has {', '.join(self.parts)}")
        return replace(self, parts={**self.parts, part: self.parts[part].feeding(inputs)})

    def read(self, x: Any) -> PageSample:
        """One picture, decoded and brought to a size that the detector can look at."""
        image = decode(x, alpha="contrast")
        page = _within(image, self.limits)
        top = _letterbox(page, self.limits)
        sample = PageSample(page, top, (page.height, page.width), (image.height, image.width))
        if not top:
            return sample
        boxed = Image.new("RGB", (page.width, page.height + 2 * top))
        boxed.paste(page, (0, top))
        return replace(sample, image=boxed)

    def batch(self, samples: Sequence[PageSample]) -> Feeds:
        """What the first part is given."""
        detect = self.parts["detect"]
        return detect.batch([detect.read(sample.image) for sample in samples])

    def prepare(self, inputs: Sequence[Any]) -> Feeds:
        """What the first part is given."""
        return self.batch([self.read(x) for x in inputs])

    def answers(self, outputs: Any, samples: Sequence[Any] | None = None, **options: Any) -> list[Result]:
        """Raises BadInput: one graph's outputs don't make an answer here."""
        raise BadInput("ocr is a model of three models; use zoo.predictor, or its parts' own processors")

    def steps(self, samples: Sequence[PageSample], **options: Any) -> Steps:
        """Detection a page, then the direction and the text of its lines, a few lines a batch."""
        if options:
            raise BadInput(f"ocr has no option {next(iter(options))!r}")
        pages: list[Result] = []
        for sample in samples:
            regions = (yield from self._part("detect", [sample.image]))[0]
            crops = [crop(sample.image, np.array(region.box, float)) for region in regions]
            if "classify" in self.parts:
                turns = yield from self._lines("classify", crops)
                crops = [self._turned(c, turn) for c, turn in zip(crops, turns, strict=True)]
            texts = yield from self._lines("recognise", crops)
            doubtful = [i for i, line in enumerate(texts) if line.score < self.limits.sure_score]
            again = yield from self._lines("recognise", [_upside_down(crops[i]) for i in doubtful])
            for i, line in zip(doubtful, again, strict=True):
                texts[i] = max(texts[i], line, key=lambda line: line.score)
            pages.append(self._page(sample, [region.box for region in regions], texts))
        return pages

    def _part(self, part: str, inputs: Sequence[Any]) -> Generator[tuple[str, Feeds], Outputs, list[Any]]:
        processor = self.parts[part]
        samples = [processor.read(x) for x in inputs]
        outputs = yield part, processor.batch(samples)
        return processor.answers(outputs, samples)

    def _lines(self, part: str, crops: Sequence[Image.Image]) -> Generator[tuple[str, Feeds], Outputs, list[Any]]:
        """Answers in the crops' order. Batches are of like ratios, so that little is padded."""
        order = sorted(range(len(crops)), key=lambda i: crops[i].width / crops[i].height)
        answers: dict[int, Any] = {}
        for first in range(0, len(order), self.limits.lines):
            chunk = order[first : first + self.limits.lines]
            found = yield from self._part(part, [crops[i] for i in chunk])
            answers.update(zip(chunk, found, strict=True))
        return [answers[i] for i in range(len(crops))]

    def _turned(self, line: Image.Image, direction: Any) -> Image.Image:
        is_turned = direction.label == "180" and direction.best.score > self.limits.min_turn
        return _upside_down(line) if is_turned else line

    def _page(self, sample: PageSample, boxes: Sequence[Box], texts: Sequence[TextLine]) -> Page:
        """The lines that are sure enough, in the pixels of the page as it was given, in reading order."""
        scale = np.array(sample.size[::-1]) / sample.inner[::-1]
        lines = [
            replace(line, box=_placed(box, sample, scale))
            for line, box in zip(texts, boxes, strict=True)
            if line.text.strip() and line.score >= self.limits.min_score
        ]
        order = in_reading_order(np.array([line.box for line in lines], float).reshape(-1, 4, 2))
        return Page(tuple(lines[i] for row in order for i in row), tuple(n for n, row in enumerate(order) for _ in row))


def _upside_down(line: Image.Image) -> Image.Image:
    return line.transpose(Image.Transpose.ROTATE_180)


def _placed(box: Box, sample: PageSample, scale: Array) -> Box:
    corners = np.rint((np.array(box) - (0, sample.top)) * scale)
    inside = np.clip(corners, 0, (sample.size[1] - 1, sample.size[0] - 1)).astype(int)
    return tuple((int(x), int(y)) for x, y in inside)


def _within(image: Image.Image, limits: Limits) -> Image.Image:
    """A page whose sides are within the limits. The longest counts first; a page that fits stays as it is."""
    if max(image.size) > limits.max_side:
        image = _resized(image, limits.max_side / max(image.size))
    if min(image.size) < limits.min_side:
        image = _resized(image, limits.min_side / min(image.size))
    return image


def _resized(image: Image.Image, ratio: float) -> Image.Image:
    height, width = (max(GRAIN, round(int(side * ratio) / GRAIN) * GRAIN) for side in (image.height, image.width))
    return Image.fromarray(bilinear(np.asarray(image), height, width))


def _letterbox(page: Image.Image, limits: Limits) -> int:
    """Rows of black to add above and below a page that is very low or very wide, which the detector has not learnt."""
    height, width = page.height, page.width
    if height > limits.min_side and width / height <= limits.max_ratio:
        return 0
    return abs(2 * max(int(width / limits.max_ratio), limits.min_side) - height) // 2


def crop(image: Image.Image, box: Array) -> Image.Image:
    """What a box [4, 2], clockwise from the text's top left, has in it, made upright by a perspective transform.

    The size is that of the longer of opposite sides. What is 1.5 times as tall as wide is turned to the left.
    """
    sides = np.linalg.norm(np.roll(box, -1, 0) - box, axis=1)
    width, height = max(1, int(max(sides[0], sides[2]))), max(1, int(max(sides[1], sides[3])))
    flat = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    # Pillow counts from a pixel's corner; boxes from its centre, as OpenCV does.
    data = _perspective(flat + 0.5, box + 0.5)
    line = image.transform((width, height), Image.Transform.PERSPECTIVE, data, Image.Resampling.BICUBIC)
    return line.transpose(Image.Transpose.ROTATE_90) if height / width >= UPRIGHT_RATIO else line


def _perspective(of: Array, to: Array) -> list[float]:
    """The eight numbers of the transform that takes four points to four others, in Pillow's order."""
    equations = np.zeros((8, 8))
    for i, ((x, y), (u, v)) in enumerate(zip(of, to, strict=True)):
        equations[2 * i] = [x, y, 1, 0, 0, 0, -u * x, -u * y]
        equations[2 * i + 1] = [0, 0, 0, x, y, 1, -v * x, -v * y]
    found: list[float] = np.linalg.solve(equations, to.reshape(-1)).tolist()
    return found


def build(
    input: Mapping[str, Any],
    output: Mapping[str, Any],
    *,
    labels: tuple[str, ...] | None,
    files: Mapping[str, Path],
    parts: Parts,
) -> Processor:
    """A Processor whose answers are `Page`s. Raises BadInput naming a wrong field or part."""
    page = (page_fields := Fields(input.get("image") or {}, "input.image")).take
    take = (fields := Fields(output, "output")).take
    limits = Limits(
        max_side=page("max_side", whole(GRAIN), 2000),
        min_side=page("min_side", whole(), 30),
        max_ratio=page("max_ratio", number(1), 8.0),
        min_score=take("min_score", number(0, 1), 0.5),
        min_turn=take("min_turn", number(0, 1), 0.9),
        sure_score=take("sure_score", number(0, 1), 0.8),
        lines=take("lines", whole(), 6),
    )
    page_fields.done()
    fields.done()
    for part in WANTED:
        if part not in parts:
            raise BadInput(f"ocr wants a part {part!r}; it has {', '.join(parts) or 'none'}")
    for part in parts:
        if part not in WANTED + OPTIONAL:
            raise BadInput(f"ocr has no part {part!r}", hint=did_you_mean(part, WANTED + OPTIONAL))
    return Ocr(parts, limits)
