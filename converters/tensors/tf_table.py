"""The sorted string table in which TensorFlow keeps names: `.index` of a bundle, and whole checkpoints of version 1.

It is LevelDB's table format (doc/table_format.md): a footer that says where the index block is, whose values say where
the other blocks are; in a block each key states how much it shares with the one before.
"""

from __future__ import annotations

from collections.abc import Iterator

from zoo.converters.tensors.mapped import MappedFile
from zoo.errors import Malformed, Refused

MAGIC = bytes.fromhex("57fb808b247547db")
FOOTER_BYTES = 48
TRAILER_BYTES = 5  # of a block: how it is compressed, and a checksum
MAX_KEY_BYTES = 1 << 16


def is_table(file: MappedFile) -> bool:
    """Does the magic number stand at the end?"""
    return len(file) >= FOOTER_BYTES and file.data[len(file) - 8 :] == MAGIC


def entries(file: MappedFile) -> Iterator[tuple[bytes, int, int]]:
    """Every key, and where its value begins and ends. Raises Malformed, and Refused for compressed blocks."""
    if not is_table(file):
        raise Malformed(file.path, "TensorFlow checkpoint: no table: its end is missing", offset=len(file))
    footer = len(file) - FOOTER_BYTES
    _, at = _varint(file, footer, len(file))
    _, at = _varint(file, at, len(file))
    offset, at = _varint(file, at, len(file))
    size, _ = _varint(file, at, len(file))
    left = len(file)  # no block is read twice
    for _, begin, stop in _block(file, offset, size):
        start, at = _varint(file, begin, stop)
        length, _ = _varint(file, at, stop)
        left -= length + TRAILER_BYTES
        if left < 0:
            raise Malformed(file.path, "TensorFlow checkpoint: blocks that overlap", offset=begin)
        yield from _block(file, start, length)


def _block(file: MappedFile, offset: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    end = offset + size
    if end + TRAILER_BYTES > len(file) or size < 4:
        raise Malformed(file.path, f"TensorFlow checkpoint: a block of {size:,} bytes outside the file", offset=offset)
    if file.data[end]:
        raise Refused(file.path, "TensorFlow checkpoint: a table that is compressed", offset=end)
    restarts = int.from_bytes(file.data[end - 4 : end], "little")
    end -= 4 + 4 * restarts
    if end < offset:
        raise Malformed(file.path, f"TensorFlow checkpoint: {restarts:,} restarts in a block", offset=offset)
    key, at = b"", offset
    while at < end:
        shared, at = _varint(file, at, end)
        own, at = _varint(file, at, end)
        length, at = _varint(file, at, end)
        if shared > len(key) or at + own + length > end or shared + own > MAX_KEY_BYTES:
            raise Malformed(file.path, "TensorFlow checkpoint: an entry that goes beyond its block", offset=at)
        key = key[:shared] + bytes(file.data[at : at + own])
        yield key, at + own, at + own + length
        at += own + length


def _varint(file: MappedFile, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 64:
        byte = file.data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise Malformed(file.path, "TensorFlow checkpoint: a number without an end", offset=at)
