"""TensorFlow's control flow and lists of tensors as ONNX nodes: functions, If and While, and TensorFlow 1's loops.

A list that a loop fills, one member a turn, is what ONNX's Loop collects; one that a loop reads is a tensor with its
members along the first axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers import tf_tensors as tensors
from zoo.converters.readers.tf_graph import Node, Ref
from zoo.converters.readers.tf_nodes import Fault, Nodes, Size, shape_of
from zoo.converters.readers.tf_operators import Table
from zoo.converters.readers.tf_walk import Call, Reader, Scope
from zoo.converters.readers.tf_windows import as_int64

TABLE = operator = Table()
MAX_ATTEMPTS = 4  # at a loop whose states change their shapes: each time less is known of them
Step = Callable[[Nodes, Sequence[Any]], list[Any]]


@dataclass(slots=True, eq=False)
class List:
    """A list of tensors: its members along the first axis of `stacked`, or none yet; what was written to it."""

    size: ir.Value | None = None
    stacked: ir.Value | None = None
    base: List | None = None  # the list as it was before what was written
    writes: list[tuple[ir.Value | None, ir.Value]] = field(default_factory=list)

    def written(self, index: ir.Value | None, value: ir.Value) -> List:
        """The list with one member more, or in another's place."""
        return List(self.size, self.stacked, self.base or self, [*self.writes, (index, value)])


# -- functions --------------------------------------------------------------------------------------------------------


@operator("PartitionedCall", "StatefulPartitionedCall")
def call(c: Call) -> Sequence[Any]:
    """A function in its place."""
    return c.reader.call(c.scope, c.b, c.node.function("f"), [c.any(i) for i in range(len(c))])


@operator("If", "StatelessIf")
def if_(c: Call) -> Sequence[Any]:
    """One of two functions."""
    condition, arguments = _truth(c.b, c[0]), [c.any(i) for i in range(1, len(c))]
    names = [c.node.function(key) for key in ("then_branch", "else_branch")]
    if (known := c.b.known(condition)) is not None:
        return c.reader.call(c.scope, c.b, names[0 if known.all() else 1], arguments)
    branches = []
    for name in names:
        inner = Nodes(c.b)
        branches.append((inner, c.reader.call(c.scope, inner, name, arguments)))
    return _branched(c.b, condition, branches)


def _truth(b: Nodes, value: ir.Value) -> ir.Value:
    """A condition: not zero, where it isn't of bool."""
    if value.dtype != ir.DataType.BOOL:
        value = b.op("Not", b.op("Equal", value, b.number(0, value)))
    return value if shape_of(value) == () else b.op("Reshape", value, b.ints())


def _branched(b: Nodes, condition: ir.Value, branches: Sequence[tuple[Nodes, list[Any]]]) -> Sequence[Any]:
    if any(not isinstance(value, ir.Value) for _, made in branches for value in made):
        raise Fault("a branch that gives something that is no tensor")
    graphs = [inner.body([], made, key) for (inner, made), key in zip(branches, ("then", "else"), strict=True)]
    then, other = graphs
    if len(then.outputs) != len(other.outputs):
        raise Fault(f"branches of {len(then.outputs)} and {len(other.outputs)} outputs", is_refusal=False)
    fit = all(shape_of(x) == shape_of(y) for x, y in zip(then.outputs, other.outputs, strict=True))
    return b.branching("If", then.outputs, condition, fit=fit, then_branch=then, else_branch=other)


@operator("While", "StatelessWhile")
def while_(c: Call) -> Sequence[Any]:
    """A function again and again, as long as another holds of what it gives."""
    condition, body = c.node.function("cond"), c.node.function("body")

    def test(b: Nodes, states: Sequence[Any]) -> list[Any]:
        return c.reader.call(c.scope, b, condition, states)

    def turn(b: Nodes, states: Sequence[Any]) -> list[Any]:
        return c.reader.call(c.scope, b, body, states)

    return loop(c.b, [c.any(i) for i in range(len(c))], test, turn)


# -- loops ------------------------------------------------------------------------------------------------------------


