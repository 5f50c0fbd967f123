"""Operators in other operators' words: functions of the model, bodies that the ONNX standard gives, and our own.

    a function of the model     its nodes, at every call
    com.microsoft, ai.onnx.ml   expansions/, one function an operator, over onnx_ir's builder
    ai.onnx                     the body in the standard, which a third of them have, where a writer has no lowering

Each is inlined in a model of its own, lifted to the one opset there, and spliced in: a body may be of an older opset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from zoo.converters.expansions import EXPANSIONS as EXPANSIONS
from zoo.converters.expansions import (  # noqa: F401 - each fills EXPANSIONS
    Builder,
    Unknown,
    microsoft,
    microsoft_attention,
    microsoft_norms,
    microsoft_quantized,
    microsoft_weights,
    ml_features,
    ml_linear,
    ml_svm,
    ml_trees,
    preview,
    standard,
    training,
)
from zoo.converters.graph import OPSET, OURS, PATH, all_graphs, all_nodes, bodies
from zoo.converters.lift import convert_version
from zoo.errors import HubError

MAX_DEPTH = 32  # of bodies in bodies, and of operators that need the shape that an earlier one's body makes known
Body = tuple[list[ir.Node], list[ir.Value | None]]  # new nodes, and what stands for each output


def inline_functions(model: ir.Model) -> None:
    """Inline every function of the model, save our own.

    Those of another opset than the graph's wait until the graph is at OPSET, and are lifted by themselves.
    Raises HubError for functions that call each other in a circle.
    """
    ours = model.opset_imports
    fits = {
        key
        for key, f in model.functions.items()
        if f.domain not in OURS and all(ours.get(d, v) == v for d, v in f.opset_imports.items())
    }
    try:
        common.InlinePass(criteria=lambda f: f.identifier() in fits)(model)
    except ir.passes.PreconditionError as error:
        raise HubError(f"the functions of {model.graph.name!r} call each other in a circle: {error}") from error
    if ours.get("", OPSET) == OPSET:
        _expand_all(model, lambda node: None if node.domain in OURS else _of_function(node, model.functions))
        for key in [key for key, f in model.functions.items() if f.domain not in OURS]:
            del model.functions[key]


# what ONNX Runtime has in ONNX's own domain, and ONNX from a later opset on or not at all
ORT_OWN = {"SimplifiedLayerNormalization": OPSET + 1, "LayerNormalization": 17}


def own_domains(model: ir.Model) -> None:
    """Put the operators that ONNX Runtime added to ONNX's domain into its own, before the graph is lifted."""
    version = model.opset_imports.get("", OPSET)
    for node in all_nodes(model.graph):
        if not node.domain and version < ORT_OWN.get(node.op_type, 0):
            node.domain = "com.microsoft"
            model.opset_imports.setdefault("com.microsoft", 1)


def expand_foreign(model: ir.Model, infer: Callable[[ir.Model], None]) -> None:
    """Put what other domains call their own (com.microsoft, ai.onnx.ml) in ONNX's words, where expansions/ can."""
    _expand_all(model, lambda node: _of_ours(node) if node.domain not in ("", *OURS) else None, infer)


def expand(model: ir.Model, has: Callable[[ir.Node], object], infer: Callable[[ir.Model], None]) -> bool:
    """Expand every node that `has` denies (a writer lacks its lowering) and a body is known for; True if any was."""

    def body(node: ir.Node) -> Body | None:
        if has(node):
            return None
        return _of_function(node, model.functions) or _of_ours(node) or _of_standard(node)

    return _expand_all(model, body, infer)


def _expand_all(
    model: ir.Model, body_of: Callable[[ir.Node], Body | None], infer: Callable[[ir.Model], None] | None = None
) -> bool:
    """Replace nodes by bodies until there is none to replace; types are inferred again where one has to be known."""
    model.opset_imports.setdefault("", OPSET)  # a model of other domains alone need not name ONNX's own
    changed = is_inferred = False
    for _ in range(MAX_DEPTH):
        again = waits = False
        for graph in all_graphs(model.graph):
            for node in list(graph):
                try:
                    body = body_of(node)
                except Unknown:
                    waits = True
                    continue
                if body is not None:
                    splice(graph, node, *body)
                    again = True
        changed |= again
        if not again and (not waits or is_inferred or infer is None):
            break
        if is_inferred := waits and infer is not None:
            infer(model)
    if changed and infer is not None:
        infer(model)
    return changed


