"""An interpreter of the pickle stream, protocols 0 to 5, that runs nothing.

The stream is a program for a stack machine. Here its data instructions work as everywhere, and the four that would
reach into Python are harmless: GLOBAL makes a `Global`, which is a name and is never imported; REDUCE and its kin look
the name up in a table of our own functions and refuse what isn't there; NEWOBJ makes an `Instance`, a placeholder whose
class is a `Global`; BUILD keeps the state on that placeholder. What a name may be, and what is in the table, is the
caller's (torch_globals.py).

The instructions are those of CPython's Lib/pickletools.py, which documents each.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path

from zoo.converters.tensors.pickle_values import (
    Buildable,
    Call,
    Global,
    Instance,
    Value,
    Wrong,
    extend,
    key,
    literal,
    python2_str,
    signed,
    store,
    text_bool_or_int,
    text_int,
)
from zoo.errors import FileError, Malformed, Refused

# A checkpoint takes about 45 instructions, 15 memo entries and 4 objects a tensor: enough for 65,000 tensors, and in
# time and memory (1 s, 200 MB) what a hostile stream can cost at most.
MAX_INSTRUCTIONS = 4_000_000
MAX_MEMO = 1_000_000
MAX_OBJECTS = 400_000
MAX_MARKS = 10_000  # open at a time; Python's pickler goes 1,000 deep
MAX_MESSAGE = 400


@dataclass(frozen=True, slots=True)
class Rules:
    """What the names of a stream mean: `find` refuses a name or passes it, `calls` is every function that may run."""

    kind: str  # "torch pickle", in messages
    find: Callable[[str, str], str | None]  # (module, name) -> why it is refused, or None
    calls: Mapping[str, Call]
    persistent: Callable[[Value], Value] | None = None


class Machine:
    """One run over `data` from `pos`. `base` is where data[0] stands in the file, for messages."""

    __slots__ = ("base", "data", "left", "marks", "memo", "objects", "path", "pos", "rules", "stack")

    def __init__(self, path: Path, data: bytes | mmap, rules: Rules, pos: int = 0, base: int = 0) -> None:
        self.path, self.data, self.rules, self.pos, self.base = path, data, rules, pos, base
        self.stack: list[Value] = []
        self.marks: list[list[Value]] = []
        self.memo: dict[int, Value] = {}
        self.objects, self.left = 0, MAX_INSTRUCTIONS

    def again(self) -> Machine:
        """The machine ready for the next pickle of the same file; what may be spent on all of them stays one sum."""
        self.stack, self.marks, self.memo = [], [], {}
        return self

    def load(self) -> Value:
        """The value that the stream ends in; `pos` is then after its STOP. Raises Malformed or Refused."""
        data, instructions, at = self.data, INSTRUCTIONS, self.pos
        try:
            for done in range(self.left):
                at = self.pos
                code = data[at]
                self.pos = at + 1
                if code == 0x2E:  # STOP
                    self.left -= done + 1
                    return self.stack.pop()
                instructions[code](self)
        except FileError:
            raise
        except Wrong as error:
            raise self.refused(str(error), at) if error.is_refusal else self.malformed(str(error), at) from None
        except IndexError:
            short = at >= len(data) or self.pos > len(data)
            what = "the file ends inside it" if short else "an instruction finds nothing to work on"
            raise self.malformed(what, at) from None
        except (ValueError, TypeError, KeyError, OverflowError, struct.error, RecursionError) as error:
            raise self.malformed(f"instruction {data[at : at + 1]!r}: {str(error)[:200]}", at) from error
        raise self.refused(f"more than {MAX_INSTRUCTIONS:,} instructions", at)

    def refused(self, what: str, at: int) -> Refused:
        """An error for what is there and won't be read."""
        return Refused(self.path, f"{self.rules.kind}: {what[:MAX_MESSAGE]}", offset=self.base + at)

    def malformed(self, what: str, at: int) -> Malformed:
        """An error for what is no pickle."""
        return Malformed(self.path, f"{self.rules.kind}: {what[:MAX_MESSAGE]}", offset=self.base + at)

    def take(self, size: int) -> bytes:
        """The next `size` bytes; the file is asked whether it has them before anything is made of the number."""
        begin = self.pos
        if size < 0 or size > len(self.data) - begin:
            raise Wrong(f"{size:,} bytes are announced and {len(self.data) - begin:,} are left")
        self.pos = begin + size
        return self.data[begin : begin + size]

    def line(self) -> bytes:
        """The bytes up to the next newline, which is skipped."""
        end = self.data.find(b"\n", self.pos)
        if end < 0:
            raise Wrong("a line has no end")
        return self.take(end + 1 - self.pos)[:-1]

    def byte(self) -> int:
        """The next byte."""
        at = self.pos
        self.pos = at + 1
        return self.data[at]

    def number(self, size: int) -> int:
        """An unsigned little-endian number of `size` bytes."""
        return int.from_bytes(self.take(size), "little")

    def count_object(self) -> None:
        """Note that something large was made: a container, an instance, a call's result."""
        self.objects += 1
        if self.objects > MAX_OBJECTS:
            raise Wrong(f"more than {MAX_OBJECTS:,} objects", is_refusal=True)

    def pop_mark(self) -> list[Value]:
        """Everything since the last MARK."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def put(self, index: int) -> None:
        """Remember the top of the stack."""
        if len(self.memo) >= MAX_MEMO:
            raise Wrong(f"more than {MAX_MEMO:,} remembered values", is_refusal=True)
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        """Push a remembered value."""
        if index not in self.memo:
            raise Wrong(f"value {index} is recalled and was never remembered")
        self.stack.append(self.memo[index])

    def name(self, module: Value, name: Value) -> None:
        """Push a Global, unless the rules refuse the name."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise Wrong("a global's name is no string")
        if why := self.rules.find(module, name):
            raise Wrong(f"{f'{module}.{name}'[:200]!r} {why}", is_refusal=True)
        self.stack.append(Global(module, name))

    def call(self, function: Value, args: Value) -> Value:
        """What our own function of that name makes of the arguments; no other function is ever called."""
        name = str(function)[:MAX_MESSAGE] if isinstance(function, Global) else type(function).__name__
        if not isinstance(args, tuple):
            raise Wrong(f"{name!r} is called without a tuple of arguments")
        if not isinstance(function, Global) or name not in self.rules.calls:
            raise Wrong(f"{name!r} is called, and is not part of a state_dict", is_refusal=True)
        self.count_object()
        return self.rules.calls[name](*args)

    def recall(self, pid: Value) -> Value:
        """What a persistent id stands for; the rules know."""
        if self.rules.persistent is None:
            raise Wrong("a persistent id, which names something outside the pickle", is_refusal=True)
        return self.rules.persistent(pid)

    def instantiate(self, cls: Value, args: Value, kwargs: Value = None) -> None:
        """Push our own value of a class that we know, else a placeholder."""
        if not isinstance(cls, Global) or not isinstance(args, tuple):
            raise Wrong("an object without a class or without a tuple of arguments")
        if str(cls) in self.rules.calls:
            self.stack.append(self.call(cls, args))
            return
        self.count_object()
        self.stack.append(Instance(cls, (*args, kwargs) if kwargs else args))


