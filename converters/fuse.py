"""Restore what exporters took apart: formulas over operators become the operator that they define.

Each family has a file of its own in fusions/. A fused graph computes the same; what ONNX has no operator for stands in
the domain `zoo` with its function body, so that the graph stays a model that every runtime takes.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from zoo.converters.fusions import activations, attention, linear, norms, rotary
from zoo.converters.fusions.recurrent import fuse_recurrent
from zoo.converters.fusions.rewriting import Rules
from zoo.converters.graph import all_graphs

RULES = Rules((*attention.RULES, *rotary.RULES, *norms.RULES, *activations.RULES, *linear.RULES))


def fuse(model: ir.Model, refusals: list[str] | None = None) -> ir.Model:
    """All fusions, in place, in the bodies of If, Loop and Scan as well; returns the model.

    The model is canonical, weightless or bound: no weight is looked at. Why something that looks like one of the
    formulas was left alone is added to `refusals`, a sentence each.
    """
    changed = False
    for graph in list(all_graphs(model.graph)):
        changed |= fuse_recurrent(model, graph)
        while RULES.apply(model, graph, refusals):
            changed = True
        changed |= attention.ungroup(model, graph)
    if changed:
        RemoveUnusedNodesPass()(model)
    return model
