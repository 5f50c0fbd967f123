"""What can be changed of a model, checked before anything is fetched; and what that means for its preprocessing."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypedDict

from zoo.errors import UsageError

if TYPE_CHECKING:
    import onnx_ir as ir

MAX_SIDE = 1 << 16  # of a picture
MAX_COUNT = 1 << 24  # of classes and of channels: their weights are made in memory


class Changes(TypedDict, total=False):
    """What every verb can change of a model."""

    # for a file that holds weights alone: a registry name, an architecture's name, a model file or a graph
    architecture: Any
    num_classes: int  # a new head, seeded; 0: none, so that the model gives its features
    in_chans: int  # channels of the picture: the stem's weights are summed or repeated
    input_size: int | tuple[int, int]  # height and width of the picture: position embeddings are resampled
    outputs: Sequence[str]  # inner outputs, by the author's module paths; the rest is cut away


@dataclass(frozen=True, slots=True)
class Surgery:
    """The changes of a graph, checked; None is as published. `input_size` is (height, width)."""

    num_classes: int | None = None
    in_chans: int | None = None
    input_size: tuple[int, int] | None = None
    outputs: tuple[str, ...] | None = None

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.asked)

    @property
    def asked(self) -> dict[str, Any]:
        """What is asked for, by name: plain data."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}

    def on(self, graph: ir.Model, classes: int | None = None) -> ir.Model:
        """The graph, weightless or bound, with the changes; itself where none is asked for. Raises UsageError."""
        if not self:
            return graph
        from zoo.converters import surgery

        return surgery.apply(graph, **self.asked, classes=classes)


def checked(changes: Changes) -> Surgery:
    """The changes as values, without `architecture`. Raises UsageError naming what is unknown or can't be.

    >>> checked({"input_size": 384, "outputs": ["layer3"]})
    Surgery(num_classes=None, in_chans=None, input_size=(384, 384), outputs=('layer3',))
    """
    for name in changes:
        if name not in Changes.__annotations__:
            raise UsageError(f"unknown change {name!r}", hint=f"Known: {', '.join(Changes.__annotations__)}.")
    count, channels = changes.get("num_classes"), changes.get("in_chans")
    return Surgery(
        None if count is None else _whole("num_classes", count, 0, MAX_COUNT),
        None if channels is None else _whole("in_chans", channels, 1, MAX_COUNT),
        _size(changes.get("input_size")),
        _names(changes.get("outputs")),
    )


def _whole(name: str, value: Any, least: int, most: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if isinstance(value, bool) or not least <= number <= most:
        raise UsageError(f"{name}={value!r}: expected a whole number from {least} to {most:,}")
    return number


def _size(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    sides = list(value) if isinstance(value, (tuple, list)) else [value, value]
    if len(sides) != 2:
        raise UsageError(f"input_size={value!r}: expected one number, or height and width")
    return _whole("input_size", sides[0], 1, MAX_SIDE), _whole("input_size", sides[1], 1, MAX_SIDE)


def _names(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(value) if isinstance(value, (tuple, list)) else ()
    if not names or not all(isinstance(name, str) and name for name in names):
        raise UsageError(f"outputs={value!r}: expected a list of names", hint="For one: outputs=['layer3'].")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"outputs=: {twice!r} stands there twice")
    return names


def prepared_for(facts: Mapping[str, Any], surgery: Surgery) -> dict[str, Any]:
    """The arguments of `zoo.tasks.processor` for a changed model.

    Another picture size scales the entry's resizing with it, so that the same part of a picture is cut out. A head of
    another width has no labels; without a head, or with inner outputs, answers are features.

    Raises UsageError for what the publisher's preprocessing can't make: other channels, a size where it makes any.
    """
    made = dict(facts)
    image = dict(made.get("input", {}).get("image", {}))
    if surgery.in_chans is not None and image:
        channels = 1 if image.get("channels") == "grey" else 3
        if surgery.in_chans != channels:
            raise UsageError(
                f"in_chans={surgery.in_chans}: the publisher's preprocessing is of {channels} channels",
                hint="Prepare the arrays yourself and run them by zoo.runner.",
            )
    if surgery.input_size is not None and image:
        made["input"] = {**made["input"], "image": _resized(image, surgery.input_size)}
    if surgery.num_classes == 0 or surgery.outputs is not None:
        made |= {"task": "feature-extraction", "output": {}, "labels": None}
    elif surgery.num_classes is not None and surgery.num_classes != label_count(made.get("labels")):
        made["labels"] = None
    return made


def label_count(labels: Any) -> int | None:
    """How many labels there are: of a list, or of a set in zoo/tasks/labels by its name; None where there are none."""
    if isinstance(labels, str):
        from zoo.tasks.labels import load

        labels = load(labels)
    return None if labels is None else len(labels)


def _resized(image: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """An entry's `input.image` for another size."""
    if image.get("mode") == "free":
        raise UsageError("input_size=: the publisher's preprocessing gives each picture a size of its own")
    had = [old or new for old, new in zip(image["size"], size, strict=True)]  # a null side was free
    ratios = [new / old for old, new in zip(had, size, strict=True)]
    made = {**image, "size": list(size)}
    resize = image.get("resize")
    if resize is not None and image.get("crop") is not None:
        del made["resize"]  # it follows from crop
    elif isinstance(resize, (tuple, list)):
        made["resize"] = [math.floor(side * ratio) for side, ratio in zip(resize, ratios, strict=True)]
    elif resize is not None:
        made["resize"] = math.floor(resize * max(ratios))
    return made
