"""What an ONNX model has to be before anything is made of it: its names, order, types, sizes, functions and nodes.

onnx's C++ (version converter, inference) and onnx_ir take much of this for granted, and a function can call others
until the graph is larger than any memory. So it is looked at here first, in the message itself: nothing is computed,
nothing is allocated, and each mistake is one error that names its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import onnx
from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    TypeProto,
    ValueInfoProto,
)

from zoo.converters.readers.onnx_fit import MAX_ELEMENTS, rounded, too_large
from zoo.converters.readers.onnx_signature import check_signature, nodes_graphs
from zoo.errors import Malformed, Refused

MAX_DEPTH = 64  # of graphs in graphs, types in types, and calls of functions in functions
MAX_NODES = 1 << 20  # of all that is left when functions are inlined; large models have some ten thousand
HINT = "Export the model again, or mend the file."
DTYPES = frozenset(TensorProto.DataType.values())
Key = tuple[str, str, str]  # domain, name and overload of a function


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: for messages, and for what may stand there."""

    file: Path | str
    where: str
    opsets: dict[str, int]
    functions: dict[Key, FunctionProto]
    is_function: bool = False
    check_tensor: Callable[[TensorProto, str], None] = lambda tensor, what: None
    unordered: list[str] = field(default_factory=list)  # graphs whose nodes stand before what they read

    def malformed(self, what: str) -> Malformed:
        """An error for something at this place."""
        return Malformed(self.file, f"{self.where}: {what}", hint=HINT)


def check_structure(model: ModelProto, file: Path | str, check_tensor: Callable[[TensorProto, str], None]) -> bool:
    """Raise Malformed or Refused for the first thing that is wrong; `check_tensor` looks at each tensor's data.

    Gives whether nodes stand in an order in which they can be computed, which they need not.
    """
    where = f"graph {model.graph.name!r}"
    place = Place(file, "model", {}, {}, check_tensor=check_tensor)
    if not 1 <= model.ir_version <= onnx.IR_VERSION:
        raise place.malformed(f"IR version {model.ir_version}; this version of polyzoo reads 1 to {onnx.IR_VERSION}")
    for function in model.functions:
        key = (_domain(function.domain), function.name, function.overload)
        if key in place.functions:
            raise place.malformed(f"two functions are called {_called(key)}")
        place.functions[key] = function
    top = replace(place, where=where, opsets=_opsets(model.opset_import, place))
    if not model.graph.output:
        raise top.malformed("it has no outputs")
    for value in model.graph.input:
        if value.name and _is_untyped(value.type):
            raise top.malformed(f"input {value.name!r} has no type")
    _check_graph(model.graph, top, (), 0)
    for key, function in place.functions.items():
        within = replace(place, where=f"function {_called(key)}", is_function=True)
        _check_function(function, replace(within, opsets=_opsets(function.opset_import, within)))
    _check_calls(model.graph, top)
    return not place.unordered


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _called(key: Key) -> str:
    return "::".join(filter(None, key))


def _text(name: Any, place: Place) -> str:
    """A name; protobuf gives bytes where they are no UTF-8."""
    if not isinstance(name, str):
        raise place.malformed(f"a name that is no text: {name!r}")
    return name


def _opsets(imports: Iterable[onnx.OperatorSetIdProto], place: Place) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in imports:
        domain = _domain(_text(item.domain, place))
        if item.version < 1 or found.setdefault(domain, item.version) != item.version:
            said = f"{item.version} and {found[domain]}" if domain in found else item.version
            raise place.malformed(f"the opset of the domain {domain or 'ai.onnx'!r} is said to be {said}")
    return found


# ---- graphs


def _check_graph(graph: GraphProto, place: Place, outer: Sequence[dict[str, int]], depth: int) -> set[str]:
    """Check a graph and all in it; gives the names that it reads of the graphs around it."""
    if depth > MAX_DEPTH:
        raise place.malformed(f"graphs stand in graphs, deeper than {MAX_DEPTH}")
    own: dict[str, int] = {}  # each name that is given here, and the number of the node that does
    for value in graph.input:
        if not _text(value.name, place) or value.name in own:
            raise place.malformed(f"two inputs are called {value.name!r}" if value.name else "an input has no name")
        own[value.name] = -1
    if graph.sparse_initializer:
        raise Refused(place.file, f"{place.where}: it has sparse initializers", hint="Make them dense.")
    names = set()
    for tensor in graph.initializer:
        if not _text(tensor.name, place) or tensor.name in names:
            raise place.malformed(f"two initializers are called {tensor.name!r}" if tensor.name else "one has no name")
        names.add(tensor.name)
        own[tensor.name] = -1
        place.check_tensor(tensor, f"initializer {tensor.name!r}")
    for value in (*graph.input, *graph.output, *graph.value_info):
        _check_type(value.type, value, place, 0)
    return _check_nodes(graph.node, [v.name for v in graph.output], own, place, outer, depth)


