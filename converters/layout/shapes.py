"""Rules of operators that make other axes of the same elements: a group of axes that stays whole moves as one."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from zoo.converters.layout.forms import Form, Rule, at, axes_of, rank, sizes, vector
from zoo.converters.layout.perms import Perm, Size, among, groups, without


def moved(perm: Perm, x: Sequence[Size], y: Sequence[Size]) -> Perm | None:
    """The layout of what a Reshape of sizes `x` to sizes `y` gives of a layout; None if it takes a group apart.

    Row-major, a Reshape maps groups of axes to groups of axes. Wherever a group stands it can be reshaped, if its axes
    stand together and in order. Axes of size 1 stand anywhere.
    """
    if 0 in x or 0 in y:
        return None
    runs = list(groups(x, y))
    of = {axis: run for run in runs for axis in run[0]}
    order: list[int] = []
    rest = [axis for axis in perm if axis in of]
    while rest:
        ins, outs = of[rest[0]]
        if rest[: len(ins)] != ins:
            return None
        del rest[: len(ins)]
        order += outs
    return among(order, len(y)) if len(order) == sum(len(outs) for _, outs in runs) else None


def reshape(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """A Reshape to the sizes in their other order."""
    ends = _ends(node, perm, below)
    if ends is None:
        return None
    x, y = sizes(at(node, 0)) or (), sizes(node.outputs[0]) or ()
    above, out = ends
    takes, numbers = (above, None), target([x[a] for a in above], [y[a] for a in out])
    if numbers is not None:
        return Form(takes, (out,), {"allowzero": 0}, constants={1: numbers})
    shape = at(node, 1)
    if shape is None or vector(shape) is not None or _may_copy(shape):
        return None
    return Form(takes, (out,), picks={1: out})


def flatten(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """A Reshape to two axes, which may change places."""
    ends = _ends(node, perm, below)
    if ends is None:
        return None
    above, out = ends
    n = len(above)
    axis = node.attributes.get_int("axis", 1)
    axis = axis + n if axis < 0 else axis
    behind = above[axis:] if out == (0, 1) else above[n - axis :]
    x = sizes(at(node, 0)) or ()
    wanted = {a for a in range(n) if (a >= axis) == (out == (0, 1)) and x[a] != 1}
    if {a for a in behind if x[a] != 1} != wanted:
        return None
    return Form((above,), (out,), {"axis": axis if out == (0, 1) else n - axis})


def _ends(node: ir.Node, perm: Perm, below: bool) -> tuple[Perm, Perm] | None:
    """The layouts of what a Reshape reads and gives, where one of them is asked for."""
    x, y = sizes(at(node, 0)), sizes(node.outputs[0])
    if x is None or y is None or len(perm) != len(y if below else x):
        return None
    other = moved(perm, y, x) if below else moved(perm, x, y)
    return None if other is None else (other, perm) if below else (perm, other)


def target(have: Sequence[Size], want: Sequence[Size]) -> list[int] | None:
    """A Reshape's target: numbers, 0 for a free size that stays in place, -1 for one more; None if that is too few."""
    made = [size if isinstance(size, int) else 0 if have[i : i + 1] == [size] else -1 for i, size in enumerate(want)]
    if made.count(0) == 1 and -1 not in made:
        made[made.index(0)] = -1
    return made if made.count(-1) <= 1 and 0 not in want else None  # a size of 0 would mean one that stays


def _may_copy(shape: ir.Value) -> bool:
    """Whether a computed target may hold a literal 0, which means the size of the axis that it stands at."""
    producer = shape.producer()
    if producer is None or producer.domain:
        return True
    if producer.op_type == "Concat":
        return any(v is None or 0 in (vector(v) or ()) or (vector(v) is None and _may_copy(v)) for v in producer.inputs)
    if producer.op_type in ("Unsqueeze", "Squeeze", "Reshape", "Cast", "Identity", "Gather", "Slice"):
        return producer.inputs[0] is None or _may_copy(producer.inputs[0])
    return producer.op_type not in ("Shape", "Size", "Mul", "Div")  # a size that is made of sizes


def squeeze(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """Axes of size 1 go, wherever they stand."""
    x = sizes(at(node, 0))
    if x is None:
        return None
    axes = axes_of(node, 1, len(x)) if at(node, 1) is not None else [i for i, size in enumerate(x) if size == 1]
    if axes is None or len(perm) != len(x) - (len(axes) if below else 0):
        return None
    rest = [a for a in range(len(x)) if a not in axes]
    above = among([rest[a] for a in perm], len(x)) if below else perm
    return Form(
        (above, None)[: len(node.inputs)], (without(above, axes),), constants={1: sorted(map(above.index, axes))}
    )


def unsqueeze(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """New axes of size 1 stand where they are asked for, or beside their neighbours."""
    n = rank(node.outputs[0])
    axes = axes_of(node, 1, n)
    if axes is None or len(perm) != n - (0 if below else len(axes)):
        return None
    rest = [a for a in range(n) if a not in axes]
    out = perm if below else among([rest[a] for a in perm], n)
    return Form((without(out, axes), None), (out,), constants={1: sorted(map(out.index, axes))})


def einsum(node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """Its letters say the order of all axes; what it reads may stand in any (`takes_any`)."""
    equation = equation_of(node)
    if equation is None or not below:
        return None
    left, right = equation
    out = "".join(right[a] for a in perm)
    return Form(tuple(None for _ in node.inputs), (perm,), {"equation": f"{','.join(left)}->{out}"})


def equation_of(node: ir.Node) -> tuple[list[str], str] | None:
    """The letters of each input, and of the output; None where they are not all said."""
    equation = node.attributes.get_string("equation", "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    return (left.split(","), right) if arrow and "." not in equation else None


def takes_any(node: ir.Node) -> bool:
    """Whether a node reads its inputs in any layout at no cost."""
    if node.op_type == "Einsum":
        return not node.domain and equation_of(node) is not None
    return not node.domain and node.op_type in ("Shape", "Size")


RULES: dict[str, Rule] = {
    "Einsum": einsum,
    "Flatten": flatten,
    "Reshape": reshape,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
}