def loop(b: Nodes, initial: Sequence[Any], test: Step, turn: Step) -> list[Any]:
    """An ONNX Loop over the states that are tensors and change; what else there is passes, or is a list that is filled.

    A turn is written to see which states it changes, and again with those alone, until their shapes hold as well.
    """
    shapes: list[Sequence[Size] | None] = [shape_of(v) if isinstance(v, ir.Value) else None for v in initial]
    fixed: set[int] = set()
    for _ in range(MAX_ATTEMPTS):
        inner = Nodes(b)
        heads = [inner.input("turn", ir.DataType.INT64, []), inner.input("go", ir.DataType.BOOL, [])]
        states = [
            inner.input(f"state_{i}", v.dtype or ir.DataType.FLOAT, shapes[i])
            if isinstance(v, ir.Value) and i not in fixed
            else _entered(v)
            for i, v in enumerate(initial)
        ]
        made = turn(inner, states)
        if len(made) != len(states):
            raise Fault(f"a loop of {len(states)} states gives {len(made)}", is_refusal=False)
        same = {i for i, v in enumerate(made) if isinstance(v, ir.Value) and v is states[i]}
        after = [_common(shapes[i], shape_of(v)) if isinstance(v, ir.Value) else None for i, v in enumerate(made)]
        if after == shapes and same <= fixed:
            return _looped(b, inner, heads, initial, states, made, test, fixed)
        shapes, fixed = list(after), fixed | same
    raise Fault("a loop whose states change their number of axes")


def _entered(value: Any) -> Any:
    return List(value.size, value.stacked) if isinstance(value, List) else value


def _common(before: Sequence[Size] | None, after: Sequence[Size] | None) -> tuple[Size, ...] | None:
    """What is true of both shapes."""
    if before is None or after is None or len(before) != len(after):
        return None
    return tuple(x if x == y else None for x, y in zip(before, after, strict=True))


def _looped(
    b: Nodes,
    inner: Nodes,
    heads: list[ir.Value],
    initial: Sequence[Any],
    states: Sequence[Any],
    made: Sequence[Any],
    test: Step,
    fixed: set[int],
) -> list[Any]:
    carried = [i for i, value in enumerate(initial) if isinstance(value, ir.Value) and i not in fixed]
    filled = [i for i, value in enumerate(made) if isinstance(value, List) and value is not states[i]]
    if any(not isinstance(made[i], ir.Value) for i in carried):
        raise Fault("a loop whose state becomes something that is no tensor")
    first = _truth(b, test(b, initial)[0])
    again = _truth(inner, test(inner, made)[0])
    members, lasts = [], []
    for i in filled:
        index, member = _filled(states[i], made[i])
        lasts.append(_is_last(b, inner, index, initial, states, made, len(initial[i].writes)))
        members.append(member)
    body = inner.body([*heads, *(states[i] for i in carried)], [again, *(made[i] for i in carried), *members], "body")
    results = [*(states[i] for i in carried), *members]
    outs = b.branching("Loop", results, None, first, *(initial[i] for i in carried), fit=True, body=body)
    found = list(initial)
    for i, value in zip(carried, outs, strict=False):
        found[i] = value
    for i, value, is_last, member in zip(filled, outs[len(carried) :], lasts, members, strict=True):
        shape = shape_of(member)
        value.shape = None if shape is None else ir.Shape([None, *shape])
        if is_last:  # every turn writes to the one place, so that what the last wrote is left
            value = b.op("Slice", value, b.ints(-1), b.ints((1 << 63) - 1), b.ints(0))
        elif initial[i].writes:
            value = b.op("Concat", _stacked(b, initial[i]), value, axis=0)
        found[i] = List(initial[i].size, value)
    return found


def _filled(state: Any, made: List) -> tuple[ir.Value | None, ir.Value]:
    """What a turn writes to a list, and where."""
    if not isinstance(state, List) or made.base is not state or len(made.writes) != 1 or state.stacked is not None:
        raise Fault("a loop that writes to a list more than once a turn, or over what stands in it")
    return made.writes[0]


def _is_last(
    b: Nodes,
    inner: Nodes,
    index: ir.Value | None,
    initial: Sequence[Any],
    states: Sequence[Any],
    made: Sequence[Any],
    before: int,
) -> bool:
    """Whether the turns write to place 0 alone. Raises Fault unless they do, or go on from `before` one by one."""
    if index is None:  # at the end
        return False
    known = inner.known(index)
    if known is not None:
        if known.any():
            raise Fault("a loop that writes to one place of a list, and not the first")
        return True
    for i, state in enumerate(states):
        start = b.known(initial[i]) if isinstance(initial[i], ir.Value) else None
        if state is _source(index) and start is not None and start == before and _is_next(inner, state, made[i]):
            return False
    raise Fault("a loop that fills a list in another order than from the first on")


