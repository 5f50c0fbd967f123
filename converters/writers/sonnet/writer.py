"""Bound canonical graph -> snt.Module, whose submodules are the author's modules and hold his tensors."""

from __future__ import annotations

import onnx_ir as ir
import sonnet as snt

from zoo.converters.layout import Choice
from zoo.converters.writers.tensorflow import lowers as lowers
from zoo.converters.writers.tensorflow.module import Native, module
from zoo.converters.writers.tensorflow.writer import placed as placed
from zoo.converters.writers.tensorflow.writer import source_of
from zoo.converters.writers.tensorflow.writer import tensors as tensors


class Scope(snt.Module):  # type: ignore[misc]  # Sonnet is untyped
    """A module of the author's, without a call of its own."""


class Module(Native, snt.Module):  # type: ignore[misc]
    """A model of Sonnet's: the author's module tree and tensors, called as the TensorFlow writer's Module is."""

    scope = Scope


def write(model: ir.Model, *, channels: Choice = "first", dtype: str | None = None) -> Module:
    """The native module of a bound canonical graph, every parameter trainable. Raises HubError, UsageError."""
    made: Module = module(*source_of(model, channels=channels, dtype=dtype), cls=Module)
    return made
