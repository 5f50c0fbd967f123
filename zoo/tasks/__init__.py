"""Raw input to arrays, arrays to answers: numpy and Pillow, never a framework.

A task's module has `build(...)`, which makes its Processor out of plain data and paths, so that all a built model needs
fits into one small JSON file: `processor(**json.load(file))`. Only the task's own module is imported, and Pillow or
tokenizers only with a module that uses them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

from zoo.errors import BadInput, did_you_mean
from zoo.tasks.processor import Parts, Processor

TASKS: Mapping[str, str] = MappingProxyType(
    {
        "image-classification": "image_classification",
        "emotion": "image_classification",
        "sentence-embedding": "sentence_embedding",
        "text-classification": "text_classification",
        "feature-extraction": "feature_extraction",
        "text-detection": "text_detection",
        "text-direction": "image_classification",
        "text-recognition": "text_recognition",
        "ocr": "ocr",
    }
)


def processor(
    task: str,
    *,
    input: Mapping[str, Any] | None = None,
    output: Mapping[str, Any] | None = None,
    labels: Sequence[str] | str | None = None,
    files: Mapping[str, str | PathLike[str]] | None = None,
    parts: Mapping[str, Mapping[str, Any] | Processor] | None = None,
) -> Processor:
    """The Processor of a task, from an entry's `input` and `output` and the paths of its files.

    Every argument is JSON: `labels` are names in the order of the model's outputs, or the name of a set in
    zoo/tasks/labels, or None (answers then say `class 7`); `files` gives the path of each role that the task wants
    (`tokenizer`); `parts` are the arguments of each part of a model of models, or its Processor.

    Raises BadInput for a task that does not exist and for a field that is unknown, missing or of another form; the
    message names the field (`input.image.size`).

    >>> import numpy as np
    >>> image = {"size": [224, 224], "resize": 256, "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3}
    >>> preparing = processor("image-classification", input={"image": image})
    >>> preparing.prepare([np.zeros((300, 400, 3), np.uint8)])["image"].shape
    (1, 3, 224, 224)
    """
    if task not in TASKS:
        raise BadInput(f"unknown task {task!r}", hint=did_you_mean(task, TASKS) or f"Known: {', '.join(TASKS)}.")
    if isinstance(labels, str):
        from zoo.tasks.labels import load

        labels = load(labels)
    made: Processor = import_module(f"zoo.tasks.{TASKS[task]}").build(
        dict(input or {}),
        dict(output or {}),
        labels=None if labels is None else tuple(labels),
        files={role: Path(path) for role, path in (files or {}).items()},
        parts=_parts(parts or {}),
    )
    return made


def _parts(parts: Mapping[str, Mapping[str, Any] | Processor]) -> Parts:
    return {name: processor(**part) if isinstance(part, Mapping) else part for name, part in parts.items()}
