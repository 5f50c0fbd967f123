"""The native object: a tf.Module of the author's variables, whose call is a tf.function with the graph's free sizes."""

from __future__ import annotations

import inspect
import keyword
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import tensorflow as tf

from zoo.converters.layout import Layouts
from zoo.converters.writers.keras.dtypes import held, held_array, numpy_dtype
from zoo.converters.writers.keras.naming import identifier
from zoo.converters.writers.keras.parameters import seen
from zoo.converters.writers.keras.program import Program, Spec
from zoo.converters.writers.tensorflow.generators import generators
from zoo.converters.writers.tensorflow.held import Held
from zoo.converters.writers.tensorflow.machine import Machine, Untraceable
from zoo.converters.writers.tensorflow.tracing import why_eager
from zoo.errors import BadInput, UsageError

Tensor = Any
Arrays = Mapping[
    str, Callable[[], np.ndarray[Any, np.dtype[Any]]]
]  # what gives the array of each of the author's names


@dataclass(frozen=True, slots=True)
class Source:
    """What a module computes: a program, which of its values are variables, the author's names of its inputs.

    `layouts` are the axes of inputs and outputs that stand otherwise than in the author's graph.
    """

    program: Program
    held: Mapping[str, Held]  # by the program's names of the values
    inputs: Sequence[str]
    layouts: Layouts

    @property
    def input_specs(self) -> list[Spec]:
        """What the graph knows of the inputs."""
        return [self.program.specs[name] for name in self.program.inputs]

    @property
    def arguments(self) -> list[str]:
        """The inputs' names as far as Python has such names: what the call and the signature call them."""
        made: list[str] = []
        for i, name in enumerate(self.inputs):
            plain = identifier(name)
            is_name = plain.isidentifier() and not keyword.iskeyword(plain)
            plain = plain if is_name else f"input_{plain or i}"
            while plain in ("self", "training", *made):
                plain += "_"
            made.append(plain)
        return made

    @property
    def signature(self) -> inspect.Signature:
        """The call's: the inputs, and whether it trains."""
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [inspect.Parameter(name, kind) for name in ("self", *self.arguments)]
        return inspect.Signature([*parameters, inspect.Parameter("training", kind, default=False)])


class Native:
    """What a module of TensorFlow's and one of Sonnet's have in common; beside it stands a subclass of tf.Module.

    The author's modules are attributes of it, and hold his tensors: `module.layer1` and `getattr(module.layer1, "0")`.
    """

    scope: type[Any] = tf.Module  # what the author's modules are

    def __init__(self, source: Source, arrays: Arrays, name: str) -> None:
        super().__init__(name=name)  # type: ignore[call-arg]
        self.source = source
        self.held = {
            one.name: tf.Variable(
                seen(held_array(arrays[one.name]()), one.views), trainable=one.is_trained, name=variable_name(one.name)
            )
            for one in source.held.values()
        }
        self.generators = generators(source.program)
        self.why_eager = ""  # why the call is no graph: it computes step by step then, and can't be saved
        for path, variable in self.held.items():
            grow(self, path, variable)

    @property
    def variables(self) -> tuple[tf.Variable, ...]:
        """The author's tensors, in his order."""
        return tuple(self.held.values())

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        """His parameters, without buffers and counters."""
        return tuple(v for v in self.held.values() if v.trainable)

    @property
    def non_trainable_variables(self) -> tuple[tf.Variable, ...]:
        """His buffers and counters."""
        return tuple(v for v in self.held.values() if not v.trainable)

    def eager(self, *inputs: Tensor, training: bool = False, **named: Tensor) -> Tensor:
        """What the call computes, one operation after the other. Raises BadInput, HubError."""
        arguments = self.source.signature.bind(self, *inputs, **named).arguments
        return self.compute(given(self.source, arguments), training)

    def compute(self, inputs: Sequence[Tensor], training: bool, *, is_lite: bool = False) -> Tensor:
        """The outputs, of tensors in the graph's order."""
        source = self.source
        variables = {value: self.held[one.name] for value, one in source.held.items()}
        weights = {value: tf.convert_to_tensor(variable) for value, variable in variables.items()}
        machine = Machine(training=bool(training), generators=self.generators, variables=variables, is_lite=is_lite)
        made = [output(x) for x in machine.run(source.program, inputs, weights)]
        return made[0] if len(made) == 1 else dict(zip(source.program.outputs, made, strict=True))

    def specs(self) -> list[tf.TensorSpec]:
        """The inputs as tf.function takes them, free sizes free. Raises UsageError where it is no graph."""
        if self.why_eager:
            raise UsageError(f"the model can't be traced: {self.why_eager}", hint="It computes step by step as it is.")
        return [
            tf.TensorSpec(spec.shape, tf_dtype(spec), name=name)
            for name, spec in zip(self.source.arguments, self.source.input_specs, strict=True)
        ]

    def serving(self, *, is_lite: bool = False) -> Any:
        """The signature of a SavedModel: inputs and outputs by name."""
        names = self.source.program.outputs

        def serving(*inputs: Tensor) -> dict[str, Tensor]:
            made = self.compute(inputs, training=False, is_lite=is_lite)
            return made if isinstance(made, dict) else {names[0]: made}

        return tf.function(serving, input_signature=self.specs(), autograph=False)

    @property
    def _default_save_signature(self) -> Any:
        """What tf.saved_model.save takes for `serving_default`; the call in both modes is kept beside it."""
        for training in (False, True):
            self.__call__.get_concrete_function(*self.specs(), training=training)  # type: ignore[operator]
        return self.serving()


