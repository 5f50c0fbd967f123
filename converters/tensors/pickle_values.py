"""What a pickle stream is read into: names instead of classes, placeholders instead of objects, bounded keys."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Value = Any  # None, a number, text, bytes, a tuple, list, dict or set, a Global, an Instance, or what a call made
Call = Callable[..., Value]

MAX_INT_BYTES = 256
MAX_KEY = 1 << 60  # ints beyond hash alike by the million if they are chosen to


@dataclass(frozen=True, slots=True, eq=False)
class Global:
    """The name of a class or function. It is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Instance:
    """What stands for an object whose class is never imported: its state as the file has it."""

    cls: Global
    args: tuple[Value, ...] = ()
    state: dict[Value, Value] = field(default_factory=dict)
    raw: list[Value] = field(default_factory=list)  # states that are no dict
    items: dict[Value, Value] = field(default_factory=dict)  # a dict's subclass
    entries: list[Value] = field(default_factory=list)  # a list's or set's subclass

    def build(self, state: Value) -> None:
        """Take over a state: a dict, a pair of dicts (attributes and slots), or anything else as it is."""
        for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
            if isinstance(part, dict):
                self.state.update(part)
            elif part is not None:
                self.raw.append(part)


class Buildable:
    """A value made by a call that takes its state later, by BUILD, as numpy's arrays do."""

    __slots__ = ()

    def build(self, state: Value) -> None:
        """Take over a state; raises ValueError saying why it is none."""
        raise NotImplementedError


class Wrong(Exception):
    """Raised by an instruction; `load` adds the place."""

    def __init__(self, what: str, *, is_refusal: bool = False) -> None:
        super().__init__(what)
        self.is_refusal = is_refusal


def key(value: Value, depth: int = 3) -> Value:
    """A dict's or set's key, if its hash can be had in bounded time and is not chosen; else Wrong.

    Hashing a tuple that is nested a million deep ends the process, and ints can be chosen to collide.
    """
    if (kind := type(value)) is str or kind is bytes or kind is bool or kind is float or value is None:
        return value
    if kind is int and -MAX_KEY < value < MAX_KEY:
        return value
    if kind is tuple and depth and len(value) <= 16:
        for part in value:
            key(part, depth - 1)
        return value
    if kind is Global or kind is Instance or getattr(kind, "__hash__", None) is object.__hash__:
        return value
    raise Wrong(f"a key of type {kind.__name__}")


def store(target: Value, pairs: list[Value]) -> None:
    """Set [key, value, key, value, ...] in a dict or in a placeholder of one."""
    items = target.items if isinstance(target, Instance) else target
    if not isinstance(items, dict) or len(pairs) % 2:
        raise Wrong("items are set in something that is no dict")
    for i in range(0, len(pairs), 2):
        items[key(pairs[i])] = pairs[i + 1]


def extend(target: Value, values: list[Value]) -> None:
    """Append to a list or to a placeholder of one."""
    if isinstance(target, Instance):
        target.entries.extend(values)
    elif isinstance(target, list):
        target.extend(values)
    elif isinstance(target, set):
        target.update(key(v) for v in values)
    else:
        raise Wrong("values are added to something that is no list")


def signed(data: bytes) -> int:
    """A little-endian two's complement number of any length."""
    if len(data) > MAX_INT_BYTES:
        raise Wrong(f"a number of {len(data):,} bytes", is_refusal=True)
    return int.from_bytes(data, "little", signed=True)


def text_int(line: bytes) -> int:
    """A decimal number."""
    if len(line) > 2 * MAX_INT_BYTES:
        raise Wrong(f"a number of {len(line):,} digits", is_refusal=True)
    return int(line)


def text_bool_or_int(line: bytes) -> int:
    """Protocol 0's INT: `00` and `01` are the booleans."""
    return line == b"01" if line in (b"00", b"01") else text_int(line)


def literal(line: bytes) -> bytes:
    """The content of a Python 2 string literal."""
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise Wrong("a string without its quotes")
    return codecs.escape_decode(line[1:-1])[0]


def python2_str(data: bytes) -> Value:
    """Python 2's `str`: text where it is ASCII (names), bytes where it isn't (the content of arrays)."""
    return data.decode("ascii") if data.isascii() else data
