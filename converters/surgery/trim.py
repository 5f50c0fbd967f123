"""Take away what nobody reads any more: nodes, the parameters that they read, and the modules that held them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedFunctionsPass

from zoo.converters.graph import HEAD, MODULES, STEM, all_nodes, is_parameter, module_path, parameters


class Living(NamedTuple):
    """Which tensors are read, and which modules have nodes or tensors that are."""

    read: frozenset[str]
    modules: frozenset[str]


def living(model: ir.Model) -> Living:
    """Of a model as it stands."""
    values = (*model.graph.inputs, *model.graph.initializers.values())
    read = frozenset(v.name for v in values if v.name and (v.uses() or v.is_graph_output()))
    paths = {module_path(node) for node in all_nodes(model.graph)}
    paths |= {name.rpartition(".")[0] for name in parameters(model.graph) if name in read}
    return Living(read, frozenset(part for path in paths for part in _prefixes(path)))


def parts(graph: ir.Graph) -> set[str]:
    """The names of all that a graph computes from: its inputs, parameters and constants."""
    return {v.name for v in (*graph.inputs, *graph.initializers.values()) if v.name}


def trim(model: ir.Model, was: Living) -> None:
    """Take away, in place, what has died since `was`. What was never read stays with its module, if that lives."""
    graph = model.graph
    for node in reversed(list(graph)):
        if not any(out.uses() or out.is_graph_output() for out in node.outputs):
            graph.remove(node, safe=True)
    now = living(model)
    for value in (*graph.inputs, *graph.initializers.values()):
        name = value.name or ""
        if name in now.read or not (is_parameter(value) or value.is_initializer()):
            continue
        owner = name.rpartition(".")[0]
        if name in was.read or (is_parameter(value) and owner in was.modules and owner not in now.modules):
            graph.initializers.pop(name, None)
            if value in graph.inputs:
                graph.inputs.remove(value)
    _trim_tree(model, was.modules - now.modules)
    RemoveUnusedFunctionsPass()(model)  # type: ignore[no-untyped-call]  # onnx_ir's __init__ is untyped


def _trim_tree(model: ir.Model, dead: frozenset[str]) -> None:
    """Modules that died, and those in them that had nothing to compute, leave the author's tree."""
    tree = json.loads(model.metadata_props.get(MODULES, "{}"))
    kept = {path: cls for path, cls in tree.items() if dead.isdisjoint(_prefixes(path))}
    if tree != kept:
        model.metadata_props[MODULES] = json.dumps(kept, separators=(",", ":"))
    for key in (HEAD, STEM):
        if model.metadata_props.get(key) in dead:
            del model.metadata_props[key]


def _prefixes(path: str) -> Iterable[str]:
    """`a.b` as "", "a" and "a.b"."""
    parts = path.split(".") if path else []
    return [".".join(parts[:i]) for i in range(len(parts) + 1)]
