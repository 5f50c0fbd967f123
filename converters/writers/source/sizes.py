"""Arithmetic on sizes: what ONNX computes as small tensors of int64, and a person as Python's numbers.

`Shape` gives Sizes, and what reads them gives Sizes again, until a tensor is made of them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.converters.writers.source.steps import Step

Size = int | Step
INTEGERS = {6, 7}  # ONNX's int32 and int64


@dataclass(frozen=True)
class Sizes:
    """A vector of sizes, or one alone (`is_scalar`)."""

    items: tuple[Size, ...]
    is_scalar: bool = False


def as_sizes(x: Any) -> Sizes | None:
    """Sizes out of sizes, or of known integers of rank 0 or 1."""
    if isinstance(x, Sizes):
        return x
    if isinstance(x, np.ndarray) and x.ndim < 2 and x.dtype.kind == "i":
        return Sizes(tuple(int(n) for n in x.reshape(-1)), x.ndim == 0)
    return None


def computed(op: str, args: Sequence[Any], attributes: Mapping[str, Any]) -> Sizes | None:
    """What an operator makes of sizes, as sizes; None where it is none of those that people compute sizes with."""
    given = [as_sizes(x) for x in args if x is not None]
    if op not in OPERATORS or any(x is None for x in given):
        return None
    return OPERATORS[op]([x for x in given if x is not None], attributes)


def number(f: Callable[..., Any] | str, *args: Size) -> Size:
    """A number out of numbers, computed where all are known."""
    if all(isinstance(a, int) for a in args):
        return int(KNOWN[f](*args) if isinstance(f, str) else f(*args))
    if f is operator.mul and 1 in args:
        return args[0] if args[1] == 1 else args[1]
    if (f in (operator.add, operator.sub) and args[1] == 0) or (f is operator.floordiv and args[1] == 1):
        return args[0]
    if f is operator.add and args[0] == 0:
        return args[1]
    return Step("call_function", f, args, is_number=True)


KNOWN: dict[str, Callable[..., int]] = {"min": min, "max": max}


def product(items: Sequence[Size]) -> Size:
    """The product of sizes."""
    made: Size = 1
    for item in items:
        made = number(operator.mul, made, item)
    return made


def _each(f: Callable[..., Any] | str) -> Callable[[list[Sizes], Mapping[str, Any]], Sizes | None]:
    def apply(args: list[Sizes], _: Mapping[str, Any]) -> Sizes | None:
        made = args[0]
        for other in args[1:]:
            lengths = {len(x.items) for x in (made, other)}
            n = max(lengths)
            if lengths - {1, n}:
                return None
            a, b = (x.items * n if len(x.items) == 1 else x.items for x in (made, other))
            items = tuple(number(f, x, y) for x, y in zip(a, b, strict=True))
            made = Sizes(items, made.is_scalar and other.is_scalar)
        return made

    return apply


def _gather(args: list[Sizes], attributes: Mapping[str, Any]) -> Sizes | None:
    data, indices = args
    if data.is_scalar or not all(isinstance(i, int) for i in indices.items):
        return None
    return Sizes(tuple(data.items[i] for i in indices.items if isinstance(i, int)), indices.is_scalar)


def _slice(args: list[Sizes], _: Mapping[str, Any]) -> Sizes | None:
    data, *rest = args
    if not all(isinstance(i, int) for x in rest for i in x.items):
        return None
    start, stop = (int(x.items[0]) for x in rest[:2])  # type: ignore[arg-type]  # integers, as was looked at
    step = int(rest[3].items[0]) if len(rest) > 3 else 1  # type: ignore[arg-type]
    return Sizes(data.items[start : stop if abs(stop) < 1 << 31 else None : step])


def _concat(args: list[Sizes], _: Mapping[str, Any]) -> Sizes:
    return Sizes(tuple(item for x in args for item in x.items))


def _squeeze(args: list[Sizes], _: Mapping[str, Any]) -> Sizes | None:
    return Sizes(args[0].items, True) if len(args[0].items) == 1 else None


def _unsqueeze(args: list[Sizes], _: Mapping[str, Any]) -> Sizes | None:
    return Sizes(args[0].items) if args[0].is_scalar and len(args[1].items) == 1 else None


def _reshape(args: list[Sizes], _: Mapping[str, Any]) -> Sizes | None:
    return Sizes(args[0].items, not args[1].items) if len(args[1].items) < 2 else None


def _cast(args: list[Sizes], attributes: Mapping[str, Any]) -> Sizes | None:
    return args[0] if attributes.get("to") in INTEGERS else None


def _product(args: list[Sizes], attributes: Mapping[str, Any]) -> Sizes:
    return Sizes((product(args[0].items),), not attributes.get("keepdims", 1))


def _same(args: list[Sizes], _: Mapping[str, Any]) -> Sizes:
    return args[0]


OPERATORS: dict[str, Callable[[list[Sizes], Mapping[str, Any]], Sizes | None]] = {
    "Add": _each(operator.add),
    "Sub": _each(operator.sub),
    "Mul": _each(operator.mul),
    "Div": _each(operator.floordiv),  # of sizes, none of which is negative
    "Mod": _each(operator.mod),
    "Min": _each("min"),
    "Max": _each("max"),
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Cast": _cast,
    "Identity": _same,
    "ReduceProd": _product,
}
