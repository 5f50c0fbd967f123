"""Where do two graphs part? The same inputs through both, value by value, down to the first node that differs.

Values are known by name: what both graphs compute under the same name is compared, in the candidate's order. A value
*parts* when it differs beyond tolerance while all that it is computed from agrees. Rounding alone can make one part
(the difference of two large numbers), so the node is run once more by itself, on the reference's own values: it is at
fault when it differs then too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from zoo.converters.fold import dims
from zoo.converters.graph import all_nodes, bodies, data_inputs, module_path
from zoo.converters.runner import Array
from zoo.converters.verify import TOLERANCES, Agreement, compare
from zoo.errors import ZooError

CHUNK_BYTES = 256 << 20  # of values that are kept at a time, of each graph
Run = Callable[[ir.Model, Mapping[str, Array]], Mapping[str, Any]]  # a graph and arrays -> its outputs by name


@dataclass(frozen=True, slots=True)
class Side:
    """A graph with its weights, and what runs it and graphs like it."""

    model: ir.Model
    run: Run


@dataclass(frozen=True, slots=True)
class Parting:
    """The first value that parts, and what there is to reproduce it with.

    `nodes` are the reference's nodes between the inputs and the value: more than one where the candidate has them as
    one. `alone` is how the value differs when these nodes alone are given `inputs`, None where they can't be run so.
    """

    value: str
    nodes: Sequence[str]  # "Conv 'conv1'"; the last one computes the value
    module: str  # the author's path of the module that computes it, if known
    difference: Agreement | None  # None where the candidate fails at the value
    problem: str  # why it fails
    alone: Agreement | None
    inputs: Mapping[str, Any] = field(repr=False)  # the reference's
    expected: Any = field(repr=False)
    got: Any = field(repr=False)
    graph: ir.Model | None = field(repr=False)  # the nodes as a model: `inputs` -> `value`


@dataclass(frozen=True, slots=True)
class Bisection:
    """What came out: how many values were compared, the largest relative difference, and where the graphs part."""

    compared: int
    max_relative: float
    parting: Parting | None


def bisect(
    reference: Side, candidate: Side, feeds: Mapping[str, Array], *, chunk_bytes: int = CHUNK_BYTES
) -> Bisection:
    """Compare two graphs value by value on `feeds`; neither is changed. Some `chunk_bytes` of values are kept of each.

    The candidate may fail to run: then it parts where it fails. Values in the bodies of If, Loop and Scan belong to
    their node. Where no output of the candidate differs, a value that parts by rounding alone is no parting.
    """
    reference, candidate = _ordered(reference), _ordered(candidate)
    agreements, problems = dict[str, Agreement](), dict[str, str]()
    for names in _chunks(reference.model, candidate.model, feeds, chunk_bytes):
        for name, found in _agreements(reference, candidate, feeds, names):
            if isinstance(found, str):
                problems[name] = found
                break
            agreements[name] = found
        if problems:  # what is computed from it fails as well
            break
    bad = {name for name, agreement in agreements.items() if not agreement.agrees} | problems.keys()
    known = agreements.keys() | problems.keys()
    cuts = {name: _frontier(candidate.model, name, known) for name in (*agreements, *problems) if name in bad}
    partings = (
        _parting(reference, candidate, feeds, name, cut, agreements.get(name), problems.get(name, ""))
        for name, cut in cuts.items()
        if not bad & set(cut)
    )
    outputs_differ = any(value.name in bad for value in candidate.model.graph.outputs) or bool(problems)
    relative = max((agreement.max_relative for agreement in agreements.values()), default=0.0)
    return Bisection(len(agreements), relative, _chosen(partings, outputs_differ))


def _chosen(partings: Iterable[Parting], outputs_differ: bool) -> Parting | None:
    """The first that differs by itself; else the first, if it matters to an output."""
    first = None
    for parting in partings:
        if parting.alone is None or not parting.alone.agrees:
            return parting
        first = first or parting
    return first if outputs_differ else None


# ---- the values that both have


def _ordered(side: Side) -> Side:
    copy = side.model.clone()
    copy.graph.sort()
    return Side(copy, side.run)


def _values(model: ir.Model) -> dict[str, ir.Value]:
    """What the nodes of the graph itself compute, by name, in their order."""
    return {out.name: out for node in model.graph for out in node.outputs if out.name}


def _agreements(
    reference: Side, candidate: Side, feeds: Mapping[str, Array], names: Sequence[str]
) -> Iterator[tuple[str, Agreement | str]]:
    """How each value agrees, or why the candidate can't compute it. What the reference can't give is left out."""
    expected, got = _attempt(reference, names, feeds), _attempt(candidate, names, feeds)
    if not isinstance(expected, str) and not isinstance(got, str):
        yield from ((name, _compared(name, expected[name], got[name])) for name in names)
    elif len(names) > 1:
        half = len(names) // 2
        yield from _agreements(reference, candidate, feeds, names[:half])
        yield from _agreements(reference, candidate, feeds, names[half:])
    elif isinstance(got, str) and not isinstance(expected, str):
        yield names[0], got


def _compared(name: str, expected: Any, got: Any) -> Agreement:
    dtype = getattr(getattr(expected, "dtype", None), "name", "")
    return compare({name: expected}, {name: got}, dtype=dtype if dtype in TOLERANCES else "float32")


def _attempt(side: Side, names: Sequence[str], feeds: Mapping[str, Array]) -> Mapping[str, Any] | str:
    """The values of these names, or why they can't be had."""
    try:
        return side.run(_with_outputs(side.model, names), feeds)
    except Exception as error:  # noqa: BLE001 - whatever a framework raises when it runs
        return error.message if isinstance(error, ZooError) else f"{type(error).__name__}: {error}"


