"""A flatbuffer as data: tables, vectors and strings, each offset checked before it is followed.

Written from the format's description (FlatBuffers internals): a table begins with the distance back to its vtable,
which holds its own size, the table's, and where in the table each field stands, 0 for one that is absent.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.converters.tensors.mapped import Bytes, MappedFile
from zoo.errors import Malformed

NUMBERS = {"b": "<b", "B": "<B", "h": "<h", "H": "<H", "i": "<i", "I": "<I", "q": "<q", "Q": "<Q", "f": "<f", "?": "<?"}
WIDTHS = {key: struct.calcsize(code) for key, code in NUMBERS.items()}
MAX_NAME_BYTES = 1 << 16


class Buffer:
    """The file, and how many tables and vectors may still be read of it: a small file can refer to one without end."""

    def __init__(self, file: MappedFile) -> None:
        self.file = file
        self.left = len(file) + (1 << 12)

    def number(self, code: str, at: int) -> Any:
        """A number at a byte."""
        if not 0 <= at <= len(self.file) - WIDTHS[code]:
            raise Malformed(self.file.path, "flatbuffer: an offset outside the file", offset=max(at, 0))
        return struct.unpack_from(NUMBERS[code], self.file.data, at)[0]

    def spend(self, at: int) -> None:
        """Count a table or a vector."""
        self.left -= 1
        if self.left < 0:
            raise Malformed(self.file.path, "flatbuffer: its tables refer to each other without end", offset=at)

    def root(self) -> Table:
        """The outermost table."""
        return self.table(self.number("I", 0))

    def table(self, at: int) -> Table:
        """The table that begins at a byte."""
        self.spend(at)
        vtable = at - self.number("i", at)
        size = self.number("H", vtable)
        if size < 4 or size % 2 or vtable + size > len(self.file):
            raise Malformed(self.file.path, "flatbuffer: a table without its fields' places", offset=at)
        return Table(self, at, vtable, (size - 4) // 2)


@dataclass(frozen=True, slots=True)
class Table:
    """A table: fields by their number in the schema."""

    buffer: Buffer
    at: int
    vtable: int
    count: int

    def place(self, field: int) -> int:
        """Where a field stands in the file; 0 for one that is absent."""
        offset = self.buffer.number("H", self.vtable + 4 + 2 * field) if field < self.count else 0
        return self.at + offset if offset else 0

    def number(self, field: int, code: str, default: Any = 0) -> Any:
        """A number, or the schema's default."""
        place = self.place(field)
        return self.buffer.number(code, place) if place else default

    def target(self, field: int) -> int:
        """Where what a field refers to begins; 0 for an absent one."""
        place = self.place(field)
        return place + self.buffer.number("I", place) if place else 0

    def table(self, field: int) -> Table | None:
        """A table in this one."""
        at = self.target(field)
        return self.buffer.table(at) if at else None

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        start, count = self._vector(field, 4)
        places = range(start, start + 4 * count, 4)
        return [self.buffer.table(place + self.buffer.number("I", place)) for place in places]

    def numbers(self, field: int, code: str) -> list[Any]:
        """A vector of numbers."""
        start, count = self._vector(field, WIDTHS[code])
        data = self.buffer.file.array[start : start + count * WIDTHS[code]]
        found: list[Any] = np.frombuffer(data.tobytes(), np.dtype(NUMBERS[code])).tolist()
        return found

    def bytes(self, field: int) -> Bytes:
        """A vector of bytes, mapped."""
        start, count = self._vector(field, 1)
        return self.buffer.file.slice(start, count, "flatbuffer: a vector")

    def text(self, field: int) -> str:
        """A string; an absent one is empty."""
        start, count = self._vector(field, 1)
        if count > MAX_NAME_BYTES:
            raise Malformed(self.buffer.file.path, f"flatbuffer: a name of {count:,} bytes", offset=start)
        return bytes(self.buffer.file.data[start : start + count]).decode("utf-8", "replace")

    def fields(self, schema: Sequence[tuple[str, str, Any]]) -> dict[str, Any]:
        """The fields of a table of numbers, or vectors of them, by name: (name, code, default), `code[]` a vector."""
        return {
            name: self.numbers(i, code[0]) if code.endswith("[]") else self.number(i, code, default)
            for i, (name, code, default) in enumerate(schema)
            if code
        }

    def _vector(self, field: int, width: int) -> tuple[int, int]:
        at = self.target(field)
        if not at:
            return 0, 0
        self.buffer.spend(at)
        count = self.buffer.number("I", at)
        if at + 4 + count * width > len(self.buffer.file):
            what = f"flatbuffer: a vector of {count:,} does not fit the file"
            raise Malformed(self.buffer.file.path, what, offset=at)
        return at + 4, count
