"""Which tensor of a checkpoint is whose variable: what the graph's own saver would restore into it."""

from __future__ import annotations

from collections.abc import Mapping

from zoo.converters.readers.tf_graph import Graph, Node

ASSIGNS = ("Assign", "AssignVariableOp")
PASSES = ("Identity",)
CALLS = ("StatefulPartitionedCall", "PartitionedCall")


def keys_of(graph: Graph) -> dict[str, str]:
    """Variables' nodes -> names in the checkpoint, as far as restoring nodes say; those of functions by their calls."""
    found = _assigned(graph.nodes)
    for node in graph.nodes.values():
        if node.op not in CALLS or not node.has("f"):
            continue
        function = graph.functions.get(node.function("f"))
        if function is None:
            continue
        for argument, key in _assigned(function.nodes).items():
            if argument in function.inputs:
                at = function.inputs.index(argument)
                if at < len(node.inputs):
                    found.setdefault(node.inputs[at].node, key)
    return found


def _assigned(nodes: Mapping[str, Node]) -> dict[str, str]:
    """Of the assignments in a graph or function: whose variable gets which name of the checkpoint."""
    names = {name: _words(nodes, node) for name, node in nodes.items() if node.op == "RestoreV2"}
    found = {}
    for node in nodes.values():
        if node.op not in ASSIGNS or len(node.inputs) < 2:
            continue
        source = node.inputs[1]
        for _ in range(len(PASSES) + 1):  # through an Identity
            before = nodes.get(source.node)
            if before is None or before.op not in PASSES or not before.inputs:
                break
            source = before.inputs[0]
        words = names.get(source.node, [])
        if source.index < len(words):
            found[node.inputs[0].node] = words[source.index]
    return found


def _words(nodes: Mapping[str, Node], node: Node) -> list[str]:
    """The names that a RestoreV2 node asks for."""
    source = nodes.get(node.inputs[1].node) if len(node.inputs) > 1 else None
    if source is None or source.op != "Const" or not source.has("value"):
        return []
    return [bytes(word).decode("utf-8", "replace") for word in source.attributes["value"]["tensor"]["string"]]
