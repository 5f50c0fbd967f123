"""A module of TensorFlow's as a Runner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import tensorflow as tf

from zoo.converters.runner import Array, TensorSpec
from zoo.converters.writers.keras import backends
from zoo.converters.writers.keras.dtypes import held_array, numpy_dtype
from zoo.converters.writers.onnx.runner import check
from zoo.converters.writers.tensorflow.machine import Machine, as_array
from zoo.converters.writers.tensorflow.module import Module
from zoo.errors import HubError, ZooError


class TensorFlowRunner:
    """Feeds a module that was written with the graph's own layout, in the order of the graph's inputs."""

    def __init__(
        self, module: Module, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], device: str | None
    ) -> None:
        self.module, self.inputs, self.outputs, self.device = module, inputs, outputs, device

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One pass. Raises BadInput naming the input that does not fit; HubError when TensorFlow fails."""
        check(self.inputs, feeds)
        try:
            with tf.device(self.device) if self.device else nullcontext():
                made = self.module(*(from_numpy(feeds[spec.name]) for spec in self.inputs))
        except ZooError:
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise HubError(f"TensorFlow failed: {reason[:500]}") from error
        named = made if isinstance(made, dict) else {self.outputs[0].name: made}
        return {spec.name: to_numpy(named[spec.name], spec.dtype) for spec in self.outputs}


def runner(
    module: Module, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, device: str = "auto"
) -> TensorFlowRunner:
    """A Runner of a module on a device; only `auto` chooses, and it takes TensorFlow's own choice."""
    return TensorFlowRunner(module, inputs, outputs, backends.device(device))


def from_numpy(value: Any) -> Any:
    """An array as a tensor, in the dtype that TensorFlow holds its own in; lists and None as they are."""
    if value is None or isinstance(value, (list, tuple)):
        return value if value is None else [from_numpy(item) for item in value]
    array = np.asarray(value)
    return Machine.as_tensor(array.astype(object) if array.dtype.kind in "OSU" else held_array(array))


def to_numpy(value: Any, dtype: str = "") -> Any:
    """A tensor as an array, of the graph's dtype where TensorFlow holds another; lists, maps and None as they are."""
    if value is None or isinstance(value, (list, tuple)):
        return value if value is None else [to_numpy(item, dtype) for item in value]
    array = as_array(value)
    wanted = dtype.rpartition("(")[2].rstrip(")")
    if isinstance(array, dict) or wanted in ("", "str", "map"):
        return array
    return array.astype(numpy_dtype(wanted), copy=False)
