"""The same elements along other axes, the batch staying where it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import onnx_ir as ir

from zoo.converters.fold import dims
from zoo.converters.writers.keras import lowers
from zoo.converters.writers.keras.layers.values import is_float, is_parameter, is_tensor, numbers, scalar
from zoo.converters.writers.keras.layers.windows import padded
from zoo.converters.writers.keras.parameters import Parameter

Value = Any


def drops(value: ir.Value, axes: Sequence[int]) -> ir.Node | None:
    """The node that drops these axes of size one of a value, and is all that reads it."""
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output() or uses[0].idx != 0 or uses[0].node.domain:
        return None
    node = uses[0].node
    have, want = dims(value), dims(node.outputs[0])
    if node.op_type not in ("Flatten", "Reshape", "Squeeze") or have is None:
        return None
    return node if want == tuple(d for i, d in enumerate(have) if i not in axes) else None


@lowers("Identity")
def identity(w: Any, input: Value) -> Value:  # noqa: A002
    """What it is given."""
    return input if is_tensor(input) or isinstance(input, Parameter) else None


@lowers("Transpose")
def transpose(w: Any, data: Value, *, perm: Sequence[int] | None = None) -> Value:
    """Permute, where the batch stays first; of a parameter another view."""
    if isinstance(data, Parameter):
        return data.transposed(*(perm or reversed(range(len(data.shape)))))
    order = list(perm or reversed(range(len(data.shape)))) if is_tensor(data) else []
    if len(order) < 3 or order[0] != 0 or not is_float(data):
        return None
    return w.layer(keras.layers.Permute, data, {"dims": tuple(order[1:])})


@lowers("Reshape")
def reshape(w: Any, data: Value, shape: Value, *, allowzero: int = 0) -> Value:
    """Reshape or Flatten, where the batch stays first; of a parameter another view."""
    return _reshaped(w, data)


@lowers("Flatten")
def flatten(w: Any, input: Value, *, axis: int = 1) -> Value:  # noqa: A002
    """All axes but the batch as one."""
    return _reshaped(w, input)


@lowers("Squeeze")
def squeeze(w: Any, data: Value, axes: Value = None) -> Value:
    """Axes of size one dropped."""
    return _reshaped(w, data)


@lowers("Unsqueeze")
def unsqueeze(w: Any, data: Value, axes: Value) -> Value:
    """Axes of size one put in."""
    return _reshaped(w, data)


def _reshaped(w: Any, x: Value) -> Value:
    """To the shape that the graph knows, if at most one of its sizes behind the batch is free."""
    have, want = dims(w.value(0)), dims(w.node.outputs[0])
    if have is None or want is None:
        return None
    if isinstance(x, Parameter):
        sizes = [d for d in want if isinstance(d, int)]
        return x.reshaped(*sizes) if len(sizes) == len(want) else None
    if not is_float(x) or not have or not want or have[0] != want[0] or 0 in (*have, *want):
        return None
    free = [i for i, d in enumerate(want) if isinstance(d, str) and i > 0]
    if len(free) > 1 or len(want) < 2:
        return None
    if len(want) == 2 and len(have) > 2:
        return w.layer(keras.layers.Flatten, x, {"data_format": "channels_last"})
    target = tuple(-1 if isinstance(d, str) else d for d in want[1:])
    return w.layer(keras.layers.Reshape, x, {"target_shape": target})


@lowers("Concat")
def concat(w: Any, *inputs: Value, axis: int) -> Value:
    """Tensors behind each other, along any axis but the batch."""
    if not all(map(is_float, inputs)) or len({len(x.shape) for x in inputs}) != 1:
        return None
    rank = len(inputs[0].shape)
    others = [{x.shape[i] for x in inputs} for i in range(rank) if i != axis % rank]
    if len(inputs) < 2 or axis % rank == 0 or any(len(sizes) > 1 for sizes in others):
        return None
    return w.layer(keras.layers.Concatenate, list(inputs), {"axis": axis if axis == -1 else axis % rank})


@lowers("Pad")
def pad(
    w: Any, data: Value, pads: Value, constant_value: Value = None, axes: Value = None, *, mode: str = "constant"
) -> Value:
    """Zeros around the places of [N, ..., C]."""
    found, which = numbers(pads), numbers(axes)
    if mode != "constant" or found is None or scalar(constant_value, 0.0) != 0.0 or not is_float(data):
        return None
    rank = len(data.shape)
    if axes is not None and which is None or rank not in (3, 4, 5):
        return None
    named = [a % rank for a in which] if which is not None else list(range(rank))
    pairs = [(0, 0)] * rank
    for i, axis in enumerate(named):
        pairs[axis] = found[i], found[len(named) + i]
    inner = pairs[1:-1]
    if any(pairs[0]) or any(pairs[-1]) or not any(map(any, inner)) or any(n < 0 for pair in inner for n in pair):
        return None
    return padded(w, data, inner) if not is_parameter(data) else None
