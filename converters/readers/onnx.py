"""ONNX files -> the graph with its weights. External data stays on disk; its paths are checked before any is opened."""

from __future__ import annotations

from functools import partial
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError
from onnx import TensorProto
from onnx_ir.passes import common

from zoo.converters.graph import all_nodes, without_maps
from zoo.converters.readers.onnx_fit import check_fit
from zoo.converters.readers.onnx_structure import DTYPES, HINT, check_structure
from zoo.errors import Malformed, Refused

EXTENSIONS = (".onnx",)
FIELDS = frozenset({*range(1, 9), 14, 20, 25, 26})  # of ModelProto (onnx.proto)
# where TensorProto keeps numbers that are no raw bytes, and how many entries a number takes: dtype -> (field, entries)
TYPED = {
    TensorProto.FLOAT: ("float_data", 1),
    TensorProto.COMPLEX64: ("float_data", 2),
    TensorProto.DOUBLE: ("double_data", 1),
    TensorProto.COMPLEX128: ("double_data", 2),
    TensorProto.INT64: ("int64_data", 1),
    TensorProto.UINT32: ("uint64_data", 1),
    TensorProto.UINT64: ("uint64_data", 1),
    TensorProto.STRING: ("string_data", 1),
}


def sniff(path: Path, head: bytes) -> bool:
    """Whether the file can be a ModelProto: its first field is the message's; protobuf has no magic number."""
    return len(head) > 2 and (head[0] >> 3) in FIELDS and (head[0] & 7) in (0, 2)


def read(path: Path) -> ir.Model:
    """The model as the file has it, at its own opset. Raises Malformed, and Refused for external data elsewhere."""
    try:
        proto = onnx.ModelProto.FromString(path.read_bytes())
    except (DecodeError, ValueError, RecursionError) as error:
        raise Malformed(path, f"not an ONNX model: {error}") from error
    model = of_proto(proto, path)
    if not model.graph.initializers:
        common.LiftConstantsToInitializersPass(size_limit=2)(model)  # Paddle's exporter keeps its weights in Constants
    return model


def of_proto(proto: onnx.ModelProto, path: Path | None = None) -> ir.Model:
    """The model of a message, which came from the file `path` if there is one. Raises as `read` does."""
    place = path or f"the given ModelProto {proto.graph.name!r}"
    if not proto.HasField("graph") or not proto.opset_import:
        raise Malformed(place, "not an ONNX model: it has no graph or names no opset")
    proto = without_maps(proto)
    in_order = check_structure(proto, place, partial(_check, path=path, place=place))
    try:
        model: ir.Model = ir.from_proto(proto)
    except Exception as error:  # noqa: BLE001 - onnx_ir's deserialiser raises whatever the message makes it trip over
        raise Malformed(place, f"not a well-formed ONNX graph: {_cause(error)}", hint=HINT) from error
    _name_one_way(model)
    graphs = [model.graph, *(function.graph for function in model.functions.values())]
    for graph in graphs:
        if path is not None:  # found from wherever the process runs
            ir.external_data.set_base_dir(graph, path.parent)
        graph.sort()
    check_fit(proto if in_order else ir.to_proto(model), place, HINT)
    for value in (*model.graph.inputs, *model.graph.outputs, *(v for n in all_nodes(model.graph) for v in n.outputs)):
        _free_negative_sizes(value)
    return model


def _cause(error: BaseException) -> str:
    """The reason beneath onnx_ir's own wrappers, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _name_one_way(model: ir.Model) -> None:
    """The default domain has two names, "" and "ai.onnx": the first is kept."""
    holders: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    for holder in holders:
        if "ai.onnx" in holder.opset_imports:
            holder.opset_imports[""] = holder.opset_imports.pop("ai.onnx")
        for node in all_nodes(holder):
            node.domain = "" if node.domain == "ai.onnx" else node.domain


def _free_negative_sizes(value: ir.Value) -> None:
    """Some exporters write a free size as -1."""
    if value.shape is not None and any(isinstance(d, int) and d < 0 for d in value.shape):
        value.shape = ir.Shape([None if isinstance(d, int) and d < 0 else d for d in value.shape])


def _check(tensor: TensorProto, what: str, *, path: Path | None, place: Path | str) -> None:
    """Sizes are no more than the file's own bytes, and external data stands inside the model's folder."""
    shape = list(tensor.dims)
    if any(size < 0 for size in shape):
        raise Malformed(place, f"{what}: tensor {tensor.name!r} has a size of {min(shape)}", hint=HINT)
    if tensor.data_type not in DTYPES or tensor.data_type == TensorProto.UNDEFINED:
        raise Malformed(place, f"{what}: tensor {tensor.name!r} has the dtype {tensor.data_type}, which ONNX has not")
    elements = prod(shape)
    if tensor.data_location == TensorProto.EXTERNAL:
        if path is None:
            said = f"{what}: tensor {tensor.name!r} keeps its data in another file, and it is not known beside which"
            raise Refused(place, said, hint="Give the path of the model, or load it with its data by onnx.load.")
        _check_external(tensor, elements, path)
        return
    bits = 0 if tensor.data_type == TensorProto.STRING else ir.DataType(tensor.data_type).bitwidth
    if tensor.HasField("raw_data"):
        have, need, unit = len(tensor.raw_data), -(-elements * bits // 8), "bytes"
    else:
        field, entries = TYPED.get(tensor.data_type, ("int32_data", 1))
        have, unit = len(getattr(tensor, field)), "numbers"
        need = -(-elements // (8 // bits)) if bits in (2, 4) else elements * entries
    if have != need:
        raise Malformed(
            place, f"{what}: tensor {tensor.name!r} of shape {shape} has {have:,} {unit} of data", hint=HINT
        )


def _check_external(tensor: TensorProto, elements: int, path: Path) -> None:
    facts = {entry.key: entry.value for entry in tensor.external_data}
    location = facts.get("location", "")
    if not isinstance(location, str) or "\0" in location or tensor.data_type == TensorProto.STRING:
        raise Malformed(path, f"tensor {tensor.name!r} keeps its data in {location!r}, which can't be", hint=HINT)
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
