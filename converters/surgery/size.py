"""Another picture size: where the architecture leaves it free it is fixed; where it has one baked in, made anew.

Position embeddings are resampled on their grid, class and other tokens before it kept as they are (resample.py); pads,
targets and ends follow by rules.py. What a size has decided for good (windows and their masks, tables of relative
positions, layers over all positions) is refused by the name of its node.

The embeddings are those of timm's `resample_abs_pos_embed`: bicubic with antialiasing, centres aligned. torchvision's
`interpolate_embeddings` aligns the corners instead, and transformers leaves out the antialiasing: other numbers, of the
same quality before fine-tuning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import onnx_ir as ir

from zoo.converters.surgery import rules
from zoo.converters.surgery.axes import Pair, Underivable
from zoo.converters.surgery.resample import resample
from zoo.converters.surgery.spread import Misfit, Spread
from zoo.converters.surgery.stem import picture
from zoo.converters.surgery.stretch import stretch
from zoo.converters.surgery.weights import Array, read, replace, resized, sizes
from zoo.errors import UsageError


def change_size(model: ir.Model, size: tuple[int, int]) -> None:
    """Let a model take pictures of (height, width), in place. Raises UsageError that names what can't."""
    value, _, axes = picture(model.graph, "input_size=")
    spread = Spread(model)
    dims, had = spread.before[value], [list(value.shape or ())[axis] for axis in axes]
    if dims is None:
        raise UsageError(f"input_size=: the shape of {value.name!r} is not known")
    wanted = dict(zip(axes, size, strict=True))
    is_fixed = any(isinstance(d, int) and d != n for d, n in zip(had, size, strict=True))
    try:
        spread.run({value: resized(dims, wanted)}, rules.apply if is_fixed else None, _adapt)
    except Misfit as error:
        asked = f"input_size={size[0]}x{size[1]}: {model.graph.name!r}"
        if not is_fixed:
            raise UsageError(f"{asked} can't take it: {error.message}") from error
        made = " x ".join(str(d) for d in had)
        raise UsageError(
            f"{asked} is made for {made} and has that baked into {error.message}",
            hint=f"Resize the pictures to {made}, or take an architecture that leaves the size free.",
        ) from error


def _adapt(spread: Spread, node: ir.Node, i: int, axes: Mapping[int, Pair]) -> bool:
    return _embedding(spread, node, i, axes) or stretch(spread, node, i, axes)


def _embedding(spread: Spread, node: ir.Node, i: int, axes: Mapping[int, Pair]) -> bool:
    """A position embedding that is added: [..., T, C] over tokens, or a grid [..., h, w, ...], at the new grid.

    1. It is one of the author's tensors, and has besides positions at most one axis, of channels.
    2. Its positions are a grid of two axes that the picture's size changes, alone or between tokens that stay.
    """
    operand = node.inputs[i]
    found = read(operand, spread.before, spread.is_marked) if operand is not None else None
    if found is None or node.op_type != "Add":
        return False
    places = {found.axes[place]: pair for place, pair in axes.items()}
    if None in places:
        return False
    on = {axis: pair for axis, pair in places.items() if axis is not None}
    shape = sizes(found.weight)
    if sum(d != 1 for k, d in enumerate(shape) if k not in on) > 1:
        return False
    parts = _parts(spread, on)
    if parts is None:
        return False
    after = resized(shape, {axis: pair[1] for axis, pair in on.items()})

    def made(published: Array) -> Array:
        return _resampled(published, sorted(on), parts, after)

    replace(found.weight, after, made)
    spread.changed_weight(found.weight, after, found.nodes)
    return True


Parts = tuple[int, tuple[Pair, Pair], int]  # tokens before the grid, the grid's two axes, tokens after it


def _parts(spread: Spread, on: Mapping[int, Pair]) -> Parts | None:
    """What the positions are; None where they are no grid."""
    if len(on) == 2:
        (first, height), (second, width) = sorted(on.items())
        alone = [spread.structures.factors(p) == (p,) == spread.structures.parts(p) for p in (height, width)]
        return (0, (height, width), 0) if second == first + 1 and all(alone) else None
    if len(on) != 1:
        return None
    (axis,) = on.values()
    parts = spread.structures.parts(axis)
    changed = [k for k, (before, after) in enumerate(parts) if before != after]
    if len(changed) != 1:
        return None
    grid = spread.structures.factors(parts[changed[0]])
    if len(grid) != 2:
        raise Underivable(f"its {axis[0]} positions are not known to be a grid of two axes")
    before, after = (sum(part[0] for part in some) for some in (parts[: changed[0]], parts[changed[0] + 1 :]))
    return before, (grid[0], grid[1]), after


def _resampled(published: Array, axes: Sequence[int], parts: Parts, shape: tuple[int, ...]) -> Array:
    """The embedding at its new grid; `axes` are the positions' own."""
    first, ((h, height), (w, width)), last = parts
    assert all(b == a + 1 for a, b in pairwise(axes))
    front = np.moveaxis(published, axes, range(len(axes)))
    tokens = front.reshape(first + h * w + last, -1)
    grid = resample(tokens[first : first + h * w].reshape(h, w, -1), height, width).reshape(height * width, -1)
    made = np.concatenate([tokens[:first], grid, tokens[first + h * w :]])
    sizes_now = [shape[a] for a in axes] + [d for k, d in enumerate(shape) if k not in axes]
    return np.moveaxis(made.reshape(sizes_now), range(len(axes)), axes)
