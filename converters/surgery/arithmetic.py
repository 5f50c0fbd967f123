"""Rules of operators that compute: by element with broadcasting, products, norms, attention.

What has weights for as many places as an axis had can't take another size: each raises Underivable then, unless the
weights can be adapted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from zoo.converters.surgery.axes import Pair, Underivable
from zoo.converters.surgery.spread import Given, Spread, at, must


def fixed(*places: tuple[int, int]) -> Callable[[Spread, ir.Node], Given]:
    """A rule: these axes (input, axis) belong to weights of the operator, and may not change."""

    def rule(spread: Spread, node: ir.Node) -> Given:
        for i, axis in places:
            value = at(node, i)
            if value is None:
                continue
            changed = spread.changed_axes(value)
            place = axis % len(spread.pairs(value)) if spread.pairs(value) else 0
            if place in changed:
                raise Underivable(f"its weights are for {changed[place][0]} on axis {axis}, not {changed[place][1]}")
        return None

    return rule


def broadcast(spread: Spread, node: ir.Node) -> Given:
    """By element: an operand that kept the size that the others had is adapted, or does not fit."""
    _meet(spread, node, range(len(node.inputs)), skip=0)
    return None


def _meet(spread: Spread, node: ir.Node, operands: Sequence[int], skip: int) -> None:
    """Have operands broadcast to each other, save their last `skip` axes."""
    axes: dict[int, dict[int, Pair]] = {}
    for i in operands:
        value = node.inputs[i]
        if value is not None:
            pairs = spread.pairs(value)
            for back, pair in enumerate(reversed(pairs[: len(pairs) - skip]), 1 + skip):
                axes.setdefault(-back, {})[i] = pair
    wanted: dict[int, dict[int, Pair]] = {}
    for axis, pairs_of in axes.items():
        changed = {pair for pair in pairs_of.values() if pair[0] != pair[1]}
        if len(changed) > 1:
            raise Underivable(f"its operands become {sorted(after for _, after in changed)} on axis {axis}")
        for pair in changed:
            for i, other in pairs_of.items():
                if other[0] == other[1] and other[1] not in (1, pair[1]):
                    wanted.setdefault(i, {})[len(spread.pairs(must(node, i))) + axis] = pair
    for i, places in wanted.items():
        spread.adapted(node, i, places)


def matmul(spread: Spread, node: ir.Node) -> Given:
    """What is summed over must be of one size: a weight over positions can't be resized, one over channels can."""
    a, b = spread.pairs(must(node, 0)), spread.pairs(must(node, 1))
    left, right = a[-1], b[-2] if len(b) > 1 else b[-1]
    if left[1] != right[1]:
        if right[0] == right[1]:
            spread.adapted(node, 1, {max(len(b) - 2, 0): left})
        else:
            spread.adapted(node, 0, {len(a) - 1: right})
    _meet(spread, node, (0, 1), skip=2)
    return None


def gemm(spread: Spread, node: ir.Node) -> Given:
    """As matmul; the bias has one number a column, or one in all."""
    a, b = spread.pairs(must(node, 0)), spread.pairs(must(node, 1))
    inner_a = 0 if node.attributes.get_int("transA", 0) else 1
    inner_b = 1 if node.attributes.get_int("transB", 0) else 0
    if a[inner_a][1] != b[inner_b][1]:
        spread.adapted(node, 1, {inner_b: a[inner_a]})
    rows, columns = a[1 - inner_a][1], b[1 - inner_b][1]
    if (bias := at(node, 2)) is not None:
        shape = spread.after.get(bias) or ()
        if any(d not in (1, wanted) for d, wanted in zip(reversed(shape), (columns, rows), strict=False)):
            raise Underivable(f"its bias is {list(shape)}, and it gives {[rows, columns]}")
    return [(rows, columns)]


def linear(spread: Spread, node: ir.Node) -> Given:
    """zoo::Linear: X [..., K] by W [N, K]."""
    x, w = spread.pairs(must(node, 0)), spread.pairs(must(node, 1))
    if x[-1][1] != w[1][1]:
        spread.adapted(node, 1, {1: x[-1]})
    return [(*(after for _, after in x[:-1]), w[0][1])]


def attention(spread: Spread, node: ir.Node) -> Given:
    """The mask or bias over pairs of positions has their number twice, or 1."""
    mask = at(node, 3)
    if mask is None:
        return None
    q, k = (spread.pairs(must(node, i))[-2] for i in (0, 1))
    for place, want in zip((-2, -1), (q, k), strict=True):
        have = spread.pairs(mask)[place][1]
        if have not in (1, want[1]):
            spread.adapted(node, 3, {len(spread.pairs(mask)) + place: want})
    return None


def layer_norm(spread: Spread, node: ir.Node) -> Given:
    """The axes that are normalised have weights."""
    pairs = spread.pairs(must(node, 0))
    axis = node.attributes.get_int("axis", -1) % (len(pairs) or 1)
    return fixed(*((0, i) for i in range(axis, len(pairs))))(spread, node)


def quantised(spread: Spread, node: ir.Node) -> Given:
    """One scale for all, or one for each place on an axis, which then may not change."""
    scale = at(node, 1)
    if scale is None or not (spread.before.get(scale) or ()) or spread.before.get(scale) == (1,):
        return None
    if node.attributes.get_int("block_size", 0):
        raise Underivable("its scales are of blocks")
    return fixed((0, node.attributes.get_int("axis", 1)))(spread, node)


def einsum(spread: Spread, node: ir.Node) -> Given:
    """Each letter has one size."""
    equation = node.attributes.get_string("equation", "").replace(" ", "")
    terms = equation.partition("->")[0].split(",")
    if "." in equation or len(terms) != len(node.inputs):
        raise Underivable(f"its equation {equation!r} is not followed here")
    found: dict[str, set[int]] = {}
    for i, term in enumerate(terms):
        for letter, (_, after) in zip(term, spread.pairs(must(node, i)), strict=True):
            found.setdefault(letter, set()).add(after)
    if odd := next((letter for letter, sizes in found.items() if len(sizes - {1}) > 1), None):
        raise Underivable(f"{odd!r} of its equation {equation!r} would be {sorted(found[odd])}")
    return None
