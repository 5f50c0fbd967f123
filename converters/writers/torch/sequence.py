"""ONNX's sequences and optionals: a sequence is a list of Python's, an optional that holds nothing is None."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
import torch

from zoo.converters.writers.torch import lowers
from zoo.converters.writers.torch.sizes import Sizes
from zoo.errors import HubError

Value = Any


def sequence(*items: Any) -> list[Any]:
    """The items as a list."""
    return list(items)


def sequence_at(items: Sequence[Any], position: int) -> Any:
    """The item at a position; a negative one counts from the end. IndexError outside."""
    return items[int(position)]


def sequence_insert(items: Sequence[Any], item: Any, position: int | None = None) -> list[Any]:
    """A copy with an item before a position, or at the end without one. IndexError outside of [-n, n]."""
    at = len(items) if position is None else int(position)
    if not -len(items) <= at <= len(items):
        raise IndexError(f"an item at {at} of a sequence of {len(items)}")
    made = list(items)
    made.insert(at, item)
    return made


def sequence_erase(items: Sequence[Any], position: int = -1) -> list[Any]:
    """A copy without the item at a position, the last one by default. IndexError outside of [-n, n)."""
    made = list(items)
    del made[int(position)]
    return made


def has_element(value: Any, device: torch.device | None = None) -> torch.Tensor:
    """Whether an optional holds something."""
    return torch.tensor(value is not None, device=device)


def element(value: Any) -> Any:
    """What an optional holds. ValueError if that is nothing."""
    if value is None:
        raise ValueError("the element of an optional that has none")
    return value


@lowers("SequenceConstruct")
def sequence_construct(w: Any, *inputs: Value) -> Value:
    """The tensors as a list."""
    return w.function(sequence, *(w.as_tensor(i, x) for i, x in enumerate(inputs)))


@lowers("SequenceEmpty")
def sequence_empty(w: Any, *, dtype: int | None = None) -> Value:
    """A list without items."""
    return w.function(sequence)


@lowers("SequenceAt")
def at(w: Any, input_sequence: Value, position: Value) -> Value:
    """One item."""
    return w.function(sequence_at, input_sequence, w.number(position))


@lowers("SequenceInsert")
def insert(w: Any, input_sequence: Value, tensor: Value, position: Value = None) -> Value:
    """The list with one more item."""
    x = w.as_tensor(1, tensor)
    if position is None:
        return w.function(sequence_insert, input_sequence, x)
    return w.function(sequence_insert, input_sequence, x, w.number(position))


@lowers("SequenceErase")
def erase(w: Any, input_sequence: Value, position: Value = None) -> Value:
    """The list with one item less."""
    if position is None:
        return w.function(sequence_erase, input_sequence)
    return w.function(sequence_erase, input_sequence, w.number(position))


@lowers("SequenceLength")
def length(w: Any, input_sequence: Value) -> Value:
    """How many items there are."""
    return Sizes((w.function(len, input_sequence),), 0)


@lowers("SplitToSequence")
def split_to_sequence(w: Any, input: Value, split: Value = None, *, axis: int = 0, keepdims: int = 1) -> Value:  # noqa: A002
    """Parts along an axis: of given sizes, of one size (the last may be smaller), or single ones."""
    x = w.tensor_of(input)
    if split is None:
        parts = torch.split(x, 1, dim=axis) if keepdims else torch.unbind(x, dim=axis)
    else:
        parts = torch.split(x, split_sizes(w, split), dim=axis)
    return w.function(list, parts)


def split_sizes(w: Any, split: Value) -> Any:
    """The sizes of parts as a list, or the one size of all as an integer."""
    rank = len(w.shape_in(1)) if w.shape_in(1) is not None else None
    if rank is None:
        raise HubError("SplitToSequence whose `split` may be one number or several")
    if rank == 0:
        return w.number(split)
    known = w.known(split)
    return known.tolist() if known is not None else split.tolist()


@lowers("ConcatFromSequence")
def concat_from_sequence(w: Any, input_sequence: Value, *, axis: int, new_axis: int = 0) -> Value:
    """All items, one behind the other along an axis, or stacked along a new one."""
    return w.function(torch.stack if new_axis else torch.cat, input_sequence, dim=axis)


@lowers("Optional")
def optional(w: Any, input: Value = None, *, type: Any = None) -> Value:  # noqa: A002
    """An optional that holds the input, or nothing."""
    return w.as_tensor(0, input)


@lowers("OptionalHasElement")
def optional_has_element(w: Any, input: Value = None) -> Value:  # noqa: A002
    """Whether there is an element; known, but for what comes in as an optional."""
    if input is None or not _may_be_absent(w):
        return w.function(torch.tensor, input is not None, device=w.device())
    return w.function(has_element, input, w.device())


@lowers("OptionalGetElement")
def optional_get_element(w: Any, input: Value) -> Value:  # noqa: A002
    """The element; an error when the module runs and there is none."""
    return w.function(element, input) if _may_be_absent(w) else input


def _may_be_absent(w: Any) -> bool:
    value = w.value(0)
    return value is None or value.type is None or isinstance(value.type, ir.OptionalType)
