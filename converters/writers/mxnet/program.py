"""A bound canonical graph as what both frameworks of this folder make their objects of: a walk on symbols or arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mxnet as mx
import numpy as np
import onnx_ir as ir

from zoo.converters.graph import PARAMETER, all_nodes, data_inputs, is_parameter, tied_names
from zoo.converters.writers import driver
from zoo.converters.writers.mxnet import lowers
from zoo.converters.writers.mxnet.trace import Trace, Untraceable, is_known
from zoo.converters.writers.mxnet.types import Array, mxnet_dtype, to_mxnet
from zoo.errors import HubError

Value = Any
Tensor = ir.TensorProtocol
STATISTICS = (3, 4)  # the inputs of a BatchNormalization that are running ones


class Program:
    """The graph, the author's tensors that it reads (`read`), and what a walk needs besides."""

    def __init__(self, model: ir.Model) -> None:
        driver.check(model.graph, lowers)
        self.model, self.graph = model, model.graph
        self.inputs = data_inputs(model.graph)
        initializers = list(model.graph.initializers.values())
        self.held = [v for v in initializers if is_parameter(v)]
        used = [v for v in initializers if v.uses() or v.is_graph_output()]
        self.read = [v for v in used if is_parameter(v)]
        self.constants = {v: data_of(v).numpy() for v in used if not is_parameter(v)}
        self.order = {node: i for i, node in enumerate(all_nodes(model.graph))}

    def walk(
        self, F: Any, feeds: Mapping[str, Value], given: Mapping[str, Value], make: Callable[[Array, str], Value]
    ) -> list[Value]:
        """The outputs for inputs and the author's tensors by name; both are symbols, or both arrays, as F is."""
        values: dict[ir.Value, Value] = dict(self.constants)
        values |= {v: given[v.name or ""] for v in self.read}
        values |= {v: feeds[v.name or ""] for v in self.inputs}
        trace = Trace(self.graph, F, values, self.order, make)
        known: driver.Values = {None: None}
        known |= list(values.items())
        return [_output(trace, x) for x in driver.walk(self.graph, trace, known)]

    def tensors(self, arrays: Mapping[str, Any]) -> dict[str, Tensor]:
        """The author's tensors under his names, out of arrays of the framework's; those that nobody reads as they came.

        A tensor that he has under further names comes back under those too, at the end.
        """
        found = {}
        for value in self.held:
            name = value.name or ""
            array = arrays.get(name)
            found[name] = data_of(value) if array is None else ir.tensor(array.asnumpy(), name=name)
        return found | {name: found[value.name or ""] for value in self.held for name in tied_names(value)}


class Constants:
    """The constants that a walk on symbols meets: a variable each, by names that are none of the author's."""

    def __init__(self, taken: set[str]) -> None:
        self.taken = set(taken)
        self.arrays: dict[str, Array] = {}
        self.symbols: dict[tuple[str, tuple[int, ...], bytes], Value] = {}

    def __call__(self, array: Array, name: str) -> Value:
        """The variable of a constant; equal ones share theirs."""
        array = np.asarray(array)
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self.symbols:
            unique, n = name or "constant", 0
            while unique in self.taken:
                n += 1
                unique = f"{name or 'constant'}_{n}"
            self.taken.add(unique)
            self.arrays[unique] = array
            # a trainer that takes all arguments leaves it as it is
            self.symbols[key] = mx.sym.var(unique, shape=array.shape, dtype=array.dtype.name, lr_mult=0.0, wd_mult=0.0)
        return self.symbols[key]


def traced(program: Program, variables: Mapping[str, Value]) -> tuple[list[Value], Constants]:
    """The outputs as symbols, and the constants that they read. Raises Untraceable, HubError."""
    names = [v.name or "" for v in program.inputs]
    if others := [v.name for v in program.inputs if not isinstance(v.type, ir.TensorType)]:
        raise Untraceable(f"its input {others[0]!r} is a sequence or an optional, which a symbol can't be fed")
    constants = Constants({*names, *variables})
    with mx.util.np_shape(True):
        feeds = {v.name or "": variable(v) for v in program.inputs}
        return program.walk(mx.sym, feeds, variables, constants), constants


def variable(value: ir.Value) -> Value:
    """The variable of an input or a tensor of the author's; its dtype is stated where it is not the usual one."""
    name = value.name or ""
    if value.dtype is None or value.dtype == ir.DataType.FLOAT:
        return mx.sym.var(name)
    return mx.sym.var(name, dtype=mxnet_dtype(value.dtype))


def _output(trace: Trace, x: Value) -> Value:
    """An output of its own: what is known as a constant, an input as its copy."""
    if isinstance(x, list) or x is None:
        return [_output(trace, item) for item in x] if x is not None else None
    is_variable = trace.is_symbolic and not is_known(x) and isinstance(x, mx.sym.Symbol) and x.get_children() is None
    made = trace.array(x)
    return trace.np.copy(made) if is_known(x) or is_variable else made


def kind(value: ir.Value) -> str:
    """What one of the author's tensors is: a parameter, which learns, a batch norm's statistic, or a buffer."""
    if any(use.node.op_type == "BatchNormalization" and use.idx in STATISTICS for use in value.uses()):
        return "statistic"
    return value.metadata_props.get(PARAMETER, "parameter")


def data_of(value: ir.Value) -> Tensor:
    """The tensor of an initializer. Raises HubError where it has none."""
    if value.const_value is None:
        raise HubError(f"initializer {value.name!r} has no data")
    return value.const_value


def arrays_of(program: Program) -> dict[str, Any]:
    """The author's tensors that the graph reads as MXNet's arrays."""
    return {v.name or "": to_mxnet(data_of(v).numpy()) for v in program.read}
