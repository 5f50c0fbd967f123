"""Gradient of ai.onnx.preview.training, which names the values of its graph that it differentiates, with the graph
between them as a body: from then on no pass has to keep a name or a value for it.

    Gradient<xs = ["a"], zs = ["b"], y = "d">(p, q)  ->  zoo::Gradient<body = (a, b) => (d)>(p, q)

The body is the part of the graph that computes y of xs and zs; what else it reads it captures, as that of a Loop does.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from zoo.converters.graph import DOMAIN, all_graphs
from zoo.errors import HubError

TRAINING = "ai.onnx.preview.training"


def enclose_gradients(model: ir.Model) -> None:
    """Give every Gradient its body, in place. Raises HubError where it names a value that its graph lacks."""
    for graph in all_graphs(model.graph):
        for k, node in enumerate([node for node in graph if (node.domain, node.op_type) == (TRAINING, "Gradient")]):
            body = _between(graph, node, f"{graph.name}.gradient_{k}")
            made = ir.node("Gradient", node.inputs, {"body": body}, domain=DOMAIN, num_outputs=len(node.outputs))
            made.name = node.name
            made.metadata_props.update(node.metadata_props)
            graph.insert_before(node, made)
            for old, new in zip(node.outputs, made.outputs, strict=True):
                new.name, new.type, new.shape = old.name, old.type, old.shape
                ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
                old.name = None
            graph.remove(node, safe=True)
            model.opset_imports.setdefault(DOMAIN, 1)


def _between(graph: ir.Graph, node: ir.Node, name: str) -> ir.Graph:
    """A copy of what computes y, its inputs xs and zs."""
    body = graph.clone(allow_outer_scope_values=True)
    inside, outside = _by_name(body), _by_name(graph)
    named = [*node.attributes.get_strings("xs", []), *node.attributes.get_strings("zs", [])]
    y = node.attributes.get_string("y", "")
    if missing := [v for v in (*named, y) if v not in inside]:
        raise HubError(f"Gradient {node.name!r} of {graph.name!r}: there is no value {missing[0]!r} in its graph")
    if len(named) != len(node.inputs) or len(node.outputs) > len(named):
        raise HubError(f"Gradient {node.name!r} of {graph.name!r} has {len(node.inputs)} inputs for {len(named)} names")
    fed = []
    for v in named:
        stand_in = ir.Value(name=v, type=inside[v].type, shape=inside[v].shape)
        ir.convenience.replace_all_uses_with(inside[v], stand_in)
        fed.append(stand_in)
    for value in (*body.inputs, *body.initializers.values()):
        if value.name not in named:
            ir.convenience.replace_all_uses_with(value, outside[value.name or ""])
    body.inputs.clear()
    body.initializers.clear()
    body.inputs.extend(fed)
    body.outputs.clear()
    body.outputs.append(fed[named.index(y)] if y in named else inside[y])
    body.name = name
    common.RemoveUnusedNodesPass()(ir.Model(body, ir_version=10))
    for value in _by_name(body).values():
        value.name = f"{name}.{value.name}"
    return body


def _by_name(graph: ir.Graph) -> dict[str, ir.Value]:
    values = (*graph.inputs, *graph.initializers.values(), *(out for node in graph for out in node.outputs))
    return {value.name: value for value in values if value.name}
