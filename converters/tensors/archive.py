"""The directory of a zip archive, from its mapped bytes: where each member's bytes lie, and that they do lie there.

`zipfile` opens what it is told to and hides where a stored member begins; weights need the offset (to map them), and
a hostile archive needs every claim checked against the file first. Written from PKWARE's APPNOTE.TXT 6.3.10, sections
4.3 to 4.5.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from zoo.converters.tensors.mapped import Bytes, MappedFile, Source, quoted
from zoo.errors import Malformed, Refused

END = struct.Struct("<4s4H2IH")  # signature, disks x2, entries x2, size, offset, comment length
END64_LOCATOR = struct.Struct("<4sIQI")
END64 = struct.Struct("<4sQ2H2I4Q")
ENTRY = struct.Struct("<4s6H3I5H2I")
LOCAL = struct.Struct("<4s5H3I2H")
STORED, DEFLATED = 0, 8
MAX_MEMBERS = 100_000
# What deflate can reach at most is 1,032 to 1 (zlib's technical notes); a member that claims more lies.
MAX_RATIO = 1_032


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive: its header begins at `start`, its bytes at `offset`; `packed_bytes` stand there."""

    name: str
    start: int
    offset: int
    packed_bytes: int
    size_bytes: int
    is_deflated: bool
    crc: int


def directory(file: MappedFile) -> dict[str, Member]:
    """Every member of a zip archive by name, folders left out.

    Checked in file order: the end record, the directory's bounds, then each entry's name, method, sizes and local
    header, and at the end that no two members share a byte. Raises Malformed or Refused; allocates nothing on a number
    from the file.
    """
    members: dict[str, Member] = {}
    start, end = _bounds(file)
    for entry in _entries(file, start, end):
        if entry.name in members:
            raise Malformed(file.path, f"zip: two members are named {quoted(entry.name)}", offset=entry.offset)
        members[entry.name] = entry
    _check_overlap(file, members, start)
    return {name: member for name, member in members.items() if not name.endswith("/")}


def source(file: MappedFile, member: Member) -> Source:
    """A member's bytes: mapped when it is stored, a function that inflates them when it is deflated."""
    packed = file.slice(member.offset, member.packed_bytes, f"zip member {quoted(member.name)}")
    return (lambda: _inflated(file, member, packed)) if member.is_deflated else packed


def content(file: MappedFile, member: Member, limit_bytes: int) -> bytes:
    """A small member's bytes in memory; Refused when it is larger than `limit_bytes`."""
    if member.size_bytes > limit_bytes:
        raise Refused(
            file.path, f"zip member {quoted(member.name)} has {member.size_bytes:,} bytes", offset=member.offset
        )
    packed = source(file, member)
    return (packed if isinstance(packed, np.ndarray) else packed()).tobytes()


def beginning(file: MappedFile, member: Member, size_bytes: int) -> bytes:
    """A member's first `size_bytes` bytes, or all of them if it has fewer."""
    packed = file.slice(member.offset, member.packed_bytes, f"zip member {quoted(member.name)}")
    if not member.is_deflated:
        return packed[:size_bytes].tobytes()
    try:  # zlib copies what it leaves over, so it is given no more than it can need
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed[: 2 * size_bytes].data, size_bytes)
    except zlib.error as error:
        raise Malformed(file.path, f"zip member {quoted(member.name)}: {error}", offset=member.offset) from error


def _inflated(file: MappedFile, member: Member, packed: Bytes) -> Bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:  # one byte more than declared, so that a bomb shows and never goes off
        data = inflater.decompress(packed.data, member.size_bytes + 1)
    except zlib.error as error:
        raise Malformed(file.path, f"zip member {quoted(member.name)}: {error}", offset=member.offset) from error
    if len(data) != member.size_bytes or not inflater.eof:
        what = f"zip member {quoted(member.name)} doesn't inflate to the {member.size_bytes:,} bytes that it states"
        raise Malformed(file.path, what, offset=member.offset)
    if zlib.crc32(data) != member.crc:
        raise Malformed(
            file.path, f"zip member {quoted(member.name)} has another checksum than stated", offset=member.offset
        )
    # Copied, since bytes are read-only and a tensor over them may be trained in place.
    return np.frombuffer(bytearray(data), np.uint8)


