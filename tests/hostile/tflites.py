"""TFLite files that lie: built byte by byte, each with what its error has to say."""

from __future__ import annotations

import struct


def offset_outside() -> bytes:
    """The outermost table begins far behind the end."""
    return struct.pack("<I4s", 1 << 30, b"TFL3") + bytes(64)


def vtable_outside() -> bytes:
    """The outermost table's fields stand before the file."""
    return struct.pack("<I4s", 12, b"TFL3") + bytes(4) + struct.pack("<i", 1 << 20) + bytes(16)


def vector_without_end() -> bytes:
    """A vector of subgraphs that states four thousand million."""
    vtable = struct.pack("<6H", 10, 12, 4, 0, 8, 0)[:10]
    table = struct.pack("<iII", 10, 3, 4)
    return struct.pack("<I4s", 18, b"TFL3") + vtable + table + struct.pack("<I", 0xFFFFFFFF)


def every() -> list[tuple[str, bytes, str]]:
    """Name, bytes, and what the error says."""
    return [
        ("offset outside", offset_outside(), "outside the file"),
        ("vtable outside", vtable_outside(), "outside the file"),
        ("vector without end", vector_without_end(), "does not fit"),
        ("cut short", struct.pack("<I4s", 8, b"TFL3"), "outside the file"),
    ]
