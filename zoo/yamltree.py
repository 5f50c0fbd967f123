"""YAML text -> a tree of values that know their lines, for files that strangers may write.

PyYAML's parser gives the events; the tree is built here, because its composer recurses in C (200,000 nested dashes end
the process) and forgets where a key stood. Scalars follow YAML 1.2's core schema, plus dates: `no` and `on` are words,
`1e-5` is a number. Refused: anchors and aliases (a short file can unfold to any size), tags, a second document, a
repeated key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias

import yaml

from zoo.errors import EntryError

MAX_DEPTH = 20  # an entry of ours is nine deep
MAX_BYTES = 64 * 2**20

Scalar: TypeAlias = str | int | float | bool | date | None
_LOADER: Any = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # the C parser, eight times as fast, where PyYAML was built with it

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(slots=True)
class Node:
    """A value and its line, counted from 1: for a mapping's value the line of its key."""

    value: Scalar | list[Node] | dict[str, Node]
    line: int

    @property
    def kind(self) -> str:
        """What it is, in words for a message."""
        match self.value:
            case dict():
                return "a mapping"
            case list():
                return "a list"
            case None:
                return "nothing"
            case bool():
                return f"{str(self.value).lower()}"
            case int() | float():
                return f"the number {self.value}"
            case date():
                return f"the date {self.value}"
            case str():
                return f"the text {self.value[:60]!r}"


def parse(data: bytes, label: str) -> Node:
    """The tree of one YAML document; `label` is what errors call the file.

    >>> parse(b"a: {b: [1, 2026-01-31]}", "x.yaml").value["a"].value["b"].value[0]
    Node(value=1, line=1)
    """
    if len(data) > MAX_BYTES:
        raise EntryError(f"{len(data):,} bytes; a catalog has at most {MAX_BYTES:,}", file=label)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EntryError("not UTF-8 text", file=label, line=data[: error.start].count(b"\n") + 1) from error
    try:
        return _build(text, label)
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        last = text.count("\n") + 1  # a mark may stand behind the end
        raise EntryError(
            f"not YAML: {error.problem}", file=label, line=min(mark.line + 1, last) if mark else None
        ) from error
    except (
        yaml.YAMLError
    ) as error:  # a character that YAML forbids: the position counts characters, or in the C parser bytes
        raise EntryError(f"not YAML: {getattr(error, 'reason', error)}", file=label) from error


def _build(text: str, label: str) -> Node:
    root: Node | None = None
    stack: list[tuple[Node, list[Any]]] = []  # open collections, each with [its pending key, that key's line]

    def add(node: Node) -> None:
        nonlocal root
        if not stack:
            root = node
            return
        parent, pending = stack[-1]
        if isinstance(parent.value, list):
            parent.value.append(node)
        elif isinstance(parent.value, dict):
            if not pending:
                if isinstance(node.value, (list, dict)):
                    raise EntryError(f"{node.kind} can't be a key", file=label, line=node.line)
                pending.extend((node.value, node.line))
                return
            key, node.line = pending
            pending.clear()
            parent.value[key] = node

    documents = 0
    events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
    for event in events:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise EntryError("a second document starts here; a catalog is one", file=label, line=line)
        elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise EntryError(
                "anchors (&) and aliases (*) are not read here: write the value out", file=label, line=line
            )
        elif (tag := getattr(event, "tag", None)) is not None:
            raise EntryError(f"tags are not read here: {tag!r}", file=label, line=line)
        elif isinstance(event, yaml.ScalarEvent):
            is_key = bool(stack) and isinstance(stack[-1][0].value, dict) and not stack[-1][1]
            if is_key:
                _refuse_repeated(stack[-1][0], event.value, line, label)
            add(Node(event.value if is_key or not event.implicit[0] else scalar(event.value, label, line), line))
        elif isinstance(event, yaml.CollectionStartEvent):
            node = Node({} if isinstance(event, yaml.MappingStartEvent) else [], line)
            add(node)
            stack.append((node, []))
            if len(stack) > MAX_DEPTH:
                raise EntryError(f"nested more than {MAX_DEPTH} deep", file=label, line=line)
        elif isinstance(event, yaml.CollectionEndEvent):
            stack.pop()
    return root if root is not None and root.value is not None else Node({}, 1)


def _refuse_repeated(mapping: Node, key: str, line: int, label: str) -> None:
    if key == "<<":
        raise EntryError("merging (<<) is not read here: write the values out", file=label, line=line)
    if isinstance(mapping.value, dict) and key in mapping.value:
        raise EntryError(
            f"{key!r} stands here again; it was stated in line {mapping.value[key].line}", file=label, line=line
        )


def scalar(text: str, label: str, line: int) -> Scalar:
    """A plain scalar's value by YAML 1.2's core schema, plus dates; `label` and `line` are for an impossible one."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if len(text) <= 300:  # numbers end somewhere; Python refuses to parse thousands of digits anyway
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        if _DATE.fullmatch(text):
            try:
                return date.fromisoformat(text)
            except ValueError as error:
                raise EntryError(f"no such day: {text}", file=label, line=line) from error
    return text