def _begin(m: Machine) -> None:
    if len(m.marks) >= MAX_MARKS:
        raise Wrong(f"more than {MAX_MARKS:,} tuples, lists or dicts inside each other", is_refusal=True)
    m.marks.append(m.stack)
    m.stack = []


def _dict(m: Machine) -> None:
    pairs = m.pop_mark()
    m.count_object()
    m.stack.append({})
    store(m.stack[-1], pairs)


def _made(m: Machine, value: Value) -> None:
    m.count_object()
    m.stack.append(value)


def _tuple(m: Machine, size: int) -> None:
    if len(m.stack) < size:
        raise IndexError
    m.stack[-size:] = [tuple(m.stack[-size:])]


def _tuple_since_mark(m: Machine) -> None:
    values = tuple(m.pop_mark())
    m.stack.append(values)


def _append(m: Machine) -> None:
    value = m.stack.pop()
    extend(m.stack[-1], [value])


def _appends(m: Machine) -> None:
    values = m.pop_mark()
    extend(m.stack[-1], values)


def _set_item(m: Machine) -> None:
    value, name = m.stack.pop(), m.stack.pop()
    store(m.stack[-1], [name, value])


def _set_items(m: Machine) -> None:
    pairs = m.pop_mark()
    store(m.stack[-1], pairs)


def _global(m: Machine) -> None:
    module = m.line().decode()
    m.name(module, m.line().decode())


def _stack_global(m: Machine) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    m.name(module, name)


def _reduce(m: Machine) -> None:
    args, function = m.stack.pop(), m.stack.pop()
    m.stack.append(m.call(function, args))


def _inst(m: Machine) -> None:
    _global(m)
    cls = m.stack.pop()
    args = tuple(m.pop_mark())
    m.stack.append(m.call(cls, args))


def _obj(m: Machine) -> None:
    cls, *args = m.pop_mark()
    m.stack.append(m.call(cls, tuple(args)))


def _new_object(m: Machine) -> None:
    args, cls = m.stack.pop(), m.stack.pop()
    m.instantiate(cls, args)


def _new_object_ex(m: Machine) -> None:
    kwargs, args, cls = m.stack.pop(), m.stack.pop(), m.stack.pop()
    m.instantiate(cls, args, kwargs)


def _build(m: Machine) -> None:
    state = m.stack.pop()
    if isinstance(target := m.stack[-1], Instance | Buildable):
        target.build(state)


