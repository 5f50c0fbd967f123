"""Bound canonical graph -> (symbol, arg_params, aux_params): what mx.mod.Module, SymbolBlock and save_checkpoint take.

symbol, arg_params, aux_params = zoo.load("resnet50", framework="mxnet")
module = mx.mod.Module(symbol, data_names=["input"], label_names=None)
module.bind([("input", (1, 3, 224, 224))], for_training=False)
module.set_params(arg_params, aux_params)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mxnet as mx
import onnx_ir as ir

from zoo.converters.dtypes import cast
from zoo.converters.writers.mxnet import activation as activation_group  # noqa: F401 - each group fills `lowers`
from zoo.converters.writers.mxnet import attention as attention_group  # noqa: F401
from zoo.converters.writers.mxnet import control_flow as control_flow_group  # noqa: F401
from zoo.converters.writers.mxnet import convolution as convolution_group  # noqa: F401
from zoo.converters.writers.mxnet import generator as generator_group  # noqa: F401
from zoo.converters.writers.mxnet import host as host_group  # noqa: F401
from zoo.converters.writers.mxnet import image as image_group  # noqa: F401
from zoo.converters.writers.mxnet import indexing as indexing_group  # noqa: F401
from zoo.converters.writers.mxnet import linear as linear_group  # noqa: F401
from zoo.converters.writers.mxnet import logical as logical_group  # noqa: F401
from zoo.converters.writers.mxnet import lowers
from zoo.converters.writers.mxnet import math as math_group  # noqa: F401
from zoo.converters.writers.mxnet import normalization as normalization_group  # noqa: F401
from zoo.converters.writers.mxnet import pooling as pooling_group  # noqa: F401
from zoo.converters.writers.mxnet import quantization as quantization_group  # noqa: F401
from zoo.converters.writers.mxnet import reduction as reduction_group  # noqa: F401
from zoo.converters.writers.mxnet import resize as resize_group  # noqa: F401
from zoo.converters.writers.mxnet import rnn as rnn_group  # noqa: F401
from zoo.converters.writers.mxnet import sampling as sampling_group  # noqa: F401
from zoo.converters.writers.mxnet import sequence as sequence_group  # noqa: F401
from zoo.converters.writers.mxnet import signal as signal_group  # noqa: F401
from zoo.converters.writers.mxnet import tensor as tensor_group  # noqa: F401
from zoo.converters.writers.mxnet.program import Program, arrays_of, traced, variable
from zoo.converters.writers.mxnet.types import to_mxnet
from zoo.errors import UsageError

__all__ = ["MxnetModel", "lowers", "placed", "program", "tensors", "write"]
Tensor = ir.TensorProtocol


class MxnetModel(tuple):  # type: ignore[type-arg]
    """(symbol, arg_params, aux_params); `program` is what they were made of."""

    program: Program

    def __new__(cls, program: Program, symbol: Any, arguments: dict[str, Any], states: dict[str, Any]) -> MxnetModel:
        """The three, as MXNet's own load_checkpoint gives them."""
        made = super().__new__(cls, (symbol, arguments, states))
        made.program = program
        return made


def write(model: ir.Model, *, dtype: str | None = None) -> MxnetModel:
    """The symbol of a bound canonical model with its arrays, under the author's names. Raises HubError.

    A batch norm's running statistics are auxiliary states, constants of the graph arguments that no trainer changes.
    """
    program = Program(model if dtype is None else cast(model, dtype))
    outputs, constants = traced(program, {v.name or "": variable(v) for v in program.read})
    symbol = outputs[0] if len(outputs) == 1 else mx.sym.Group(outputs)
    states = set(symbol.list_auxiliary_states())
    arrays = arrays_of(program) | {name: to_mxnet(array) for name, array in constants.arrays.items()}
    read = set(symbol.list_inputs())
    arguments = {name: x for name, x in arrays.items() if name in read and name not in states}
    return MxnetModel(program, symbol, arguments, {name: x for name, x in arrays.items() if name in states})


def program(model: ir.Model, *, dtype: str | None = None) -> Program:
    """What a Runner runs: the graph, also where no symbol can stand for it."""
    return Program(model if dtype is None else cast(model, dtype))


def tensors(native: MxnetModel) -> Mapping[str, Tensor]:
    """The way back: the arrays as the author's tensors, under his names."""
    _, arguments, states = native
    return native.program.tensors({**arguments, **states})


def placed(native: Any, *, device: str | None, dtype: str | None) -> Any:
    """The model with its arrays on a device. Raises UsageError."""
    if device is None or not isinstance(native, MxnetModel):
        return native
    ctx = context(device)
    symbol, arguments, states = native
    moved = [{name: x.as_in_context(ctx) for name, x in arrays.items()} for arrays in (arguments, states)]
    return MxnetModel(native.program, symbol, *moved)


def context(name: str) -> Any:
    """MXNet's context of a device's name: auto, cpu, cuda, cuda:1. Raises UsageError with the reason."""
    kind, _, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda", "gpu") or not (number.isdigit() or not number):
        raise UsageError(f"unknown device {name!r}", hint="Known: auto, cpu, cuda, cuda:1.")
    if kind in ("auto", "cpu"):
        return mx.cpu()
    if int(number or 0) >= mx.context.num_gpus():
        raise UsageError(f"device {name!r} is not available: MXNet has {mx.context.num_gpus()} of {kind}")
    return mx.gpu(int(number or 0))
