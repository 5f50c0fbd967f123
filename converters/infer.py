"""Types and shapes of every value, those in the bodies of If, Loop and Scan as well.

onnx's own inference does the work. By itself it knows less inside a body than outside:

    constants of the graphs around a body are not seen there  -> it is given copies of them
    a Loop's state has no shape, as an iteration may change it -> the shape that it enters with is assumed, and kept if
                                                                 the body gives the same one back (induction)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import onnx
import onnx_ir as ir
from onnx import AttributeProto, GraphProto, NodeProto, TensorShapeProto, TypeProto

from zoo.converters.graph import all_nodes, bodies

MAX_ROUNDS = 6  # of assuming shapes of states: each drops what the round before refuted
MAX_FOLLOWED = 1 << 21  # members of all vectors that inference computes, a microsecond each
FOLLOWED = frozenset(
    ("Add", "Cast", "Concat", "Gather", "Mul", "Shape", "Size", "Slice", "Squeeze", "Sub", "Unsqueeze")
)
SMALL_BYTES = 1 << 14  # of a constant that a body is told: sizes, axes, bounds; no weights
Shape = tuple[int | str | None, ...]
State = tuple[str, int]  # a Loop, by its place in the model, and the number of one of its states


class Assumed(NamedTuple):
    """What is taken for granted of a state in every iteration, and then of what the Loop gives."""

    elem_type: int
    shape: Shape


def infer_shapes(model: ir.Model) -> None:
    """Note types and shapes on the values of a model, as far as inference finds them; what is known already stays.

    A model that onnx's inference refuses as a whole keeps what it has.
    """
    _shape_spectra(model)
    proto = ir.to_proto(model)
    _stand_in(proto.graph)
    nested = list(_bodies(proto.graph))
    for body, around in nested:
        _tell_constants(body, around)
    try:
        inferred = _inferred(proto, bool(nested))
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, ValueError):
        return
    _take(model.graph, inferred.graph, proto, {})


def _shape_spectra(model: ir.Model) -> None:
    """STFT(x [N, length, ...]) is [N, frames, bins, 2]; onnx says nothing of it where the length is free."""
    for node in all_nodes(model.graph):
        if node.op_type != "STFT" or node.domain or node.outputs[0].shape is not None:
            continue
        x, _, window, length = (*node.inputs, None, None)[:4]
        size = window.shape[0] if window is not None and window.shape is not None else None
        if size is None and length is not None and length.const_value is not None:
            size = int(length.const_value.numpy())
        onesided = node.attributes.get_int("onesided", 1)
        bins = None if not isinstance(size, int) else size // 2 + 1 if onesided else size
        batch = x.shape[0] if x is not None and x.shape is not None else None
        node.outputs[0].shape = ir.Shape([batch, None, bins, 2])


def _stand_in(graph: GraphProto) -> None:
    """Put an operator of the same shapes in the place of GroupNormalization, of which onnx infers nothing."""
    for node in graph.node:
        if node.op_type == "GroupNormalization" and not node.domain:
            node.op_type = "InstanceNormalization"
            del node.attribute[:]
        for body in _graphs(node):
            _stand_in(body)


def _inferred(proto: onnx.ModelProto, has_bodies: bool) -> onnx.ModelProto:
    """The model with all that is inferred, where no assumption about a state is refuted."""
    inferred = _run(proto)
    assumed: dict[State, Assumed] = {}
    refuted: set[State] = set()
    for _ in range(MAX_ROUNDS if has_bodies else 0):
        wanted = _states(inferred.graph, assumed, refuted)
        if wanted == assumed:
            return inferred
        assumed = wanted
        trial = onnx.ModelProto()
        trial.CopyFrom(proto)
        _assume(trial.graph, assumed)
        inferred = _run(trial)
    return _run(proto) if has_bodies else inferred


def _run(proto: onnx.ModelProto) -> onnx.ModelProto:
    """What onnx infers, which computes the small vectors of shape arithmetic as it goes where that costs little.

    It makes a vector of every integer tensor of rank one that FOLLOWED operators read, however long that is said to be.
    So a first run finds the lengths, and what has none that is known is kept from the second.
    """
    plain = onnx.shape_inference.infer_shapes(proto, check_type=False, strict_mode=False, data_prop=False)
    if sum(_lengths(plain.graph, {})) > MAX_FOLLOWED:
        return plain
    _withhold(plain.graph, {}, _names(plain.graph))
    return onnx.shape_inference.infer_shapes(plain, check_type=False, strict_mode=False, data_prop=True)


def _lengths(graph: GraphProto, around: Mapping[str, int]) -> Iterator[int]:
    """The lengths of what FOLLOWED operators make in a graph and its bodies, or of what they read."""
    lengths = ((name, _length(kind)) for name, kind in _types(graph).items())
    known = {**around, **{name: length for name, length in lengths if length is not None}}
    for node in graph.node:
        for body in _graphs(node):
            yield from _lengths(body, known)
        if node.op_type in FOLLOWED:
            read = max((known.get(name, 0) for name in node.input), default=0)
            yield max(read, *(known.get(name, 0) for name in node.output))


def _withhold(graph: GraphProto, around: Mapping[str, TypeProto], taken: set[str]) -> None:
    """Let FOLLOWED operators read a value of the same type, which nothing makes, for one whose length is not known."""
    types = {**around, **_types(graph)}
    made = {name: node.op_type for node in graph.node for name in node.output}
    for node in graph.node:
        for body in _graphs(node):
            _withhold(body, types, taken)
        if node.op_type not in FOLLOWED:
            continue
        for i, name in enumerate(node.input):
            if not name or made.get(name) in FOLLOWED or not _is_open(types.get(name)):
                continue
            other = name
            while other in taken:
                other += "_"
            taken.add(other)
            node.input[i] = other
            if name in types:
                graph.value_info.add(name=other, type=types[name])


def _is_open(kind: TypeProto | None) -> bool:
    """Whether a type may be that of a vector whose length is still to be found."""
    if kind is None or not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return True
    sizes = kind.tensor_type.shape.dim
    return len(sizes) == 1 and _size(sizes[0]) is None


def _length(kind: TypeProto) -> int | None:
    """How many members a scalar or a vector has, where that is known."""
    sizes = kind.tensor_type.shape.dim
    if not kind.tensor_type.HasField("shape") or len(sizes) > 1:
        return None
    size = _size(sizes[0]) if sizes else 1
    return size if isinstance(size, int) else None


def _types(graph: GraphProto) -> dict[str, TypeProto]:
    """The types of a graph's values, by name."""
    types = {tensor.name: _type_of(tensor) for tensor in graph.initializer}
    return types | {value.name: value.type for value in (*graph.input, *graph.value_info, *graph.output)}


