"""What nodes that only move elements do: tried out on an array that has a number of its own in each place.

So that a chain of Reshape, Transpose, Split and the like is known for what it does, however an exporter wrote it. Free
sizes are small numbers that differ from each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.fold import dims

Array = np.ndarray[Any, np.dtype[Any]]
FREE = (2, 3, 5, 7)  # what free sizes are
MOST = 1 << 22  # elements: no chain is tried on more


def sizes_for(*values: ir.Value) -> dict[str, int] | None:
    """A number for each free size of values; None where one is not known or there are too many."""
    found = dict.fromkeys(d for v in values for d in dims(v) or ("", "") if isinstance(d, str))
    return dict(zip(found, FREE, strict=False)) if len(found) <= len(FREE) and "" not in found else None


def numbered(shape: Sequence[int | str], sizes: Mapping[str, int]) -> Array | None:
    """An array of a shape, each element with its own number; None where it would be too large."""
    known = [d if isinstance(d, int) else sizes.get(d, 0) for d in shape]
    return np.arange(prod(known), dtype=np.int32).reshape(known) if 0 < prod(known) <= MOST else None


def moved(node: ir.Node, array: Array, sizes: Mapping[str, int]) -> list[Array] | None:
    """The outputs of a node that moves elements, of an array that it is given first; None of any other node."""
    move = MOVES.get(node.op_type) if not node.domain else None
    try:
        return None if move is None else move(node, array, sizes)
    except (ValueError, IndexError, TypeError):
        return None  # with these sizes it can't be done, or a number that it needs is not known


def _numbers(node: ir.Node, i: int) -> list[int] | None:
    """The integers of the i-th input. Raises TypeError where they are computed."""
    value = node.inputs[i] if i < len(node.inputs) else None
    if value is None:
        return None
    if value.const_value is None:
        raise TypeError
    return [int(n) for n in np.ravel(value.const_value.numpy())]


def _transpose(node: ir.Node, array: Array, sizes: Mapping[str, int]) -> list[Array]:
    return [array.transpose(node.attributes.get_ints("perm", range(array.ndim)[::-1]))]


def _reshape(node: ir.Node, array: Array, sizes: Mapping[str, int]) -> list[Array]:
    target = node.inputs[1]
    if target is not None and target.const_value is not None:
        wanted = _numbers(node, 1) or []
        return [array.reshape([array.shape[i] if n == 0 else n for i, n in enumerate(wanted)])]
    known = [d if isinstance(d, int) else sizes.get(d, -1) for d in dims(node.outputs[0]) or ()]
    return [array.reshape(known)]


def _squeeze(node: ir.Node, array: Array, sizes: Mapping[str, int]) -> list[Array]:
    axes = _numbers(node, 1)
    return [array.squeeze(None if axes is None else tuple(axes))]


def _unsqueeze(node: ir.Node, array: Array, sizes: Mapping[str, int]) -> list[Array]:
    return [np.expand_dims(array, tuple(_numbers(node, 1) or ()))]


def _slice(node: ir.Node, array: Array, sizes: Mapping[str, int]) -> list[Array]:
    starts, ends, axes, steps = (_numbers(node, i) for i in (1, 2, 3, 4))
    if starts is None or ends is None:
        raise TypeError
    at = [slice(None)] * array.ndim
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        step = steps[i] if steps else 1
        if start < 0 or end < start or step < 1:
            raise ValueError
        at[axes[i] if axes else i] = slice(start, end, step)
    return [array[tuple(at)]]


def _split(node: ir.Node, array: Array, sizes: Mapping[str, int]) -> list[Array]:
    axis, parts = node.attributes.get_int("axis", 0), _numbers(node, 1)
    return np.split(array, np.cumsum(parts)[:-1] if parts else len(node.outputs), axis)


def _gather(node: ir.Node, array: Array, sizes: Mapping[str, int]) -> list[Array]:
    value = node.inputs[1]
    if value is None or value.const_value is None:
        raise TypeError
    return [np.take(array, value.const_value.numpy(), node.attributes.get_int("axis", 0))]


MOVES = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
}
