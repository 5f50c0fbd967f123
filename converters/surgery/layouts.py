"""Rules of operators that lay values out, and have sizes baked in as constants: Reshape, Concat, Slice and their like.

Each raises Underivable where the new constant doesn't follow.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx_ir as ir

from zoo.converters.surgery.axes import Pair, Underivable, reshaped
from zoo.converters.surgery.spread import Dims, Given, Spread, at, must

END = 2**63 - 1  # as a Slice's end: all the rest


def reshape(spread: Spread, node: ir.Node) -> Given:
    """The target of a Reshape: what its input's axes, merged and split as before, are now."""
    x, shape, out = must(node, 0), must(node, 1), node.outputs[0]
    have, made = spread.pairs(x), spread.before.get(out)
    if made is None:
        raise Underivable("the shape that it gives is not known")
    pairs = reshaped(have, made, spread.structures)
    after = [pair[1] for pair in pairs]
    allow_zero = bool(node.attributes.get_int("allowzero", 0))
    known = spread.known_after.get(shape)
    target = None if known is None else [int(i) for i in known.reshape(-1)]
    if target is None or _resolved(target, [p[1] for p in have], allow_zero) != after:
        spread.set_input(node, 1, _target(after, [p[1] for p in have], spread.names.values()))
        if allow_zero:
            node.attributes["allowzero"] = ir.AttrInt64("allowzero", 0)
    return [tuple(after)]


def _resolved(target: Sequence[int], x: Sequence[int], allow_zero: bool) -> list[int] | None:
    """The shape that a target means for an input of shape `x`; None if it doesn't fit."""
    out = [x[i] if t == 0 and not allow_zero and i < len(x) else t for i, t in enumerate(target)]
    total, rest = 1, 1
    for d in x:
        total *= d
    for d in out:
        rest *= 1 if d == -1 else d
    if -1 in out:
        if out.count(-1) > 1 or rest == 0 or total % rest:
            return None
        out[out.index(-1)] = total // rest
    return out if rest == total or -1 in target else None


def _target(out: Sequence[int], x: Sequence[int], primes: Collection[int]) -> list[int]:
    """A Reshape's target for a shape: numbers, 0 for a free size in its place, and -1 for one more."""
    is_free = [any(d % prime == 0 for prime in primes) for d in out]
    target = list(out)
    for i, is_one in enumerate(is_free):
        if is_one:
            target[i] = 0 if i < len(x) and x[i] == out[i] else -1
    if target.count(-1) > 1:
        raise Underivable("it gives more than one free size")
    if target.count(-1) == 0 and target.count(0) == 1:
        target[target.index(0)] = -1
    return target


def flatten(spread: Spread, node: ir.Node) -> Given:
    """Two merges."""
    x = must(node, 0)
    pairs, made = spread.pairs(x), spread.before.get(node.outputs[0])
    if made is None:
        raise Underivable("the shape that it gives is not known")
    return [tuple(pair[1] for pair in reshaped(pairs, made, spread.structures))]


def concat(spread: Spread, node: ir.Node) -> Given:
    """The joined axis is the sum; the others must still be the same."""
    values = [v for v in node.inputs if v is not None]
    axis = node.attributes.get_int("axis", 0)
    pairs = [spread.pairs(v) for v in values]
    axis %= len(pairs[0]) or 1
    spread.structures.joined([p[axis] for p in pairs])
    for i in range(len(pairs[0])):
        if i != axis and len({p[i][1] for p in pairs}) > 1:
            raise Underivable(f"what it joins becomes {sorted({p[i][1] for p in pairs})} on axis {i}")
    return None


def expand(spread: Spread, node: ir.Node) -> Given:
    """A target that states the input's own size states the new one."""
    pairs, target = spread.pairs(must(node, 0)), spread.known(at(node, 1))
    after = spread.known_after.get(must(node, 1))
    if target is None or after is None:
        raise Underivable("the shape that it expands to is not known")
    numbers = [int(i) for i in after.reshape(-1)]
    for back, pair in enumerate(reversed(pairs), 1):
        if pair[0] != pair[1] and back <= len(numbers) and numbers[-back] not in (1, pair[1]):
            if target[-back] != pair[0]:
                raise Underivable(f"it expands an axis of {pair[1]} to {numbers[-back]}")
            numbers[-back] = 1
    if numbers != [int(i) for i in after.reshape(-1)]:
        spread.set_input(node, 1, numbers)
    return None


