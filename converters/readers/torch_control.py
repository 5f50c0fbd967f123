"""Branches and loops whose course is known when the model runs alone: If and Loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers.scribe import Fault, Scribe
from zoo.converters.readers.torch_aten import COUNT, GUARDS, KINDS, Ref, Sym, scalar

Branch = Callable[[Scribe], Sequence[Any]]


class Raised(Fault):
    """The program raises an exception here: whoever has a choice takes the other way."""


@contextmanager
def guarded() -> Iterator[None]:
    """While a body is written, what is older than it may not change."""
    GUARDS.append(next(COUNT))
    try:
        yield
    finally:
        GUARDS.pop()


def branched(op: Scribe, truth: Any, yes: Branch, no: Branch, *, nothing: Any = None) -> list[Any]:
    """What one of two branches gives, each of which writes into a body of its own. `nothing` stands for any value.

    A branch that only raises is not taken: a graph has no exceptions, and its author meant never to get there.
    """
    if isinstance(truth, bool | int):
        return list((yes if truth else no)(op))
    made = [(branch, op.within()) for branch in (yes, no)]
    left = [_tried(branch, body) for branch, body in made]
    (_, first), (_, second) = made
    one, other = left
    if one is None or other is None:
        if one is other:
            raise Raised("every way raises an exception")
        return list((no if one is None else yes)(op))  # once more, into the graph itself
    if len(one) != len(other):
        raise Fault("two branches that give other numbers of values")
    kept: list[Any] = []
    outputs: list[tuple[int, ir.Value, ir.Value, str | None]] = []  # place, then, else, kind of number
    for i, (a, b) in enumerate(zip(one, other, strict=True)):
        if a is b or _is_same(a, b):
            kept.append(a)
            continue
        kept.append(None)
        a, b = (b if a is nothing and nothing is not None else a), (a if b is nothing and nothing is not None else b)
        kind = _kind(a, b)
        then, otherwise = _values(first, second, a, b, one[i] is nothing, other[i] is nothing, kind)
        outputs.append((i, then, otherwise, kind))
    if not outputs:
        return kept
    condition = op.Reshape(scalar(op, _plain(truth), ir.DataType.BOOL), op.vector([]))
    bodies = [
        ir.Graph([], [then for _, then, _, _ in outputs], nodes=first.nodes, name=op.unique("then")),
        ir.Graph([], [otherwise for _, _, otherwise, _ in outputs], nodes=second.nodes, name=op.unique("else")),
    ]
    results = op.If(condition, then_branch=bodies[0], else_branch=bodies[1], outputs=len(outputs))
    for (i, a, b, kind), result in zip(outputs, results if isinstance(results, tuple) else (results,), strict=True):
        result.dtype = a.dtype
        if a.shape is not None and b.shape is not None and len(a.shape) == len(b.shape):
            both = zip(a.shape, b.shape, strict=True)
            result.shape = ir.Shape([m if isinstance(m, int) and m == n else None for m, n in both])
        op.note(result)
        kept[i] = Ref(result) if kind is None else Sym(result, kind)
    return kept


def _tried(branch: Branch, body: Scribe) -> list[Any] | None:
    """What a branch gives; None where it raises."""
    try:
        with guarded():
            return list(branch(body))
    except Raised:
        return None


def _plain(value: Any) -> Any:
    return value.value() if isinstance(value, Ref) else value


def _values(
    first: Scribe, second: Scribe, a: Any, b: Any, skips_a: bool, skips_b: bool, kind: str | None
) -> tuple[ir.Value, ir.Value]:
    """A value as the outputs of both bodies; where one has none, a zero like the other's stands in it."""
    one = None if skips_a else _value(first, a, kind)
    other = None if skips_b else _value(second, b, kind)
    if one is None and other is not None:
        one = _blank(first, other)
    elif other is None and one is not None:
        other = _blank(second, one)
    assert one is not None and other is not None
    return one, other


def _blank(op: Scribe, like: ir.Value) -> ir.Value:
    rank = len(like.shape) if like.shape is not None else 0
    return op.const(np.zeros([1] * rank), (like.dtype or ir.DataType.FLOAT).numpy())


