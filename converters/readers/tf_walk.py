"""From TensorFlow's graph to ONNX nodes: what is needed of it, in order, with functions put in their place.

Values are those of ONNX nodes, or what ONNX has no value for: a variable, a list of tensors, text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from zoo.converters.graph import MADE_BY, STORED_OPSET
from zoo.converters.readers.tf_graph import RESOURCE, STRING, VARIANT, Graph, Node, Ref, Signature, walk
from zoo.converters.readers.tf_nodes import IR_VERSION, Fault, Nodes, Size
from zoo.converters.readers.tf_restore import keys_of
from zoo.converters.tensors import tf_types

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DEPTH = 64  # of functions and loops in each other
SMALL = 64  # elements of integers that are sizes and axes rather than weights
# The number of an operator's output by its name, where it isn't the first: how functions refer to it
OUTPUTS: Mapping[tuple[str, str], int] = {
    ("TopKV2", "indices"): 1,
    ("TensorArrayV3", "flow"): 1,
    ("Switch", "output_true"): 1,
    ("Merge", "value_index"): 1,
    ("Unique", "idx"): 1,
    ("FusedBatchNorm", "batch_mean"): 1,
    ("FusedBatchNorm", "batch_variance"): 2,
    ("FusedBatchNormV2", "batch_mean"): 1,
    ("FusedBatchNormV2", "batch_variance"): 2,
    ("FusedBatchNormV3", "batch_mean"): 1,
    ("FusedBatchNormV3", "batch_variance"): 2,
}


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable: where its numbers stand among the file's."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Text:
    """A constant that holds text."""

    words: tuple[bytes, ...]


@dataclass(slots=True)
class Scope:
    """One run of a graph or a function: what its nodes gave. `nodes` is where they are found by name."""

    b: Nodes
    nodes: Mapping[str, Node]
    values: dict[tuple[str, int], Any] = field(default_factory=dict)
    depth: int = 0


class Call:
    """One node with its inputs."""

    def __init__(self, reader: Reader, scope: Scope, node: Node) -> None:
        self.reader, self.scope, self.node, self.b = reader, scope, node, scope.b

    def __len__(self) -> int:
        return len(self.node.inputs)

    def any(self, i: int) -> Any:
        """An input, whatever it is."""
        if i >= len(self.node.inputs):
            raise Fault(f"node {self.node.name!r} ({self.node.op}) without input {i}", is_refusal=False)
        return self.reader.value(self.scope, self.node.inputs[i])

    def __getitem__(self, i: int) -> ir.Value:
        """An input that is a tensor. Raises Fault for what isn't."""
        value = self.any(i)
        if isinstance(value, Variable):
            return self.reader.weight(self.b, value)
        if not isinstance(value, ir.Value):
            raise Fault(f"node {self.node.name!r} ({self.node.op}) on a {type(value).__name__.lower()}")
        return value

    def all(self) -> list[ir.Value]:
        """Every input."""
        return [self[i] for i in range(len(self))]


def _is_counter(value: ir.Value) -> bool:
    """A whole number that is no tensor."""
    return value.shape is not None and len(value.shape) == 0 and value.dtype is not None and value.dtype.is_integer()


