"""Rules of operators that say axes by number: the number is that of where the axis stands."""

from __future__ import annotations

import onnx_ir as ir

from zoo.converters.layout.forms import (
    Form,
    Operand,
    Rule,
    at,
    axes_of,
    given,
    of_all_axes,
    operand,
    rank,
    same,
    sizes,
    taken,
    vector,
)
from zoo.converters.layout.perms import Perm, among, own, without


def along(*inputs: int, default: int = -1, name: str = "axis") -> Rule:
    """The rule of an operator with one axis as an attribute; `inputs` have all its axes, without any each one has."""

    @of_all_axes
    def rule(node: ir.Node, perm: Perm, below: bool) -> Form | None:
        axis = node.attributes.get_int(name, default) % len(perm)
        return same(node, perm, inputs or range(len(node.inputs)), attributes={name: perm.index(axis)})

    return rule


@of_all_axes
def cumulative(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """CumSum and CumProd: the axis is an input."""
    axis = axes_of(node, 1, len(perm))
    return None if axis is None else same(node, perm, constants={1: perm.index(axis[0])})


@of_all_axes
def pad(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """Pads of all axes move with them, those before and those after; or those of the axes that are named."""
    n = len(perm)
    if at(node, 3) is None:
        return same(node, perm, picks={1: [*perm, *(n + a for a in perm)]})
    axes = axes_of(node, 3, n)
    return None if axes is None else same(node, perm, constants={3: [perm.index(a) for a in axes]})


@of_all_axes
def slice_(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """Without axes a Slice means the first ones."""
    axes = axes_of(node, 3, len(perm))
    starts = at(node, 1)
    if at(node, 3) is None and starts is not None and starts.shape is not None and isinstance(starts.shape[0], int):
        axes = list(range(starts.shape[0]))
    return None if axes is None else same(node, perm, constants={3: [perm.index(a) for a in axes]})


@of_all_axes
def resize(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """Scales or sizes of all axes move with them, and so do the two corners of a region; or those of named axes."""
    n = len(perm)
    if "axes" in node.attributes:
        axes = [perm.index(a % n) for a in node.attributes.get_ints("axes", [])]
        return same(node, perm, attributes={"axes": axes})
    picks = {1: [*perm, *(n + a for a in perm)], 2: perm, 3: perm}
    return same(node, perm, picks={i: order for i, order in picks.items() if vector(at(node, i)) != []})


@of_all_axes
def tile(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """Repeats are those of each axis."""
    return same(node, perm, picks={1: perm})


def expand(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """The input is broadcast to a shape, which moves with it."""
    x, target, n = at(node, 0), at(node, 1), len(perm)
    made = None if x is None or rank(node.outputs[0]) != n else operand(x, perm)
    if made is None or target is None or target.shape is None:
        return None
    form = Form((made.takes, None), (perm,), lined_up={0: perm} if made.lined_up else {})
    if target.shape[0] == n:
        return form._replace(picks={1: perm})
    numbers = vector(target)
    if numbers is None:
        return None
    numbers = [1] * (n - len(numbers)) + numbers
    return form._replace(constants={1: [numbers[a] for a in perm]})


def fewer(node: ir.Node, perm: Perm, below: bool, axes: list[int], keeps: bool, **changes: object) -> Form | None:
    """A form of a node whose output lacks some axes of its input, or has them with size 1."""
    n = rank(at(node, 0))
    if n < 0 or len(perm) != (n if keeps or not below else n - len(set(axes))):
        return None
    rest = [a for a in range(n) if a not in axes]
    above = among([rest[a] for a in perm], n) if below and not keeps else perm
    out = above if keeps else perm if below else without(perm, axes)
    takes = (above, *(None for _ in node.inputs[1:]))
    return Form(takes, tuple(out for _ in node.outputs), **changes)  # type: ignore[arg-type]


def reduce(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """A reduction over axes takes them in any order."""
    n, keeps = rank(at(node, 0)), bool(node.attributes.get_int("keepdims", 1))
    axes = axes_of(node, 1, n) if at(node, 1) is not None else []
    if axes is None or n < 0:
        return None
    is_noop = node.attributes.get_int("noop_with_empty_axes", 0) == 1
    if not axes and is_noop:
        return same(node, perm)
    if not axes:
        return fewer(node, perm, below, list(range(n)), keeps)
    made = fewer(node, perm, below, axes, keeps)
    if made is None or made.takes[0] is None:
        return None
    return made._replace(constants={1: sorted(made.takes[0].index(a) for a in axes)})


def arg(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """ArgMax and ArgMin: a reduction over one axis."""
    n, keeps = rank(at(node, 0)), bool(node.attributes.get_int("keepdims", 1))
    axis = node.attributes.get_int("axis", 0) % max(n, 1)
    made = fewer(node, perm, below, [axis], keeps)
    if made is None or made.takes[0] is None:
        return None
    return made._replace(attributes={"axis": made.takes[0].index(axis)})


def gather(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """Indices along an axis: in its place stand the axes of the indices, together."""
    n, q = rank(at(node, 0)), rank(at(node, 1))
    axis = node.attributes.get_int("axis", 0) % max(n, 1)
    if n < 1 or q < 0 or len(perm) != (n - 1 + q if below else n):
        return None
    if not below:
        data = perm
    elif q == 0:
        data = among([a + (a >= axis) for a in perm], n)
    else:
        first = perm.index(axis)
        if perm[first : first + q] != tuple(range(axis, axis + q)):
            return None
        rest = perm[: first + 1] + perm[first + q :]
        data = tuple(a if a <= axis else a - q + 1 for a in rest)
    made = [b for a in data for b in ([a + (q - 1) * (a > axis)] if a != axis else range(axis, axis + q))]
    return Form((data, None), (tuple(made),), attributes={"axis": data.index(axis)})


def _behind(perm: Perm, first: int, to: int) -> Perm | None:
    """The layout where the first axes stay, and `to` others stand for them; None if they don't stay."""
    if perm[:first] != own(first):
        return None
    return (*own(to), *(axis - first + to for axis in perm[first:]))


def gather_nd(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """Indices of the first axes: in their place stand all axes of the indices but the last."""
    n, q = rank(at(node, 0)), rank(at(node, 1))
    picked = _indexed(node)
    if picked is None or len(perm) != (q - 1 + n - picked if below else n):
        return None
    other = _behind(perm, q - 1, picked) if below else _behind(perm, picked, q - 1)
    if other is None:
        return None
    return Form((other, None), (perm,)) if below else Form((perm, None), (other,))


def scatter_nd(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """Indices of the first axes, which stay; what is put there has the others behind those of the indices."""
    picked, n = _indexed(node), len(perm)
    if picked is None or n != rank(at(node, 0)):
        return None
    updates = _behind(perm, picked, rank(at(node, 1)) - 1)
    return None if updates is None else Form((perm, None, updates), (perm,))


def _indexed(node: ir.Node) -> int | None:
    """How many of the first axes GatherND and ScatterND index, those of the batch among them."""
    indices = sizes(at(node, 1))
    if not indices or not isinstance(indices[-1], int):
        return None
    return node.attributes.get_int("batch_dims", 0) + indices[-1]


@of_all_axes
def normalised(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """LayerNormalization and RMSNormalization over the last axes; the scale has those axes alone."""
    n = len(perm)
    first = node.attributes.get_int("axis", -1) % n
    inner = tuple(a - first for a in perm[first:])
    if min(inner) < 0:
        return None
    takes: list[Perm | None] = [perm]
    for value in node.inputs[1:]:
        found = Operand() if value is None or inner == own(n - first) else operand(value, inner)
        if found is None or found.lined_up:
            return None
        takes.append(found.takes)
    return Form(tuple(takes), given(node, perm), attributes={"axis": first})


@of_all_axes
def centred(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """MeanVarianceNormalization."""
    axes = [a % len(perm) for a in node.attributes.get_ints("axes", [0, 2, 3])]
    return same(node, perm, attributes={"axes": sorted(perm.index(a) for a in axes)})


def matmul(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """The axes that are multiplied stay last; those of the batch move, and the rows too if the second is one matrix."""
    n, left, right = rank(node.outputs[0]), rank(at(node, 0)), rank(at(node, 1))
    if n != len(perm) or n < 2 or min(left, right) < 2:
        return None
    if right == 2 and left == n and perm[-1] == n - 1:
        return Form((perm, None), (perm,))
    if perm[-2:] != (n - 2, n - 1) or (left, right) not in ((n, n), (2, n)):
        return None
    return Form((perm if left == n else None, perm), (perm,))


@of_all_axes
def linear(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """zoo::Linear over the last axis."""
    takes = taken(node, perm, (0,)) if perm[-1] == len(perm) - 1 else None
    return None if takes is None else Form(takes, (perm,))


REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
    *("ReduceProd", "ReduceSum", "ReduceSumSquare"),
)
RULES: dict[str, Rule] = {
    **dict.fromkeys(REDUCTIONS, reduce),
    **dict.fromkeys(("ArgMax", "ArgMin"), arg),
    **dict.fromkeys(("Hardmax", "LogSoftmax", "LpNormalization", "Softmax", "TopK"), along(0)),
    **dict.fromkeys(("CumProd", "CumSum"), cumulative),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), normalised),
    "Concat": along(),
    "Expand": expand,
    "Gather": gather,
    "GatherElements": along(0, 1, default=0),
    "GatherND": gather_nd,
    "MatMul": matmul,
    "MeanVarianceNormalization": centred,
    "Pad": pad,
    "Resize": resize,
    "ScatterElements": along(0, 1, 2, default=0),
    "ScatterND": scatter_nd,
    "Slice": slice_,
    "Split": along(0, default=0),
    "Tile": tile,
}
OURS: dict[str, Rule] = {"Linear": linear, "LinearNoBias": linear}
