"""A flax module as a Runner: jax's own."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.converters.runner import TensorSpec
from zoo.converters.writers.jax.flax.writer import Model, functional
from zoo.converters.writers.jax.runner import JaxRunner, from_numpy
from zoo.converters.writers.jax.runner import runner as of_jax

__all__ = ["from_numpy", "runner"]


def runner(native: Model, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, device: str) -> JaxRunner:
    """A Runner of a module on a device; only `auto` chooses, and it takes jax's own choice."""
    return of_jax(functional(native), inputs, outputs, device=device)