class Reader:
    """Writes the nodes of a graph. `table` has the functions of the operators."""

    def __init__(self, graph: Graph, table: Mapping[str, Callable[[Call], Sequence[Any]]]) -> None:
        self.graph, self.table = graph, table
        self.weights: dict[str, ir.Value] = {}
        self.constants: dict[int, Any] = {}
        self.keys = keys_of(graph)

    # -- the model

    def model(self, signature: Signature, format_: str) -> ir.Model:
        """The graph between the inputs and outputs of a signature."""
        b = Nodes()
        scope = Scope(b, self.graph.nodes)
        inputs = []
        for name, ref in signature.inputs.items():
            node = self.graph.nodes.get(ref.node)
            if node is None:
                raise Fault(f"input {name!r} is node {ref.node!r}, which is not in the graph", is_refusal=False)
            value = self._input(b, name, node)
            scope.values[ref.node, ref.index] = value
            inputs.append(value)
        found = dict(zip(signature.outputs, self.values(scope, list(signature.outputs.values())), strict=True))
        if not signature.is_stated:  # lists that loops leave behind are no outputs, nor are counters
            found = {name: value for name, value in found.items() if isinstance(value, ir.Value)}
            found = {name: value for name, value in found.items() if not _is_counter(value)} or found
        for name, value in found.items():
            if not isinstance(value, ir.Value):
                raise Fault(f"output {name!r} is a {type(value).__name__.lower()}")
        outputs = b.own(list(found.values()), inputs)
        for name, value in zip(found, outputs, strict=True):
            b.names.discard(value.name or "")
            value.name = b.named(name)
        graph = ir.Graph(
            inputs,
            outputs,
            nodes=b.nodes,
            initializers=b.used_initializers(outputs),
            opset_imports={"": STORED_OPSET},
            name=self.graph.path.stem or "graph",
        )
        props = {MADE_BY: json.dumps({"format": format_})}
        return ir.Model(graph, ir_version=IR_VERSION, producer_name="polyzoo", metadata_props=props)

    @staticmethod
    def _input(b: Nodes, name: str, node: Node) -> ir.Value:
        shape = node.shape("shape") if node.has("shape") else None
        if shape is None and node.has("_output_shapes"):
            shapes = node.attributes["_output_shapes"]["list"]["shape"]
            if shapes and not shapes[0]["unknown_rank"]:
                shape = [None if d["size"] < 0 else d["size"] for d in shapes[0]["dim"]]
        if shape is None:
            raise Fault(f"input {name!r}, whose number of axes the file leaves open")
        sizes: list[Size] = [f"{name}_{i}" if n is None else n for i, n in enumerate(shape)]
        if shape and shape[0] is None:
            sizes[0] = "N"
        return b.input(name, node.dtype("dtype"), sizes)

    # -- values

    def value(self, scope: Scope, ref: Ref) -> Any:
        """What a node gave; it is written if it isn't yet."""
        return self.values(scope, [ref])[0]

    def values(self, scope: Scope, refs: Sequence[Ref]) -> list[Any]:
        """The same of several."""
        missing = [ref.node for ref in refs if self._key(scope, ref) not in scope.values]
        if missing:
            done = frozenset(name for name, _ in scope.values)
            for name in walk(scope.nodes, missing, done):
                if (name, 0) not in scope.values:
                    self._write(scope, scope.nodes[name])
        found = []
        for ref in refs:
            key = self._key(scope, ref)
            if key not in scope.values:
                what = (
                    "is not in the graph" if ref.node not in scope.nodes else f"has no output {ref.output or ref.index}"
                )
                raise Fault(f"node {ref.node!r} {what}", is_refusal=False)
            found.append(scope.values[key])
        return found

    @staticmethod
    def _key(scope: Scope, ref: Ref) -> tuple[str, int]:
        node = scope.nodes.get(ref.node)
        start = OUTPUTS.get((node.op, ref.output), 0) if node is not None and ref.output else 0
        return ref.node, start + ref.index

    def _write(self, scope: Scope, node: Node) -> None:
        if node.op == "Const":
            made: Sequence[Any] = [self._constant(scope.b, node)]
        else:
            emit = self.table.get(node.op)
            if emit is None:
                raise Fault(f"node {node.name!r} is the operator {node.op}")
            before, scope.b.scope = scope.b.scope, node.name
            try:
                made = emit(Call(self, scope, node))
            except Fault as fault:
                if repr(node.name) in str(fault) or getattr(fault, "is_placed", False):
                    raise
                placed = Fault(f"node {node.name!r} ({node.op}): {fault}", is_refusal=fault.is_refusal)
                placed.is_placed = True  # type: ignore[attr-defined]
                raise placed from fault
            scope.b.scope = before
        for i, value in enumerate(made):
            scope.values[node.name, i] = value
            self._name(scope.b, node, i, value)
        if not made:
            scope.values[node.name, 0] = None

    @staticmethod
    def _name(b: Nodes, node: Node, i: int, value: Any) -> None:
        """Call what a node gives by the node's name, as far as no other value has it."""
        name = f"{node.name}:{i}" if i else node.name
        is_own = isinstance(value, ir.Value) and value.producer() is not None and name not in b.names
        if is_own and (value.name or "").startswith(f"{node.name}/"):
            b.names.discard(value.name or "")
            value.name = b.named(name)

    def _constant(self, b: Nodes, node: Node) -> Any:
        if id(node) in self.constants:
            return self.constants[id(node)]
        proto = node.attributes["value"]["tensor"] if node.has("value") else None
        if proto is None:
            raise Fault(f"constant {node.name!r} without a value", is_refusal=False)
        value: Any
        if proto["dtype"] == STRING:
            value = Text(tuple(bytes(word) for word in proto["string"]))
        elif proto["dtype"] in (RESOURCE, VARIANT):
            raise Fault(f"constant {node.name!r} holds no numbers")
        else:
            tensor = tf_types.tensor_of(self.graph.path, node.name, proto)
            is_small = tensor.size <= 1 or tensor.size <= SMALL and not tensor.dtype.is_floating_point()
            value = b.constant(np.array(tensor.numpy())) if is_small else b.weight(node.name, tensor)
        self.constants[id(node)] = value
        return value

    # -- variables

    def variable(self, node: Node) -> Variable:
        """The variable that a node of the graph stands for. Raises Fault where the file has no numbers for it."""
        names = [self.keys.get(node.name, ""), node.text("shared_name", ""), node.name]
        key = next((name for name in names if name in self.graph.variables), None)
        if key is None:
            has = f"{len(self.graph.variables):,} others" if self.graph.variables else "no variables"
            raise Fault(f"variable {node.name!r}, and beside the graph are {has}", is_refusal=False)
        return Variable(node.name, key)

    def weight(self, b: Nodes, variable: Variable) -> ir.Value:
        """A variable's numbers, under the name that they have in the file."""
        if variable.key not in self.weights:
            tensor = self.graph.variables[variable.key]
            self.weights[variable.key] = b.weight(variable.key, tensor, kind="parameter")
        return self.weights[variable.key]

    # -- functions

    def call(self, scope: Scope, b: Nodes, name: str, arguments: Sequence[Any]) -> list[Any]:
        """What a function gives on arguments, its nodes written in `b`."""
        function = self.graph.functions.get(name)
        if function is None:
            raise Fault(f"function {name[:80]!r} is not in the library", is_refusal=False)
        if len(function.inputs) != len(arguments):
            what = f"function {name[:80]!r} of {len(function.inputs)} arguments is called with {len(arguments)}"
            raise Fault(what, is_refusal=False)
        inner = self.inner(scope, b, function.nodes)
        inner.values.update({(key, 0): value for key, value in zip(function.inputs, arguments, strict=True)})
        return self.values(inner, function.outputs)

    @staticmethod
    def inner(scope: Scope, b: Nodes, nodes: Mapping[str, Node]) -> Scope:
        """A scope inside another. Raises Fault where that goes on without end."""
        if scope.depth >= MAX_DEPTH:
            raise Fault("functions or loops in each other without end")
        return Scope(b, nodes, depth=scope.depth + 1)