def _is_same(a: Any, b: Any) -> bool:
    plain = (bool, int, float, str, type(None))
    if isinstance(a, list | tuple) and type(a) is type(b) and len(a) == len(b):
        return all(x is y or _is_same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and isinstance(a, plain) and bool(a == b)


def _kind(a: Any, b: Any) -> str | None:
    """The kind of a number; None for a tensor. Raises Fault for what a graph can't choose between."""
    kinds = [v.kind if isinstance(v, Sym) else type(v).__name__ for v in (a, b)]
    if all(isinstance(v, Ref) for v in (a, b)):
        return None
    if all(kind in KINDS for kind in kinds):
        return kinds[0] if kinds[0] == kinds[1] else "float"
    raise Fault("a choice, when the model runs, between values that are no tensors", is_refusal=True)


def _value(op: Scribe, value: Any, kind: str | None) -> ir.Value:
    """A value as an output of a body, made in it."""
    found = value.value() if kind is None else scalar(op, value, KINDS[kind])
    return op.Identity(found)  # type: ignore[no-any-return]


def looped(
    op: Scribe,
    trips: Any,
    condition: Any,
    states: Sequence[Any],
    step: Callable[[Scribe, Any, Sequence[Any]], tuple[Any, Sequence[Any]]],
) -> list[Any]:
    """What is left of `states` after steps `(op, iteration, states) -> (goes on, states)`.

    `trips` is the most steps, or None; `condition` whether to begin. States are tensors and numbers.
    """
    kinds = [_kind(state, state) for state in states]
    begin = [s.value() if k is None else scalar(op, s, KINDS[k]) for s, k in zip(states, kinds, strict=True)]
    free = False
    for _ in range(2):  # at first the states' shapes are taken to stay; if they don't, nothing is known of them
        try:
            return _loop(op, trips, condition, begin, kinds, step, free=free)
        except _Reshaped:
            free = True
    raise Fault("a loop whose states change their number of axes", is_refusal=True)


class _Reshaped(Exception):
    """A state's shape changes from step to step."""


def _loop(
    op: Scribe,
    trips: Any,
    condition: Any,
    begin: Sequence[ir.Value],
    kinds: Sequence[str | None],
    step: Callable[[Scribe, Any, Sequence[Any]], tuple[Any, Sequence[Any]]],
    *,
    free: bool,
) -> list[Any]:
    body = op.within()
    count = ir.Value(name=op.unique("iteration"), type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([]))
    going = ir.Value(name=op.unique("going"), type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([]))
    inside = []
    for value in begin:
        shape = value.shape
        if free and shape is not None:
            shape = ir.Shape([None] * len(shape))
        inside.append(ir.Value(name=op.unique("state"), type=value.type, shape=shape))
    for value in (count, going, *inside):
        body.note(value)
    wrapped = [Ref(v) if k is None else Sym(v, k) for v, k in zip(inside, kinds, strict=True)]
    with guarded():
        goes_on, after = step(body, Sym(count, "int"), wrapped)
    ends = []
    for value, kind, before in zip(after, kinds, inside, strict=True):
        made = _value(body, value, kind)
        if before.dtype != made.dtype:
            made = body.cast(made, before.dtype or ir.DataType.FLOAT)
        if not free and before.shape is not None and (made.shape is None or list(made.shape) != list(before.shape)):
            raise _Reshaped
        if made.shape is not None and before.shape is not None and len(made.shape) != len(before.shape):
            raise _Reshaped
        ends.append(made)
    truth = body.Identity(scalar(body, _plain(goes_on), ir.DataType.BOOL))
    graph = ir.Graph([count, going, *inside], [truth, *ends], nodes=body.nodes, name=op.unique("body"))
    most = None if trips is None else scalar(op, trips, ir.DataType.INT64)
    first = None if condition is True else scalar(op, condition, ir.DataType.BOOL)
    results = op.Loop(most, first, *begin, body=graph, outputs=len(begin))
    found = []
    for value, kind, before in zip(results if isinstance(results, tuple) else (results,), kinds, inside, strict=True):
        value.dtype, value.shape = before.dtype, before.shape
        op.note(value)
        found.append(Ref(value) if kind is None else Sym(value, kind))
    return found
