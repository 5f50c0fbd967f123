"""An If whose condition is known is the branch that is taken."""

from __future__ import annotations

import onnx_ir as ir

from zoo.converters.expand import splice
from zoo.converters.graph import all_graphs


def take_branches(model: ir.Model) -> bool:
    """Put the branch that a constant condition chooses in the place of its If; True if any was."""
    changed = False
    for graph in all_graphs(model.graph):
        for node in list(graph):
            condition = node.inputs[0] if node.op_type == "If" and not node.domain else None
            if condition is None or condition.const_value is None or condition.const_value.size != 1:
                continue
            taken = "then_branch" if condition.const_value.numpy().item() else "else_branch"
            branch = node.attributes[taken].as_graph()
            nodes, outputs = list(branch), list(branch.outputs)
            branch.outputs.clear()
            branch.remove(nodes)
            splice(graph, node, nodes, outputs)
            changed = True
    return changed
