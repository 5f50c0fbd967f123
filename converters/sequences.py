"""Sequences that only hand tensors on, as the tensors themselves: torch's exporter writes `chunk` and `unbind` so.

SplitToSequence(x, sizes), SequenceAt(s, i)  -> Split(x, sizes)[i]
SequenceAt(SequenceConstruct(a, b, ...), i)  -> a or b or ...
ConcatFromSequence(SequenceConstruct(a, b))  -> Concat(a, b)
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from zoo.converters.expand import splice
from zoo.converters.expansions import Builder
from zoo.converters.fold import replace
from zoo.converters.graph import all_graphs


def drop_sequences(model: ir.Model) -> bool:
    """Replace every sequence whose members are known one by one; True if there was any."""
    changed = False
    for graph in all_graphs(model.graph):
        for node in list(graph):
            rule = RULES.get(node.op_type) if not node.domain else None
            if rule is not None and node.graph is graph:
                changed |= rule(graph, node)
    return changed


def _split(graph: ir.Graph, node: ir.Node) -> bool:
    x, split = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    places = [_place(use.node) for use in node.outputs[0].uses()]
    axis = node.attributes.get_int("axis", 0)
    size = None if x is None or x.shape is None else x.shape[axis]
    known = split is None or split.const_value is not None
    if not places or any(p is None for p in places) or not isinstance(size, int) or not known:
        return False
    if node.outputs[0].is_graph_output():
        return False
    step = 1 if split is None or split.const_value is None else split.const_value.numpy()
    if np.ndim(step):
        sizes = [int(s) for s in np.asarray(step)]
    else:
        sizes = [min(int(step), size - start) for start in range(0, size, int(step))]
    op = Builder()
    made = op.Split(x, op.const(sizes), axis=axis, outputs=len(sizes))
    parts = list(made) if isinstance(made, tuple) else [made]
    if split is None and not node.attributes.get_int("keepdims", 1):
        parts = [op.Squeeze(part, op.const([axis])) for part in parts]
    for use, place in zip(list(node.outputs[0].uses()), places, strict=True):
        replace(use.node, 0, parts[place or 0])
        if use.node.graph is not None:
            use.node.graph.remove(use.node, safe=True)
    splice(graph, node, op.nodes, [None])
    return True


def _at(graph: ir.Graph, node: ir.Node) -> bool:
    made = node.inputs[0].producer() if node.inputs[0] is not None else None
    place = _place(node)
    if made is None or made.op_type != "SequenceConstruct" or place is None:
        return False
    chosen = made.inputs[place] if -len(made.inputs) <= place < len(made.inputs) else None
    if chosen is None:
        return False
    replace(node, 0, chosen)
    return bool(graph)


def _concat(graph: ir.Graph, node: ir.Node) -> bool:
    made = node.inputs[0].producer() if node.inputs[0] is not None else None
    if made is None or made.op_type != "SequenceConstruct":
        return False
    axis, op = node.attributes.get_int("axis", 0), Builder()
    parts = list(made.inputs)
    if node.attributes.get_int("new_axis", 0):
        parts = [op.Unsqueeze(part, op.const([axis])) for part in parts]
    splice(graph, node, op.nodes, [op.Concat(*parts, axis=axis)])
    return True


def _place(node: ir.Node) -> int | None:
    """The member that a SequenceAt asks for, if it is known."""
    at = node.inputs[1] if node.op_type == "SequenceAt" and not node.domain else None
    if at is None or at.const_value is None or node.outputs[0].is_graph_output():
        return None
    return int(at.const_value.numpy())


RULES = {"SplitToSequence": _split, "SequenceAt": _at, "ConcatFromSequence": _concat}