def _names(graph: GraphProto) -> set[str]:
    names = {value.name for value in (*graph.input, *graph.initializer, *graph.value_info, *graph.output)}
    for node in graph.node:
        names.update(node.input, node.output, *(_names(body) for body in _graphs(node)))
    return names


def _graphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def _bodies(graph: GraphProto, around: list[GraphProto] | None = None) -> Iterator[tuple[GraphProto, list[GraphProto]]]:
    """Every body in a graph, with the graphs around it, the innermost last."""
    around = [*(around or ()), graph]
    for node in graph.node:
        for body in _graphs(node):
            yield body, around
            yield from _bodies(body, around)


def _tell_constants(body: GraphProto, around: list[GraphProto]) -> None:
    """Copy the small constants that a body reads of the graphs around it, for inference alone."""
    made = {v.name for v in body.input} | {t.name for t in body.initializer}
    made |= {name for node in body.node for name in node.output}
    read = {name for node in body.node for name in node.input} - made - {""}
    for graph in around:
        for tensor in graph.initializer:
            if tensor.name in read and tensor.ByteSize() <= SMALL_BYTES:
                body.initializer.append(tensor)
                read.discard(tensor.name)


def _loops(graph: GraphProto, path: str = "") -> Iterator[tuple[str, GraphProto, NodeProto, GraphProto]]:
    """Every Loop of the default domain: its place, the graph that it stands in, the node, its body."""
    for i, node in enumerate(graph.node):
        for j, body in enumerate(_graphs(node)):
            place = f"{path}/{i}.{j}"
            if node.op_type == "Loop" and node.domain in ("", "ai.onnx"):
                yield place, graph, node, body
            yield from _loops(body, place)


