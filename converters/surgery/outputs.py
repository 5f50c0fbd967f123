"""Inner outputs by the author's names: of modules, of the graph's own outputs, or of ONNX values.

A name is looked for among the graph's outputs, then among the modules, then among the values. A module's outputs are
what others read of it, in the order in which they are computed; where there are several (a module that is called
three times) the first goes by the module's path, the next by `path:1` and `path:2`. Shape arithmetic that others read
is no output of a module. What no asked output needs is cut away, its parameters and modules too.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from zoo.converters.graph import all_nodes, bodies, module_path
from zoo.converters.surgery.spread import Spread
from zoo.converters.surgery.trim import living, trim
from zoo.errors import UnknownOutput, UsageError, did_you_mean


def change_outputs(model: ir.Model, names: Sequence[str]) -> None:
    """Let a model give these outputs under these names, in their order, and nothing else, in place.

    Raises UnknownOutput with the nearest names.
    """
    graph, was = model.graph, living(model)
    chosen: list[tuple[str, ir.Value]] = []
    for name in names:
        found = _find(graph, name)
        listed = [name if k == 0 else f"{name}:{k}" for k in range(len(found))]
        chosen += [(one, value) for one, value in zip(listed, found, strict=True) if one not in dict(chosen)]
    _state(model, [value for _, value in chosen])
    graph.outputs.clear()
    taken: set[ir.Value] = set()
    for name, value in chosen:
        graph.outputs.append(_under(graph, name, value, taken))
    trim(model, was)


def _state(model: ir.Model, values: Sequence[ir.Value]) -> None:
    """Have the dtype and the shape of values stated, as ONNX wants it of outputs. Raises UsageError."""
    if all(value.type is not None and value.shape is not None for value in values):
        return
    spread = Spread(model)
    for value in values:
        spread.state(value)
        if value.type is None:
            raise UsageError(f"outputs=: the dtype of {value.name!r} is not known")


def _find(graph: ir.Graph, name: str) -> list[ir.Value]:
    """The values of a name. Raises UnknownOutput."""
    for output in graph.outputs:
        if output.name == name:
            return [output]
    if found := of_module(graph, name):
        return found
    path, colon, number = name.rpartition(":")
    if colon and number.isdecimal() and int(number) < len(found := of_module(graph, path)):
        return [found[int(number)]]
    made = {out.name: out for node in graph for out in node.outputs if out.name}
    if name in made:
        return [made[name]]
    paths = dict.fromkeys(part for node in graph for part in _prefixes(module_path(node)))
    known = [*(out.name or "" for out in graph.outputs), *paths]
    hint = did_you_mean(name, known) or did_you_mean(name, made)
    top = [path for path in paths if "." not in path]
    raise UnknownOutput(
        f"outputs=: {graph.name!r} has no module, output or value {name!r}",
        hint=hint or f"Its outermost modules: {', '.join(top[:20])}." if top or hint else "",
    )


def of_module(graph: ir.Graph, path: str) -> list[ir.Value]:
    """What others read of a module, in the order in which it is computed; empty where no node belongs to it."""
    inside = [node for node in graph if path and f"{module_path(node)}.".startswith(f"{path}.")]
    within = {*inside, *(inner for node in inside for body in bodies(node) for inner in all_nodes(body))}
    found = [
        out
        for node in inside
        for out in node.outputs
        if out.is_graph_output() or any(use.node not in within for use in out.uses())
    ]
    return [v for v in found if not _is_arithmetic(v)] or found


def _is_arithmetic(value: ir.Value) -> bool:
    """Whether a value can only be a size: an integer scalar or vector."""
    rank = len(value.shape) if value.shape is not None else None
    return value.dtype == ir.DataType.INT64 and rank is not None and rank < 2


def _under(graph: ir.Graph, name: str, value: ir.Value, taken: set[ir.Value]) -> ir.Value:
    """The value under a name: its own where nobody else has it, else that of an Identity."""
    if value.name == name and value not in taken:
        taken.add(value)
        return value
    others = {out.name for node in graph for out in node.outputs} | {v.name for v in graph.inputs}
    if value not in taken and name not in others | set(graph.initializers):
        taken.add(value)
        value.name = name
        return value
    for node in graph:
        for out in node.outputs:
            if out.name == name and out is not value and out not in taken:
                out.name = _other(name, others)
    same = ir.node("Identity", [value], name=f"output_{name}")
    same.outputs[0].name, same.outputs[0].shape, same.outputs[0].type = name, value.shape, value.type
    graph.append(same)
    taken.add(same.outputs[0])
    return same.outputs[0]


def _other(name: str, taken: set[str | None]) -> str:
    n = 1
    while f"{name}_{n}" in taken:
        n += 1
    return f"{name}_{n}"


def _prefixes(path: str) -> list[str]:
    parts = path.split(".") if path else []
    return [".".join(parts[:i]) for i in range(1, len(parts) + 1)]
