"""Runs a program over TensorFlow's tensors: the Keras writer's machine, with strings and with the model's variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import onnx_ir as ir
import tensorflow as tf

from zoo.converters.writers.keras import backends
from zoo.converters.writers.keras import machine as keras_machine
from zoo.converters.writers.keras.dtypes import held_array
from zoo.converters.writers.keras.program import Program, Spec, Step
from zoo.converters.writers.tensorflow import lowers
from zoo.errors import HubError

Tensor = Any
Array = np.ndarray[Any, np.dtype[Any]]


class Untraceable(HubError):
    """What only the numbers in the model's inputs say, and a traced graph has not."""


class Context(keras_machine.Context):
    """What a lowering may ask of its step; here also for the variables among its inputs."""

    machine: Machine

    def variable(self, i: int) -> tf.Variable | None:
        """The variable that the i-th input is; None of a value that is computed."""
        return self.machine.variables.get(self.step.inputs[i])

    def untraceable(self, what: str) -> HubError:
        """An error for what only the numbers in the model's inputs say, and a traced graph has not."""
        return Untraceable(str(super().untraceable(what)))

    def is_traced(self, *tensors: Tensor) -> bool:
        """Whether any of these has no numbers yet."""
        return any(x is not None and self.numbers(x) is None for x in tensors)


class Machine(keras_machine.Machine):
    """Programs over TensorFlow's tensors. `variables` are those of the model, by the program's names.

    `is_lite` asks for operators that TFLite has, where TensorFlow has others that are faster.
    """

    context = Context

    def __init__(
        self,
        *,
        training: bool,
        generators: Mapping[str, Any],
        variables: Mapping[str, tf.Variable],
        is_lite: bool = False,
    ) -> None:
        from zoo.converters.writers.tensorflow import operators  # noqa: F401 - fills the table

        super().__init__(lowers, training=training, generators=generators)
        self.variables, self.is_lite = variables, is_lite

    @staticmethod
    def held(array: Array) -> Array:
        """A constant as values that are known are held: strings as objects."""
        return array.astype(object) if array.dtype.kind in "OSU" else held_array(array)

    @staticmethod
    def as_tensor(x: Any) -> Any:
        """An array as a tensor, strings too; lists of them alike."""
        if isinstance(x, list):
            return [Machine.as_tensor(item) for item in x]
        is_text = isinstance(x, np.ndarray) and x.dtype == object
        return tf.constant(x, dtype=tf.string) if is_text else backends.as_tensor(x)

    @staticmethod
    def computed(f: Callable[[], Any]) -> Any:
        """What `f` makes of known values, as arrays: at once, also while a graph is traced."""
        with tf.init_scope():
            return tuple(map(as_array, f()))

    def settled(self, x: Tensor, spec: Spec) -> Tensor:
        """A result in the dtype and shape that the graph says."""
        if isinstance(x, tf.Tensor) and x.shape.rank is None and spec.kind == "tensor" and spec.shape is None:
            raise Untraceable("how many axes a value has depends on the numbers in the model's inputs")
        if spec.dtype != ir.DataType.STRING.name or x is None or isinstance(x, list) or spec.kind != "tensor":
            return super().settled(x, spec)
        return backends.with_shape(x, spec.shape)

    def lowering(self, step: Step, program: Program) -> Callable[..., Any]:
        """The lowering of a step's operator: of strings where it reads or makes some. Raises HubError."""
        names = (*step.inputs, *step.outputs)
        has_strings = any(program.specs[n].dtype == ir.DataType.STRING.name for n in names if n in program.specs)
        of_strings = lowers.of_strings
        if has_strings and of_strings is not None and (step.domain, step.op) in of_strings:
            return of_strings[step.domain, step.op]
        return super().lowering(step, program)


def as_array(x: Any) -> Any:
    """A tensor that has its numbers as an array, of strings as one of objects; lists of tensors as lists of arrays."""
    if isinstance(x, (list, tuple)):
        return [as_array(item) for item in x]
    if isinstance(x, dict):
        return {key: as_array(item)[()] for key, item in x.items()}
    if not isinstance(x, (tf.Tensor, tf.Variable)):
        return x
    if x.dtype != tf.string:
        return np.asarray(keras.ops.convert_to_numpy(x))
    words = x.numpy()
    if not isinstance(words, np.ndarray):
        return np.array(words.decode(), dtype=object)
    made = np.empty(words.size, dtype=object)
    made[:] = [word.decode() for word in words.reshape(-1)]
    return made.reshape(words.shape)