def _check_function(function: FunctionProto, place: Place) -> None:
    own = dict.fromkeys((_text(name, place) for name in function.input), -1)
    if len(own) < len(function.input) or "" in own:
        raise place.malformed("two of its inputs have one name, or one has none")
    _check_nodes(function.node, list(function.output), own, place, (), 0)


def _check_nodes(
    nodes: Sequence[NodeProto],
    outputs: Sequence[str],
    own: dict[str, int],
    place: Place,
    outer: Sequence[dict[str, int]],
    depth: int,
) -> set[str]:
    for i, node in enumerate(nodes):
        for name in node.output:
            if name in own and name:
                raise place.malformed(f"{_label(node, i)} gives {name!r}, which is given already")
            if _text(name, place):
                own[name] = i
    reads = [_check_node(node, i, own, place, outer, depth) for i, node in enumerate(nodes)]
    if any(own.get(name, -1) >= i for i, names in enumerate(reads) for name in names):
        _check_circles(nodes, reads, own, place)
        place.unordered.append(place.where)
    for name in outputs:
        if not _is_given(_text(name, place), (own, *outer)):
            raise place.malformed(f"its output {name!r} is given by no node, input or initializer")
    return {name for names in (*reads, outputs) for name in names if name not in own}


def _check_node(
    node: NodeProto, i: int, own: dict[str, int], place: Place, outer: Sequence[dict[str, int]], depth: int
) -> set[str]:
    """Check a node; gives the names that it and the graphs in it read."""

    def malformed(what: str) -> Malformed:
        return place.malformed(f"{_label(node, i)}: {what}")

    for word in (node.name, node.op_type, node.domain, node.overload):
        _text(word, place)
    inputs, outputs = list(node.input), list(node.output)
    reads = {name for name in inputs if _text(name, place)}
    for name in inputs:
        if name and name not in own and not _is_given(name, outer):
            raise malformed(f"it reads {name!r}, which no node, input or initializer gives")
    _check_attributes(node, i, place)
    domain = _domain(node.domain)
    function = place.functions.get((domain, node.op_type, node.overload)) if place.functions else None
    if function is None:
        check_signature(node, inputs, outputs, place.opsets.get(domain), malformed)
    elif len(inputs) > len(function.input) or len(outputs) > len(function.output):
        raise malformed(
            f"the function takes {len(function.input)} inputs and gives {len(function.output)} outputs; "
            f"here it has {len(inputs)} and {len(outputs)}"
        )
    for name, graph in nodes_graphs(node):
        within = replace(place, where=f"{place.where}: {_label(node, i)}: {name}")
        reads |= _check_graph(graph, within, (own, *outer), depth + 1)
    return reads


def _label(node: NodeProto, i: int) -> str:
    return f"node {node.name!r} ({node.op_type})" if node.name else f"node {i} ({node.op_type})"


def _is_given(name: str, scopes: Iterable[dict[str, int]]) -> bool:
    return any(name in scope for scope in scopes)


def _check_circles(nodes: Sequence[NodeProto], reads: Sequence[set[str]], own: dict[str, int], place: Place) -> None:
    """Nodes may stand in any order, as long as there is one in which they can be computed."""
    before = {i: {own[name] for name in names if own.get(name, -1) >= 0} for i, names in enumerate(reads)}
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        circle = " <- ".join(_label(nodes[i], i) for i in error.args[1][:8])
        raise place.malformed(f"nodes wait for each other in a circle: {circle}") from error


# ---- attributes, types, functions

FIELDS = {  # AttributeProto's own names
    AttributeProto.FLOAT: "f",
    AttributeProto.INT: "i",
    AttributeProto.STRING: "s",
    AttributeProto.TENSOR: "t",
    AttributeProto.GRAPH: "g",
    AttributeProto.SPARSE_TENSOR: "sparse_tensor",
    AttributeProto.TYPE_PROTO: "tp",
    AttributeProto.FLOATS: "floats",
    AttributeProto.INTS: "ints",
    AttributeProto.STRINGS: "strings",
    AttributeProto.TENSORS: "tensors",
    AttributeProto.GRAPHS: "graphs",
    AttributeProto.SPARSE_TENSORS: "sparse_tensors",
    AttributeProto.TYPE_PROTOS: "type_protos",
}
ANYWAY = {"name", "type", "doc_string", "ref_attr_name"}


