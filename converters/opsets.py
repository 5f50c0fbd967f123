"""A model with its weights at another opset: upwards by onnx's version converter, downwards as far as there is a way.

The converter has few adapters downwards: it refuses Relu, whose newer version only takes more dtypes. So a node whose
older version says the same is taken there by comparing both schemas, and the converter sees only the others. What the
older opset does not have at all is expanded by the body that the standard gives it.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from zoo.converters.bind import bind, detach
from zoo.converters.canonical import simplify
from zoo.converters.expand import expand, inline_functions, splice
from zoo.converters.graph import DOMAIN, OPSET, PARAMETER, all_nodes, parameters
from zoo.converters.infer import infer_shapes
from zoo.converters.lift import convert_version, lift
from zoo.converters.older import REWRITTEN, state_as_tensor, take_down
from zoo.errors import HubError, UsageError

OLDEST = 7  # before it, arithmetic broadcast by attributes of its own
KEPT = "zoo.kept"  # the domain of a node that the converter is not to look at


def at_opset(model: ir.Model, opset: int) -> ir.Model:
    """A copy of a model at another opset, its weights, names and metadata as they are.

    Raises UsageError for an opset that is not known here, HubError with the reason for one that can't be reached.
    """
    have = model.opset_imports.get("", OPSET)
    if not OLDEST <= opset <= OPSET:
        raise UsageError(f"opset {opset} can't be written", hint=f"Known: {OLDEST} to {OPSET}; the model has {have}.")
    graph, tensors = detach(model)
    inline_functions(graph)
    downwards = opset < have or any(function.domain != DOMAIN for function in graph.functions.values())
    if downwards:  # functions of another opset too are inlined at the newest, and come down from there
        graph = _lowered(graph, opset)
    functions = graph.functions
    if graph.opset_imports.get("", OPSET) != opset:
        graph = convert_version(graph, opset)
    for node in all_nodes(graph.graph):
        node.domain = "" if node.domain == KEPT else node.domain
    graph.opset_imports.pop(KEPT, None)
    for function in functions.values():  # our own, in operators that mean the same in every opset
        function.opset_imports[""] = opset
    graph.functions.update(functions)
    if downwards:
        graph.ir_version = _ir_version(graph)
    check(graph)
    used = parameters(graph.graph)
    bound = bind(graph, {name: tensor for name, tensor in tensors.items() if name in used})
    marked = parameters(model.graph)
    for name, value in parameters(bound.graph).items():
        if name not in marked:  # a mark of `detach`
            del value.metadata_props[PARAMETER]
    return bound


def _ir_version(graph: ir.Model) -> int:
    """The least that has what the model uses, so that an older runtime takes it.

    Version 4 lets weights be no inputs, 8 has functions.
    """
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in graph.opset_imports.items()]
    return max(8 if graph.functions else 4, int(onnx.helper.find_min_ir_version_for(imports, ignore_unknown=True)))


def check(model: ir.Model) -> None:
    """Raise HubError unless the graph is valid at its opset, types and shapes included; weights are not looked at."""
    weightless = detach(model)[0]
    outputs = [value for value in weightless.graph.outputs if value.shape is not None]  # which not every file states
    weightless.graph.outputs[:] = outputs
    try:
        onnx.checker.check_model(ir.to_proto(weightless), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason, opset = " ".join(str(error).split()), model.opset_imports.get("", OPSET)
        raise HubError(f"{model.graph.name!r} can't be written at opset {opset}: {reason}") from error


# ---- downwards


def _lowered(graph: ir.Model, opset: int) -> ir.Model:
    """The graph, every operator known to the older opset, and those nodes set apart that it has as they are."""
    have = graph.opset_imports.get("", OPSET)
    functions = any(function.domain != DOMAIN for function in graph.functions.values())
    if functions or any(not _exists(node, have, opset) for node in all_nodes(graph.graph)):
        graph, have = lift(graph), OPSET
        inline_functions(graph)
        infer_shapes(graph)
        if expand(graph, lambda node: _exists(node, have, opset), infer_shapes):
            simplify(graph)
    if missing := sorted({node.op_type for node in all_nodes(graph.graph) if not _exists(node, have, opset)}):
        raise HubError(
            f"{graph.graph.name!r} can't be written at opset {opset}: it has no {', '.join(missing)}, "
            "and the ONNX standard gives no body for it in older operators"
        )
    infer_shapes(graph)
    for node in list(all_nodes(graph.graph)):
        if node.op_type == "Constant" and not node.domain:
            state_as_tensor(node)
        version, rewrite = REWRITTEN.get(node.op_type, (0, None))
        if rewrite is None or node.domain or opset >= version or not isinstance(node.graph, ir.Graph):
            continue
        if (body := rewrite(node)) is not None:
            splice(node.graph, node, *body)
    ours = [node for node in all_nodes(graph.graph) if node.domain in ("", "ai.onnx")]
    for node in [node for node in ours if take_down(node, have, opset)]:
        node.domain, graph.opset_imports[KEPT] = KEPT, 1
    RemoveUnusedNodesPass()(graph)
    return graph


def _exists(node: ir.Node, have: int, opset: int) -> bool:
    """Whether the older opset has the operator, or one that the operator's body is no better for."""
    if node.domain not in ("", "ai.onnx"):
        return True
    changed = BY_BODY.get(node.op_type, 0)
    return onnx.defs.has(node.op_type, opset) and not opset < changed <= have


BY_BODY = {"GroupNormalization": 21}  # before, its scale and bias were of groups and not of channels
