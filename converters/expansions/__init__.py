"""Operators that the ONNX standard gives no body for, in its operators' words: once, for every writer.

An expansion is a function `(op, node) -> outputs`: `op.Add(a, b)` adds a node of ONNX's and gives its output,
`op.const([1, -1])` an int64 constant. Inputs and attributes are the node's own. Each file fills EXPANSIONS.

An expansion raises Unknown where it has to know a dtype or a rank that shape inference has not found yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir


class Unknown(Exception):
    """What an expansion has to know of its inputs is not known (yet)."""


class Builder:
    """Adds nodes to a list: `op.Softmax(x, axis=-1)` is one node and gives its output."""

    def __init__(self) -> None:
        self.nodes: list[ir.Node] = []

    def __getattr__(self, op_type: str) -> Callable[..., Any]:
        def add(*inputs: ir.Value | None, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
            given = {name: value for name, value in attributes.items() if value is not None}
            node = ir.node(op_type, list(inputs), given, domain=domain, num_outputs=outputs)
            self.nodes.append(node)
            return node.outputs[0] if outputs == 1 else tuple(node.outputs)

        return add

    def const(self, array: Any, dtype: Any = np.int64) -> ir.Value:
        """A constant: a number, a list or an array."""
        tensor = ir.tensor(np.asarray(array, dtype=dtype))
        value: ir.Value = self.Constant(value=tensor)
        value.dtype, value.shape = tensor.dtype, ir.Shape(tensor.shape.numpy())
        return value

    def strings(self, words: Sequence[str]) -> ir.Value:
        """A constant vector of strings."""
        value: ir.Value = self.Constant(value_strings=list(words))
        value.dtype, value.shape = ir.DataType.STRING, ir.Shape([len(words)])
        return value

    def scalar(self, number: float, like: ir.Value | None) -> ir.Value:
        """A number in the dtype of another value."""
        made: ir.Value = self.CastLike(self.const(number, np.float32), like)
        return made


Expansion = Callable[[Builder, ir.Node], Sequence[ir.Value | None]]
EXPANSIONS: dict[tuple[str, str], Expansion] = {}


def expands(op: str, domain: str) -> Callable[[Expansion], Expansion]:
    """Register the decorated function as the expansion of an operator."""

    def register(expansion: Expansion) -> Expansion:
        if (domain, op) in EXPANSIONS:
            raise ValueError(f"a second expansion of {domain}::{op}")
        EXPANSIONS[domain, op] = expansion
        return expansion

    return register


def loop(
    op: Builder,
    trips: ir.Value,
    states: Sequence[ir.Value],
    step: Callable[[Builder, ir.Value, Sequence[ir.Value]], Sequence[ir.Value | None]],
) -> list[ir.Value]:
    """What is left of `states` after `trips` times `step(op, iteration, states) -> states`."""
    count, goes_on = (
        ir.Value(type=ir.TensorType(kind), shape=ir.Shape([])) for kind in (ir.DataType.INT64, ir.DataType.BOOL)
    )
    inside = [ir.Value(type=state.type, shape=state.shape) for state in states]
    body = Builder()
    after = step(body, count, inside)
    outputs = [body.Identity(goes_on), *(value for value in after if value is not None)]
    graph = ir.Graph([count, goes_on, *inside], outputs, nodes=body.nodes, name="body")
    made = op.Loop(trips, None, *states, body=graph, outputs=len(states))
    return list(made) if isinstance(made, tuple) else [made]


def rank(value: ir.Value | None) -> int:
    """The rank of an input. Raises Unknown."""
    if value is None or value.shape is None:
        raise Unknown
    return len(value.shape)


def dtype(value: ir.Value | None) -> ir.DataType:
    """The dtype of an input. Raises Unknown."""
    if value is None or value.dtype is None:
        raise Unknown
    return value.dtype


def given(node: ir.Node, i: int) -> ir.Value | None:
    """The i-th input, None where it is left out."""
    return node.inputs[i] if i < len(node.inputs) else None


def is_read(node: ir.Node, i: int) -> bool:
    """Whether anybody reads the i-th output."""
    return i < len(node.outputs) and bool(node.outputs[i].uses() or node.outputs[i].is_graph_output())
