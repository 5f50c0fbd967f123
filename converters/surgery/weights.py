"""The tensors that surgery changes: found from where they are read, and replaced without being read.

A weight is one of the author's tensors: a marked parameter, bound or not; in a model file that marks none, whatever
training makes (bind.is_trained). It is read directly, or through nodes that only lay it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir

from zoo.converters.graph import is_parameter, parameters
from zoo.converters.surgery.axes import Underivable

Array = np.ndarray[Any, Any]
LAYS_OUT = ("Identity", "Cast", "Transpose", "Unsqueeze", "Squeeze", "Reshape")
MAX_STEPS = 8  # layout nodes between a weight and its reader; exporters write one or two


class Read(NamedTuple):
    """A weight as an operand: `axes` has for each axis of the operand that of the weight, None for one of size 1."""

    weight: ir.Value
    axes: tuple[int | None, ...]
    nodes: tuple[ir.Node, ...]  # that lay it out, from the weight on


def is_weight(value: ir.Value, is_marked: bool) -> bool:
    """Whether a value is one of the author's tensors; `is_marked` says that the graph marks its parameters."""
    if is_marked or value.const_value is None:
        return is_parameter(value)
    tensor = value.const_value
    return value.is_initializer() and tensor.size > 1 and tensor.dtype.is_floating_point()


def has_marks(graph: ir.Graph) -> bool:
    """Whether the graph says which of its tensors are parameters."""
    return bool(parameters(graph))


def sizes(value: ir.Value) -> tuple[int, ...]:
    """The shape of a weight. Raises Underivable where it isn't known."""
    shape = value.shape if value.shape is not None else value.const_value.shape if value.const_value else None
    if shape is None or not all(isinstance(d, int) for d in shape):
        raise Underivable(f"the shape of {value.name!r} is not known")
    return tuple(int(d) for d in shape)  # type: ignore[arg-type]


def read(operand: ir.Value, shapes: Mapping[ir.Value, tuple[int, ...] | None], is_marked: bool) -> Read | None:
    """The weight behind an operand; None if it is none, or is computed from one by more than a layout.

    `shapes` has those of the values between the two.
    """
    nodes: list[ir.Node] = []
    value = operand
    while (producer := value.producer()) is not None:
        source = producer.inputs[0] if producer.inputs else None
        lays_out = producer.op_type in LAYS_OUT or (producer.op_type == "Gather" and _takes_rows(producer))
        if producer.domain or not lays_out or source is None or len(nodes) == MAX_STEPS:
            return None
        nodes.insert(0, producer)
        value = source
    if not is_weight(value, is_marked):
        return None
    axes = _traced(value, nodes, shapes)
    return None if axes is None else Read(value, axes, tuple(nodes))


def _takes_rows(gather: ir.Node) -> bool:
    """A look-up of all rows of a table in their order: position embeddings by constant position ids."""
    table, ids = gather.inputs[0], gather.inputs[1]
    if table is None or ids is None or ids.const_value is None or gather.attributes.get_int("axis", 0) != 0:
        return False
    rows, order = sizes(table)[0], ids.const_value
    return order.size == rows and np.array_equal(order.numpy().reshape(-1), np.arange(rows))


def _traced(
    weight: ir.Value, nodes: Sequence[ir.Node], shapes: Mapping[ir.Value, tuple[int, ...] | None]
) -> tuple[int | None, ...] | None:
    axes: tuple[int | None, ...] = tuple(range(len(sizes(weight))))
    have: list[int] = list(sizes(weight))
    for node in nodes:
        made = _layout(node, have, shapes.get(node.outputs[0]))
        if made is None:
            return None
        axes = tuple(None if i is None else axes[i] for i in made)
        have = [1 if i is None else have[i] for i in made]
    return axes


def _layout(node: ir.Node, have: Sequence[int], wanted: Sequence[int] | None) -> list[int | None] | None:
    """For each axis that a layout node makes of [have], that of its input; None if it mixes them."""
    if node.op_type in ("Identity", "Cast"):
        return list(range(len(have)))
    if node.op_type == "Transpose":
        return list(node.attributes.get_ints("perm", list(reversed(range(len(have))))))
    kept = [i for i, d in enumerate(have) if d != 1]
    if wanted is None or [have[i] for i in kept] != [d for d in wanted if d != 1]:
        return None
    left = iter(kept)
    return [None if d == 1 else next(left) for d in wanted]


def resized(shape: Sequence[int], axes: Mapping[int, int]) -> tuple[int, ...]:
    """A shape with some axes of other sizes."""
    return tuple(axes.get(i, d) for i, d in enumerate(shape))


def replace(weight: ir.Value, shape: Sequence[int], make: Callable[[Array], Array]) -> None:
    """Give a weight another shape, and values that `make` computes of the published ones when they are asked for."""
    tensor, dtype = weight.const_value, weight.dtype or ir.DataType.FLOAT
    weight.shape = ir.Shape(shape)
    if tensor is None:
        return
    name, had = weight.name, tensor.shape.numpy()

    def made() -> ir.TensorProtocol:
        array = np.ascontiguousarray(make(np.asarray(tensor.numpy()).reshape(had)))
        assert array.shape == tuple(shape), f"{name}: {array.shape} was made for {tuple(shape)}"
        return ir.tensor(array.astype(tensor.numpy().dtype, copy=False), dtype=dtype, name=name)

    weight.const_value = ir.LazyTensor(made, dtype=dtype, shape=ir.Shape(shape), name=name)
