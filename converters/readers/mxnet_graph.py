"""An MXNet symbol with its arrays -> a graph: the walk over the nodes, and what an operator's function is given.

An operator's function (mxnet_nn.py and its kin) is `(op, p, *inputs) -> output or outputs`: `op` writes nodes
(scribe.py), `p` is the operator's parameters. A symbol states no shapes: those of the arrays are in the file, and an
input's rank follows from what is done with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers.mxnet_symbol import Node, Params, Symbol
from zoo.converters.readers.scribe import Facts, Fault, Scribe, finish, with_facts
from zoo.converters.tensors import Tensor
from zoo.converters.tensors.mxnet import FLAGS

Emit = Callable[..., Any]
TABLE: dict[str, Emit] = {}
STATES = ("moving_mean", "moving_var", "running_mean", "running_var", "moving_inv_var")


def lowers(*names: str) -> Callable[[Emit], Emit]:
    """Register the decorated function as what operators of these names are."""

    def register(emit: Emit) -> Emit:
        for name in names:
            if name in TABLE:
                raise ValueError(f"a second {name}")
            TABLE[name] = emit
        return emit

    return register


def build(symbol: Symbol, arrays: Mapping[str, tuple[str, Tensor]]) -> ir.Model:
    """The bound graph. Raises Fault."""
    used = _reachable(symbol)
    unknown = sorted({node.op for i, node in enumerate(symbol.nodes) if i in used} - TABLE.keys() - {"null"})
    if unknown:
        raise Fault(f"operators that are not known: {', '.join(unknown)[:300]}", is_refusal=True)
    return with_facts(lambda facts: _build(symbol, arrays, used, facts))


def _reachable(symbol: Symbol) -> set[int]:
    found: set[int] = set()
    pending = [node for node, _ in symbol.heads]
    while pending:
        if (i := pending.pop()) not in found:
            found.add(i)
            pending += [node for node, _ in symbol.nodes[i].inputs]
    return found


def _build(symbol: Symbol, arrays: Mapping[str, tuple[str, Tensor]], used: set[int], facts: Facts) -> ir.Model:
    op = Scribe()
    names = [node.name for node in symbol.nodes if node.op == "null"]
    op.names.update(names)
    made: dict[int, Sequence[ir.Value]] = {}
    for i, node in enumerate(symbol.nodes):
        if i not in used:
            continue
        if node.op == "null":
            made[i] = [_variable(op, node, arrays, facts)]
            continue
        op.path = node.name
        inputs = [_output(made, edge, symbol) for edge in node.inputs]
        made[i] = _call(op, node, inputs, symbol.version)
        _name(op, node, made[i])
    op.path = ""
    outputs: dict[str, ir.Value] = {}
    for edge in symbol.heads:
        node, value = symbol.nodes[edge[0]], _output(made, edge, symbol)
        several = len(made[edge[0]]) > 1
        name = node.name if node.op == "null" else f"{node.name}_output{edge[1] if several else ''}"
        outputs[name if name not in outputs else op.unique(name)] = value
    modules = {"": "mxnet.symbol.Symbol"} | {n.name: f"mxnet.symbol.{n.op}" for n in symbol.nodes if n.op != "null"}
    made_by = {"format": "mxnet", "mxnet": symbol.version}
    return finish(op, outputs, name="symbol", modules=modules, made_by=made_by, facts=facts)


def _variable(op: Scribe, node: Node, arrays: Mapping[str, tuple[str, Tensor]], facts: Facts) -> ir.Value:
    """A weight if the file has an array of that name, else an input."""
    if node.name in arrays:
        mark, tensor = arrays[node.name]
        return op.parameter(node.name, tensor, mark or ("buffer" if node.name.endswith(STATES) else "parameter"))
    params = Params(node, 0)
    flag = params.integer("__dtype__", 0)
    stated = ir.DataType.from_numpy(np.dtype(FLAGS[flag])) if 0 <= flag < len(FLAGS) - 1 else ir.DataType.FLOAT
    shape: list[int | str | None] | None = None
    if stated_shape := params.ints("__shape__"):
        shape = [n if n > 0 else f"{node.name}_{i}" for i, n in enumerate(stated_shape)]
    elif node.name in facts.ranks:
        shape = [f"{node.name}_{i}" for i in range(facts.ranks[node.name])]
    if shape:
        shape[0] = "N"  # the batch is free, also where the author fixed it
    return op.input(node.name, facts.dtypes.get(node.name, stated), shape)


def _output(made: Mapping[int, Sequence[ir.Value]], edge: tuple[int, int], symbol: Symbol) -> ir.Value:
    values = made[edge[0]]
    if edge[1] >= len(values):
        node = symbol.nodes[edge[0]]
        raise Fault(f"output {edge[1]} of {node.op} {node.name!r} is asked for", is_refusal=True)
    return values[edge[1]]


def _call(op: Scribe, node: Node, inputs: Sequence[ir.Value], version: int) -> Sequence[ir.Value]:
    try:
        result = TABLE[node.op](op, Params(node, version), *inputs)
    except Fault as fault:
        fault.args = (f"{node.op} {node.name[:80]!r}: {fault}",)
        raise
    except TypeError as error:
        if "positional argument" not in str(error):
            raise
        raise Fault(f"{node.op} {node.name[:80]!r} has {len(inputs)} inputs") from error
    return list(result) if isinstance(result, tuple | list) else [result]


def _name(op: Scribe, node: Node, values: Sequence[ir.Value]) -> None:
    """Values that the node has made get MXNet's names for its outputs."""
    for i, value in enumerate(values):
        producer = value.producer()
        if producer is not None and (producer.name or "").startswith(f"{node.name}/"):
            op.rename(value, f"{node.name}_output{i if len(values) > 1 else ''}")