def _check_attributes(node: NodeProto, i: int, place: Place) -> None:
    """Each attribute has a name of its own and holds what it says; a missing number is 0, as proto3 writes it."""
    attributes = list(node.attribute)
    names = [_text(attribute.name, place) for attribute in attributes]
    if len(set(names)) < len(names) or "" in names:
        raise place.malformed(f"{_label(node, i)}: two of its attributes have one name, or one has none")
    for attribute, name in zip(attributes, names, strict=True):
        kind = FIELDS.get(attribute.type)
        what = f"{_label(node, i)}: its attribute {name!r}"
        if attribute.ref_attr_name:
            if not place.is_function:
                raise place.malformed(f"{what} refers to a function's, and stands in none")
            continue
        held = {field.name for field, _ in attribute.ListFields()} - ANYWAY
        if kind is None or held - {kind} or (kind in ("t", "g", "tp") and not held):
            raise place.malformed(f"{what} does not hold what its type says")
        if kind.startswith("sparse"):
            raise Refused(place.file, f"{place.where}: {what} is sparse", hint="Make it dense.")
        if kind in ("t", "tensors"):
            for tensor in [attribute.t] if kind == "t" else attribute.tensors:
                place.check_tensor(tensor, f"{place.where}: {what}")


def _is_untyped(given: TypeProto) -> bool:
    return given.WhichOneof("value") is None or (given.HasField("tensor_type") and given.tensor_type.elem_type == 0)


def _check_type(given: TypeProto, value: ValueInfoProto, place: Place, depth: int) -> None:
    kind = given.WhichOneof("value")
    if depth > MAX_DEPTH:
        raise place.malformed(f"the type of {value.name!r} is deeper than {MAX_DEPTH}")
    if kind == "tensor_type":
        _check_tensor_type(given.tensor_type, value, place)
    elif kind in ("sequence_type", "optional_type"):
        _check_type(getattr(given, kind).elem_type, value, place, depth + 1)
    elif kind is not None:
        what = kind.removesuffix("_type").replace("_", " ")
        raise Refused(place.file, f"{place.where}: {value.name!r} is a {what}, and only tensors, sequences are read")


def _check_tensor_type(given: TypeProto.Tensor, value: ValueInfoProto, place: Place) -> None:
    if given.elem_type not in DTYPES:
        raise place.malformed(f"{value.name!r} has the dtype {given.elem_type}, which ONNX has not")
    elements = 1
    for size in given.shape.dim:
        _text(size.dim_param, place)
        elements *= max(size.dim_value, 1) if size.HasField("dim_value") else 1
    if elements > MAX_ELEMENTS:
        shape = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in given.shape.dim]
        raise place.malformed(f"{value.name!r} has the shape {too_large(shape)}")


def _check_calls(graph: GraphProto, place: Place) -> None:
    """Functions call no one that calls them, and all that is left when they are inlined can be held."""
    known: dict[Key, tuple[int, int]] = {}  # how many nodes come of a function, and how deep its calls go

    def size_of(nodes: Iterable[NodeProto], calling: tuple[Key, ...]) -> tuple[int, int]:
        total = depth = 0
        for node in _all_nodes(nodes):
            key = (_domain(node.domain), node.op_type, node.overload)
            more, deep = called(key, calling) if key in place.functions else (1, 0)
            total, depth = total + more, max(depth, deep)
        return total, depth

    def called(key: Key, calling: tuple[Key, ...]) -> tuple[int, int]:
        if key in calling:
            circle = " -> ".join(_called(k) for k in (*calling[calling.index(key) :], key))
            raise place.malformed(f"functions call each other in a circle: {circle}")
        if key not in known and len(calling) < MAX_DEPTH:
            total, depth = size_of(place.functions[key].node, (*calling, key))
            known[key] = total, depth + 1
        if key not in known or known[key][1] > MAX_DEPTH:
            raise place.malformed(f"functions call functions, deeper than {MAX_DEPTH}")
        return known[key]

    for key in place.functions:
        called(key, ())
    if (total := size_of(graph.node, ())[0]) > MAX_NODES:
        raise place.malformed(f"its functions call each other so often that {rounded(total)} nodes would come of it")


def _all_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for _, graph in nodes_graphs(node):
            yield from _all_nodes(graph.node)