def _states(graph: GraphProto, assumed: dict[State, Assumed], refuted: set[State]) -> dict[State, Assumed]:
    """What to assume of each Loop's states, after what came of the assumptions so far; `refuted` takes what to give up.

    A state is assumed to keep the shape that it enters with. Where the body gives another size, that size is free;
    where it gives another rank, nothing is assumed any more.
    """
    wanted: dict[State, Assumed] = {}
    for place, outer, node, body in _loops(graph):
        types = _types(outer)
        for k, (name, leaving) in enumerate(zip(node.input[2:], body.output[1:], strict=False)):
            key = (place, k)
            before = assumed.get(key) or _tensor(types.get(name))
            if before is None or key in refuted:
                continue
            after = _tensor(leaving.type)
            if key in assumed and after is not None and len(after.shape) != len(before.shape):
                refuted.add(key)
            elif key in assumed and after is not None:
                pairs = zip(before.shape, after.shape, strict=True)
                wanted[key] = Assumed(before.elem_type, tuple(b if a == b else None for b, a in pairs))
            elif key in assumed:
                refuted.add(key)
            else:
                wanted[key] = before
    return wanted


def _assume(graph: GraphProto, assumed: dict[State, Assumed]) -> None:
    """Write the assumptions into a model: as shapes of what enters the bodies, and of what the Loops give."""
    for place, outer, node, body in _loops(graph):
        for k, (entering, leaving) in enumerate(zip(body.input[2:], node.output, strict=False)):
            if (what := assumed.get((place, k))) is None:
                continue
            kind = onnx.helper.make_tensor_type_proto(what.elem_type, what.shape)
            entering.type.CopyFrom(kind)
            declared = [v for v in (*outer.value_info, *outer.output) if v.name == leaving]
            for value in declared or [outer.value_info.add(name=leaving)]:
                if value not in outer.output or _tensor(value.type) is None:
                    value.type.CopyFrom(kind)


def _tensor(kind: TypeProto | None) -> Assumed | None:
    """A tensor's dtype and shape, a size that is not known as None; None where either is not known at all."""
    if kind is None or not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    return Assumed(kind.tensor_type.elem_type, tuple(_size(d) for d in kind.tensor_type.shape.dim))


def _size(dim: TensorShapeProto.Dimension) -> int | str | None:
    """A number or the author's name; inference counts its own names (`unk__0`) anew each time: they say nothing."""
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return None if dim.dim_param.startswith("unk__") else dim.dim_param or None


def _type_of(tensor: onnx.TensorProto) -> TypeProto:
    return onnx.helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))


def _take(graph: ir.Graph, inferred: GraphProto, model: onnx.ModelProto, around: Mapping[str, TypeProto]) -> None:
    """Note what was inferred on the values of a graph and of its bodies; `around` are the types outside, by name."""
    types = _types(inferred)
    for value in (*graph.inputs, *(out for node in graph for out in node.outputs)):
        found = types.get(value.name or "")
        if found is None or not found.WhichOneof("value"):
            continue
        if (kind := _known_type(found)) is None:
            continue
        if kind != value.type:
            value.type = kind
        if (shape := ir.serde.deserialize_type_proto_for_shape(found)) is not None and shape != value.shape:
            value.shape = shape
    known = {**around, **types}
    for node, proto in zip(graph, inferred.node, strict=True):
        for body, body_proto in zip(bodies(node), _graphs(proto), strict=True):
            seen = body_proto if proto.domain in ("", "ai.onnx") else _alone(body_proto, model, known)
            _take(body, seen, model, known)


def _alone(body: GraphProto, model: onnx.ModelProto, around: Mapping[str, TypeProto]) -> GraphProto:
    """What is inferred in a body of another domain's operator, which onnx does not look into."""
    made = {v.name for v in body.input} | {t.name for t in body.initializer}
    made |= {name for node in body.node for name in node.output}
    read = {name for node in body.node for name in node.input} - made
    alone = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, graph=body)
    alone.graph.input.extend(onnx.ValueInfoProto(name=name, type=around[name]) for name in read if name in around)
    try:
        return _run(alone).graph
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, ValueError):
        return body


def _known_type(found: TypeProto) -> ir.TypeProtocol | None:
    """The type, unless a part of it is not known."""
    part = found
    while (which := part.WhichOneof("value")) in ("sequence_type", "optional_type"):
        part = getattr(part, which).elem_type
    if which != "tensor_type" or not part.tensor_type.elem_type:
        return None
    return ir.serde.deserialize_type_proto_for_type(found)
