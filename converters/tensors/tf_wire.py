"""Protocol buffers as data: messages of TensorFlow by a table of their fields, every length checked before it is used.

A message becomes a dict from field names to values; bytes stay where they are in the mapped file. What isn't in the
table is skipped, as protobuf does.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.errors import Malformed

MAX_DEPTH = 100  # of messages in each other, protobuf's own limit
MAX_NAME_BYTES = 1 << 20
MIN_MESSAGES, MESSAGE_BYTES = (
    50_000,
    8,
)  # how many messages a file may hold: empty ones would make hundreds of bytes of two
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# `number:name:kind`, where a kind is int, bool, float, double, str, bytes or a message, and `*` means that it repeats
_MESSAGES = {
    "SavedModel": "1:version:int 2:meta_graphs:*MetaGraph",
    "MetaGraph": "1:info:MetaInfo 2:graph:Graph 5:signatures:*SignatureEntry",
    "MetaInfo": "4:tags:*str 5:tensorflow_version:str",
    "SignatureEntry": "1:key:str 2:value:Signature",
    "Signature": "1:inputs:*TensorInfoEntry 2:outputs:*TensorInfoEntry 3:method:str",
    "TensorInfoEntry": "1:key:str 2:value:TensorInfo",
    "TensorInfo": "1:name:str 2:dtype:int 3:shape:Shape",
    "Graph": "1:node:*Node 2:library:Library 4:versions:Versions",
    "Versions": "1:producer:int",
    "Node": "1:name:str 2:op:str 3:input:*str 5:attr:*AttrEntry",
    "AttrEntry": "1:key:str 2:value:Attr",
    "Attr": "1:list:List 2:s:bytes 3:i:int 4:f:float 5:b:bool 6:type:int 7:shape:Shape 8:tensor:Tensor"
    " 9:placeholder:str 10:func:Func",
    "List": "2:s:*bytes 3:i:*int 4:f:*float 5:b:*bool 6:type:*int 7:shape:*Shape 8:tensor:*Tensor 9:func:*Func",
    "Func": "1:name:str 2:attr:*AttrEntry",
    "Shape": "2:dim:*Dim 3:unknown_rank:bool",
    "Dim": "1:size:int 2:name:str",
    "Tensor": "1:dtype:int 2:shape:Shape 4:content:bytes 5:float:*float 6:double:*double 7:int:*int 8:string:*bytes"
    " 9:scomplex:*float 10:int64:*int 11:bool:*int 12:dcomplex:*double 13:half:*int 16:uint32:*int 17:uint64:*int",
    "Library": "1:function:*Function",
    "Function": "1:signature:OpDef 3:node:*Node 4:ret:*NameEntry 5:attr:*AttrEntry",
    "NameEntry": "1:key:str 2:value:str",
    "OpDef": "1:name:str 2:input:*Arg 3:output:*Arg",
    "Arg": "1:name:str 3:type:int 4:type_attr:str 5:number_attr:str 6:type_list_attr:str",
    "BundleHeader": "1:shards:int 2:endianness:int",
    "BundleEntry": "1:dtype:int 2:shape:Shape 3:shard:int 4:offset:int 5:size:int 6:crc:fixed32 7:slices:*Slice",
    "Slice": "1:extent:*Extent",
    "Extent": "1:start:int 2:length:int",
    "SavedSlices": "1:meta:SlicesMeta 2:data:SavedSlice",
    "SlicesMeta": "1:tensor:*SliceMeta",
    "SliceMeta": "1:name:str 2:shape:Shape 3:type:int 4:slice:*Slice",
    "ObjectGraph": "1:nodes:*Object",
    "Object": "1:children:*Child 2:attributes:*ObjectAttribute",
    "Child": "1:node:int 2:name:str",
    "ObjectAttribute": "1:name:str 2:full_name:str 3:key:str",
    "SavedSlice": "1:name:str 2:slice:Slice 3:data:Tensor",
}
Fields = Mapping[int, tuple[str, str, bool]]


def _fields(text: str) -> Fields:
    found = {}
    for word in text.split():
        number, name, kind = word.split(":")
        found[int(number)] = name, kind.removeprefix("*"), kind.startswith("*")
    return found


MESSAGES: Mapping[str, Fields] = {name: _fields(text) for name, text in _MESSAGES.items()}
SCALARS = ("int", "bool", "float", "double", "str", "bytes", "fixed32")
WIRES = {"int": VARINT, "bool": VARINT, "float": FIXED32, "double": FIXED64, "fixed32": FIXED32}
EMPTY: Mapping[str, Any] = {
    **dict.fromkeys(("int", "bool", "fixed32"), 0),
    **dict.fromkeys(("float", "double"), 0.0),
    "str": "",
    "bytes": b"",
}
PACKED = {"float": "<%df", "double": "<%dd"}
SIZES = {"float": 4, "double": 8}


class Message(dict[str, Any]):
    """A message: absent fields have their kind's zero, absent messages are empty, absent lists too."""

    __slots__ = ("fields",)

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.fields = MESSAGES[kind]

    def __missing__(self, key: str) -> Any:
        for name, kind, repeats in self.fields.values():
            if name == key:
                return [] if repeats else EMPTY[kind] if kind in SCALARS else Message(kind)
        raise KeyError(key)