def gather(spread: Spread, node: ir.Node) -> Given:
    """Places of an axis that grows: those that are fixed at its ends (a class token), or all of them in their order."""
    data, indices = must(node, 0), must(node, 1)
    pairs = spread.pairs(data)
    axis = node.attributes.get_int("axis", 0) % (len(pairs) or 1)
    before, after = pairs[axis]
    if before == after:
        return None
    wanted = spread.known(indices)
    if wanted is None or spread.is_changed(indices):
        raise Underivable(f"it takes places of an axis of {before} that are not known here")
    if wanted == list(range(before)):
        shape = spread.before.get(indices) or ()
        if sum(d != 1 for d in shape) > 1:
            raise Underivable(f"it takes all {before} places of an axis in a grid")
        spread.set_input(node, 1, list(range(after)))
        index = must(node, 1)
        if len(shape) != 1:
            _as_shape(index, tuple(after if d == before else d for d in shape), spread)
        return None
    leading, trailing = spread.structures.fixed_ends((before, after))
    if any(not (0 <= i < leading or -trailing <= i < 0) for i in wanted):
        raise Underivable(f"it takes place {wanted[0]} of an axis of {before}, which becomes {after}")
    return None


def _as_shape(value: ir.Value, shape: Dims, spread: Spread) -> None:
    """Give a new constant another shape."""
    assert value.const_value is not None
    array = value.const_value.numpy().reshape(shape)
    value.const_value, value.shape = ir.tensor(array, name=value.name), ir.Shape(shape)
    spread.before[value] = spread.after[value] = shape
    spread.known_before[value] = spread.known_after[value] = array


def slice_(spread: Spread, node: ir.Node) -> Given:
    """A slice of a changed axis: from a fixed beginning, to its end."""
    pairs = spread.pairs(must(node, 0))
    given = _slices(spread, node, len(pairs))
    if given is None:
        if spread.changed_axes(must(node, 0)):
            raise Underivable("where it cuts is not known")
        return None
    ends, changed = list(given[1]), False
    for k, (start, end, axis, step) in enumerate(zip(*given, strict=True)):
        before, after = pairs[axis]
        if before == after:
            continue
        ends[k] = _end(spread, pairs[axis], start, end, step)
        changed |= ends[k] != end
        _note_rest(spread, pairs[axis], start, ends[k], step)
    if changed:
        if len(node.inputs) < 3:
            raise Underivable("its ends are attributes")
        spread.set_input(node, 2, ends)
    return None


def _slices(spread: Spread, node: ir.Node, rank: int) -> tuple[list[int], ...] | None:
    """(starts, ends, axes, steps) of a Slice, of any opset; None where they aren't constant."""
    if len(node.inputs) < 3:
        starts, ends = list(node.attributes.get_ints("starts", [])), list(node.attributes.get_ints("ends", []))
        axes = list(node.attributes.get_ints("axes", range(len(starts))))
        return starts, ends, [a % rank for a in axes], [1] * len(starts)
    found = [spread.known(at(node, i)) for i in range(1, 5)]
    if found[0] is None or found[1] is None:
        return None
    n = len(found[0])
    for i, default in ((2, list(range(n))), (3, [1] * n)):
        if at(node, i + 1) is None:
            found[i] = default
    if any(f is None for f in found):
        return None
    starts, ends, axes, steps = (f or [] for f in found)
    return starts, ends, [a % rank for a in axes], steps


def _end(spread: Spread, axis: Pair, start: int, end: int, step: int) -> int:
    """The end of a slice of a changed axis; raises Underivable where it may have meant a part of the old one."""
    before, after = axis
    leading, _ = spread.structures.fixed_ends(axis)
    if step < 0:
        if start in (-1, before - 1) and end <= -before:
            if start == before - 1 > 0:
                raise Underivable(f"it runs backwards from {start} of {before}")
            return end
        raise Underivable(f"it runs backwards over an axis of {before}, which becomes {after}")
    if start > leading and not 0 <= start < step:
        raise Underivable(f"it starts at {start} of {before}, which becomes {after}")
    if end >= before:
        return END
    if end < 0 or end <= leading:
        return end
    raise Underivable(f"it ends at {end} of {before}, which becomes {after}")


def _note_rest(spread: Spread, axis: Pair, start: int, end: int, step: int) -> None:
    """What is left behind a class token is the grid: remember what it is made of."""
    leading, _ = spread.structures.fixed_ends(axis)
    if step == 1 and end == END and 0 < start <= leading:
        parts, cut = list(spread.structures.parts(axis)), start
        while cut:
            part = parts.pop(0)
            if part[0] > cut:
                parts.insert(0, (part[0] - cut, part[0] - cut))
            cut = max(cut - part[0], 0)
        spread.structures.joined(parts)


def split(spread: Spread, node: ir.Node) -> Given:
    """A split of a changed axis: along what it was joined of."""
    pairs = spread.pairs(must(node, 0))
    axis = node.attributes.get_int("axis", 0) % (len(pairs) or 1)
    if pairs[axis][0] == pairs[axis][1]:
        return None
    given = spread.known(at(node, 1)) if len(node.inputs) > 1 else list(node.attributes.get_ints("split", []))
    parts = spread.structures.parts(pairs[axis])
    if not given or len(node.inputs) < 2 or given != [before for before, _ in parts]:
        raise Underivable(f"it splits an axis of {pairs[axis][0]}, which becomes {pairs[axis][1]}")
    spread.set_input(node, 1, [after for _, after in parts])
    return None
