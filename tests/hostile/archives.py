"""Zip archives that lie, each a name, the bytes, and what the error says of it. Built from a good one by hand."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

EMPTY_PICKLE = b"\x80\x02}."


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive as zipfile writes it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return stream.getvalue()


def patched(data: bytes, signature: bytes, offset: int, code: str, *values: int) -> bytes:
    """`data` with numbers written at `offset` behind the first occurrence of a signature."""
    at = data.index(signature) + offset
    return data[:at] + struct.pack(code, *values) + data[at + struct.calcsize(code) :]


def every() -> Iterator[tuple[str, bytes, str]]:
    """All of them. Every one holds `x/data.pkl`, so that only its directory is wrong."""
    good = zipped({"x/data.pkl": EMPTY_PICKLE, "x/data/0": bytes(64)})
    entry, end = b"PK\1\2", b"PK\5\6"
    for name in ("../evil", "/etc/evil", "x/../../evil", "c:/evil", "x\\..\\evil", "x//data"):
        yield f"member {name}", zipped({"x/data.pkl": EMPTY_PICKLE, name: b""}), "leaves its archive"
    yield "a NUL in a name", good.replace(b"x/data/0", b"x/data\0x"), "leaves its archive"
    with_twin = zipped({"x/data.pkl": EMPTY_PICKLE, "x/data/0": b"a", "x/data/1": b"b"}).replace(
        b"x/data/1", b"x/data/0"
    )
    yield "two members of one name", with_twin, "two members are named"
    yield "two pickles", zipped({"x/data.pkl": EMPTY_PICKLE, "y/data.pkl": EMPTY_PICKLE}), "2 members are a data.pkl"
    yield "a size that lies", patched(good, entry, 24, "<I", 1 << 30), "states 1,073,741,824 bytes"
    yield "both sizes lie", patched(good, entry, 20, "<2I", 1 << 30, 1 << 30), "directory begins before they end"
    yield "a member beyond the file", patched(good, entry, 42, "<I", 1 << 30), "doesn't begin where"
    yield "a member inside another", patched(good, entry, 42, "<I", 12), "doesn't begin where"
    yield "another name at the member", good.replace(b"x/data/0", b"x/late/0", 1), "another name at its beginning"
    yield "no end record", good[:-10], "no end record"
    yield "half a file", good[: len(good) // 2], "no end record"
    yield "a directory beyond the file", patched(good, end, 16, "<I", 1 << 31), "doesn't fit the file"
    yield "60,000 members that are not there", patched(good, end, 8, "<2H", 60_000, 60_000), "doesn't fit the file"
    yield "several disks", patched(good, end, 4, "<2H", 1, 1), "several parts"
    yield "encrypted", patched(good, entry, 8, "<H", 1), "encrypted"
    yield "compressed by LZMA", zipped({"x/data.pkl": EMPTY_PICKLE}, zipfile.ZIP_LZMA), "method 14"
    yield "a number that needs zip64", patched(good, entry, 24, "<I", 0xFFFFFFFF), "zip64"
    yield "overlapping members", overlapping(), "overlap"
    yield "a bomb that is declared", zipped({"x/data.pkl": bytes(300 << 20)}, zipfile.ZIP_DEFLATED), "314,572,800 bytes"
    bomb = zipped({"x/data.pkl": bytes(64 << 20)}, zipfile.ZIP_DEFLATED)
    yield "a bomb that is not", patched(bomb, entry, 24, "<I", 4), "doesn't inflate to the 4 bytes"
    deflated = zipped({"x/data.pkl": EMPTY_PICKLE * 9}, zipfile.ZIP_DEFLATED)
    yield "bytes that are no deflate", deflated.replace(zlib.compress(EMPTY_PICKLE * 9)[2:-4], b"\xff" * 10, 1)[:], "."
    yield "a wrong checksum", patched(deflated, entry, 16, "<I", 0), "another checksum"


def overlapping() -> bytes:
    """Two entries over one member's bytes."""
    good = zipped({"x/data.pkl": EMPTY_PICKLE, "x/data/0": bytes(64)})
    first = good.index(b"PK\1\2")
    second = good.index(b"PK\1\2", first + 1)
    inner = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 8, 8, 8, 0) + b"x/data/0" + bytes(8)
    data = zipped({"x/data.pkl": EMPTY_PICKLE + inner + b"rest", "x/data/0": bytes(64)})
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    at = data.index(inner)
    patch = struct.pack("<I", at)
    data = data[: second + 42] + patch + data[second + 46 :]
    return data[: second + 16] + struct.pack("<3I", 0, 8, 8) + data[second + 28 :]
