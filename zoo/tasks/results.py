"""Answers: frozen values that print well and turn into JSON. Imports nothing but numpy; Pillow only to draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from zoo.converters.runner import Array

if TYPE_CHECKING:
    from PIL import Image

Box = tuple[tuple[int, int], ...]  # four corners (x, y) in pixels, clockwise from the text's top left


class Result(Protocol):
    """What every answer can do besides `str()`."""

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON: dicts, lists, str, int, float, bool, None."""


@dataclass(frozen=True, slots=True)
class Score:
    """A label, its index among the model's outputs, and its score: a probability, if the model was trained for one."""

    label: str
    index: int
    score: float

    def __str__(self) -> str:
        return f"{self.label}  {100 * self.score:.1f} %"

    def to_dict(self) -> dict[str, Any]:
        """{"label", "index", "score"}."""
        return {"label": self.label, "index": self.index, "score": self.score}


@dataclass(frozen=True, slots=True)
class Classification:
    """The likeliest labels, best first: of an image or a text."""

    scores: tuple[Score, ...]

    @property
    def best(self) -> Score:
        """The likeliest."""
        return self.scores[0]

    @property
    def label(self) -> str:
        """The likeliest label."""
        return self.scores[0].label

    def __iter__(self) -> Iterator[Score]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, place: int) -> Score:
        return self.scores[place]

    def __str__(self) -> str:
        width = max(len(score.label) for score in self.scores)
        return "\n".join(f"{s.label:<{width}}  {100 * s.score:5.1f} %" for s in self.scores)

    def to_dict(self) -> dict[str, Any]:
        """{"scores": [{"label", "index", "score"}, ...]}."""
        return {"scores": [score.to_dict() for score in self.scores]}


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """A vector, float32 [D]."""

    vector: Array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.vector, dtype, copy=True) if copy else np.asarray(self.vector, dtype)

    def __len__(self) -> int:
        return len(self.vector)

    def __str__(self) -> str:
        head = ", ".join(f"{x:.4f}" for x in self.vector[:4])
        more = ", ..." if len(self.vector) > 4 else ""
        return f"[{head}{more}]  {len(self.vector)} dimensions, length {float(np.linalg.norm(self.vector)):.3f}"

    def to_dict(self) -> dict[str, Any]:
        """{"embedding": [float, ...]}."""
        return {"embedding": self.vector.tolist()}


@dataclass(frozen=True, slots=True)
class Ranked:
    """A text, its place in the list that was asked about, and its similarity to the query: a cosine, -1 to 1."""

    text: str
    index: int
    score: float

    def __str__(self) -> str:
        return f"{self.score:6.3f}  {self.text}"

    def to_dict(self) -> dict[str, Any]:
        """{"text", "index", "score"}."""
        return {"text": self.text, "index": self.index, "score": self.score}


@dataclass(frozen=True, slots=True)
class Ranking:
    """Texts by their similarity to a query, most similar first; equals keep the order of the question."""

    query: str
    ranked: tuple[Ranked, ...]

    def __iter__(self) -> Iterator[Ranked]:
        return iter(self.ranked)

    def __len__(self) -> int:
        return len(self.ranked)

    def __getitem__(self, place: int) -> Ranked:
        return self.ranked[place]

    def __str__(self) -> str:
        return "\n".join(map(str, self.ranked))

    def to_dict(self) -> dict[str, Any]:
        """{"query", "ranked": [{"text", "index", "score"}, ...]}."""
        return {"query": self.query, "ranked": [r.to_dict() for r in self.ranked]}


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """The model's outputs for one input by the graph's names, without the batch axis."""

    outputs: Mapping[str, Array]

    def __getitem__(self, name: str) -> Array:
        return self.outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)

    def __str__(self) -> str:
        return "\n".join(
            f"{name}  {a.dtype} {list(a.shape)}" + (f"  min {a.min():.4g}, max {a.max():.4g}" if a.size else "")
            for name, a in self.outputs.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """{"outputs": {name: nested lists}}."""
        return {"outputs": {name: array.tolist() for name, array in self.outputs.items()}}


@dataclass(frozen=True, slots=True)
class Region:
    """A place in a picture and how sure the detector is of it."""

    box: Box
    score: float

    def __str__(self) -> str:
        return f"{100 * self.score:5.1f} %  {' '.join(f'{x},{y}' for x, y in self.box)}"

    def to_dict(self) -> dict[str, Any]:
        """{"box": [[x, y], ...], "score"}."""
        return {"box": [list(corner) for corner in self.box], "score": self.score}


@dataclass(frozen=True, slots=True)
class Regions:
    """Where a picture has text, in reading order. Corners are pixels of the picture as one sees it (EXIF applied)."""

    regions: tuple[Region, ...]

    def __iter__(self) -> Iterator[Region]:
        return iter(self.regions)

    def __len__(self) -> int:
        return len(self.regions)

    def __str__(self) -> str:
        return "\n".join(map(str, self.regions)) or "(no text)"

    def to_dict(self) -> dict[str, Any]:
        """{"regions": [{"box", "score"}, ...]}."""
        return {"regions": [region.to_dict() for region in self.regions]}

    def draw(self, image: Any) -> Image.Image:
        """The picture, in any form that a Processor reads, with the boxes drawn on it."""
        return drawn(image, [region.box for region in self.regions])


@dataclass(frozen=True, slots=True)
class TextLine:
    """What one line says, and the mean probability of its characters; `box` is None for a picture of a line."""

    text: str
    score: float
    box: Box | None = None

    def __str__(self) -> str:
        return self.text

    def to_dict(self) -> dict[str, Any]:
        """{"text", "score", "box"}."""
        return {"text": self.text, "score": self.score, "box": self.box and [list(corner) for corner in self.box]}


@dataclass(frozen=True, slots=True)
class Page:
    """The lines of a picture in reading order, and what stands side by side in one row."""

    lines: tuple[TextLine, ...]
    rows: tuple[int, ...]  # the row of each line

    @property
    def text(self) -> str:
        """All lines: a row a line, what stands side by side with a blank between."""
        rows: dict[int, list[str]] = {}
        for row, line in zip(self.rows, self.lines, strict=True):
            rows.setdefault(row, []).append(line.text)
        return "\n".join(" ".join(row) for row in rows.values())

    def __iter__(self) -> Iterator[TextLine]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, place: int) -> TextLine:
        return self.lines[place]

    def __str__(self) -> str:
        return self.text or "(no text)"

    def to_dict(self) -> dict[str, Any]:
        """{"text", "lines": [{"text", "score", "box"}, ...]}."""
        return {"text": self.text, "lines": [line.to_dict() for line in self.lines]}

    def draw(self, image: Any) -> Image.Image:
        """The picture, in any form that a Processor reads, with the boxes of the lines drawn on it."""
        return drawn(image, [line.box for line in self.lines if line.box is not None])


def drawn(image: Any, boxes: list[Box]) -> Image.Image:
    """A copy of the picture, RGB, EXIF applied, each box an outline whose width grows with the picture."""
    from PIL import ImageDraw

    from zoo.tasks.images import decode

    picture = decode(image, alpha="contrast").copy()
    pen = ImageDraw.Draw(picture)
    width = max(2, round(max(picture.size) / 500))
    for box in boxes:
        pen.line([*box, box[0], box[1]], fill=(220, 30, 30), width=width, joint="curve")
    return picture
