"""One driver for every writer: it walks the canonical graph and calls the framework's lowerings on its symbolic values.

A lowering is plain code in the framework's own words, and its signature is ONNX's: inputs by position, attributes by
keyword with the operator's defaults. Given torch.fx proxies the calls become a GraphModule, given Keras tensors a
functional model, given tracers a jaxpr: written once, for running and for emitting.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import onnx_ir as ir

from zoo.converters.frameworks import FRAMEWORKS
from zoo.converters.graph import all_graphs, all_nodes
from zoo.errors import HubError, UnsupportedOps, ZooError

F = TypeVar("F", bound=Callable[..., Any])
Lowering = Callable[..., Any]
Values: TypeAlias = dict[ir.Value | None, Any]  # the symbolic value of each of the graph's


class Lowerings(dict[tuple[str, str], Lowering]):
    """(domain, op type) -> lowering, filled by decoration. `parent` is the table to fall back on.

    Most frameworks have no tensors of strings: a node that reads or makes some is looked up in `of_strings` alone.
    """

    def __init__(self, framework: str, parent: Lowerings | None = None, *, strings: bool = True) -> None:
        super().__init__()
        self.framework, self.parent = framework, parent
        self.of_strings: Lowerings | None = Lowerings(framework, strings=False) if strings else None

    def __call__(self, op: str, domain: str = "") -> Callable[[F], F]:
        """Register the decorated function as the lowering of `op`; a second one is an error of ours."""

        def register(lowering: F) -> F:
            if (domain, op) in self:
                raise ValueError(f"{self.framework}: a second lowering for {domain}::{op}")
            self[domain, op] = lowering
            return lowering

        return register

    def find(self, node: ir.Node) -> Lowering | None:
        """The lowering of a node's operator, or None."""
        table = self.of_strings if self.of_strings is not None and has_strings(node) else self
        return table.get((node.domain, node.op_type)) or (self.parent.find(node) if self.parent else None)

    def missing(self, graph: ir.Graph) -> list[ir.Node]:
        """Every node without a lowering, those in bodies of If, Loop and Scan included."""
        return [node for node in all_nodes(graph) if self.find(node) is None]


def has_strings(node: ir.Node) -> bool:
    """Whether a node reads or makes strings: tensors of them, sequences and optionals."""
    return any(v is not None and v.dtype == ir.DataType.STRING for v in (*node.inputs, *node.outputs))


class Writer(Protocol):
    """What the driver needs of a framework."""

    lowers: Lowerings

    def input(self, value: ir.Value) -> Any:
        """The symbolic value of a graph input."""

    def initializer(self, value: ir.Value) -> Any:
        """The symbolic value of an initializer; one that a layer takes back is dropped as dead."""

    def call(self, lowering: Lowering, args: list[Any], attributes: dict[str, Any]) -> Any:
        """Call a lowering; where a framework keeps some values in another form, it is changed here."""

    def at(self, node: ir.Node) -> AbstractContextManager[None]:
        """While this is open, `node` is being lowered: names and module paths come from it."""

    def finish(self, outputs: list[Any]) -> Any:
        """The native object."""


def check(graph: ir.Graph, lowers: Lowerings) -> None:
    """Raise UnsupportedOps listing every node that has no lowering; before any work and any download."""
    if nodes := lowers.missing(graph):
        raise unsupported(nodes, graph.name or "the graph", lowers)


def unsupported(nodes: Iterable[ir.Node], graph: str, lowers: Lowerings) -> UnsupportedOps:
    """The one error for operators that a framework's table lacks: each with its count and the first of its nodes."""
    by_op = defaultdict(list)
    for node in nodes:
        op = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        by_op[f"{op} of strings" if has_strings(node) else op].append(node.name or "(no name)")
    total = sum(len(names) for names in by_op.values())
    rows = [
        f"  {op:20} x{len(names):<4} {', '.join(names[:3])}{', ...' * (len(names) > 3)}" for op, names in by_op.items()
    ]
    known = {op for _, op in lowers}
    near = sorted({m for op in by_op for m in difflib.get_close_matches(op, known, n=1, cutoff=0.9) if m != op})
    hint = "Nothing was written."
    if lowers.framework in FRAMEWORKS:  # a format of source code has a table of its own
        hint += f" `zoo formats --ops {lowers.framework}` lists what is supported."
    hint += f" (Similar: {', '.join(near)}.)" if near else ""
    return UnsupportedOps(
        "\n".join([f"{total} nodes of {graph!r} have no lowering for {lowers.framework}:", *rows, ""]), hint=hint
    )


def write(graph: ir.Graph, writer: Writer) -> Any:
    """The native object that computes a bound, canonical graph.

    Raises UnsupportedOps before any work; HubError that names the node when a lowering can't take its arguments.
    """
    check(graph, writer.lowers)
    values: Values = {None: None}
    values |= {v: writer.input(v) for v in graph.inputs if v.name not in graph.initializers}
    values |= {v: writer.initializer(v) for v in graph.initializers.values()}
    return walk(graph, writer, values)


def walk(graph: ir.Graph, writer: Writer, values: Values) -> Any:
    """Lower the nodes of a graph whose inputs, and whatever else they read, have their symbolic values; see `write`."""
    for node in graph:
        lowering = writer.lowers.find(node)
        args = [values[v] for v in node.inputs]
        attributes = {name: plain(attr, values) for name, attr in node.attributes.items()}
        with writer.at(node):
            try:
                made = writer.call(lowering, args, attributes) if lowering else None
            except ZooError:
                raise
            except Exception as error:
                raise HubError(
                    f"{node.op_type} {node.name!r} of {graph.name!r} could not be lowered "
                    f"to {writer.lowers.framework}: {type(error).__name__}: {error}",
                    hint="Please report this, with the model if you can.",
                ) from error
        values.update(zip(node.outputs, made if isinstance(made, tuple) else (made,), strict=False))
    return writer.finish([values[v] for v in graph.outputs])


class Body(NamedTuple):
    """A graph that a node holds (a branch of If, the body of Loop or Scan), and the values of the graphs around it."""

    graph: ir.Graph
    outer: Values

    @property
    def captured(self) -> list[ir.Value]:
        """The values of the graphs around it that it reads, each once, in the order of reading."""
        inside = {v for graph in all_graphs(self.graph) for v in (*graph.inputs, *graph.initializers.values())}
        inside |= {out for node in all_nodes(self.graph) for out in node.outputs}
        read = [v for node in all_nodes(self.graph) for v in node.inputs]
        read += [v for graph in all_graphs(self.graph) for v in graph.outputs]
        return list(dict.fromkeys(v for v in read if v is not None and v not in inside))


def plain(attr: ir.Attr, outer: Values) -> Any:
    """An attribute as plain Python: int, float (shortest of the same float32), str, bytes, list, tensor or Body."""
    if attr.type == ir.AttributeType.GRAPH:
        return Body(attr.as_graph(), outer)
    if attr.type == ir.AttributeType.FLOAT:
        return shortest(attr.as_float())
    if attr.type == ir.AttributeType.FLOATS:
        return [shortest(f) for f in attr.as_floats()]
    if attr.type == ir.AttributeType.INTS:
        return list(attr.as_ints())
    return attr.value


def shortest(number: float) -> float:
    """ONNX attributes are float32: 0.0010000000474974513 was written as 0.001, and is the same number to every kernel.

    >>> shortest(0.0010000000474974513)
    0.001
    """
    import numpy as np

    return float(str(np.float32(number)))
