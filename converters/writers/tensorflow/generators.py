"""Random numbers: a tf.random.Generator for each step that draws some, in the form that keras.random takes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoo.converters.writers.keras.picks import RANDOM
from zoo.converters.writers.keras.program import Program


class Seeds(keras.random.SeedGenerator, tf.Module):  # type: ignore[misc]  # both are untyped
    """Draws the seeds of keras.random out of a generator of TensorFlow's, whose state a SavedModel keeps."""

    def __init__(self, seed: float | None) -> None:
        tf.Module.__init__(self, name="seeds")
        if seed is None or np.isnan(seed):
            self.generator = tf.random.Generator.from_non_deterministic_state()
        else:
            self.generator = tf.random.Generator.from_seed(int(np.float32(seed)) & 0x7FFFFFFF)

    def next(self, ordered: bool = True) -> Any:
        """Two numbers that seed one draw."""
        return self.generator.make_seeds(1)[:, 0]


def generators(program: Program) -> dict[str, Seeds]:
    """A generator for each step of a program that draws numbers, by the name of what it makes; those in bodies too."""
    made = {}
    for step in program.steps:
        if step.op in RANDOM:
            made[step.outputs[0]] = Seeds(step.attributes.get("seed"))
        for body in (value for value in step.attributes.values() if isinstance(value, Program)):
            made |= generators(body)
    return made