def _pop(m: Machine) -> None:
    if m.stack:
        m.stack.pop()
    else:
        m.pop_mark()


def _pop_mark(m: Machine) -> None:
    m.pop_mark()


def _protocol(m: Machine) -> None:
    if (version := m.byte()) > 5:
        raise Wrong(f"protocol {version}; 0 to 5 are known", is_refusal=True)


def _frame(m: Machine) -> None:
    if (size := m.number(8)) > len(m.data) - m.pos:
        raise Wrong(f"a frame of {size:,} bytes, and {len(m.data) - m.pos:,} are left")


def _extension(m: Machine) -> None:
    raise Wrong("an extension code, which names a class outside the file", is_refusal=True)


def _buffer(m: Machine) -> None:
    raise Wrong("an out-of-band buffer, which is not in the file", is_refusal=True)


def _unknown(m: Machine) -> None:
    raise Wrong(f"{m.data[m.pos - 1]:#04x} is no instruction")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


TABLE: dict[str, Callable[[Machine], None]] = {
    # constants and numbers
    "N": lambda m: m.stack.append(None),
    "\x88": lambda m: m.stack.append(True),
    "\x89": lambda m: m.stack.append(False),
    "K": lambda m: m.stack.append(m.byte()),
    "M": lambda m: m.stack.append(m.number(2)),
    "J": lambda m: m.stack.append(int.from_bytes(m.take(4), "little", signed=True)),
    "\x8a": lambda m: m.stack.append(signed(m.take(m.byte()))),
    "\x8b": lambda m: m.stack.append(signed(m.take(m.number(4)))),
    "I": lambda m: m.stack.append(text_bool_or_int(m.line())),
    "L": lambda m: m.stack.append(text_int(m.line().removesuffix(b"L"))),
    "F": lambda m: m.stack.append(float(m.line())),
    "G": lambda m: m.stack.append(struct.unpack(">d", m.take(8))[0]),
    # text and bytes
    "X": lambda m: m.stack.append(_text(m.take(m.number(4)))),
    "\x8c": lambda m: m.stack.append(_text(m.take(m.byte()))),
    "\x8d": lambda m: m.stack.append(_text(m.take(m.number(8)))),
    "V": lambda m: m.stack.append(m.line().decode("raw-unicode-escape")),
    "B": lambda m: m.stack.append(m.take(m.number(4))),
    "C": lambda m: m.stack.append(m.take(m.byte())),
    "\x8e": lambda m: m.stack.append(m.take(m.number(8))),
    "\x96": lambda m: m.stack.append(bytearray(m.take(m.number(8)))),
    "T": lambda m: m.stack.append(python2_str(m.take(m.number(4)))),
    "U": lambda m: m.stack.append(python2_str(m.take(m.byte()))),
    "S": lambda m: m.stack.append(python2_str(literal(m.line()))),
    # tuples, lists, dicts, sets
    "(": _begin,
    ")": lambda m: m.stack.append(()),
    "\x85": lambda m: _tuple(m, 1),
    "\x86": lambda m: _tuple(m, 2),
    "\x87": lambda m: _tuple(m, 3),
    "t": _tuple_since_mark,
    "]": lambda m: _made(m, []),
    "l": lambda m: _made(m, m.pop_mark()),
    "a": _append,
    "e": _appends,
    "}": lambda m: _made(m, {}),
    "d": _dict,
    "s": _set_item,
    "u": _set_items,
    "\x8f": lambda m: _made(m, set()),
    "\x90": _appends,
    "\x91": lambda m: _made(m, frozenset(key(v) for v in m.pop_mark())),
    # the stack and the memo
    "0": _pop,
    "1": _pop_mark,
    "2": lambda m: m.stack.append(m.stack[-1]),
    "p": lambda m: m.put(text_int(m.line())),
    "q": lambda m: m.put(m.byte()),
    "r": lambda m: m.put(m.number(4)),
    "\x94": lambda m: m.put(len(m.memo)),
    "g": lambda m: m.get(text_int(m.line())),
    "h": lambda m: m.get(m.byte()),
    "j": lambda m: m.get(m.number(4)),
    # names, and what Python would do with them
    "c": _global,
    "\x93": _stack_global,
    "R": _reduce,
    "i": _inst,
    "o": _obj,
    "\x81": _new_object,
    "\x92": _new_object_ex,
    "b": _build,
    "P": lambda m: m.stack.append(m.recall(m.line().decode("ascii"))),
    "Q": lambda m: m.stack.append(m.recall(m.stack.pop())),
    # the stream itself
    "\x80": _protocol,
    "\x95": _frame,
    "\x82": _extension,
    "\x83": _extension,
    "\x84": _extension,
    "\x97": _buffer,
    "\x98": _buffer,
}
INSTRUCTIONS = [TABLE.get(chr(code), _unknown) for code in range(256)]
