"""A Keras model as a Runner, on any of Keras' backends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np

from zoo.converters.runner import Array, TensorSpec
from zoo.converters.writers.keras import backends
from zoo.converters.writers.keras.dtypes import available, held_array, numpy_dtype
from zoo.converters.writers.onnx.runner import check
from zoo.errors import HubError, ZooError


class KerasRunner:
    """Feeds a model that was written with the graph's own layout, in the order of the graph's inputs."""

    def __init__(
        self, model: keras.Model, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], device: str | None
    ) -> None:
        self.model, self.inputs, self.outputs, self.device = model, inputs, outputs, device

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One pass. Raises BadInput naming the input that does not fit; HubError when Keras fails."""
        check(self.inputs, feeds)
        try:
            with keras.device(self.device) if self.device else nullcontext():
                given = [from_numpy(feeds[spec.name]) for spec in self.inputs]
                made = self.model(given[0] if len(given) == 1 else given, training=False)
        except ZooError:
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise HubError(f"Keras failed on {keras.backend.backend()}: {reason[:500]}") from error
        named = made if isinstance(made, dict) else {self.outputs[0].name: made}
        return {spec.name: to_numpy(named[spec.name], spec.dtype) for spec in self.outputs}


def runner(
    model: keras.Model, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, device: str = "auto"
) -> KerasRunner:
    """A Runner of a model on a device; only `auto` chooses, and it takes the backend's own choice."""
    where = backends.device(device)
    return KerasRunner(model if where is None else backends.moved(model, where), inputs, outputs, where)


def from_numpy(value: Any) -> Any:
    """An array as a tensor of the backend's, in the dtype that Keras holds its own in; lists and None as they are."""
    if value is None or isinstance(value, (list, tuple)):
        return value if value is None else [from_numpy(item) for item in value]
    array = held_array(np.asarray(value))
    return keras.ops.convert_to_tensor(array, dtype=available(array.dtype.name))


def to_numpy(value: Any, dtype: str = "") -> Any:
    """A tensor as an array, of the graph's dtype where Keras holds it in another; lists and None as they are."""
    if value is None or isinstance(value, (list, tuple)):
        return value if value is None else [to_numpy(item, dtype) for item in value]
    array = backends.as_array(value)
    wanted = dtype.rpartition("(")[2].rstrip(")")
    return array.astype(numpy_dtype(wanted), copy=False) if wanted else array
