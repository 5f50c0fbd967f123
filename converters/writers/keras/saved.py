"""What a saved model needs to be opened again, registered with Keras under `zoo>`; `import zoo` sees to the import.

Op                one operator of ONNX (or several) that is no layer of Keras' own: keras.ops code, by its config
Graph             a model whose values a functional model can't hold: lists, None, tensors of unknown rank
Published         the initializer of a weight that an author published: its name and layout there
PublishedParts    the initializers of the weights of a layer's parts
RMSNormalization  Keras' own, whose scale has an initializer as every other weight has
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import onnx_ir as ir

from zoo.converters.writers.keras import ops as table
from zoo.converters.writers.keras.dtypes import available, held, held_array
from zoo.converters.writers.keras.machine import Machine, generators
from zoo.converters.writers.keras.parameters import Array, View, seen, shapes
from zoo.converters.writers.keras.program import Program, Spec, decode, encode

registered = keras.saving.register_keras_serializable("zoo")


@registered
class Published(keras.initializers.Initializer):  # type: ignore[misc]  # Keras is untyped
    """Says whose tensor a weight is: the author's name, its place among his tensors, its shape, dtype and views there.

    `dtype` is ONNX's name of the author's. `counters` are integers of his layer that Keras' has no place for: name ->
    (place, number). Without a name the weight is a constant of the architecture.

    Made by the writer it gives the author's numbers, once. One that was read from a file gives what `otherwise` does,
    as the weights follow in the file; so does that of a clone, which Keras' users expect to be new.
    """

    def __init__(
        self,
        tensor: str,
        place: int,
        shape: Sequence[int],
        dtype: str,
        views: Sequence[View] = (),
        tied: Sequence[str] = (),
        counters: Mapping[str, Sequence[int]] | None = None,
        otherwise: Any = "zeros",
    ) -> None:
        self.tensor, self.place, self.author_shape, self.dtype = tensor, place, tuple(shape), dtype
        self.views: tuple[View, ...] = tuple((kind, tuple(numbers)) for kind, numbers in views)
        self.tied, self.counters = tuple(tied), {name: tuple(numbers) for name, numbers in (counters or {}).items()}
        self.otherwise = keras.initializers.get(otherwise)
        self.array: Any = None  # what gives the author's array, until it has been used

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """The weight's first numbers."""
        if self.array is None:
            return self.otherwise(shape, dtype=dtype)
        array: Array = seen(held_array(self.array()), self.views)
        if tuple(array.shape) != tuple(shape):
            raise ValueError(f"{self.tensor} has the shape {list(array.shape)} here, the layer wants {list(shape)}")
        self.array = None
        return keras.ops.convert_to_tensor(array, dtype=dtype)

    def clone(self) -> Published:
        """One that gives the same numbers."""
        return copy.copy(self)

    def get_config(self) -> dict[str, Any]:
        """All but the numbers."""
        return {
            "tensor": self.tensor,
            "place": self.place,
            "shape": list(self.author_shape),
            "dtype": self.dtype,
            "views": [[kind, list(numbers)] for kind, numbers in self.views],
            "tied": list(self.tied),
            "counters": {name: list(numbers) for name, numbers in self.counters.items()},
            "otherwise": keras.initializers.serialize(self.otherwise),
        }


@registered
class PublishedParts(keras.initializers.Initializer):  # type: ignore[misc]
    """Of a layer that gives each of its parts a copy of one initializer: the `Published` of each, by the part's name.

    Keras' MultiHeadAttention is one, of a query, a key, a value and an attention_output. A copy has no numbers of its
    own; the writer fills them in.
    """

    def __init__(self, parts: Mapping[str, Any]) -> None:
        self.parts: dict[str, Published] = {name: keras.initializers.get(part) for name, part in parts.items()}

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """The first numbers of any part."""
        return keras.initializers.get(next(iter(self.parts.values())).otherwise)(shape, dtype=dtype)

    def fill(self, layer: keras.layers.Layer) -> None:
        """Give each part of a built layer its author's numbers."""
        for part in layer._flatten_layers(include_self=False):
            for field, attribute in (("kernel_initializer", "kernel"), ("bias_initializer", "bias")):
                if getattr(part, field, None) is not None and self.is_like(getattr(part, field)):
                    variable = getattr(part, attribute)
                    variable.assign(self.parts[part.name](variable.shape, dtype=variable.dtype))

    def is_like(self, other: Any) -> bool:
        """Whether an initializer is a copy of this one."""
        return isinstance(other, PublishedParts) and other.get_config() == self.get_config()

    def get_config(self) -> dict[str, Any]:
        """The initializers of the parts."""
        return {"parts": {name: keras.initializers.serialize(part) for name, part in self.parts.items()}}


@registered
class RMSNormalization(keras.layers.RMSNormalization):  # type: ignore[misc]
    """Keras' RMSNormalization, with the initializer of its scale."""

    def __init__(self, axis: Any = -1, epsilon: float = 1e-6, scale_initializer: Any = "ones", **kwargs: Any) -> None:
        super().__init__(axis=axis, epsilon=epsilon, **kwargs)
        self.scale_initializer = keras.initializers.get(scale_initializer)

    def build(self, input_shape: Any) -> None:
        """As Keras', and the scale's own first numbers."""
        super().build(input_shape)
        self.scale.assign(self.scale_initializer(self.scale.shape, dtype=self.scale.dtype))

    def get_config(self) -> dict[str, Any]:
        """As Keras', and the initializer."""
        return {**super().get_config(), "scale_initializer": keras.initializers.serialize(self.scale_initializer)}


