"""MXNet's `.params`: a list of arrays and a list of their names, as mx.nd.save and Gluon's save_parameters write it.

    u64 0x112, u64 0             the list's magic number
    u64 n, n arrays              each in one of four versions, below
    u64 n, n x (u64 size, name)  none for a list without names

An array (all little-endian; src/ndarray/ndarray.cc, NDArray::Save and LegacyLoad):

    version 3 (0xF993FACA)   i32 storage, i32 axes, i64 sizes       since numpy's shapes: -1 axes is no array
    version 2 (0xF993FAC9)   i32 storage, u32 axes, i64 sizes       since sparse arrays
    version 1 (0xF993FAC8)   u32 axes, i64 sizes                    MXNet 0.9 to 0.11
    before                   u32 axes, u32 sizes                    the number of axes stands where the magic would
    all                      i32 device, i32 its number, i32 dtype, the numbers; nothing of these for no array

Names are the author's, without the `arg:` and `aux:` by which mx.model.save_checkpoint tells weights from states.
"""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path

from zoo.converters.tensors.mapped import DTYPES, MAX_RANK, MappedFile, Tensor, map_file, quoted, tensor
from zoo.errors import Malformed, Refused

NAME = "mxnet-params"
EXTENSIONS = (".params", ".nd")
MAGIC = 0x112
VERSIONS = {0xF993FAC8: 1, 0xF993FAC9: 2, 0xF993FACA: 3}
STORAGES = {1: "row_sparse", 2: "csr"}
# mshadow's type flags
FLAGS: tuple[str, ...] = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool")
FLAGS += ("int16", "uint16", "uint32", "uint64", "bfloat16")
MARKS = {"arg:": "parameter", "aux:": "buffer"}
MAX_ARRAYS = 100_000
MAX_NAME = 1_024


def sniff(head: bytes) -> bool:
    """Does it begin with the list's magic number and its reserved zero?"""
    return head[:16] == struct.pack("<2Q", MAGIC, 0)


def read(path: Path) -> dict[str, Tensor]:
    """Names to tensors; a list without names is numbered. Raises Malformed, and Refused for sparse arrays."""
    return {name: value for name, (_, value) in marked(path).items()}


def marked(path: Path) -> dict[str, tuple[str, Tensor]]:
    """Names to (the file's mark: parameter, buffer or nothing; the tensor)."""
    reader = _Reader(map_file(path))
    if reader.numbers("<2Q", "the list's head")[0] != MAGIC:
        raise Malformed(path, "MXNet params: no list of arrays", offset=0)
    arrays = [reader.array(i) for i in range(reader.count("arrays"))]
    names = [reader.name() for _ in range(reader.count("names"))]
    if names and len(names) != len(arrays):
        raise Malformed(path, f"MXNet params: {len(arrays):,} arrays and {len(names):,} names", offset=reader.at)
    found: dict[str, tuple[str, Tensor]] = {}
    for name, make in zip(names or map(str, range(len(arrays))), arrays, strict=True):
        mark = next((mark for mark in MARKS if name.startswith(mark)), "")
        name = name.removeprefix(mark)
        if make is None:
            continue
        if name in found:
            raise Malformed(path, f"MXNet params: two arrays are named {quoted(name)}")
        flag, shape, offset, size = make
        data = reader.file.slice(offset, size, f"array {quoted(name)}")
        found[name] = MARKS.get(mark, ""), tensor(path, name, data, size, DTYPES[FLAGS[flag]], shape)
    return found


class _Reader:
    """The file, and how far it has been read."""

    def __init__(self, file: MappedFile) -> None:
        self.file, self.at = file, 0

    def numbers(self, code: str, what: str) -> tuple[int, ...]:
        size = struct.calcsize(code)
        raw = self.file.slice(self.at, size, f"MXNet params: {what}")
        self.at += size
        return struct.unpack(code, raw.tobytes())

    def count(self, what: str) -> int:
        (n,) = self.numbers("<Q", f"the number of {what}")
        if n > MAX_ARRAYS or n * 4 > len(self.file) - self.at:
            raise Malformed(self.file.path, f"MXNet params: {n:,} {what} are announced", offset=self.at - 8)
        return n

    def name(self) -> str:
        (size,) = self.numbers("<Q", "a name's length")
        if size > MAX_NAME:
            raise Refused(self.file.path, f"MXNet params: a name of {size:,} bytes", offset=self.at - 8)
        raw = self.file.slice(self.at, size, "MXNet params: a name")
        self.at += size
        try:
            return raw.tobytes().decode()
        except UnicodeDecodeError as error:
            raise Malformed(self.file.path, f"MXNet params: a name that is no text: {error}", offset=self.at) from error

    def array(self, number: int) -> tuple[int, tuple[int, ...], int, int] | None:
        """(type flag, shape, offset, size in bytes), or None where the list has no array in this place."""
        begin, what = self.at, f"array {number:,}"
        (magic,) = self.numbers("<I", what)
        version = VERSIONS.get(magic, 0)
        if version >= 2 and (storage := self.numbers("<i", what)[0]) > 0:
            kind = STORAGES.get(storage, f"storage {storage}")
            raise Refused(
                self.file.path,
                f"MXNet params: {what} is sparse ({kind})",
                offset=begin,
                hint="array.tostype('default') makes it a dense one, which can be saved and read.",
            )
        axes = magic if version == 0 else self.numbers("<i", what)[0]
        if axes == -1 or (axes == 0 and version < 3):
            return None
        if not 0 <= axes <= MAX_RANK:
            raise Malformed(self.file.path, f"MXNet params: {what} has {axes:,} axes", offset=begin)
        shape = self.numbers(f"<{axes}{'q' if version else 'I'}", what)
        _, _, flag = self.numbers("<3i", what)
        if not 0 <= flag < len(FLAGS):
            raise Malformed(self.file.path, f"MXNet params: {what} has the type number {flag}", offset=self.at - 4)
        if any(n < 0 for n in shape):
            raise Malformed(self.file.path, f"MXNet params: {what} has a size below zero", offset=begin)
        size = prod(shape) * DTYPES[FLAGS[flag]].itemsize
        self.file.slice(self.at, size, f"MXNet params: {what}")
        offset, self.at = self.at, self.at + size
        return flag, shape, offset, size
