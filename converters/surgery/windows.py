"""Rules of operators that move a window over a picture: convolutions, pools, the padding before them, and resizing.

Each raises Underivable where what it has baked in may or may not have meant the picture's size.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from zoo.converters.graph import module_path, modules
from zoo.converters.surgery.axes import Pair, Underivable
from zoo.converters.surgery.spread import Given, Spread, at, must

WINDOWS = {"Conv", "AveragePool", "MaxPool", "LpPool"}


def conv(spread: Spread, node: ir.Node) -> Given:
    """Over another picture; the weights of other channels are adapted. TensorFlow's padding depends on the size."""
    x, w = spread.pairs(must(node, 0)), spread.pairs(must(node, 1))
    group = node.attributes.get_int("group", 1)
    channels = (w[1][0] * group, w[1][1] * group) if node.op_type == "Conv" else w[0]
    if x[1][1] != channels[1]:
        if group != 1 or node.op_type != "Conv":
            raise Underivable(f"it has weights for {channels[0]} channels in {group} groups, not for {x[1][1]}")
        spread.adapted(node, 1, {1: x[1]})
    if node.op_type == "ConvTranspose":
        if "output_shape" in node.attributes and any(b != a for b, a in x[2:]):
            raise Underivable("the size that it gives is an attribute")
        return None
    _window(spread, node, [d[0] for d in w[2:]])
    return None


def pool(spread: Spread, node: ir.Node) -> Given:
    """Windows over another picture; a window over the whole of it would have to grow."""
    _window(spread, node, list(node.attributes.get_ints("kernel_shape", [])))
    return None


def _window(spread: Spread, node: ir.Node, kernel: Sequence[int]) -> None:
    """Check what depends on the picture's size: padding as TensorFlow has it, and one window for the whole."""
    x, out = spread.pairs(must(node, 0))[2:], spread.before.get(node.outputs[0])
    if all(before == after for before, after in x):
        return
    n = len(kernel)
    strides = list(node.attributes.get_ints("strides", [1] * n))
    dilations = list(node.attributes.get_ints("dilations", [1] * n))
    for i, (before, after) in enumerate(x):
        if before != after and before > 1 and out is not None and out[2 + i] == 1:
            raise Underivable(f"its window of {kernel[i]} is the whole picture, of {before}, and {after} has more")
    pad = must(node, 0).producer()
    if pad is not None and pad.op_type == "Pad" and not pad.domain:
        _same_padding(spread, node, pad, kernel, strides, dilations)
        return
    pads = list(node.attributes.get_ints("pads", [0] * 2 * n))
    for i, axis in enumerate(x):
        have = (pads[i], pads[n + i])
        if have[0] != have[1]:
            _kept(spread, node, axis, have, kernel[i], strides[i], dilations[i])


def _same_padding(
    spread: Spread, node: ir.Node, pad: ir.Node, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> None:
    """Pad before a window: as it is where it is fixed, made anew where the author's module says that it is `same`."""
    known = spread.known(at(pad, 1)) if len(pad.inputs) > 1 else list(pad.attributes.get_ints("pads", []))
    pictures = spread.pairs(must(pad, 0))
    rank = len(pictures)
    if len(pad.inputs) > 1 and spread.is_changed(must(pad, 1)):
        return  # the graph computes it
    if known is None or len(known) != 2 * rank:
        raise Underivable(f"how {pad.name or 'the node before'} pads is not known")
    wanted = list(known)
    for i, axis in enumerate(pictures[2:]):
        have = (known[2 + i], known[rank + 2 + i])
        if axis[0] != axis[1] and any(have):
            begin, end = _kept(spread, node, axis, have, kernel[i], strides[i], dilations[i])
            wanted[2 + i], wanted[rank + 2 + i] = begin, end
    if wanted != known:
        if len(pad.inputs) < 2 or len(pad.outputs[0].uses()) > 1:
            raise Underivable(f"the padding before it would have to be {wanted}")
        spread.set_input(pad, 1, wanted)
        spread.visit(pad)


def _kept(spread: Spread, node: ir.Node, axis: Pair, have: Pair, kernel: int, stride: int, dilation: int) -> Pair:
    """The padding of an axis: `have`, unless it is TensorFlow's `same` and that asks for another now."""
    if have != same(axis[0], kernel, stride, dilation) or (now := same(axis[1], kernel, stride, dilation)) == have:
        return have
    cls = modules(spread.model).get(module_path(node), ("", {}))[0].rpartition(".")[2]
    if cls.endswith("Same"):
        return now
    raise Underivable(
        f"its padding {have} is what TensorFlow's `same` gives for {axis[0]}, which is {now} for {axis[1]}"
    )


def same(size: int, kernel: int, stride: int, dilation: int) -> Pair:
    """TensorFlow's `same` padding of an axis: what keeps size / stride, rounded up; the odd one at the end.

    >>> same(224, 3, 2, 1), same(225, 3, 2, 1)
    ((0, 1), (1, 1))
    """
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def resize(spread: Spread, node: ir.Node) -> Given:
    """By factors: as it is. To sizes: those of axes that it leaves as they are follow; others can't be told."""
    sizes = at(node, 3)
    target = spread.known(sizes)
    if sizes is None or target == [] or (target is not None and spread.is_changed(sizes)):
        return None
    pairs = spread.pairs(must(node, 0))
    axes = list(node.attributes.get_ints("axes", range(len(pairs))))
    if target is None or len(target) != len(axes):
        raise Underivable("the sizes that it resizes to are not known")
    wanted = [pairs[a][1] if t == pairs[a][0] else t for a, t in zip(axes, target, strict=True)]
    for a, t in zip(axes, target, strict=True):
        if pairs[a][0] != pairs[a][1] and t != pairs[a][0]:
            raise Underivable(f"it resizes an axis of {pairs[a][0]} to {t}, and the axis becomes {pairs[a][1]}")
    if wanted != target:
        spread.set_input(node, 3, wanted)
    return None


def pad(spread: Spread, node: ir.Node) -> Given:
    """As it pads before; where a window follows, the window's rule looks at it again."""
    known = spread.known(at(node, 1)) if len(node.inputs) > 1 else list(node.attributes.get_ints("pads", []))
    if known is None:
        raise Underivable("how much it pads is not known")
    readers = {use.node.op_type for use in node.outputs[0].uses()}
    pairs = spread.pairs(must(node, 0))
    axes = spread.known(at(node, 3)) or list(range(len(pairs)))
    touched = [a for k, a in enumerate(axes) if known[k] or known[len(axes) + k]]
    if not readers <= WINDOWS and any(pairs[a][0] != pairs[a][1] for a in touched):
        raise Underivable("it pads up to a size that is not known here")
    return None
