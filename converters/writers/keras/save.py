"""A native model as a file of Keras': .keras, or .h5. Both open with `import zoo` alone, on any of Keras' backends."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.converters.layout import Layouts
from zoo.converters.runner import TensorSpec
from zoo.converters.writers.keras.runner import KerasRunner


def save(model: keras.Model, path: Path) -> None:
    """Write the model; what kind of file is said by its name."""
    log = logging.getLogger("absl")  # Keras warns there of .h5, which was asked for
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        model.save(path)
    finally:
        log.setLevel(level)


def run_saved(
    path: Path,
    layouts: Layouts,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    feeds: Mapping[str, Any],
) -> dict[str, Any]:
    """What a file's model gives of arrays in the graph's layout, in the graph's layout."""
    moved = [_moved(spec, layouts.inputs) for spec in inputs]
    runner = KerasRunner(keras.saving.load_model(path, compile=False), moved, outputs, None)
    given = {n: np.transpose(x, layouts.inputs[n]) if n in layouts.inputs else x for n, x in feeds.items()}
    made = runner.run(given)
    return {n: np.transpose(y, np.argsort(layouts.outputs[n])) if n in layouts.outputs else y for n, y in made.items()}


def _moved(spec: TensorSpec, perms: Mapping[str, Sequence[int]]) -> TensorSpec:
    perm = perms.get(spec.name)
    return spec if perm is None else TensorSpec(spec.name, spec.dtype, tuple(spec.shape[axis] for axis in perm))