def _source(value: ir.Value) -> ir.Value:
    """What a value is a copy of."""
    while (node := value.producer()) is not None and node.op_type in ("Identity", "Cast", "Reshape", "Squeeze"):
        if node.inputs[0] is None:
            break
        value = node.inputs[0]
    return value


def _is_next(inner: Nodes, state: ir.Value, made: Any) -> bool:
    """Is a state one more than before?"""
    node = _source(made).producer() if isinstance(made, ir.Value) else None
    if node is None or node.op_type != "Add" or None in node.inputs:
        return False
    left, right = node.inputs
    pairs = ((left, right), (right, left))
    return any(_source(x) is state and (n := inner.known(y)) is not None and n == 1 for x, y in pairs)  # type: ignore[arg-type]


# -- TensorFlow 1 -----------------------------------------------------------------------------------------------------


@operator("Switch", "RefSwitch")
def switch(c: Call) -> Sequence[Any]:
    """Both ways: Merge chooses."""
    value = c.any(0)
    return [value, value]


@operator("Merge", "RefMerge")
def merge(c: Call) -> Sequence[Any]:
    """The value of the side that a condition chose; the sides are told by the Switch that they come from."""
    predicate, true_side = _condition(c.scope, c.node)
    condition = c.reader.value(c.scope, predicate)
    if not isinstance(condition, ir.Value):
        raise Fault("a condition that is no tensor")
    order = [c.node.inputs[true_side], c.node.inputs[1 - true_side]]
    if (known := c.b.known(condition)) is not None:
        return [c.reader.value(c.scope, order[0 if known.all() else 1]), c.b.constant(np.array(true_side, np.int32))]
    yes, no = c.reader.values(c.scope, order)  # nothing here has an effect, so that both may be computed
    if not (isinstance(yes, ir.Value) and isinstance(no, ir.Value)):
        raise Fault("a branch that gives something that is no tensor")
    condition = _truth(c.b, condition)
    if shape_of(yes) is not None and shape_of(yes) == shape_of(no):
        return [c.b.op("Where", condition, yes, no), None]
    return [*_branched(c.b, condition, [(Nodes(c.b), [yes]), (Nodes(c.b), [no])]), None]


def _condition(scope: Scope, node: Node) -> tuple[Ref, int]:
    """The condition of a Merge, and which of its inputs is that of the true side."""
    if len(node.inputs) != 2:
        raise Fault(f"a merge of {len(node.inputs)} sides")
    ports = [_ports(scope, ref) for ref in node.inputs]
    for predicate in {**ports[0], **ports[1]}:
        sides = [found.get(predicate, set()) for found in ports]
        if sides in ([{1}, {0}], [{1}, set()], [set(), {0}]):
            return predicate, 0
        if sides in ([{0}, {1}], [{0}, set()], [set(), {1}]):
            return predicate, 1
    raise Fault("a merge whose sides come from no common condition")


def _ports(scope: Scope, start: Ref) -> dict[Ref, set[int]]:
    """Which outputs of the Switches before a node it comes from: condition -> 0 (false), 1 (true)."""
    found: dict[Ref, set[int]] = {}
    pending, seen = [start], set()
    while pending:
        ref = pending.pop()
        node = scope.nodes.get(ref.node)
        if node is None or (ref.node, ref.index) in seen:
            continue
        seen.add((ref.node, ref.index))
        if node.op in ("Switch", "RefSwitch") and len(node.inputs) > 1:
            found.setdefault(_origin(scope, node.inputs[1]), set()).add(ref.index)
            pending.append(node.inputs[0])
            continue
        pending += [*node.inputs, *(Ref(name) for name in node.controls)]
    return found


def _origin(scope: Scope, ref: Ref) -> Ref:
    """A tensor behind Identities."""
    while (node := scope.nodes.get(ref.node)) is not None and node.op == "Identity" and node.inputs:
        ref = node.inputs[0]
    return Ref(ref.node, "", ref.index)


