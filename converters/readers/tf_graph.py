"""TensorFlow's graphs as values: nodes by name with their attributes, functions, what goes in and comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx_ir as ir

from zoo.converters.readers.tf_nodes import Fault, Size
from zoo.converters.tensors import Tensor, tf_types
from zoo.converters.tensors.tf_wire import Message

STRING, RESOURCE, VARIANT = tf_types.STRING, tf_types.RESOURCE, tf_types.VARIANT
MAX_NODES = 1_000_000


@dataclass(frozen=True, slots=True)
class Ref:
    """One output of a node: `name:2`; in a function `name:output:0`, where an output may be a list."""

    node: str
    output: str = ""
    index: int = 0


@dataclass(slots=True)
class Node:
    """A node: operator, inputs without those that only say when it runs, attributes as they come."""

    name: str
    op: str
    inputs: list[Ref]
    attributes: Mapping[str, Message]
    controls: list[str] = field(default_factory=list)

    def integer(self, key: str, default: int | None = None) -> int:
        """An integer attribute. Raises Fault for an absent one without a default."""
        return int(self._get(key, "i", default))

    def number(self, key: str, default: float | None = None) -> float:
        """A number."""
        return float(self._get(key, "f", default))

    def flag(self, key: str, default: bool | None = None) -> bool:
        """Yes or no."""
        return bool(self._get(key, "b", default))

    def text(self, key: str, default: str | None = None) -> str:
        """A string."""
        value = self._get(key, "s", default)
        return value if isinstance(value, str) else bytes(value).decode("utf-8", "replace")

    def ints(self, key: str, default: Sequence[int] | None = None) -> list[int]:
        """A list of integers."""
        if key not in self.attributes:
            if default is None:
                raise Fault(f"node {self.name!r} ({self.op}) states no {key!r}", is_refusal=False)
            return list(default)
        return list(self.attributes[key]["list"]["i"])

    def dtype(self, key: str, default: int | None = None) -> ir.DataType:
        """A dtype. Raises Fault for what is no number."""
        number = self._get(key, "type", default)
        return dtype_of(number, f"node {self.name!r}")

    def type(self, key: str) -> int:
        """TensorFlow's number of a dtype."""
        return int(self._get(key, "type", 0))

    def function(self, key: str) -> str:
        """The name of a function that it calls."""
        return str(self._get(key, "func", None)["name"])

    def shape(self, key: str) -> list[Size] | None:
        """A shape, free sizes as None; None for an unknown rank."""
        shape = self._get(key, "shape", None)
        return None if shape["unknown_rank"] else [None if d["size"] < 0 else d["size"] for d in shape["dim"]]

    def has(self, key: str) -> bool:
        """Whether it states an attribute."""
        return key in self.attributes

    def _get(self, key: str, kind: str, default: Any) -> Any:
        if key not in self.attributes:
            if default is None:
                raise Fault(f"node {self.name!r} ({self.op}) states no {key!r}", is_refusal=False)
            return default
        return self.attributes[key][kind]


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the library: its arguments, nodes and what it gives."""

    name: str
    inputs: list[str]
    nodes: Mapping[str, Node]
    outputs: list[Ref]


@dataclass(frozen=True, slots=True)
class Signature:
    """What goes in and comes out, by the author's names."""

    inputs: Mapping[str, Ref]
    outputs: Mapping[str, Ref]
    is_stated: bool = True  # by the file


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph with its functions, and its variables if they stand beside it."""

    path: Path
    nodes: Mapping[str, Node]
    functions: Mapping[str, Function]
    variables: Mapping[str, Tensor]
    signature: Signature | None = None


def dtype_of(number: int, what: str) -> ir.DataType:
    """ONNX's dtype of a TensorFlow one. Raises Fault."""
    number = number - 100 if number > 100 else number
    if number == STRING:
        return ir.DataType.STRING
    if number not in tf_types.NUMBERS:
        raise Fault(f"{what} of type {number}")
    return ir.DataType.from_numpy(tf_types.NUMBERS[number])


def ref(text: str) -> Ref:
    """A tensor by its name: `name`, `name:1`, or a function's `name:output:1`."""
    parts = text.split(":")
    last = parts[-1]
    if len(parts) > 1 and last.isdigit() and len(last) < 7:
        return Ref(parts[0], ":".join(parts[1:-1]), int(last))
    return Ref(parts[0])


def nodes_of(messages: Sequence[Message]) -> dict[str, Node]:
    """Nodes by name. Raises Fault for two of one name."""
    found: dict[str, Node] = {}
    if len(messages) > MAX_NODES:
        raise Fault(f"{len(messages):,} nodes")
    for message in messages:
        name = message["name"]
        if name in found:
            raise Fault(f"two nodes are named {name[:80]!r}", is_refusal=False)
        inputs = [text for text in message["input"] if not text.startswith("^")]
        controls = [text[1:] for text in message["input"] if text.startswith("^")]
        attributes = {entry["key"]: entry["value"] for entry in message["attr"]}
        found[name] = Node(name, message["op"], [ref(text) for text in inputs], attributes, controls)
    return found


def functions_of(library: Message) -> dict[str, Function]:
    """The functions of a library by name."""
    found = {}
    for message in library["function"]:
        signature = message["signature"]
        returns = {entry["key"]: entry["value"] for entry in message["ret"]}
        names = [arg["name"] for arg in signature["output"]]
        if any(name not in returns for name in names):
            raise Fault(f"function {signature['name'][:80]!r} doesn't say what it gives", is_refusal=False)
        inputs = [arg["name"] for arg in signature["input"]]
        outputs = [ref(returns[name]) for name in names]
        found[signature["name"]] = Function(signature["name"], inputs, nodes_of(message["node"]), outputs)
    return found


def walk(nodes: Mapping[str, Node], start: Sequence[str], stop: frozenset[str] = frozenset()) -> Iterator[str]:
    """The nodes that others need, each behind what it needs itself.

    Those in `stop` are done, and what TensorFlow 1's control flow needs it asks for itself.
    """
    done: set[str] = set(stop)
    pending: list[tuple[str, bool]] = [(name, False) for name in reversed(start)]
    open_: set[str] = set()
    while pending:
        name, is_ready = pending.pop()
        if is_ready:
            done.add(name)
            yield name
        elif name not in done and name not in open_ and name in nodes:
            open_.add(name)
            pending.append((name, True))
            if not _asks(nodes, nodes[name]):
                pending += [(r.node, False) for r in reversed(nodes[name].inputs)]


def _asks(nodes: Mapping[str, Node], node: Node) -> bool:
    """Whether a node is the end or the head of a loop of TensorFlow 1."""
    if node.op in ("Merge", "RefMerge") and node.inputs:
        before = nodes.get(node.inputs[0].node)
        return before is not None and before.op in ("Enter", "RefEnter")
    return node.op in ("Exit", "RefExit")
