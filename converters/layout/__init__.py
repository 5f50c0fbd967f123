"""Channels last: from the layout that ONNX defines operators in to the one that Keras and TensorFlow compute in.

    Conv(x)                        -> Transpose(zoo.channels_last::Conv(Transpose(x)))          bound.py
    f(Transpose(x))          -> Transpose(f'(x)), by a rule for each operator                   elementwise.py, axes.py,
    Transpose(Transpose(x))  -> Transpose(x), or x                                              shapes.py, perms.py
    Transpose(constant)      -> another constant                                                rewrite.py

Each of these is an identity. Which of them are taken is one question for the whole graph: where the Transposes stand
that no rule can cancel. The answer is the cheapest, fewest first and then smallest (plan.py); nothing is tried out.

Weights stay as their author has them; only operands of arithmetic (a scale [C, 1, 1]) are read through a Transpose or
Reshape of the parameter, which a writer does once. Attention's own Transposes of its heads are no layout, and stay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal, NamedTuple

import onnx_ir as ir

from zoo.converters.graph import LAYOUT, all_graphs, all_nodes, data_inputs
from zoo.converters.layout.bound import DATA, Takes
from zoo.converters.layout.perms import Perm
from zoo.converters.layout.plan import is_idle, make_plan
from zoo.converters.layout.rewrite import Rewriter
from zoo.converters.layout.sites import Edge, Plan, fixed_values, transposition
from zoo.errors import HubError

__all__ = ["DATA", "Layouts", "Remaining", "Report", "Takes", "channels_last", "layouts", "remaining"]
Choice = Literal["last", "first"]


class Remaining(NamedTuple):
    """A Transpose of an activation inside a graph: its node, what it does, and why it stands there."""

    node: str
    perm: Perm
    reason: str


class Report(NamedTuple):
    """The Transposes of activations that stand inside the graph: those that it had, and those that it has now."""

    before: tuple[Remaining, ...]
    after: tuple[Remaining, ...]


class Layouts(NamedTuple):
    """The inputs and outputs that stand otherwise than the graph says: by name, the permutation of its axes."""

    inputs: Mapping[str, Perm]
    outputs: Mapping[str, Perm]


def channels_last(model: ir.Model, takes: Takes, *, inputs: Choice = "last", outputs: Choice = "last") -> Report:
    """Bring the operators of a canonical model for which `takes(node)` is true into channels-last form, in place.

    With inputs="last", inputs that are pictures to such an operator come with their channels last, and with
    outputs="last" what leaves so does; `layouts` says which. With "first" the graph's inputs or outputs stay, and are
    transposed at the edge. A second call changes nothing: a graph is planned anew until no plan is cheaper than what
    stands there (each lowers the cost, see plan.py; most graphs need one).
    """
    before = remaining(model, inputs=inputs, outputs=outputs)
    names = {v.name for graph in all_graphs(model.graph) for v in (*graph.inputs, *graph.initializers.values())}
    names |= {out.name for node in all_nodes(model.graph) for out in node.outputs}
    for graph in list(all_graphs(model.graph)):
        while not is_idle(plan := _plan(model, graph, takes, Edge(inputs), Edge(outputs))):
            if graph is model.graph:
                _note(model, plan)
            Rewriter(model, graph, plan, names).run()
    return Report(before, remaining(model, inputs=inputs, outputs=outputs))


def _plan(model: ir.Model, graph: ir.Graph, takes: Takes, inputs: Edge, outputs: Edge) -> Plan:
    """The plan for a graph of the model; what was turned before stays so."""
    if graph is not model.graph:
        return make_plan(
            graph, takes, dict.fromkeys(graph.inputs, Edge.INSIDE), dict.fromkeys(graph.outputs, Edge.INSIDE)
        )
    turned = layouts(model)
    fed = {v: Edge.INSIDE if v.name in turned.inputs else inputs for v in data_inputs(graph)}
    given = {v: Edge.INSIDE if v.name in turned.outputs else outputs for v in graph.outputs}
    return make_plan(graph, takes, fed, given)


def _note(model: ir.Model, plan: Plan) -> None:
    """Note in the model which inputs and outputs a plan turns."""
    turned = layouts(model)
    inputs, outputs = dict(turned.inputs), dict(turned.outputs)
    for i, site in enumerate(plan.sites):
        if isinstance(site.thing, ir.Value):
            inputs.update((site.thing.name or "", perm) for perm in plan.form(i).gives if perm is not None)
            outputs.update((site.thing.name or "", perm) for perm in plan.form(i).takes if perm is not None)
    if inputs or outputs:
        model.metadata_props[LAYOUT] = json.dumps({"inputs": inputs, "outputs": outputs})


def layouts(model: ir.Model) -> Layouts:
    """Which inputs and outputs of a model stand otherwise than its author's graph says.

    What a Runner is fed, np.transpose(x, perm), is what the model takes; what the model gives is what
    np.transpose(y, np.argsort(perm)) gives back to the user. Raises HubError where the metadata says no such thing.
    """
    try:
        found = json.loads(model.metadata_props.get(LAYOUT, "{}"))
        kinds = ({str(n): tuple(map(int, p)) for n, p in found.get(kind, {}).items()} for kind in ("inputs", "outputs"))
        return Layouts(*kinds)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise HubError(f"the metadata {LAYOUT!r} of {model.graph.name!r} says no layouts: {error}") from error


def remaining(model: ir.Model, *, inputs: Choice = "last", outputs: Choice = "last") -> tuple[Remaining, ...]:
    """The Transposes of activations inside a model, those of its bodies too.

    Where the graph's inputs or outputs stay with their channels first, those at that edge are not counted.
    """
    found, fed = [], set(data_inputs(model.graph)) if inputs == "first" else set()
    for graph in all_graphs(model.graph):
        fixed = fixed_values(graph)
        leaving = set(graph.outputs) if graph is model.graph and outputs == "first" else set()
        for node in graph:
            perm = transposition(node)
            if perm is None or node.inputs[0] in fixed or node.inputs[0] in fed:
                continue
            if node.outputs[0] in leaving and not node.outputs[0].uses():
                continue
            reason = node.metadata_props.get(LAYOUT, "the graph's own")
            found.append(Remaining(node.name or node.outputs[0].name or "", perm, reason))
    return tuple(found)
