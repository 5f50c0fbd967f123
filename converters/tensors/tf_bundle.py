"""TensorFlow checkpoints: `NAME.index` beside `NAME.data-00000-of-00001`, and the single file of version 1.

The data is mapped. Names are the file's: `conv/kernel`, or of TensorFlow 2 `model/ws/0/.ATTRIBUTES/VARIABLE_VALUE`.
"""

from __future__ import annotations

from pathlib import Path

from zoo.converters.tensors import tf_table, tf_types
from zoo.converters.tensors.mapped import MappedFile, Tensor, map_file, quoted, tensor
from zoo.converters.tensors.tf_wire import Message, Parser
from zoo.errors import Malformed, Refused

NAME = "tensorflow-checkpoint"
EXTENSIONS = (".index", ".ckpt")
HEADER = b""  # the key of what the file says of itself
INTERNAL = "_CHECKPOINTABLE_OBJECT_GRAPH"  # how objects refer to each other: no tensor
MAX_SHARDS = 10_000
FIRST_FIELDS = (b"\x08", b"\x0a", b"\x1a")  # a bundle's number of shards or its version; version 1's list of tensors


def sniff(head: bytes) -> bool:
    """Does a table begin here whose first key is empty, as a checkpoint's is, and its value a header's?"""
    size = next((i for i in range(2, min(8, len(head))) if head[i] < 0x80), 0)  # of the varint that is its length
    return head[:2] == b"\0\0" and size > 0 and head[size + 1 : size + 2] in FIRST_FIELDS


def sniff_file(path: Path, head: bytes) -> bool:
    """The same, and the table's end is where it should be."""
    try:
        return sniff(head) and tf_table.is_table(map_file(path))
    except OSError:
        return False


def read(path: Path) -> dict[str, Tensor]:
    """The tensors by name, text and the graph of objects left out. Raises Malformed and Refused."""
    file = map_file(path)
    view = file.array.data
    rows = list(tf_table.entries(file))
    if not rows or rows[0][0] != HEADER:
        raise Malformed(path, "TensorFlow checkpoint: no header")
    parser = Parser(path, view)
    _, begin, stop = rows[0]
    if path.suffix == ".index":
        return _bundle(path, parser, parser.message("BundleHeader", begin, stop), rows[1:])
    try:
        return _version1(path, parser, parser.message("SavedSlices", begin, stop), rows[1:])
    except Malformed:
        header = parser.message("BundleHeader", begin, stop)  # of a bundle that was given another name
        return _bundle(path, parser, header, rows[1:])


def companion(path: Path) -> Path | None:
    """The checkpoint whose graph a `.meta` file has: the index beside it, or the single file of version 1."""
    base = path.with_suffix("") if path.suffix == ".meta" else path
    for found in (base.with_name(f"{base.name}.index"), base):
        if found.is_file():
            return found
    return None


class Checkpoint(dict[str, Tensor]):
    """Tensors by name, and of TensorFlow 2 how the objects that have them refer to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: list[Message] = []

    def key(self, path: str) -> str | None:
        """The name of the variable that attributes lead to (`model/dense/kernel`); the file has it under one path."""
        node: Message | None = self.objects[0] if self.objects else None
        for part in path.split("/"):
            if node is None:
                return None
            number = next((child["node"] for child in node["children"] if child["name"] == part), -1)
            node = self.objects[number] if 0 <= number < len(self.objects) else None
        keys = [attribute["key"] for attribute in node["attributes"]] if node is not None else []
        return keys[0] if keys else None


def _objects(path: Path, entry: Message, count: int) -> list[Message]:
    """The graph of objects, which is text in a scalar: its length, a checksum of that, and the bytes."""
    shard = _shard(path, entry["shard"] if 0 <= entry["shard"] < count else 0, count)
    raw = shard.slice(entry["offset"], entry["size"], "the graph of objects").data
    parser = Parser(path, raw)
    length, at = parser.varint(0, len(raw))
    begin = at + 4
    if begin + length > len(raw):
        raise Malformed(path, "TensorFlow checkpoint: a graph of objects that is cut short")
    nodes: list[Message] = parser.message("ObjectGraph", begin, begin + length)["nodes"]
    return nodes


# -- bundles ----------------------------------------------------------------------------------------------------------


def _bundle(path: Path, parser: Parser, header: Message, rows: list[tuple[bytes, int, int]]) -> dict[str, Tensor]:
    if header["endianness"]:
        raise Refused(path, "TensorFlow checkpoint: written on a big-endian machine")
    shards, count = {}, header["shards"]
    if not 0 < count <= MAX_SHARDS:
        raise Malformed(path, f"TensorFlow checkpoint: {count:,} shards")
    found = Checkpoint()
    for key, begin, stop in rows:
        name, entry = key.decode("utf-8", "replace"), parser.message("BundleEntry", begin, stop)
        if name == INTERNAL:
            found.objects = _objects(path, entry, count)
        if entry["dtype"] == tf_types.STRING or b"\0" in key:  # text, and parts of partitions
            continue
        what = f"tensor {quoted(name)}"
        dtype, shape = tf_types.dtype_of(path, entry["dtype"], what), tf_types.shape_of(path, entry["shape"], what)
        if entry["slices"]:
            raise Refused(path, f"TensorFlow checkpoint: {what} is stored in {len(entry['slices'])} slices")
        shard = entry["shard"]
        if not 0 <= shard < count:
            raise Malformed(path, f"TensorFlow checkpoint: {what} in shard {shard} of {count}")
        if shard not in shards:
            shards[shard] = _shard(path, shard, count)
        file, size = shards[shard], entry["size"]
        found[name] = tensor(path, name, file.slice(entry["offset"], size, what), size, dtype, shape)
    return found


def _shard(path: Path, shard: int, count: int) -> MappedFile:
    base = path.name.removesuffix(".index")
    data = path.with_name(f"{base}.data-{shard:05d}-of-{count:05d}")
    if not data.is_file():
        raise Malformed(path, f"TensorFlow checkpoint: {data.name} is not beside it")
    return map_file(data)


# -- version 1 --------------------------------------------------------------------------------------------------------


def _version1(path: Path, parser: Parser, header: Message, rows: list[tuple[bytes, int, int]]) -> dict[str, Tensor]:
    """Whole tensors only; every name of the header has a slice that is all of it."""
    stated = {meta["name"]: meta for meta in header["meta"]["tensor"]}
    if not stated:
        raise Malformed(path, "TensorFlow checkpoint: a header that names no tensor")
    found: dict[str, Tensor] = {}
    for _, begin, stop in rows:
        data = parser.message("SavedSlices", begin, stop)["data"]
        name = data["name"]
        if name not in stated:
            raise Malformed(path, f"TensorFlow checkpoint: {quoted(name)} is not in its header")
        if stated[name]["type"] == tf_types.STRING:
            continue
        if any(extent["length"] for extent in data["slice"]["extent"]):
            raise Refused(path, f"TensorFlow checkpoint: {quoted(name)} is stored in slices")
        proto = {
            **{key: data["data"][key] for key in _KEYS},
            "dtype": stated[name]["type"],
            "shape": stated[name]["shape"],
        }
        found[name] = tf_types.tensor_of(path, name, proto)
    return found


_KEYS = ("content", "float", "double", "int", "int64", "bool", "half", "uint32", "uint64", "scomplex", "dcomplex")
