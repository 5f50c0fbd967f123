"""Values that are the same at every place of an axis, at another size of it: masks that hide nothing, one mean for all.

An exporter computes such a value for the sizes that it saw, and leaves a constant or an Expand to numbers. What is the
same at all 17 places is so at 65; what differs from place to place can't be stretched.

    constant, equal along the axis       -> the same, as often as wanted
    Expand of an axis of size 1          -> to the wanted size
    f(a, b, ...), by element             -> f of its operands, stretched
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from zoo.converters.graph import constant, is_parameter
from zoo.converters.surgery.axes import Pair
from zoo.converters.surgery.spread import Spread
from zoo.converters.surgery.weights import resized

BY_ELEMENT = frozenset(
    (
        *("Add", "Sub", "Mul", "Div", "Where", "And", "Or", "Xor", "Not", "Equal", "Less", "Greater", "LessOrEqual"),
        *("GreaterOrEqual", "Cast", "CastLike", "Identity", "Neg", "Min", "Max"),
    )
)


def stretch(spread: Spread, node: ir.Node, i: int, axes: Mapping[int, Pair]) -> bool:
    """Let operand `i` of a node have the sizes after on `axes`, if it is the same at all places; whether it is."""
    value = node.inputs[i]
    dims = spread.after.get(value) if value is not None else None
    if value is None or dims is None or is_parameter(value) or node.op_type not in (*BY_ELEMENT, "Attention", "Expand"):
        return False
    maker = value.producer()
    wanted = resized(dims, {axis: after for axis, (_, after) in axes.items()})
    if maker is None:
        return _constant(spread, node, i, value, wanted)
    if maker.domain or spread.is_visited([use.node for use in value.uses() if use.node is not node]):
        return False
    if maker.op_type == "Expand":
        done = _expand(spread, maker, axes, len(dims))
    elif maker.op_type in BY_ELEMENT:
        done = all(
            stretch(spread, maker, k, on)
            for k, operand in enumerate(maker.inputs)
            if operand is not None and (on := _own(spread, operand, axes, len(dims)))
        )
    else:
        return False
    if done:
        spread.set_after(value, wanted)
    return done


def _own(spread: Spread, operand: ir.Value, axes: Mapping[int, Pair], rank: int) -> dict[int, Pair]:
    """The axes that an operand has itself, and does not broadcast."""
    dims = spread.after.get(operand) or ()
    places = {axis - rank + len(dims): pair for axis, pair in axes.items()}
    return {axis: pair for axis, pair in places.items() if axis >= 0 and dims[axis] == pair[0] != 1}


def _constant(spread: Spread, node: ir.Node, i: int, value: ir.Value, wanted: tuple[int, ...]) -> bool:
    tensor = value.const_value
    if tensor is None or value.is_graph_input():
        return False
    array = tensor.numpy()
    index = tuple(slice(0, 1) if have != want else slice(None) for have, want in zip(array.shape, wanted, strict=True))
    if not np.array_equal(array, np.broadcast_to(array[index], array.shape)):
        return False
    made = constant(spread.graph, f"{value.name}_stretched", np.broadcast_to(array[index], wanted).copy())
    node.replace_input_with(i, made)
    spread.before[made] = spread.before.get(value)
    spread.after[made] = wanted
    return True


def _expand(spread: Spread, maker: ir.Node, axes: Mapping[int, Pair], rank: int) -> bool:
    source, target = maker.inputs[0], maker.inputs[1]
    numbers = spread.numbers_after(target)
    if source is None or numbers is None:
        return False
    own = _own(spread, source, axes, rank)
    if own and not stretch(spread, maker, 0, own):
        return False
    for axis, (_, after) in axes.items():
        place = axis - rank + len(numbers)
        if place >= 0:
            numbers[place] = after
    spread.set_input(maker, 1, numbers)
    return True
