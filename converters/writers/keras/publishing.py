"""The author's tensors as initializers of Keras' weights, and Keras' weights as the author's tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import onnx_ir as ir

from zoo.converters.graph import PARAMETER, parameters, tied_names
from zoo.converters.writers.keras.dtypes import FLOATS, held
from zoo.converters.writers.keras.parameters import Parameter, joined, part_of, unseen
from zoo.converters.writers.keras.saved import Op, Published, PublishedParts

Tensor = ir.TensorProtocol
Array = np.ndarray[Any, np.dtype[Any]]
# the initializer of a layer's weight -> the weight; the name of the argument is that of the attribute
WEIGHTS = {
    "kernel_initializer": "kernel",
    "depthwise_initializer": "kernel",
    "recurrent_initializer": "recurrent_kernel",
    "bias_initializer": "bias",
    "embeddings_initializer": "embeddings",
    "gamma_initializer": "gamma",
    "beta_initializer": "beta",
    "moving_mean_initializer": "moving_mean",
    "moving_variance_initializer": "moving_variance",
    "scale_initializer": "scale",
    "alpha_initializer": "alpha",
}
STATISTICS = {"moving_mean_initializer", "moving_variance_initializer"}


class Publisher:
    """Makes the initializers of the author's tensors."""

    def __init__(self, graph: ir.Graph) -> None:
        self.values = parameters(graph)
        self.places = {name: i for i, name in enumerate(self.values)}
        self.counters: dict[str, dict[str, Sequence[int]]] = {}
        for name, value in self.values.items():
            if _is_counter(value):
                beside = self._beside(name)
                number = int(value.const_value.numpy()) if value.const_value is not None else 0
                self.counters.setdefault(beside, {})[name] = (self.places[name], number)

    def _beside(self, name: str) -> str:
        """The tensor of the same layer that a counter goes with, or the first one."""
        path = name.rpartition(".")[0]
        others = [n for n, v in self.values.items() if not _is_counter(v)]
        return next((n for n in reversed(others) if n.rpartition(".")[0] == path), others[0] if others else "")

    def __call__(self, parameter: Parameter) -> Published:
        """The initializer of a parameter's weight."""
        value, name = parameter.value, parameter.name
        tensor = value.const_value
        if tensor is None:
            raise ValueError(f"initializer {name!r} has no data")
        made = Published(
            name,
            self.places[name],
            tuple(int(d) for d in tensor.shape.numpy()),
            tensor.dtype.name,
            parameter.views,
            tied_names(value),
            self.counters.get(name),
        )
        made.array = tensor.numpy
        return made

    def is_trained(self, value: ir.Value) -> bool:
        """Whether training changes the author's tensor."""
        is_float = value.dtype is not None and value.dtype.is_floating_point() and held(value.dtype) in FLOATS
        return is_float and value.metadata_props[PARAMETER] == "parameter"

    def unread(self) -> list[Parameter]:
        """The tensors that no node reads, counters apart."""
        return [
            Parameter(name, value)
            for name, value in self.values.items()
            if not value.uses() and not value.is_graph_output() and not _is_counter(value)
        ]


def _is_counter(value: ir.Value) -> bool:
    return value.metadata_props[PARAMETER] == "counter" and not value.uses() and not len(value.shape or ())


def unnamed(array: Array) -> Published:
    """The initializer of a constant of the architecture."""
    made = Published("", -1, array.shape, ir.DataType.from_numpy(array.dtype).name)
    made.array = lambda: array
    return made


def tensors(native: keras.Model) -> dict[str, Tensor]:
    """The way back: the model's weights as the author's tensors, under his names, in his layout and order."""
    found: dict[str, tuple[int, Array]] = {}
    parts: dict[str, list[tuple[tuple[int, int, int], Array]]] = {}
    for initializer, variable in _published(native):
        array = unseen(keras.ops.convert_to_numpy(variable), initializer.author_shape, initializer.views)
        array = array.astype(ir.DataType[initializer.dtype].numpy(), copy=False)
        if (part := part_of(initializer.views)) is not None:
            parts.setdefault(initializer.tensor, []).append((part, array))
            array = joined(parts[initializer.tensor])  # whole when the last part is there
        found |= dict.fromkeys((initializer.tensor, *initializer.tied), (initializer.place, array))
        for name, (place, number) in initializer.counters.items():
            found[name] = place, np.asarray(number, dtype=np.int64)
    return {name: ir.tensor(a, name=name) for name, (_, a) in sorted(found.items(), key=lambda item: item[1][0])}


def _of_part(layer: keras.layers.Layer, initializer: Any) -> Any:
    """The initializer of a layer's weight, where it is one of several for the parts of a larger layer."""
    return initializer.parts.get(layer.name) if isinstance(initializer, PublishedParts) else initializer


def _published(native: keras.Model) -> Iterator[tuple[Published, Any]]:
    for layer in native._flatten_layers():
        if isinstance(layer, Op):
            held_by_op = layer.variables_by_name()
            pairs = [(initializer, held_by_op[name]) for name, (initializer, _) in layer.initializers.items()]
        else:
            fields = [(getattr(layer, i, None), getattr(layer, w, None)) for i, w in WEIGHTS.items()]
            pairs = [(_of_part(layer, initializer), weight) for initializer, weight in fields if weight is not None]
        yield from (pair for pair in pairs if isinstance(pair[0], Published) and pair[0].tensor)