@operator("Exit", "RefExit")
def exit_(c: Call) -> Sequence[Any]:
    """What a loop leaves behind: all of its exits at once."""
    nodes = c.scope.nodes
    enter = _enter_of(nodes, c.node)
    frame = enter.text("frame_name")
    merges, constants = _frame(nodes, frame)
    initial = c.reader.values(c.scope, [_entry(nodes, merge).inputs[0] for merge in merges])
    outside = c.reader.values(c.scope, [node.inputs[0] for node in constants])
    switches = {_switched(node): node for node in nodes.values() if node.op in ("Switch", "RefSwitch")}
    goes = {switches[m.name].inputs[1].node for m in merges if m.name in switches}
    if len(goes) != 1:
        raise Fault(f"a loop of {len(goes)} conditions", is_refusal=False)
    condition = nodes.get(next(iter(goes)))
    if condition is None or condition.op != "LoopCond":
        raise Fault("a loop without its condition", is_refusal=False)

    def within(b: Nodes, states: Sequence[Any]) -> Scope:
        inner = Reader.inner(c.scope, b, nodes)
        for merge, state in zip(merges, states, strict=True):
            inner.values[merge.name, 0] = state
            if merge.name in switches:
                name = switches[merge.name].name
                inner.values[name, 0] = inner.values[name, 1] = state
        inner.values.update({(node.name, 0): value for node, value in zip(constants, outside, strict=True)})
        return inner

    def test(b: Nodes, states: Sequence[Any]) -> list[Any]:
        return c.reader.values(within(b, states), [condition.inputs[0]])

    def turn(b: Nodes, states: Sequence[Any]) -> list[Any]:
        nexts = [nodes[m.inputs[1].node].inputs[0] for m in merges]
        return c.reader.values(within(b, states), nexts)

    before, c.b.scope = c.b.scope, frame
    made = loop(c.b, initial, test, turn)
    c.b.scope = before
    found = None
    for node in nodes.values():
        if node.op in ("Exit", "RefExit") and (at := _merge_of(nodes, node)) is not None:
            place = next((i for i, m in enumerate(merges) if m.name == at.name), None)
            if place is not None:
                c.scope.values[node.name, 0] = made[place]
                found = made[place] if node.name == c.node.name else found
    return [found]


def _switched(node: Node) -> str:
    return node.inputs[0].node if node.inputs else ""


def _merge_of(nodes: Any, node: Node) -> Node | None:
    """The Merge at the head of a loop that an Exit belongs to."""
    before = nodes.get(node.inputs[0].node) if node.inputs else None
    head = nodes.get(before.inputs[0].node) if before is not None and before.inputs else None
    return head if isinstance(head, Node) and head.op in ("Merge", "RefMerge") else None


def _entry(nodes: Any, merge: Node) -> Node:
    """The Enter of a loop's Merge. Raises Fault for none."""
    found = nodes.get(merge.inputs[0].node) if merge.inputs else None
    if not isinstance(found, Node) or found.op not in ("Enter", "RefEnter") or not found.inputs:
        raise Fault(f"loop state {merge.name!r} that nothing enters", is_refusal=False)
    return found


def _enter_of(nodes: Any, node: Node) -> Node:
    head = _merge_of(nodes, node)
    if head is None:
        raise Fault("an exit of no loop", is_refusal=False)
    return _entry(nodes, head)


def _frame(nodes: Any, frame: str) -> tuple[list[Node], list[Node]]:
    """The heads of a loop's states, and the Enters of what doesn't change in it."""
    merges, entered = [], set()
    for node in nodes.values():
        if node.op in ("Merge", "RefMerge") and len(node.inputs) == 2:
            start, again = (nodes.get(ref.node) for ref in node.inputs)
            if start is not None and start.op in ("Enter", "RefEnter") and start.text("frame_name") == frame:
                if again is None or again.op not in ("NextIteration", "RefNextIteration") or not again.inputs:
                    raise Fault(f"loop state {node.name!r} that doesn't go on", is_refusal=False)
                merges.append(node)
                entered.add(start.name)
    constants = [
        node
        for node in nodes.values()
        if node.op in ("Enter", "RefEnter")
        and node.inputs
        and node.name not in entered
        and node.text("frame_name") == frame
    ]
    return merges, constants


@operator("LoopCond")
def loop_condition(c: Call) -> Sequence[Any]:
    """A loop's condition."""
    return [c.any(0)]


# -- lists ------------------------------------------------------------------------------------------------------------