def _with_outputs(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """A copy that gives these values, and has no node but what they want."""
    copy = model.clone()
    values = _values(copy)
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(values[name] for name in names)
    RemoveUnusedNodesPass()(copy)
    return copy


def _chunks(
    reference: ir.Model, candidate: ir.Model, feeds: Mapping[str, Array], chunk_bytes: int
) -> Iterator[list[str]]:
    """The names of what nodes of both compute, in the candidate's order, as many at a time as the bytes allow."""
    theirs, free = _values(reference), _free_sizes(candidate, feeds)
    chunk, held = list[str](), 0
    for name, value in _values(candidate).items():
        if name not in theirs:
            continue
        size_bytes = _size_bytes(value, free)
        if chunk and held + size_bytes > chunk_bytes:
            yield chunk
            chunk, held = [], 0
        chunk.append(name)
        held += size_bytes
    if chunk:
        yield chunk


def _free_sizes(model: ir.Model, feeds: Mapping[str, Array]) -> dict[str, int]:
    """What the graph's free sizes are on these inputs."""
    return {
        name: size
        for value in data_inputs(model.graph)
        for name, size in zip(dims(value) or (), getattr(feeds.get(value.name or ""), "shape", ()), strict=False)
        if isinstance(name, str)
    }


def _size_bytes(value: ir.Value, free: Mapping[str, int]) -> int:
    """What a value takes, as far as it is known; a size that nobody knows counts as the largest free one."""
    unknown = max(free.values(), default=1)
    shape = [d if isinstance(d, int) else free.get(d, unknown) for d in dims(value) or ()]
    bits = 64 if value.dtype in (None, ir.DataType.STRING, ir.DataType.UNDEFINED) else value.dtype.bitwidth
    return prod(shape) * max(bits // 8, 1)


# ---- one value


def _frontier(model: ir.Model, name: str, known: Iterable[str]) -> list[str]:
    """What a value is computed from: the nearest values that were compared, and inputs of the graph."""
    stops = set(known) - {name}
    producer = _values(model)[name].producer()
    found, seen, todo = dict[str, None](), set[ir.Value](), [producer]
    while todo:
        for value in _read(todo.pop()):
            if value in seen or not value.name or value.is_initializer():
                continue
            seen.add(value)
            if value.producer() is None or value.name in stops:
                found[value.name] = None
            else:
                todo.append(value.producer())
    return list(found)


def _read(node: ir.Node | None) -> Iterator[ir.Value]:
    """What a node reads, and what its bodies read of the graph around them."""
    if node is None:
        return
    yield from (value for value in node.inputs if value is not None)
    for inner in (n for body in bodies(node) for n in all_nodes(body)):
        yield from (value for value in inner.inputs if value is not None and value.graph is node.graph)


def _parting(
    reference: Side,
    candidate: Side,
    feeds: Mapping[str, Array],
    name: str,
    frontier: Sequence[str],
    difference: Agreement | None,
    problem: str,
) -> Parting:
    """The facts of a value that parts: its inputs and both results, and how its nodes differ when they run alone."""
    made = _values(reference.model)
    expected = reference.run(_with_outputs(reference.model, [name, *(n for n in frontier if n in made)]), feeds)
    inputs = {n: expected[n] if n in made else feeds[n] for n in frontier if n in made or n in feeds}
    got = None if problem else candidate.run(_with_outputs(candidate.model, [name]), feeds)[name]
    alone = None
    if not problem and (part := _cut(candidate.model, inputs, name)) is not None:
        again = _attempt(Side(part, candidate.run), [name], inputs)
        alone = None if isinstance(again, str) else _compared(name, expected[name], again[name])
    graph, producer = _cut(reference.model, inputs, name), made[name].producer()
    nodes = graph.graph if graph is not None else [producer] if producer is not None else []
    lowered = _values(candidate.model)[name].producer()
    return Parting(
        name,
        [f"{node.op_type} {node.name or node.outputs[0].name!r}" for node in nodes],
        module_path(lowered) if lowered is not None else "",
        difference,
        problem,
        alone,
        inputs,
        expected[name],
        got,
        graph,
    )


def _cut(model: ir.Model, inputs: Mapping[str, Any], output: str) -> ir.Model | None:
    """The nodes between values, as a model with the weights that they read; None where these don't bound it."""
    try:
        graph = ir.convenience.extract(model.graph, list(inputs), [output])
    except ValueError:
        return None
    for value in graph.inputs:
        array = inputs[value.name or ""]
        if value.type is None and hasattr(array, "dtype"):
            is_text = array.dtype.kind in "OSU"
            value.type = ir.TensorType(ir.DataType.STRING if is_text else ir.DataType.from_numpy(array.dtype))
        if value.shape is None and hasattr(array, "shape"):
            value.shape = ir.Shape(array.shape)
    functions = [function.clone() for function in model.functions.values()]
    props = dict(model.metadata_props)
    return ir.Model(graph, ir_version=model.ir_version, functions=functions, metadata_props=props)
