"""Which of the author's tensors more than one layer reads.

Keras' layers own their weights: a layer of its own holds such a tensor, and hands it to all. An embedding that is also
the last linear layer is one of Keras' own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import onnx_ir as ir

from zoo.converters.expand import splice
from zoo.converters.graph import DOMAIN, all_graphs, bodies, parameters

VIEWS = {"Transpose", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity"}
PRODUCTS = {"MatMul", "Gemm", "Linear", "LinearNoBias"}


class Use(NamedTuple):
    """A node that reads a tensor as its n-th input, as it is or through views."""

    node: ir.Node
    at: int


def uses(value: ir.Value) -> Iterator[Use]:
    """Who reads a value, through views of it."""
    for use in value.uses():
        if use.node.op_type in VIEWS and not use.node.domain and use.idx == 0:
            yield from uses(use.node.outputs[0])
        else:
            yield Use(use.node, use.idx)


def is_reversible(value: ir.Value) -> bool:
    """Whether the tensor [V, D] is looked up by rows in one place, and what [..., D] is multiplied by in another."""
    kinds = [(use.node.op_type, use.at) for use in uses(value)]
    products = [k for k in kinds if k[0] in PRODUCTS and k[1] == 1]
    return len(value.shape or ()) == 2 and 0 < len(products) < len(kinds) == len(products) + kinds.count(("Gather", 0))


def part_biases(model: ir.Model) -> None:
    """Linear(x, W, b) -> LinearNoBias(x, W) + b, in place, where W is an embedding: read backwards it has no bias."""
    for node in list(model.graph):
        if (
            node.domain != DOMAIN
            or node.op_type != "Linear"
            or node.inputs[1] is None
            or not is_reversible(node.inputs[1])
        ):
            continue
        x, weight, bias = node.inputs
        product = ir.node("LinearNoBias", [x, weight], domain=DOMAIN)
        total = ir.node("Add", [product.outputs[0], bias])
        for new in (product, total):
            new.outputs[0].type, new.outputs[0].shape = node.outputs[0].type, node.outputs[0].shape
        splice(model.graph, node, [product, total], total.outputs)


def shared(graph: ir.Graph) -> set[str]:
    """The names of parameters that are read in different ways, or in the body of a node and elsewhere."""
    inner = {node for body in list(all_graphs(graph))[1:] for node in body}
    found = set()
    for name, value in parameters(graph).items():
        readers = list(uses(value))
        outer = [use for use in readers if use.node not in inner]
        several = len({_said(use) for use in outer}) > 1 and not is_reversible(value)
        if several or (len(outer) < len(readers) and len(readers) > 1) or _leaves(value):
            found.add(name)
    return found


def _leaves(value: ir.Value) -> bool:
    """Whether a tensor, or a view of it, is an output of the graph."""
    views = [use.node.outputs[0] for use in value.uses() if use.node.op_type in VIEWS and not use.node.domain]
    return value.is_graph_output() or any(map(_leaves, views))


def _said(use: Use) -> tuple[Any, ...]:
    """What a layer is made of: two nodes of which this is not the same are never one layer called twice."""
    node = use.node
    attributes = tuple(
        sorted((name, str(attr.value)) for name, attr in node.attributes.items() if not any(bodies(node)))
    )
    fixed = tuple(v.name if v is not None and v.is_initializer() else None for v in node.inputs)
    return (node.domain, node.op_type, use.at, attributes, fixed, id(node) if any(bodies(node)) else 0)
