"""ONNX's sequences and optionals: lists, and None where an optional holds nothing, while the graph is walked."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.converters.writers.mxnet import lowers
from zoo.converters.writers.mxnet.tensor import parts
from zoo.errors import HubError

Value = Any


@lowers("SequenceConstruct")
def sequence_construct(w: Any, *inputs: Value) -> Value:
    """The tensors as a list."""
    return list(inputs)


@lowers("SequenceEmpty")
def sequence_empty(w: Any, *, dtype: int | None = None) -> Value:
    """A list without items."""
    return []


@lowers("SequenceAt")
def at(w: Any, input_sequence: Value, position: Value) -> Value:
    """One item; a negative position counts from the end."""
    return input_sequence[_position(w, position, len(input_sequence), 0)]


@lowers("SequenceInsert")
def insert(w: Any, input_sequence: Value, tensor: Value, position: Value = None) -> Value:
    """A copy with an item before a position, or at the end without one."""
    n = len(input_sequence)
    i = n if position is None else _position(w, position, n, 1)
    return [*input_sequence[:i], tensor, *input_sequence[i:]]


@lowers("SequenceErase")
def erase(w: Any, input_sequence: Value, position: Value = None) -> Value:
    """A copy without the item at a position, the last one by default."""
    n = len(input_sequence)
    i = n - 1 if position is None else _position(w, position, n, 0)
    return [*input_sequence[:i], *input_sequence[i + 1 :]]


def _position(w: Any, position: Value, count: int, behind: int) -> int:
    """A place in a sequence, counted from its begin. Raises HubError outside."""
    i: int = w.number(position)
    if not -count <= i < count + behind:
        raise HubError(f"{w.name}: position {i} of a sequence of {count}")
    return i + count if i < 0 else i


@lowers("SequenceLength")
def length(w: Any, input_sequence: Value) -> Value:
    """How many items there are."""
    return np.array(len(input_sequence), dtype=np.int64)


@lowers("SplitToSequence")
def split_to_sequence(w: Any, input: Value, split: Value = None, *, axis: int = 0, keepdims: int = 1) -> Value:  # noqa: A002
    """Parts along an axis: of given sizes, of one size (the last may be smaller), or single ones."""
    along = axis % w.rank(0)
    count = w.whole(0)[along]
    if split is None or not w.concrete(split).ndim:
        step = 1 if split is None else w.number(split)
        lengths = [min(step, count - start) for start in range(0, count, step)]
    else:
        lengths = w.ints(split)
    made = parts(w, input, lengths, along)
    return made if split is not None or keepdims else [w.np.squeeze(part, axis=along) for part in made]


@lowers("ConcatFromSequence")
def concat_from_sequence(w: Any, input_sequence: Value, *, axis: int, new_axis: int = 0) -> Value:
    """All items, one behind the other along an axis, or stacked along a new one."""
    function = w.np.stack if new_axis else w.np.concatenate
    return function(list(input_sequence), axis=axis)


@lowers("Optional")
def optional(w: Any, input: Value = None, *, type: Any = None) -> Value:  # noqa: A002
    """An optional that holds the input, or nothing."""
    return input


@lowers("OptionalHasElement")
def optional_has_element(w: Any, input: Value = None) -> Value:  # noqa: A002
    """Whether there is an element."""
    return np.array(input is not None)


@lowers("OptionalGetElement")
def optional_get_element(w: Any, input: Value) -> Value:  # noqa: A002
    """The element. Raises HubError if there is none."""
    if input is None:
        raise HubError(f"{w.name}: the element of an optional that has none")
    return input
