"""A form of a node: the layouts of what it reads and gives, and what of the node itself is another then.

    op(x)  ==  Transpose(form of op(Transpose(x, takes)), inverse of gives)

is what makes a form right. A rule gives the form of a node for one layout that is asked for, or None if it has none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import onnx_ir as ir

from zoo.converters.fold import dims
from zoo.converters.graph import is_parameter
from zoo.converters.layout.perms import Perm, Size, is_view


class Form(NamedTuple):
    """Layouts by the number of input and output, None where it is the graph's own; and how the node changes."""

    takes: tuple[Perm | None, ...]
    gives: tuple[Perm | None, ...]
    attributes: Mapping[str, int | Sequence[int] | str] = {}
    constants: Mapping[int, int | Sequence[int]] = {}  # inputs that are other numbers then
    picks: Mapping[int, Sequence[int]] = {}  # inputs, if they are there, that are a vector: which of its members
    lined_up: Mapping[int, Perm] = {}  # operands of a lower rank, to be given all axes of this layout
    is_last: bool = False  # it is the operator's channels-last form (bound.py)


# (node, layout, of what: False for what it reads, True for what it gives) -> the form with that layout
Rule: TypeAlias = Callable[[ir.Node, Perm, bool], Form | None]


def sizes(value: ir.Value | None) -> tuple[Size, ...] | None:
    """The shape of a value; None where its rank is not known."""
    return None if value is None else dims(value)


def rank(value: ir.Value | None) -> int:
    """The number of axes of a value; -1 where that is not known."""
    return -1 if value is None or value.shape is None else len(value.shape)


def at(node: ir.Node, i: int) -> ir.Value | None:
    """Input `i` of a node, if it is there."""
    return node.inputs[i] if i < len(node.inputs) else None


def vector(value: ir.Value | None) -> list[int] | None:
    """The numbers of a constant."""
    if value is None or value.const_value is None or is_parameter(value):
        return None
    return [int(i) for i in value.const_value.numpy().reshape(-1)]


def axes_of(node: ir.Node, i: int, rank: int) -> list[int] | None:
    """Axes that a node reads as its input `i`, counted from the front; None if they are computed."""
    found = vector(at(node, i))
    return None if found is None else [axis % rank for axis in found if rank]


def given(node: ir.Node, perm: Perm) -> tuple[Perm | None, ...]:
    """The layout for every output of its rank."""
    return tuple(perm if rank(out) == len(perm) else None for out in node.outputs)


def taken(node: ir.Node, perm: Perm, inputs: Sequence[int]) -> tuple[Perm | None, ...] | None:
    """The layout for some of the inputs; None if one of them has another rank."""
    if any(at(node, i) is not None and rank(at(node, i)) != len(perm) for i in inputs):
        return None
    return tuple(perm if i in inputs and v is not None else None for i, v in enumerate(node.inputs))


def same(node: ir.Node, perm: Perm, inputs: Sequence[int] = (0,), **changes: Any) -> Form | None:
    """A form with one layout for some of the inputs and every output of that rank."""
    takes = taken(node, perm, inputs)
    return None if takes is None else Form(takes, given(node, perm), **changes)


def form_of(rule: Rule, node: ir.Node, perm: Perm, below: bool) -> Form | None:
    """The form that a rule gives, if all is known that it stands on: the rank of whatever is in a layout or is read."""
    form = rule(node, perm, below)
    if form is None or any(rank(out) < 0 and (out.uses() or out.is_graph_output()) for out in node.outputs):
        return None
    layouts = (*zip(node.inputs, form.takes, strict=True), *zip(node.outputs, form.gives, strict=True))
    return form if all(layout is None or rank(value) == len(layout) for value, layout in layouts) else None


def of_all_axes(rule: Rule) -> Rule:
    """A rule that is asked only for layouts of as many axes as the first input has."""

    @functools.wraps(rule)
    def checked(node: ir.Node, perm: Perm, below: bool) -> Form | None:
        return rule(node, perm, below) if rank(at(node, 0)) == len(perm) else None

    return checked


class Operand(NamedTuple):
    """What a broadcast operand needs where the others stand in a layout: its own one, or to be lined up with theirs."""

    takes: Perm | None = None
    lined_up: bool = False


def operand(value: ir.Value, perm: Perm) -> Operand | None:
    """How a broadcast operand goes along with a layout of what it is broadcast to; None if it can't."""
    have = sizes(value)
    lead = -1 if have is None else len(perm) - len(have)
    if have is None or lead < 0:
        return None
    if lead == 0:
        return Operand(perm)
    if all(size == 1 for size in have):
        return Operand()
    if all(axis < lead for axis in perm[:lead]):
        return Operand(tuple(axis - lead for axis in perm[lead:]))
    if is_view(perm, (1,) * lead + have) or is_parameter(value) or value.const_value is not None:
        return Operand(lined_up=True)
    return None
