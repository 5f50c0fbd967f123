"""The archives of torch 1.0: modules and tensors as JSON, methods as functions of a file for each module."""

from __future__ import annotations

from typing import Any

from zoo.converters.readers.json_text import parsed
from zoo.converters.readers.scribe import Fault
from zoo.converters.tensors import archive
from zoo.converters.tensors.mapped import DTYPES, MappedFile, quoted
from zoo.converters.tensors.pickle_values import Global, Instance
from zoo.converters.tensors.torch_globals import Storage, View

MAX_JSON_BYTES = 64 << 20
MAX_DEPTH = 64
# caffe2's TensorProto.DataType
DATA_TYPES = {
    "FLOAT": "float32", "INT32": "int32", "BOOL": "bool", "UINT8": "uint8", "INT8": "int8", "INT16": "int16",
    "INT64": "int64", "FLOAT16": "float16", "DOUBLE": "float64", "BYTE": "uint8",
}  # fmt: skip


def module(
    file: MappedFile, members: dict[str, archive.Member], prefix: str
) -> tuple[Instance, list[View], dict[int, str]]:
    """The module, the tensors by number, and the file of each module's methods by the module's id(). Raises Fault."""
    whole = parsed(archive.content(file, members[f"{prefix}model.json"], MAX_JSON_BYTES))
    tensors = [_tensor(file, members, prefix, entry) for entry in whole.get("tensors") or ()]
    methods: dict[int, str] = {}
    return _module(whole["mainModule"], tensors, methods, 0), tensors, methods


def _tensor(file: MappedFile, members: dict[str, archive.Member], prefix: str, entry: dict[str, Any]) -> View:
    kind, key = DATA_TYPES.get(str(entry.get("dataType"))), str(entry["data"]["key"])
    member = members.get(f"{prefix}{key}")
    if kind is None or member is None:
        raise Fault(f"tensor {quoted(key)} of type {str(entry.get('dataType'))[:20]!r} is not to be had")
    dtype = DTYPES[kind]
    shape, strides = (tuple(int(n) for n in entry.get(name) or ()) for name in ("dims", "strides"))
    storage = Storage(key, dtype, member.size_bytes // dtype.itemsize, archive.source(file, member))
    return View(storage, dtype, int(entry.get("offset") or 0), shape, strides)


def _module(entry: dict[str, Any], tensors: list[View], methods: dict[int, str], depth: int) -> Instance:
    if depth > MAX_DEPTH:
        raise Fault("modules inside each other without end", is_refusal=True)
    made = Instance(Global("torch.nn", "Module"))
    for parameter in entry.get("parameters") or ():
        made.state[str(parameter["name"])] = tensors[int(parameter.get("tensorId", 0))]
    made.state["__buffers__"] = [str(p["name"]) for p in entry.get("parameters") or () if p.get("isBuffer")]
    for child in entry.get("submodules") or ():
        made.state[str(child["name"])] = _module(child, tensors, methods, depth + 1)
    if key := (entry.get("torchscriptArena") or {}).get("key"):
        methods[id(made)] = str(key).removeprefix("code/").removesuffix(".py").replace("/", ".")
    return made
