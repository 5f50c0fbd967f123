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
from zoo.converters.expansions import Builder
from zoo.converters.fold import dims, fold_constants, fold_shapes, replace
from zoo.converters.gradients import enclose_gradients
from zoo.converters.graph import PATH, all_graphs, all_nodes, is_parameter
from zoo.converters.infer import infer_shapes
from zoo.converters.lift import lift
from zoo.converters.sequences import drop_sequences

MAX_NEUTRAL = 1024  # members of a constant that are looked at for being all 0 or 1
MAX_ROUNDS = 8  # each round folds what the round before made known; real graphs need two or three


# other numbers at every call; what is a new thing each time that it is made
MADE_ANEW = frozenset(
    (
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"),
        *("Dropout", "StochasticDepth", "Identity"),
    )
)
GRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
TENSORS = (ir.AttributeType.TENSOR, ir.AttributeType.TENSORS)


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
    while common.DeduplicateInitializersPass()(model).modified and share_equals(model):
        simplify(model)  # nodes that read one constant under two names were the same
    common.RemoveUnusedNodesPass()(model)
    common.RemoveUnusedFunctionsPass()(model)  # type: ignore[no-untyped-call]  # onnx_ir's __init__ is untyped
    return model


def simplify(model: ir.Model) -> None:
    """Infer and fold until nothing changes any more."""
    for _ in range(MAX_ROUNDS):
        infer_shapes(model)
        changed = fold_constants(model) | cast_like(model) | real_signals(model) | fold_shapes(model)
        changed |= drop_no_ops(model) | take_branches(model) | drop_sequences(model) | share_equals(model)
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


def real_signals(model: ir.Model) -> bool:
    """STFT(x [N, length]) -> STFT(x [N, length, 1]): ONNX Runtime takes the first as well, and nothing else does."""
    changed = False
    for graph in all_graphs(model.graph):
        for node in [node for node in graph if node.op_type == "STFT" and not node.domain]:
            x = node.inputs[0]
            if x is None or x.shape is None or len(x.shape) != 2:
                continue
            op = Builder()
            made = op.Unsqueeze(x, op.const([-1]))
            made.name = f"{node.outputs[0].name}.signal"
            for new in op.nodes:
                new.metadata_props.update(node.metadata_props)
            graph.insert_before(node, op.nodes)
            node.replace_input_with(0, made)
            changed = True
    return changed


def _same_dtype(node: ir.Node) -> bool:
    x = node.inputs[0]
    return x is not None and x.dtype is not None and x.dtype.value == node.attributes.get_int("to", 0)


def _same_shape(node: ir.Node) -> bool:
    return node.inputs[0] is not None and _same_sizes(node.inputs[0], node.outputs[0])


def _same_sizes(x: ir.Value, y: ir.Value) -> bool:
    """Two values have one shape: every size known by number, or by the same name."""
    if x.shape is None or y.shape is None:
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


# op type -> the number that changes nothing, and at which inputs
NEUTRAL: dict[str, tuple[float, tuple[int, ...]]] = {
    "Add": (0, (0, 1)),
    "Sub": (0, (1,)),
    "Mul": (1, (0, 1)),
    "Div": (1, (1,)),
    "Pow": (1, (1,)),
    "And": (True, (0, 1)),
    "Or": (False, (0, 1)),
}


def _kept(node: ir.Node) -> ir.Value | None:
    """The operand that the node gives back, since the other is neutral and broadcasts nothing."""
    neutral, places = NEUTRAL[node.op_type]
    for i in places:
        other, x = node.inputs[i], node.inputs[1 - i]
        if other is None or x is None or other.const_value is None or is_parameter(other):
            continue
        is_float_sum = node.op_type in ("Add", "Sub") and (x.dtype is None or x.dtype.is_floating_point())
        if is_float_sum or other.const_value.size > MAX_NEUTRAL or x.dtype != node.outputs[0].dtype:
            continue  # -0.0 + 0.0 is 0.0
        if np.all(other.const_value.numpy() == neutral) and _same_sizes(x, node.outputs[0]):
            return x
    return None


def drop_no_ops(model: ir.Model) -> bool:
    """Let the readers of a node that gives back its input read that input."""
    changed = False
    for graph in all_graphs(model.graph):
        outputs = set(graph.outputs)
        for node in list(graph):
            x = node.inputs[0] if node.inputs else None
            if node.domain or x is None or not node.outputs[0].uses() or node.outputs[0] in outputs:
                continue
            if node.op_type in NO_OPS and NO_OPS[node.op_type](node):
                replace(node, 0, x)
                changed = True
            elif node.op_type in NEUTRAL and (kept := _kept(node)) is not None:
                replace(node, 0, kept)
                changed = True
    return changed


def share_equals(model: ir.Model) -> bool:
    """Let a module compute once what it computed twice: same operator, inputs and attributes; nothing random."""
    changed = False
    for graph in all_graphs(model.graph):
        seen: dict[tuple[object, ...], ir.Node] = {}
        for node in list(graph):
            if node.op_type in MADE_ANEW or any(a.type in GRAPHS for a in node.attributes.values()):
                continue
            attributes = tuple(sorted((name, str(a.type), str(a.value)) for name, a in node.attributes.items()))
            if any(a.type in TENSORS for a in node.attributes.values()) or not node.inputs:
                continue
            outputs = tuple(bool(out.name) for out in node.outputs)
            inputs = tuple(map(id, node.inputs))
            key = (node.domain, node.op_type, node.metadata_props.get(PATH), inputs, attributes, outputs)
            first = seen.setdefault(key, node)
            if first is not node and not any(out.is_graph_output() for out in node.outputs):
                for i, out in enumerate(first.outputs):
                    replace(node, i, out)
                graph.remove(node, safe=True)
                changed = True
    return changed


def drop_zero_biases(model: ir.Model) -> None:
    """Conv(x, W, 0) -> Conv(x, W): the bias that an exporter makes up is no parameter."""
    for node in all_nodes(model.graph):
        if node.op_type in ("Conv", "ConvTranspose", "Gemm") and len(node.inputs) > 2 and not node.domain:
            bias = node.inputs[2]
            if bias is not None and bias.const_value is not None and not bias.const_value.numpy().any():
                node.resize_inputs(2)
