"""ONNX files -> the graph with its weights. External data stays on disk; its paths are checked before any is opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from zoo.errors import Malformed, Refused

EXTENSIONS = (".onnx",)
FIELDS = frozenset({*range(1, 9), 14, 20, 25, 26})  # of ModelProto (onnx.proto)


def sniff(path: Path, head: bytes) -> bool:
    """Whether the file can be a ModelProto: its first field is the message's; protobuf has no magic number."""
    return len(head) > 2 and (head[0] >> 3) in FIELDS and (head[0] & 7) in (0, 2)


def read(path: Path) -> ir.Model:
    """The model as the file has it, at its own opset. Raises Malformed, and Refused for external data elsewhere."""
    try:
        proto = onnx.ModelProto.FromString(path.read_bytes())
    except (DecodeError, ValueError, RecursionError) as error:
        raise Malformed(path, f"not an ONNX model: {error}") from error
    if not proto.HasField("graph") or not proto.opset_import:
        raise Malformed(path, "not an ONNX model: it has no graph or names no opset")
    for tensor in _tensors(proto.graph):
        _check(tensor, path)
    try:
        model: ir.Model = ir.from_proto(proto)
    except Exception as error:  # noqa: BLE001 - onnx_ir's deserialiser raises whatever the message makes it trip over
        raise Malformed(path, f"not a well-formed ONNX graph: {error}") from error
    for value in model.graph.initializers.values():
        if isinstance(value.const_value, ir.ExternalTensor):
            value.const_value = _beside(value.const_value, path)
    for given in (*model.graph.inputs, *model.graph.outputs):
        _free_negative_sizes(given)
    return model


def _free_negative_sizes(value: ir.Value) -> None:
    """Some exporters write a free size as -1."""
    if value.shape is not None and any(isinstance(d, int) and d < 0 for d in value.shape):
        value.shape = ir.Shape([None if isinstance(d, int) and d < 0 else d for d in value.shape])


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a graph, those in attributes and subgraphs included."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for body in [attribute.g] if attribute.HasField("g") else [*attribute.graphs]:
                yield from _tensors(body)


def _check(tensor: onnx.TensorProto, path: Path) -> None:
    """Sizes are no more than the file's own bytes, and external data stands inside the model's folder."""
    elements = 1
    for size in tensor.dims:
        if size < 0:
            raise Malformed(path, f"tensor {tensor.name!r} has a size of {size}")
        elements *= size
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        bits = ir.DataType(tensor.data_type).bitwidth if tensor.data_type not in (0, onnx.TensorProto.STRING) else 0
        if tensor.HasField("raw_data") and len(tensor.raw_data) != -(-elements * bits // 8):
            raise Malformed(
                path, f"tensor {tensor.name!r} of shape {list(tensor.dims)} has {len(tensor.raw_data):,} bytes of data"
            )
        return
    facts = {entry.key: entry.value for entry in tensor.external_data}
    location = facts.get("location", "")
    inside = PurePosixPath(location)
    is_absolute = inside.is_absolute() or PureWindowsPath(location).is_absolute()
    if not location or is_absolute or ".." in inside.parts or "\\" in location:
        raise Refused(path, f"tensor {tensor.name!r} keeps its data in {location!r}, outside the model's folder")
    file = path.parent / inside
    if path.parent.resolve() not in file.resolve().parents:
        what = f"tensor {tensor.name!r} keeps its data in {location!r}, which leads outside the model's folder"
        raise Refused(path, what)
    if not file.is_file():
        raise Malformed(path, f"tensor {tensor.name!r} keeps its data in {location!r}, and there is no such file")
    try:
        offset, length = int(facts.get("offset", 0)), int(facts.get("length", -1))
    except ValueError as error:
        raise Malformed(path, f"tensor {tensor.name!r}: {error}") from error
    need = -(-elements * ir.DataType(tensor.data_type).bitwidth // 8)
    length = need if length < 0 else length
    if offset < 0 or length != need or offset + length > file.stat().st_size:
        what = f"tensor {tensor.name!r}: bytes {offset:,} to {offset + need:,} are not all in {location!r}"
        raise Malformed(path, what)


def _beside(tensor: ir.ExternalTensor, path: Path) -> ir.ExternalTensor:
    """The same, found from wherever the process runs."""
    return ir.ExternalTensor(
        tensor.location,
        tensor.offset,
        tensor.length,
        tensor.dtype,
        shape=tensor.shape,
        name=tensor.name or "",
        base_dir=path.parent,
    )