def _bounds(file: MappedFile) -> tuple[int, int]:
    """Where the directory begins and ends, from the end record, or from zip64's when that one's fields are full."""
    size = len(file)
    at = file.data.rfind(b"PK\5\6", max(0, size - END.size - 0xFFFF))
    if at < 0 or at + END.size > size:
        raise Malformed(file.path, "zip: no end record: the file is cut short or no zip archive", offset=size)
    _, disk, first_disk, here, entries, length, start, comment = END.unpack_from(file.data, at)
    end = at
    locator = at - END64_LOCATOR.size
    if locator >= 0 and file.data[locator : locator + 4] == b"PK\6\7":
        _, _, record, _ = END64_LOCATOR.unpack_from(file.data, locator)
        if record > locator - END64.size or file.data[record : record + 4] != b"PK\6\6":
            raise Malformed(file.path, "zip: the zip64 end record is not where its locator says", offset=locator)
        _, _, _, _, disk, first_disk, here, entries, length, start = END64.unpack_from(file.data, record)
        end = record
    if disk or first_disk or here != entries:
        raise Refused(file.path, "zip: an archive in several parts", offset=at)
    if at + END.size + comment > size or start + length != end or entries * ENTRY.size > length:
        what = f"zip: a directory of {entries:,} members in {length:,} bytes at {start:,} doesn't fit the file"
        raise Malformed(file.path, what, offset=at)
    if entries > MAX_MEMBERS:
        raise Refused(file.path, f"zip: {entries:,} members (at most {MAX_MEMBERS:,} are read)", offset=at)
    return start, end


def _entries(file: MappedFile, at: int, end: int) -> Iterator[Member]:
    directory_start = at
    while at < end:
        if at + ENTRY.size > end or file.data[at : at + 4] != b"PK\1\2":
            raise Malformed(file.path, "zip: the directory holds something else than entries", offset=at)
        fields = ENTRY.unpack_from(file.data, at)
        flags, method, crc, packed, size = fields[3], fields[4], *fields[7:10]
        name_size, extra_size, comment_size, local = *fields[10:13], fields[16]
        begin = at + ENTRY.size
        raw, extra = file.data[begin : begin + name_size], file.data[begin + name_size : begin + name_size + extra_size]
        at = begin + name_size + extra_size + comment_size
        if at > end:
            raise Malformed(file.path, "zip: an entry is longer than the directory", offset=begin)
        name = _name(file, raw, begin)
        if flags & 0x2041:
            raise Refused(file.path, f"zip member {quoted(name)} is encrypted", offset=begin)
        if method not in (STORED, DEFLATED):
            raise Refused(file.path, f"zip member {quoted(name)} is compressed by method {method}", offset=begin)
        size, packed, local = _zip64(file, name, extra, size, packed, local)
        if (method == STORED and size != packed) or size > packed * MAX_RATIO:
            raise Malformed(
                file.path, f"zip member {quoted(name)} states {size:,} bytes out of {packed:,}", offset=begin
            )
        offset = _data_offset(file, name, raw, local, directory_start)
        if offset + packed > directory_start:
            what = f"zip member {quoted(name)} should have {packed:,} bytes and the directory begins before they end"
            raise Malformed(file.path, what, offset=offset)
        yield Member(name, local, offset, packed, size, method == DEFLATED, crc)


def _name(file: MappedFile, raw: bytes, at: int) -> str:
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        name = raw.decode("cp437")
    folders = name.removesuffix("/").split("/")
    if "\0" in name or "\\" in name or ":" in folders[0] or any(part in ("", "..") for part in folders):
        raise Refused(file.path, f"zip member {quoted(name)}: a path that leaves its archive", offset=at)
    return name


def _zip64(file: MappedFile, name: str, extra: bytes, size: int, packed: int, local: int) -> tuple[int, int, int]:
    """The three numbers, each taken from the zip64 field (APPNOTE 4.5.3) where the entry itself is full."""
    numbers = [size, packed, local]
    wanted = [i for i, number in enumerate(numbers) if number == 0xFFFFFFFF]
    at = 0
    while wanted and at + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        if tag == 1 and len(extra) >= at + 4 + length >= at + 4 + 8 * len(wanted):
            for i, number in zip(wanted, struct.unpack_from(f"<{len(wanted)}Q", extra, at + 4), strict=True):
                numbers[i] = number
            return numbers[0], numbers[1], numbers[2]
        at += 4 + length
    if wanted:
        raise Malformed(file.path, f"zip member {quoted(name)} has no zip64 field and needs one")
    return size, packed, local


def _data_offset(file: MappedFile, name: str, raw: bytes, local: int, directory_start: int) -> int:
    if local + LOCAL.size > directory_start or file.data[local : local + 4] != b"PK\3\4":
        raise Malformed(file.path, f"zip member {quoted(name)} doesn't begin where the directory says", offset=local)
    name_size, extra_size = map(int, LOCAL.unpack_from(file.data, local)[9:11])
    begin = local + LOCAL.size
    if file.data[begin : begin + name_size] != raw:
        raise Malformed(file.path, f"zip member {quoted(name)} has another name at its beginning", offset=local)
    return begin + name_size + extra_size


def _check_overlap(file: MappedFile, members: dict[str, Member], directory_start: int) -> None:
    """Two members over the same bytes are how a small file claims to be a large one."""
    end, last = 0, ""
    for member in sorted(members.values(), key=lambda m: m.start):
        if member.start < end:
            raise Malformed(
                file.path, f"zip members {quoted(last)} and {quoted(member.name)} overlap", offset=member.offset
            )
        end, last = member.offset + member.packed_bytes, member.name
