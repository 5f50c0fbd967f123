"""The canonical graph: written once, read by every writer.

    functions inlined, save our own; one opset (graph.OPSET); operators of other domains in ONNX's words (expand.py);
    constants and shape arithmetic folded; branches that are known taken; types and shapes known; nodes that do nothing
    and nodes that nobody reads gone. The bodies of If, Loop and Scan as well.

Each pass is provably an identity on what the graph computes, and `canonical` of a canonical graph changes nothing.
The graph is weightless here (graph.py), so a pass can neither look at a weight nor copy one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from zoo.converters.branches import take_branches
from zoo.converters.expand import expand_foreign, inline_functions, own_domains
from zoo.converters.fold import dims, fold_constants, fold_shapes, replace
from zoo.converters.gradients import enclose_gradients
from zoo.converters.graph import all_graphs, all_nodes
from zoo.converters.infer import infer_shapes
from zoo.converters.lift import lift
from zoo.converters.sequences import drop_sequences

MAX_ROUNDS = 8  # each round folds what the round before made known; real graphs need two or three


def canonical(model: ir.Model) -> ir.Model:
    """Bring a weightless model into canonical form, in place, and return it.

    Raises HubError for a newer opset, and for one that can't be lifted.
    """
    inline_functions(model)
    enclose_gradients(model)
    own_domains(model)
    model = lift(model)
    inline_functions(model)  # those whose opset was not the graph's
    common.LiftSubgraphInitializersToMainGraphPass()(model)
    expand_foreign(model, infer_shapes)
    simplify(model)
    drop_zero_biases(model)
    common.DeduplicateInitializersPass()(model)
    common.RemoveUnusedNodesPass()(model)
    common.RemoveUnusedFunctionsPass()(model)  # type: ignore[no-untyped-call]  # onnx_ir's __init__ is untyped
    return model


def simplify(model: ir.Model) -> None:
    """Infer and fold until nothing changes any more."""
    for _ in range(MAX_ROUNDS):
        infer_shapes(model)
        changed = fold_constants(model) | cast_like(model) | fold_shapes(model) | drop_no_ops(model)
        changed |= take_branches(model) | drop_sequences(model)
        common.RemoveUnusedNodesPass()(model)
        if not changed:
            break


def cast_like(model: ir.Model) -> bool:
    """CastLike(x, y) -> Cast(x, to=dtype of y), where that dtype is known."""
    changed = False
    for node in all_nodes(model.graph):
        if (
            node.op_type == "CastLike"
            and not node.domain
            and (like := node.inputs[1]) is not None
            and like.dtype is not None
        ):
            node.op_type = "Cast"
            node.attributes["to"] = ir.AttrInt64("to", like.dtype.value)
            node.resize_inputs(1)
            changed = True
    return changed


def _same_dtype(node: ir.Node) -> bool:
    x = node.inputs[0]
    return x is not None and x.dtype is not None and x.dtype.value == node.attributes.get_int("to", 0)


def _same_shape(node: ir.Node) -> bool:
    """The output has the input's shape: every size known by number, or by the same name."""
    x, y = node.inputs[0], node.outputs[0]
    if x is None or x.shape is None or y.shape is None:
        return False
    ours, theirs = dims(x), dims(y)
    return ours == theirs and not any(isinstance(d, str) and d.startswith("?") for d in ours or ())


def _whole(node: ir.Node) -> bool:
    steps = node.inputs[4] if len(node.inputs) > 4 else None
    forward = steps is None or (steps.const_value is not None and bool(np.all(steps.const_value.numpy() == 1)))
    return forward and _same_shape(node)  # a slice with step 1 that keeps the size keeps every element


def _no_pads(node: ir.Node) -> bool:
    pads = node.inputs[1]
    return pads is not None and pads.const_value is not None and not pads.const_value.numpy().any()


# op type -> whether this node gives back its first input, unchanged
NO_OPS: dict[str, Callable[[ir.Node], bool]] = {
    "Identity": lambda node: True,
    "Cast": _same_dtype,
    "Reshape": _same_shape,
    "Expand": _same_shape,
    "Slice": _whole,
    "Pad": _no_pads,
    "Concat": lambda node: len(node.inputs) == 1,
    "Transpose": lambda node: (
        list(node.attributes.get_ints("perm", [-1]))
        == list(range(len(node.inputs[0].shape or ()) if node.inputs[0] else 0))
    ),
}


def drop_no_ops(model: ir.Model) -> bool:
    """Let the readers of a node that gives back its input read that input."""
    changed = False
    for graph in all_graphs(model.graph):
        outputs = set(graph.outputs)
        for node in list(graph):
            x = node.inputs[0] if node.inputs else None
            if node.domain or x is None or node.op_type not in NO_OPS or node.outputs[0] in outputs:
                continue
            if node.outputs[0].uses() and NO_OPS[node.op_type](node):
                replace(node, 0, x)
                changed = True
    return changed


def drop_zero_biases(model: ir.Model) -> None:
    """Conv(x, W, 0) -> Conv(x, W): the bias that an exporter makes up is no parameter."""
    for node in all_nodes(model.graph):
        if node.op_type in ("Conv", "ConvTranspose", "Gemm") and len(node.inputs) > 2 and not node.domain:
            bias = node.inputs[2]
            if bias is not None and bias.const_value is not None and not bias.const_value.numpy().any():
                node.resize_inputs(2)