class Module(Native, tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """A model of TensorFlow's: call it with its inputs in the graph's order, or by their author's names.

    `training=True` lets dropout drop and batch normalisation take, and keep, the statistics of the batch. One output is
    the tensor; several are a dict by the author's names. `variables` bear the author's names, in his order; trained are
    his parameters, and not his buffers. `eager` computes the same without a graph.

    tf.saved_model.save(module, folder) keeps the call, in both modes, and a signature `serving_default`.
    """


def module(source: Source, arrays: Arrays, name: str, cls: type[Any] = Module) -> Any:
    """A Module (or another Native) of a class of its own, whose call has the author's names of inputs."""
    signature = source.signature

    def call(self: Any, *inputs: Tensor, **named: Tensor) -> Tensor:
        arguments = signature.bind(self, *inputs, **named)
        arguments.apply_defaults()
        return self.compute(given(source, arguments.arguments), arguments.arguments["training"])

    call.__signature__ = signature  # type: ignore[attr-defined]
    call.__doc__ = cls.__doc__
    traced, stepwise = (_with_call(cls, f) for f in (tf.function(call, autograph=False, reduce_retracing=True), call))
    why = why_eager(source.program)
    made = (stepwise if why else traced)(source, arrays, name)
    if not why:
        try:
            made.__call__.get_concrete_function(*made.specs())  # from here on one graph computes every batch
        except Untraceable as error:
            made.__class__, why = stepwise, str(error)
    made.why_eager = why
    return made


def _with_call(cls: type[Any], call: Any) -> type[Any]:
    facts = {"__call__": call, "__doc__": cls.__doc__, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return types.new_class(cls.__name__, (cls,), exec_body=lambda body: body.update(facts))


def variable_name(name: str) -> str:
    """The author's name with what the nodes of TensorFlow's graphs may be called; it shows it with `:0` behind.

    >>> variable_name("layer1.0.conv1.weight"), variable_name("conv2d_1/kernel:0"), variable_name("/onnx::MatMul_193")
    ('layer1.0.conv1.weight', 'conv2d_1/kernel', 'onnx__MatMul_193')
    """
    return re.sub(r"[^\w.\\/>-]", "_", name.removesuffix(":0"), flags=re.ASCII).lstrip("_\\/>-") or "tensor"


def grow(root: Any, name: str, variable: tf.Variable) -> None:
    """Let a variable be an attribute of the author's module, a module of the root's scope.

    His modules stand in its name one within the other, by dots as in torch or by slashes as in Keras.
    """
    *parents, leaf = [part for part in re.split("[./]", name.removesuffix(":0")) if part] or [name]
    here, walked = root, ""
    for part in parents:
        walked = identifier(f"{walked}_{part}")
        here = _child(root, here, part, walked)
    setattr(here, _free(here, leaf), variable)


def _child(root: Any, here: Any, part: str, walked: str) -> Any:
    have = vars(here).get(part) if part in vars(here) else vars(here).get(f"{part}_")
    if isinstance(have, root.scope) and have is not root:
        return have
    made = root.scope(name=walked if walked.isidentifier() else f"module_{walked}")
    setattr(here, _free(here, part), made)
    return made


def _free(here: Any, name: str) -> str:
    """The name, with as many dashes below as make it another than what the module has already."""
    while hasattr(here, name):
        name += "_"
    return name


def given(source: Source, arguments: Mapping[str, Any]) -> list[Tensor]:
    """The inputs as tensors, in the graph's order. Raises BadInput for one of another dtype."""
    pairs = zip(source.arguments, source.input_specs, strict=True)
    return [as_input(arguments[name], spec, name) for name, spec in pairs]


def as_input(x: Any, spec: Spec, name: str) -> Tensor:
    """An input as a tensor of the graph's dtype; lists of them and None alike. Raises BadInput for another dtype."""
    if x is None or not spec.dtype:
        return x
    if spec.kind != "tensor" and isinstance(x, (list, tuple)):
        return [as_input(item, spec._replace(kind="tensor", shape=None), name) for item in x]
    dtype, have = tf_dtype(spec), getattr(x, "dtype", None)
    if have is None:
        return tf.convert_to_tensor(x, dtype=dtype)
    if (named := tf.as_dtype(have)) != dtype:
        raise BadInput(f"the input {name!r} is of {named.name}, the model wants {dtype.name}")
    return tf.convert_to_tensor(x)


def tf_dtype(spec: Spec) -> tf.DType:
    """TensorFlow's dtype of a value."""
    dtype = ir.DataType[spec.dtype]
    return tf.string if dtype == ir.DataType.STRING else tf.as_dtype(numpy_dtype(held(dtype)))


def output(x: Any) -> Any:
    """A value that leaves the model, as a tensor where its numbers were known; lists, maps and None as they are."""
    if isinstance(x, (list, tuple)):
        return [output(item) for item in x]
    return x if x is None or isinstance(x, dict) else Machine.as_tensor(x)