def _list(c: Call, i: int) -> List:
    value = c.any(i)
    if not isinstance(value, List):
        raise Fault(f"a {type(value).__name__.lower()} in the place of a list of tensors", is_refusal=False)
    return value


def _stacked(b: Nodes, value: List) -> ir.Value:
    """The members along the first axis; of a list that was written to outside of loops too, in the order of places."""
    if value.writes:
        places = [b.known(index) if index is not None else np.array(n) for n, (index, _) in enumerate(value.writes)]
        if value.stacked is not None or [int(p) if p is not None else -1 for p in places] != list(range(len(places))):
            raise Fault("a list that is written to in another order than from the first on")
        return tensors.pack(b, [member for _, member in value.writes], 0)
    if value.stacked is None:
        raise Fault("a list that is read before anything is written to it")
    return value.stacked


@operator("TensorListReserve", "EmptyTensorList")
def list_reserve(c: Call) -> Sequence[Any]:
    """A list of nothing yet."""
    return [List(c[1])]


@operator("TensorListFromTensor")
def list_from_tensor(c: Call) -> Sequence[Any]:
    """The members of a tensor's first axis."""
    return [List(None, c[0])]


@operator("TensorListGetItem")
def list_get(c: Call) -> Sequence[Any]:
    """One member."""
    return [c.b.op("Gather", _stacked(c.b, _list(c, 0)), c[1], axis=0)]


@operator("TensorListSetItem")
def list_set(c: Call) -> Sequence[Any]:
    """One member written."""
    return [_list(c, 0).written(c[1], c[2])]


@operator("TensorListPushBack")
def list_push(c: Call) -> Sequence[Any]:
    """One member more."""
    return [_list(c, 0).written(None, c[1])]


@operator("TensorListStack")
def list_stack(c: Call) -> Sequence[Any]:
    """The members as a tensor."""
    return [_stacked(c.b, _list(c, 0))]


@operator("TensorListLength")
def list_length(c: Call) -> Sequence[Any]:
    """How many members."""
    return [_length(c.b, _list(c, 0))]


def _length(b: Nodes, value: List) -> ir.Value:
    if value.size is not None:
        return value.size
    return b.op("Cast", b.op("Reshape", b.op("Shape", _stacked(b, value), end=1), b.ints()), to=ir.DataType.INT32)


@operator("TensorArrayV3")
def array(c: Call) -> Sequence[Any]:
    """(handle, flow): the flow is the list, and the handle only says how long it was made."""
    made = List(c[0])
    return [made, made]


@operator("TensorArrayScatterV3")
def array_scatter(c: Call) -> Sequence[Any]:
    """(handle, indices, value, flow): the members of a tensor, in their order."""
    _check_order(c, c[1])
    return [List(_list(c, 0).size, c[2])]


@operator("TensorArrayReadV3")
def array_read(c: Call) -> Sequence[Any]:
    """(handle, index, flow): one member."""
    return [c.b.op("Gather", _stacked(c.b, _list(c, 2)), c[1], axis=0)]


@operator("TensorArrayWriteV3")
def array_write(c: Call) -> Sequence[Any]:
    """(handle, index, value, flow): one member written."""
    return [_list(c, 3).written(c[1], c[2])]


@operator("TensorArrayGatherV3")
def array_gather(c: Call) -> Sequence[Any]:
    """(handle, indices, flow): members as a tensor."""
    return [c.b.op("Gather", _stacked(c.b, _list(c, 2)), as_int64(c.b, c[1]), axis=0)]


@operator("TensorArraySizeV3")
def array_size(c: Call) -> Sequence[Any]:
    """(handle, flow): how many members."""
    return [_length(c.b, _list(c, 0))]


@operator("TensorArrayCloseV3")
def array_close(c: Call) -> Sequence[Any]:
    """Nothing that anybody reads."""
    return []


def _check_order(c: Call, indices: ir.Value) -> None:
    """Raise Fault unless indices are 0, 1, 2, ..."""
    known = c.b.known(indices)
    if known is not None and list(known.reshape(-1)) == list(range(known.size)):
        return
    node = _source(indices).producer()
    if node is None or node.op_type != "Range":
        raise Fault("a list that is filled in another order than from the first on")
    start, _, step = (c.b.known(v) for v in node.inputs)
    if start is None or step is None or start.any() or step != 1:
        raise Fault("a list that is filled in another order than from the first on")
