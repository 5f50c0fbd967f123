"""ONNX's sequences, optionals and maps: lists, None where an optional holds nothing, and dicts, when jax traces."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from zoo.converters.writers.jax import lowers
from zoo.converters.writers.jax.tensor import parts
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
    count = input.shape[axis]
    if split is None or split.ndim == 0:
        size = 1 if split is None else w.number(split)
        sizes = [min(size, count - start) for start in range(0, count, size)]
    else:
        sizes = w.ints(split)
    made = parts(input, sizes, axis) if sizes else []
    return made if split is not None or keepdims else [part.squeeze(axis) for part in made]


@lowers("ConcatFromSequence")
def concat_from_sequence(w: Any, input_sequence: Value, *, axis: int, new_axis: int = 0) -> Value:
    """All items, one behind the other along an axis, or stacked along a new one."""
    return (jnp.stack if new_axis else jnp.concatenate)(input_sequence, axis)


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


@lowers("ZipMap", "ai.onnx.ml")
def zip_map(
    w: Any,
    X: Value,
    *,
    classlabels_int64s: Sequence[int] | None = None,
    classlabels_strings: Sequence[str] | None = None,
) -> Value:
    """Scores by their classes' labels: each row of X [N, C], or X [C] itself, as a dict."""
    keys = list(classlabels_strings or classlabels_int64s or ())
    if not keys:
        raise HubError("ZipMap without labels")
    rows = X if X.ndim == 2 else X[None]
    return [dict(zip(keys, (row[i] for i in range(len(keys))), strict=True)) for row in rows]
