"""The intermediate is onnx_ir.Model, without a wrapper: here is only what ONNX has no field for, kept as metadata.

A *weightless* graph has its parameters as graph inputs that carry the mark PARAMETER (an initializer without data is
dropped by serialisation, and one with external data that points nowhere fails the checker): every pass, the checker and
ONNX Runtime take such a graph as it is, and binding (bind.py) turns the inputs into initializers.

On a node:      PATH, the author's module that computes it (`layer1.0.conv1`).
On a parameter: PARAMETER, one of KINDS; TIED, further names under which a file may hold the same tensor (JSON list).
On the model:   MODULES, the author's module tree (JSON: path -> class, or [class, constructor arguments]);
                HEAD and STEM, the modules that surgery replaces; MADE_BY, where the graph comes from (JSON);
                LAYOUT, the permutations of inputs and outputs that stand otherwise than the graph says (layout/).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from zoo.errors import HubError, Malformed

PATH, PARAMETER, TIED = "zoo.path", "zoo.parameter", "zoo.tied"
MODULES, HEAD, STEM, MADE_BY = "zoo.modules", "zoo.head", "zoo.stem", "zoo.made_by"
LAYOUT = "zoo.layout"
KINDS = ("parameter", "buffer", "counter")  # trained; kept, not trained; a layer's own count, which no operator reads
DOMAIN = "zoo"  # operators that ONNX has no name for; each carries its function body
CHANNELS_LAST = "zoo.channels_last"  # ONNX's own that stand in channels-last form (layout/), with their bodies as well
OURS = (DOMAIN, CHANNELS_LAST)
OPSET = 28  # the one opset of every canonical graph: a lowering is written for this version of its operator
# of the graphs that we make (architectures, what readers of other formats give) and hand to ONNX Runtime as they are:
# the newest that torch's exporter writes, and that ONNX Runtime has kernels for all of
STORED_OPSET = 23


def module_path(node: ir.Node) -> str:
    """The author's path of the module that computes this node; an empty string for the outermost."""
    return node.metadata_props.get(PATH, "")


def modules(model: ir.Model) -> dict[str, tuple[str, dict[str, Any]]]:
    """The author's module tree: path -> (class, constructor arguments), in the author's order. Empty if not kept.

    Raises HubError where what a file says is no such tree.
    """
    try:
        tree = json.loads(model.metadata_props.get(MODULES, "{}"))
        pairs = {path: (entry, {}) if isinstance(entry, str) else entry for path, entry in tree.items()}
        return {path: (str(cls), dict(arguments)) for path, (cls, arguments) in pairs.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise HubError(f"the metadata {MODULES!r} of {model.graph.name!r} is no module tree: {error}") from error


def is_parameter(value: ir.Value) -> bool:
    """Whether the value is one of the author's tensors (bound or not), and not a constant of the architecture."""
    return PARAMETER in value.metadata_props


def parameters(graph: ir.Graph) -> dict[str, ir.Value]:
    """The author's tensors by name, in the order of his state_dict: graph inputs before binding, initializers after."""
    found = [v for v in (*graph.inputs, *graph.initializers.values()) if is_parameter(v)]
    return {v.name: v for v in found if v.name}


def tied_names(value: ir.Value) -> list[str]:
    """Further names of a parameter (`lm_head.weight` of `wte.weight`)."""
    try:
        return [str(name) for name in json.loads(value.metadata_props.get(TIED, "[]"))]
    except (ValueError, TypeError, RecursionError) as error:
        raise HubError(f"the metadata {TIED!r} of {value.name!r} is no list of names: {error}") from error


def data_inputs(graph: ir.Graph) -> list[ir.Value]:
    """What a user feeds: the graph's inputs without parameters and without those that an initializer fills."""
    return [v for v in graph.inputs if not is_parameter(v) and v.name not in graph.initializers]


def bodies(node: ir.Node) -> Iterator[ir.Graph]:
    """The graphs that a node holds: the branches of an If, the body of a Loop or Scan."""
    for attr in node.attributes.values():
        if attr.type == ir.AttributeType.GRAPH:
            yield attr.as_graph()
        elif attr.type == ir.AttributeType.GRAPHS:
            yield from attr.as_graphs()


def all_graphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    """The graph and every body in it, the outermost first."""
    yield graph
    for node in graph:
        for body in bodies(node):
            yield from all_graphs(body)


def all_nodes(graph: ir.Graph | ir.Function) -> Iterator[ir.Node]:
    """Every node, those in the bodies of If, Loop and Scan included."""
    for node in graph:
        yield node
        for body in bodies(node):
            yield from all_nodes(body)


def constant(graph: ir.Graph, name: str, array: Any) -> ir.Value:
    """A new initializer that holds `array`; its name is made unique."""
    unique, n = name, 0
    while unique in graph.initializers:
        n += 1
        unique = f"{name}_{n}"
    tensor = _tensor(array, unique)
    shape = ir.Shape(tensor.shape.numpy())
    value = ir.Value(name=unique, shape=shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.initializers[unique] = value
    return value


def _tensor(array: Any, name: str) -> ir.TensorProtocol:
    if getattr(array, "dtype", None) != np.dtype(object):
        return ir.tensor(array, name=name)
    words = [word.encode() if isinstance(word, str) else bytes(word) for word in array.reshape(-1)]
    return ir.StringTensor(words, shape=ir.Shape(array.shape), name=name)


def without_maps(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model, or a copy without the types of maps that ai.onnx.ml makes of outputs: onnx_ir has none for them."""
    if not any(_is_map(value.type) for value in (*proto.graph.output, *proto.graph.value_info)):
        return proto
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    for value in (*made.graph.output, *made.graph.value_info):
        if _is_map(value.type):
            value.ClearField("type")
    return made


def _is_map(kind: onnx.TypeProto) -> bool:
    while (which := kind.WhichOneof("value")) in ("sequence_type", "optional_type"):
        kind = getattr(kind, which).elem_type
    return bool(which == "map_type")


def load(path: Path) -> ir.Model:
    """A weightless graph from its file (`.onnx.gz`). Raises Malformed."""
    try:
        model: ir.Model = ir.from_proto(onnx.ModelProto.FromString(gzip.decompress(path.read_bytes())))
    except (OSError, EOFError, ValueError) as error:
        raise Malformed(path, f"not a gzipped ONNX graph: {error}") from error
    return model


def save(model: ir.Model, path: Path) -> None:
    """Write a weightless graph; the same graph gives the same bytes."""
    data = ir.to_proto(model).SerializeToString(deterministic=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, compresslevel=9, mtime=0))
