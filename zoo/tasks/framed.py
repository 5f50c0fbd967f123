"""A Processor whose batches are a framework's tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zoo.tasks.processor import Processor


class Framed:
    """Everything is the Processor's own; `prepare` and `batch` give what `to_tensor` makes of its arrays."""

    def __init__(self, processor: Processor, to_tensor: Callable[[Any], Any]) -> None:
        self._processor, self._to_tensor = processor, to_tensor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def prepare(self, inputs: Sequence[Any]) -> dict[str, Any]:
        """Raw inputs as tensors with a batch axis, by the names of the graph's inputs."""
        return {name: self._to_tensor(array) for name, array in self._processor.prepare(inputs).items()}

    def batch(self, samples: Sequence[Any]) -> dict[str, Any]:
        """Samples as tensors with a batch axis."""
        return {name: self._to_tensor(array) for name, array in self._processor.batch(samples).items()}
