"""Pictures of one line each to its text: a greedy decoding of CTC (Graves et al. 2006).

The labels are the alphabet. The graph gives [N, T, K] probabilities: of K - 1 characters and of the blank. PP-OCR
keeps its alphabet in the ONNX file's metadata under `character`, a line a character, and has a space for the last
class, which that list leaves out: `ppocr_alphabet` reads it. Of an entry's `output` it takes

    blank: 0    the index of the blank
    name: the graph's output to use, where it has several
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from zoo.converters.runner import Array
from zoo.errors import BadInput
from zoo.tasks.fields import Fields, text, whole
from zoo.tasks.processor import Outputs, Parts, Processor, Single, rows
from zoo.tasks.readers import reader
from zoo.tasks.results import Result, TextLine


def build(
    input: Mapping[str, Any],
    output: Mapping[str, Any],
    *,
    labels: tuple[str, ...] | None,
    files: Mapping[str, Path],
    parts: Parts,
) -> Processor:
    """A Processor whose answers are `TextLine`s. Raises BadInput naming a wrong field, or without an alphabet."""
    take = (fields := Fields(output, "output")).take
    blank = take("blank", whole(0), 0)
    name = take("name", text, None)
    fields.done()
    if not labels:
        raise BadInput("text recognition wants an alphabet, and the model has no labels")
    answer = partial(recognise, alphabet=labels, blank=blank, name=name)
    return Single(reader(input, files, only="image", alpha="contrast"), answer, labels)


def ppocr_alphabet(metadata: Mapping[str, str]) -> list[str]:
    """The labels of a PP-OCR recogniser from its ONNX metadata: `character`, a line each, and the space at the end.

    >>> ppocr_alphabet({"character": chr(10).join("ab")})
    ['a', 'b', ' ']
    """
    if "character" not in metadata:
        raise BadInput("the model's metadata has no `character`, where PP-OCR keeps its alphabet")
    return [*metadata["character"].splitlines(), " "]


def recognise(
    outputs: Outputs, samples: Sequence[Any], *, alphabet: Sequence[str], blank: int = 0, name: str | None = None
) -> list[Result]:
    """The text of each of [N, T, K], and the mean probability of the steps that its characters come from, or 0."""
    steps = rows(outputs, name, len(samples), 3, "a class a step")
    if steps.shape[2] != len(alphabet) + 1:
        raise BadInput(
            f"an alphabet of {len(alphabet):,} and a blank don't fit a model with {steps.shape[2]:,} classes",
            hint="Give its own labels.",
        )
    classes = [*alphabet[:blank], "", *alphabet[blank:]]
    return [_line(row, classes, blank) for row in steps]


def _line(row: Array, classes: Sequence[str], blank: int) -> TextLine:
    best = row.argmax(1)
    kept = best != blank
    kept[1:] &= best[1:] != best[:-1]
    scores = row.max(1)[kept]
    return TextLine("".join(classes[i] for i in best[kept]), float(scores.mean()) if len(scores) else 0.0)