def splice(graph: ir.Graph, node: ir.Node, nodes: Sequence[ir.Node], outputs: Sequence[ir.Value | None]) -> None:
    """Put `nodes`, which stand in no graph, in the place of `node`; their names are unique since its output's is."""
    base = next((out.name for out in node.outputs if out.name), "") or node.name or node.op_type
    path = node.metadata_props.get(PATH)
    for i, new in enumerate(nodes):
        new.name = f"{node.name or base}.{new.op_type}_{i}"
        if path is not None:
            new.metadata_props.setdefault(PATH, path)
        for j, value in enumerate(new.outputs):
            value.name = f"{base}.{new.op_type}_{i}" + f".{j}" * (j > 0)
        for body in bodies(new):
            _name(body, f"{base}.{new.op_type}_{i}")
    made = {value for new in nodes for value in new.outputs}
    graph.insert_before(node, nodes)
    for old, given in zip(node.outputs, outputs, strict=False):
        if given is None:
            continue
        value = given
        if value not in made or value.is_graph_output():  # an input handed through: an output needs a node of its own
            same = ir.node("Identity", [value])
            graph.insert_before(node, same)
            value = same.outputs[0]
        value.type, value.shape = value.type or old.type, value.shape or old.shape
        ir.convenience.replace_all_uses_with(old, value, replace_graph_outputs=True)
        value.name, old.name = old.name, None
    graph.remove(node, safe=True)


def _name(body: ir.Graph, prefix: str) -> None:
    """Name what has no name yet in a body and the bodies in it."""
    inner = [value for graph in all_graphs(body) for value in graph.inputs]
    inner += [value for node in all_nodes(body) for value in node.outputs]
    for i, value in enumerate(inner):
        value.name = value.name or f"{prefix}.{i}"


def _of_ours(node: ir.Node) -> Body | None:
    expansion = EXPANSIONS.get((node.domain, node.op_type))
    if expansion is None:
        return None
    op = Builder()
    return op.nodes, list(expansion(op, node))


def _of_standard(node: ir.Node) -> Body | None:
    """The body that the standard gives the operator; some depend on the dtypes and the inputs that are there."""
    if node.domain or not onnx.defs.has(node.op_type):
        return None
    schema = onnx.defs.get_schema(node.op_type, OPSET)
    if schema.has_function:
        data = schema.get_function_with_opset_version(max(schema.function_opset_versions))
    elif schema.has_context_dependent_function:
        if any(v is not None and v.type is None for v in node.inputs):
            raise Unknown
        types = [b"" if v is None else ir.to_proto(v).type.SerializeToString() for v in node.inputs]
        data = schema.get_context_dependent_function_with_opset_version(
            max(schema.context_dependent_function_opset_versions), ir.to_proto(node).SerializeToString(), types
        )
    else:
        return None
    proto = onnx.FunctionProto.FromString(data)
    if not proto.node:
        return None
    proto.domain, proto.name = BODY, node.op_type
    for name, attribute in schema.attributes.items():
        if name not in node.attributes and attribute.default_value.name:
            node.attributes[name] = ir.from_proto(attribute.default_value)
    declared = list(proto.output)  # a body does not compute the optional outputs that the node has not
    computed = {*proto.input, *(name for inner in proto.node for name in inner.output)}
    proto.output[:] = [name for name in declared if name in computed]
    nodes, outputs = _instance(node, ir.from_proto(proto))
    values = iter(outputs)
    return nodes, [next(values) if name in computed else None for name in declared]


BODY = "zoo.body"  # the domain that a body of the standard's stands in while it is inlined


def _of_function(node: ir.Node, functions: dict[ir.OperatorIdentifier, ir.Function]) -> Body | None:
    function = functions.get(node.op_identifier())
    return None if function is None else _instance(node, function)


def _instance(node: ir.Node, function: ir.Function) -> Body:
    """A function's nodes over the inputs of a node that calls it, at OPSET."""
    inputs = list(dict.fromkeys(v for v in node.inputs if v is not None))
    stand_ins = {v: ir.Value(name=f"in_{i}", shape=v.shape, type=v.type) for i, v in enumerate(inputs)}
    call = ir.Node(
        function.domain,
        function.name,
        [None if v is None else stand_ins[v] for v in node.inputs],
        list(node.attributes.values()),
        overload=function.overload,
        num_outputs=len(function.outputs),
    )
    for i, out in enumerate(call.outputs):
        out.name = f"out_{i}"
    imports = dict(function.opset_imports)
    graph = ir.Graph(
        list(stand_ins.values()), list(call.outputs), nodes=[call], opset_imports=imports, name=node.op_type
    )
    model = ir.Model(graph, ir_version=10, functions=[function])
    key = function.identifier()
    common.InlinePass(criteria=lambda f: f.identifier() == key)(model)
    if imports.get("", OPSET) != OPSET:
        model = convert_version(model, OPSET)
    stand_in_of = {value.name: value for value in model.graph.inputs}
    given = {stand_in_of[f"in_{i}"]: v for i, v in enumerate(inputs)}
    outputs: list[ir.Value | None] = [given.get(out, out) for out in model.graph.outputs]
    model.graph.outputs.clear()
    for stand_in, value in given.items():
        ir.convenience.replace_all_uses_with(stand_in, value)
    nodes = list(model.graph)
    model.graph.remove(nodes)
    return nodes, outputs