@registered
class Op(keras.layers.Layer):  # type: ignore[misc]
    """Runs a program, given the tensors that it reads as one or as a list; gives one tensor or a list.

    `weights` are those of the program's values that the layer holds: name -> (initializer, whether it is trained).
    A program without inputs is called on any tensor, which says that it belongs to the model.
    """

    def __init__(
        self, program: Program | Mapping[str, Any], weights: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        self.program = program if isinstance(program, Program) else decode(program)
        self.initializers = {
            name: (keras.initializers.get(initializer), bool(trained))
            for name, (initializer, trained) in (weights or {}).items()
        }
        self._held: list[Any] = []
        self.generators = generators(self.program)
        self._convert_input_args = False  # integers and known sizes go in as they are
        self._allow_non_tensor_positional_args = True
        self.supports_jit = not self._has_free_results()

    def _has_free_results(self) -> bool:
        from zoo.converters.writers.keras.picks import PICKS

        return any(step.op in PICKS for step in self.program.steps)

    def build(self, input_shape: Any = None) -> None:
        """Make the weights."""
        for name, (initializer, trained) in self.initializers.items():
            self._held.append(
                self.add_weight(
                    name=name.rpartition(".")[2].replace("/", "_") or "weight",
                    shape=shape_seen(initializer),
                    dtype=available(held(ir.DataType[initializer.dtype])),
                    initializer=initializer,
                    trainable=trained,
                    autocast=False,
                )
            )
        self.built = True

    def variables_by_name(self) -> dict[str, Any]:
        """The weights by the names that the program has for them."""
        return dict(zip(self.initializers, self._held, strict=True))

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """As any layer. Keras takes no list of tensors with anything but None among them: known numbers go apart."""
        if isinstance(inputs, (list, tuple)):
            known = {str(i): x for i, x in enumerate(inputs) if isinstance(x, np.ndarray)}
            if known:
                kwargs["known"] = known
                inputs = [None if isinstance(x, np.ndarray) else x for x in inputs]
        return super().__call__(inputs, **kwargs)

    def call(self, inputs: Any, known: Mapping[str, Array] | None = None, training: Any = None) -> Any:
        """The outputs of the program. `known` are inputs that have their numbers while a graph is traced."""
        names = self.program.inputs
        given = list(inputs) if isinstance(inputs, (list, tuple)) and len(names) != 1 else [inputs]
        for i, numbers in (known or {}).items():
            given[int(i)] = numbers
        weights = {name: keras.ops.convert_to_tensor(v) for name, v in self.variables_by_name().items()}
        made = Machine(complete_table(), training=training is True, generators=self.generators).run(
            self.program, given[: len(names)], weights
        )
        return made[0] if len(made) == 1 else made

    def compute_output_spec(self, inputs: Any, known: Any = None, training: Any = None) -> Any:
        """What the graph says of the outputs."""
        specs = [symbolic(self.program.specs[name], f"{self.name}_{name}") for name in self.program.outputs]
        return specs[0] if len(specs) == 1 else specs

    def get_config(self) -> dict[str, Any]:
        """The program and the initializers."""
        weights = {
            name: [keras.initializers.serialize(initializer), trained]
            for name, (initializer, trained) in self.initializers.items()
        }
        return {**super().get_config(), "program": encode(self.program), "weights": weights}


@registered
class Graph(keras.Model):  # type: ignore[misc]
    """A model of one program, called with its inputs by name, in a list, or the only one; None and lists among them."""

    def __init__(
        self, program: Program | Mapping[str, Any], weights: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.op = Op(program, weights, name="graph")
        self.op.build()
        self._convert_input_args = False
        self._allow_non_tensor_positional_args = True
        self.built = True

    def build(self, input_shape: Any = None) -> None:
        """There is nothing left to make."""

    def call(self, inputs: Any = None, training: Any = None) -> Any:
        """One output, or several by name."""
        names = self.op.program.inputs
        if isinstance(inputs, dict):
            given = [inputs[name] for name in names]
        else:
            given = [] if not names else [inputs] if len(names) == 1 else list(inputs)
        made = self.op.call(given[0] if len(names) == 1 else given, training=training)
        outputs = self.op.program.outputs
        return made if len(outputs) == 1 else dict(zip(outputs, made, strict=True))

    def get_config(self) -> dict[str, Any]:
        """The program and the initializers."""
        config = self.op.get_config()
        return {"name": self.name, "program": config["program"], "weights": config["weights"]}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Graph:
        """The model, whose weights follow."""
        return cls(
            config["program"],
            {
                name: (keras.initializers.deserialize(initializer), trained)
                for name, (initializer, trained) in config["weights"].items()
            },
            name=config["name"],
        )


def complete_table() -> Any:
    """The table of operators, filled."""
    from zoo.converters.writers.keras import operators  # noqa: F401 - fills the table

    return table


def shape_seen(initializer: Published) -> tuple[int, ...]:
    """The shape of a weight."""
    return shapes(initializer.author_shape, initializer.views)[-1]


def symbolic(spec: Spec, name: str) -> Any:
    """A value of a functional model."""
    return keras.KerasTensor(spec.shape, dtype=held(ir.DataType[spec.dtype]), name=name)