class Parser:
    """The bytes of a file, and how many fields may still be read: a small file can't hold more than it has bytes."""

    def __init__(self, path: Path, data: memoryview) -> None:
        self.path, self.data = path, data
        self.left = MIN_MESSAGES + len(data) // MESSAGE_BYTES

    def fail(self, what: str, at: int) -> Malformed:
        """The error of a place."""
        return Malformed(self.path, f"protobuf: {what}", offset=at)

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """A number of 64 bits and where it ends."""
        value = shift = 0
        while at < end and shift < 70:
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (1 << 64) - 1, at
            shift += 7
        raise self.fail("a number without an end", at)

    def message(self, kind: str, start: int = 0, end: int | None = None, depth: int = 0) -> Message:
        """The message between two bytes."""
        end = len(self.data) if end is None else end
        self.left -= 1
        if depth > MAX_DEPTH or self.left < 0:
            raise self.fail("messages in each other, or empty ones, without end", start)
        found, fields, at = Message(kind), MESSAGES[kind], start
        while at < end:
            tag, at = self.varint(at, end)
            number, wire = tag >> 3, tag & 7
            begin, stop, at, value = self._value(wire, at, end)
            if number not in fields:
                continue
            name, what, repeats = fields[number]
            made = self._read(what, wire, begin, stop, value, depth)
            if repeats:
                found.setdefault(name, []).extend(made if isinstance(made, list) else [made])
            elif not isinstance(made, list):
                if isinstance(made, Message) and name in found:  # a message in two parts is one
                    made = Message(what) | found[name] | made  # type: ignore[assignment]
                found[name] = made
        return found

    def _value(self, wire: int, at: int, end: int) -> tuple[int, int, int, int]:
        """(begin, stop) of the bytes, where the next field begins, and the number of a varint."""
        if wire == VARINT:
            value, at = self.varint(at, end)
            return at, at, at, value
        if wire == BYTES:
            size, at = self.varint(at, end)
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
        else:
            raise self.fail(f"a field of wire type {wire}", at)
        if at + size > end:
            raise self.fail(f"a field of {size:,} bytes that goes beyond its message", at)
        return at, at + size, at + size, 0

    def _read(self, kind: str, wire: int, begin: int, stop: int, value: int, depth: int) -> Any:
        if kind not in SCALARS:
            if wire != BYTES:
                raise self.fail(f"a number in the place of a message {kind}", begin)
            return self.message(kind, begin, stop, depth + 1)
        if kind in ("str", "bytes"):
            if wire != BYTES:
                raise self.fail("a number in the place of text", begin)
            return self.data[begin:stop] if kind == "bytes" else self._text(begin, stop)
        if wire == BYTES:  # a packed list
            return self._packed(kind, begin, stop)
        if wire != WIRES[kind]:
            raise self.fail(f"a field of another type than {kind}", begin)
        if kind in ("int", "bool"):
            return bool(value) if kind == "bool" else _signed(value)
        code = {"float": "<f", "double": "<d", "fixed32": "<I"}[kind]
        return struct.unpack_from(code, self.data, begin)[0]

    def _text(self, begin: int, stop: int) -> str:
        if stop - begin > MAX_NAME_BYTES:
            raise self.fail(f"a name of {stop - begin:,} bytes", begin)
        return bytes(self.data[begin:stop]).decode("utf-8", "replace")

    def _packed(self, kind: str, begin: int, stop: int) -> list[Any]:
        if kind in PACKED:
            count, rest = divmod(stop - begin, SIZES[kind])
            if rest:
                raise self.fail(f"a list of {kind}s in {stop - begin:,} bytes", begin)
            return list(struct.unpack_from(PACKED[kind] % count, self.data, begin))
        found = []
        while begin < stop:
            value, begin = self.varint(begin, stop)
            found.append(bool(value) if kind == "bool" else _signed(value))
        return found


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def parse(path: Path, data: Any, kind: str) -> Message:
    """The message of a file's bytes. Raises Malformed."""
    view = data if isinstance(data, memoryview) else memoryview(data)
    return Parser(path, view).message(kind)
