"""Pictures to the places where they have text.

The graph gives a map of how likely each pixel is to be of text. Of an entry's `output` it takes, with the defaults that
RapidOCR has for PP-OCRv4,

    threshold: 0.3       a likelier pixel is of text
    box_threshold: 0.5   a box whose pixels are less likely in the mean is none
    unclip: 1.6          how much boxes grow, since the model is trained on shrunken ones
    dilate: true         gaps of one pixel are closed
    max_boxes: 1000      the largest count
    name: the graph's output to use, where it has several
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zoo.converters.runner import Array
from zoo.errors import BadInput
from zoo.tasks.fields import Fields, number, text, truth, whole
from zoo.tasks.processor import Outputs, Parts, Processor, Single, needed, rows
from zoo.tasks.readers import reader
from zoo.tasks.regions import clockwise, components, dilated, grown, in_reading_order, mean_inside, rectangle
from zoo.tasks.results import Box, Region, Regions, Result

SHORTEST = 3  # pixels of the map: what is thinner is noise


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The numbers of `output`."""

    pixel: float
    box: float
    unclip: float
    dilate: bool
    max_boxes: int


def build(
    input: Mapping[str, Any],
    output: Mapping[str, Any],
    *,
    labels: tuple[str, ...] | None,
    files: Mapping[str, Path],
    parts: Parts,
) -> Processor:
    """A Processor whose answers are `Regions`. Raises BadInput naming a wrong field."""
    take = (fields := Fields(output, "output")).take
    limits = Thresholds(
        take("threshold", number(0, 1), 0.3),
        take("box_threshold", number(0, 1), 0.5),
        take("unclip", number(0, 10), 1.6),
        take("dilate", truth, True),
        take("max_boxes", whole(), 1000),
    )
    name = take("name", text, None)
    fields.done()
    return Single(reader(input, files, only="image", alpha="contrast"), partial(detect, limits=limits, name=name))


def detect(outputs: Outputs, samples: Sequence[Any], *, limits: Thresholds, name: str | None = None) -> list[Result]:
    """The regions of each picture, in its own pixels, from maps [N, 1, H, W]. `samples` say what size it had."""
    maps = rows(outputs, name, len(samples), 4, "maps of text")
    if maps.shape[1] != 1:
        raise BadInput(f"the model gave {maps.shape[1]} maps a picture, where one says what is text")
    return [
        Regions(regions(m[0], sample.size, limits))
        for m, sample in zip(maps, needed(samples, "what size the picture had"), strict=True)
    ]


def regions(probability: Array, size: tuple[int, int], limits: Thresholds) -> tuple[Region, ...]:
    """Boxes from a map [h, w] in the pixels of a picture of `size` (height, width), in reading order."""
    mask = probability > limits.pixel
    found: list[Region] = []
    for points in components(dilated(mask) if limits.dilate else mask)[: limits.max_boxes]:
        box, *sides = rectangle(points)
        if min(sides) < SHORTEST:
            continue
        box = clockwise(box)
        score = mean_inside(probability, box)
        if score < limits.box:
            continue
        corners = _scaled(grown(box, limits.unclip), probability.shape, size)
        if corners is not None:
            found.append(Region(corners, score))
    order = in_reading_order(np.array([region.box for region in found], float).reshape(-1, 4, 2))
    return tuple(found[i] for row in order for i in row)


def _scaled(box: Array, of: tuple[int, ...], size: tuple[int, int]) -> Box | None:
    """In the picture's pixels and inside it; None for what has no more than 3 pixels of height or width left there.

    A slanted box over a corner of the picture may be left without an area; no transform makes a line of text of that.
    """
    most = np.array([size[1] - 1, size[0] - 1])
    corners = clockwise(np.clip(np.rint(box / (of[1], of[0]) * (size[1], size[0])), 0, most))
    edges = np.roll(corners, -1, 0) - corners
    width, height = np.linalg.norm(edges[0]), np.linalg.norm(edges[3])
    turns = edges[:, 0] * np.roll(edges[:, 1], -1) - edges[:, 1] * np.roll(edges[:, 0], -1)
    if int(width) <= SHORTEST or int(height) <= SHORTEST or (turns <= 0).any():
        return None
    return tuple((int(x), int(y)) for x, y in corners)
