"""Another number of input channels: the stem's weights summed or repeated, as timm does it.

For one channel the weights of all are summed, so that a grey picture gives what the same picture gives in colour. For
more they are repeated (R G B R ...), cut to the new number and scaled by old / new, so that the sum keeps its size
(timm.models.adapt_input_conv). Everything that reads the picture's channels by a weight is adapted; where they are read
otherwise (one by one, or with a constant each) the change is refused, since nobody can tell what it should be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from zoo.converters.graph import data_inputs
from zoo.converters.surgery import rules
from zoo.converters.surgery.axes import Pair
from zoo.converters.surgery.spread import Misfit, Spread
from zoo.converters.surgery.stretch import stretch
from zoo.converters.surgery.weights import Array, read, replace, resized, sizes
from zoo.errors import UsageError

CHANNELS = (1, 2, 3, 4)  # of pictures


def picture(graph: ir.Graph, what: str) -> tuple[ir.Value, int, tuple[int, int]]:
    """The input that is a picture: [N, C, H, W], [N, H, W, C] or [N, C, T, H, W]; its channel axis; height and width.

    Raises UsageError, naming `what` was asked for, where there is none or are several.
    """
    inputs = data_inputs(graph)
    found = [value for value in inputs if value.shape is not None and len(value.shape) in (4, 5)]
    if len(found) != 1:
        have = ", ".join(f"{v.name!r} {v.shape or ''}" for v in inputs)
        raise UsageError(f"{what} is for a model that takes one picture, and {graph.name!r} takes {have or 'nothing'}")
    shape = list(found[0].shape or ())
    last = len(shape) - 1
    if shape[1] not in CHANNELS and shape[last] in CHANNELS:
        return found[0], last, (last - 2, last - 1)
    return found[0], 1, (last - 1, last)


def change_channels(model: ir.Model, count: int) -> None:
    """Let a model take pictures of `count` channels, in place. Raises UsageError that names what can't."""
    value, axis, _ = picture(model.graph, "in_chans=")
    spread = Spread(model)
    dims, have = spread.before[value], list(value.shape or ())[axis]
    if dims is None or not isinstance(have, int):
        raise UsageError(f"in_chans=: {model.graph.name!r} does not say how many channels {value.name!r} has")
    if have == count:
        return
    try:
        spread.run({value: resized(dims, {axis: count})}, rules.apply, _adapt)
    except Misfit as error:
        problem = f"in_chans={count}: {model.graph.name!r} is made for {have} channels, and they are fixed in"
        raise UsageError(f"{problem} {error.message}") from error


def _adapt(spread: Spread, node: ir.Node, i: int, axes: Mapping[int, Pair]) -> bool:
    return _weight(spread, node, i, axes) or stretch(spread, node, i, axes)


def _weight(spread: Spread, node: ir.Node, i: int, axes: Mapping[int, Pair]) -> bool:
    """The weight of a convolution or a product over channels, at that many of them."""
    operand = node.inputs[i]
    found = read(operand, spread.before, spread.is_marked) if operand is not None and i == 1 else None
    if found is None or len(axes) != 1 or node.op_type not in ("Conv", "MatMul", "Gemm", "Linear", "LinearNoBias"):
        return False
    ((place, pair),) = axes.items()
    axis, factors = found.axes[place], spread.structures.factors(pair)
    changed = [k for k, (before, after) in enumerate(factors) if before != after]
    if axis is None or len(changed) != 1:
        return False
    before, after = [b for b, _ in factors], factors[changed[0]][1]
    shape = sizes(found.weight)

    def made(published: Array) -> Array:
        split = published.reshape(*shape[:axis], *before, *shape[axis + 1 :])
        return adapted(split, axis + changed[0], after).reshape(resized(shape, {axis: pair[1]}))

    replace(found.weight, resized(shape, {axis: pair[1]}), made)
    spread.changed_weight(found.weight, resized(shape, {axis: pair[1]}), found.nodes)
    return True


def adapted(weight: Array, axis: int, count: int) -> Array:
    """A weight for `count` channels on an axis: summed for one, else repeated, cut and scaled; in float32 and back.

    >>> adapted(np.array([[1.0, 2.0, 3.0]]), 1, 2)
    array([[1.5, 3. ]])
    """
    wide: Array = weight if weight.dtype == np.float64 else weight.astype(np.float32)
    have = weight.shape[axis]
    if count == 1:
        return np.asarray(wide.sum(axis=axis, keepdims=True).astype(weight.dtype))
    repeated = np.concatenate([wide] * math.ceil(count / have), axis=axis).take(range(count), axis=axis)
    return np.asarray((repeated * wide.dtype.type(have / count)).astype(weight.dtype))
