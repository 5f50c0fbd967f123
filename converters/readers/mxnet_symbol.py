"""MXNet's symbol JSON as values, of every version from 0.8 to 1.9.

    {"nodes": [{"op": "null", "name": "data", "inputs": []},
               {"op": "Convolution", "name": "conv", "attrs": {"kernel": "(3, 3)"}, "inputs": [[0, 0, 0], ...]}, ...],
     "arg_nodes": [0, ...], "heads": [[5, 0, 0]], "attrs": {"mxnet_version": ["int", 10901]}}

An operator's parameters stand under `attrs` (since 1.0), `attr` (0.9 to 0.12) or `param` (0.8, whose `attr` is the
user's); all are text, as C++ or Python printed it. Before 0.9 the states of a batch norm were no nodes
(src/nnvm/legacy_json_util.cc says what each version changed).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo.converters.readers.json_text import parsed
from zoo.converters.readers.scribe import Fault

MAX_NODES = 100_000
AUX_STATES = {"BatchNorm": ("moving_mean", "moving_var")}  # what version 0.8 didn't write as nodes
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|None|nan|-?inf", re.ASCII)


@dataclass(frozen=True, slots=True)
class Node:
    """An operator, or a variable (`op` is "null"): its parameters as text, and (node, output) of each input."""

    op: str
    name: str
    attrs: Mapping[str, str]
    inputs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Symbol:
    """Nodes in an order in which each comes after its inputs, and the outputs: (node, output)."""

    nodes: tuple[Node, ...]
    heads: tuple[tuple[int, int], ...]
    version: int  # 10901 is 1.9.1


def symbol(data: bytes) -> Symbol:
    """A symbol from its JSON. Raises Fault."""
    whole = parsed(data)
    if not isinstance(whole, dict) or not isinstance(whole.get("nodes"), list) or not whole["nodes"]:
        raise Fault("a symbol without nodes")
    if len(whole["nodes"]) > MAX_NODES:
        raise Fault(f"{len(whole['nodes']):,} nodes", is_refusal=True)
    version = _version(whole.get("attrs"))
    nodes = [_node(entry, place, version) for place, entry in enumerate(whole["nodes"])]
    heads = [_edge(edge, len(nodes)) for edge in _list(whole.get("heads"))]
    if not heads:
        raise Fault("a symbol without outputs")
    return Symbol(*_with_states(nodes, heads), version)


def _version(attrs: Any) -> int:
    entry = attrs.get("mxnet_version") if isinstance(attrs, dict) else None
    number = entry[1] if isinstance(entry, list) and len(entry) == 2 else 800
    return number if type(number) is int else 800


def _node(entry: Any, place: int, version: int) -> Node:
    if not isinstance(entry, dict) or not isinstance(entry.get("op"), str) or not isinstance(entry.get("name"), str):
        raise Fault(f"node {place} has no operator or no name")
    attrs: dict[str, str] = {}
    for key in ("attr", "param", "attrs"):
        given = entry.get(key) or {}
        if not isinstance(given, dict):
            raise Fault(f"node {entry['name'][:80]!r}: its {key!r} are no dict")
        attrs |= {str(name): value if isinstance(value, str) else str(value) for name, value in given.items()}
    if entry["op"] in ("argmax", "argmin") and version < 904 and attrs.get("axis") == "-1":
        attrs.pop("axis")  # then -1 meant that no axis was given
    inputs = tuple(_edge(edge, place) for edge in _list(entry.get("inputs")))
    if "subgraphs" in entry and entry["subgraphs"]:
        raise Fault(f"node {entry['name'][:80]!r} ({entry['op'][:40]}) has a body", is_refusal=True)
    return Node(entry["op"], entry["name"], attrs, inputs)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Fault("inputs or outputs that are no list")
    return value


def _edge(edge: Any, before: int) -> tuple[int, int]:
    """(node, output) of [node, output, version]; the node has to come before `before`."""
    if not isinstance(edge, list) or len(edge) < 2 or any(type(n) is not int for n in edge[:2]):
        raise Fault(f"a reference that is none: {str(edge)[:40]}")
    if not 0 <= edge[0] < before or not 0 <= edge[1] < MAX_NODES:
        raise Fault(f"a reference to output {edge[1]} of node {edge[0]}, which doesn't come before")
    return edge[0], edge[1]


def _with_states(
    nodes: list[Node], heads: list[tuple[int, int]]
) -> tuple[tuple[Node, ...], tuple[tuple[int, int], ...]]:
    """The same with a variable for each state that version 0.8 left out."""
    made: list[Node] = []
    place: dict[int, int] = {}
    for i, node in enumerate(nodes):
        inputs = tuple((place[n], output) for n, output in node.inputs)
        if (states := AUX_STATES.get(node.op)) and len(inputs) == 3:
            inputs += tuple((len(made) + k, 0) for k in range(len(states)))
            made += [Node("null", f"{node.name}_{state}", {}, ()) for state in states]
        place[i] = len(made)
        made.append(Node(node.op, node.name, node.attrs, inputs))
    return tuple(made), tuple((place[n], output) for n, output in heads)


class Params:
    """An operator's parameters, each read as what the operator takes it for. Raises Fault."""

    def __init__(self, node: Node, version: int) -> None:
        self.node, self.version = node, version

    def __contains__(self, name: str) -> bool:
        return name in self.node.attrs

    def text(self, name: str, default: str = "") -> str:
        """A word, as it stands."""
        return self.node.attrs.get(name, default)

    def flag(self, name: str, default: bool = False) -> bool:
        """True, False, 1 or 0."""
        value = self.node.attrs.get(name)
        if value is None:
            return default
        if value.lower() in ("true", "1", "false", "0", "none"):
            return value.lower() in ("true", "1")
        raise self._wrong(name, value)

    def number(self, name: str, default: float | None = None) -> float:
        """A real number."""
        value = self.node.attrs.get(name)
        if value is None or value == "None":
            if default is None:
                raise Fault(f"{self.node.op} {self.node.name!r} states no {name!r}")
            return default
        try:
            return float(value)
        except ValueError:
            raise self._wrong(name, value) from None

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer, which Python 2 may have printed as 3L."""
        number = self.number(name, default) if name not in self else float(self._numbers(name)[0])
        if not number.is_integer() if isinstance(number, float) else False:
            raise self._wrong(name, self.text(name))
        return int(number)

    def maybe_int(self, name: str) -> int | None:
        """An integer, or None where none is given."""
        return None if self.text(name, "None") == "None" else self.integer(name)

    def ints(self, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """A tuple: `(3, 3)`, `[3,3]`, `(3L, 3L)`, or one number."""
        found = self.maybe_ints(name, default)
        if any(n is None for n in found):
            raise self._wrong(name, self.text(name))
        return tuple(n for n in found if n is not None)

    def maybe_ints(self, name: str, default: tuple[int | None, ...] = ()) -> tuple[int | None, ...]:
        """A tuple whose members may be None."""
        if self.text(name, "None") == "None":
            return default
        numbers = self._numbers(name) if self.text(name).strip("()[], ") else []
        if any(n != "None" and not float(n).is_integer() for n in numbers):
            raise self._wrong(name, self.text(name))
        return tuple(None if n == "None" else int(float(n)) for n in numbers)

    def numbers(self, name: str, default: tuple[float, ...] = ()) -> tuple[float, ...]:
        """A tuple of real numbers."""
        if self.text(name, "None") == "None":
            return default
        return tuple(float(n) for n in self._numbers(name)) if self.text(name).strip("()[], ") else ()

    def _numbers(self, name: str) -> list[str]:
        text = self.text(name)
        found = NUMBER.findall(text)
        if not found or len(text) > 4096 or NUMBER.sub("", text).strip("()[],L \t"):
            raise self._wrong(name, text)
        if any(n in ("nan", "inf", "-inf") for n in found):
            raise self._wrong(name, text)
        return found

    def _wrong(self, name: str, value: str) -> Fault:
        return Fault(f"{self.node.op} {self.node.name!r}: {name}={value[:80]!r} is none that it takes")
