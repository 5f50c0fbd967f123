"""Bound canonical graph -> tf.Module, and its variables back under their author's names."""

from __future__ import annotations

import keras
import numpy as np
import onnx_ir as ir
import tensorflow as tf

from zoo.converters.dtypes import cast
from zoo.converters.graph import CHANNELS_LAST, data_inputs, is_parameter, parameters
from zoo.converters.layout import Choice, channels_last, layouts
from zoo.converters.writers import driver
from zoo.converters.writers.keras.naming import identifier
from zoo.converters.writers.keras.parameters import unseen
from zoo.converters.writers.keras.program import Names, program_of
from zoo.converters.writers.tensorflow import lowers, operators  # noqa: F401 - the latter fills the table
from zoo.converters.writers.tensorflow.held import hold
from zoo.converters.writers.tensorflow.module import Arrays, Module, Source, module
from zoo.errors import UsageError

Tensor = ir.TensorProtocol


def write(model: ir.Model, *, channels: Choice = "first", dtype: str | None = None) -> Module:
    """The native module of a bound canonical graph, every parameter trainable. Raises HubError, UsageError.

    With channels="last" pictures come and go as TensorFlow has them, [N, H, W, C]; with "first" as the graph says.
    Inside they are last in any case. A `dtype` is that of weights, inputs and outputs.
    """
    made: Module = module(*source_of(model, channels=channels, dtype=dtype))
    return made


def source_of(model: ir.Model, *, channels: Choice, dtype: str | None) -> tuple[Source, Arrays, str]:
    """What a module is made of: what it computes, the author's arrays, and its name. Raises HubError, UsageError."""
    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"Keras computes with {keras.backend.backend()} in this process, and framework='tensorflow' uses it",
            hint="Set KERAS_BACKEND=tensorflow before Keras is imported.",
        )
    driver.check(model.graph, lowers)
    model = model.clone() if dtype is None else cast(model, dtype)
    channels_last(model, _takes, inputs=channels, outputs=channels)
    graph, names = model.graph, Names()
    inputs = data_inputs(graph)
    for value in (*inputs, *graph.outputs):
        names[value]  # the author's names go first
    held, absorbed = hold(graph)
    bound = {name: value.const_value for name, value in parameters(graph).items()}
    arrays = {name: tensor.numpy for name, tensor in bound.items() if tensor is not None}
    constants = {
        names[value]: np.asarray(value.const_value.numpy())
        for value in graph.initializers.values()
        if not is_parameter(value) and value.const_value is not None
    }
    nodes = [node for node in graph if node not in absorbed]
    program = program_of(nodes, inputs, list(graph.outputs), names, constants)
    by_name = {names[value]: one for value, one in held.items()}
    source = Source(program, by_name, [value.name or "" for value in inputs], layouts(model))
    name = identifier(graph.name or "") or "model"
    return source, arrays, name if name.isidentifier() else f"model_{name}"


def _takes(node: ir.Node) -> bool:
    """Whether there is a lowering of the node's channels-last form."""
    return (CHANNELS_LAST, node.op_type) in lowers or (CHANNELS_LAST, node.op_type) in (lowers.parent or {})


def tensors(native: Module) -> dict[str, Tensor]:
    """The way back: the module's variables as the author's tensors, under his names, in his layout and order."""
    found: dict[str, Tensor] = {}
    for one in native.source.held.values():
        array = unseen(native.held[one.name].numpy(), one.shape, one.views).astype(one.dtype.numpy(), copy=False)
        found |= {name: ir.tensor(array, name=name) for name in (one.name, *one.tied)}
    return found


def placed(native: Module, *, device: str | None, dtype: str | None) -> Module:
    """The module on a device, where its variables are made anew. Raises UsageError."""
    if dtype is not None:
        raise UsageError("a tf.Module is made in its dtype, and not cast afterwards: write(model, dtype=...)")
    if device in (None, "auto"):
        return native
    from zoo.converters.writers.keras.backends import device as named

    with tf.device(named(device)):
        arrays = {name: tensor.numpy for name, tensor in tensors(native).items()}
        made: Module = module(native.source, arrays, native.name, type(native).__bases__[0])
    return made
