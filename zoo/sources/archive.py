"""One member of a wheel or an sdist, streamed: nothing is unpacked to a path that an archive names, no code runs.

A remote zip is read by ranges: its directory, then the member. A tar is read from its beginning to the member. What an
archive says of itself is checked before it is used: member names are compared and never become paths, declared sizes
bound what is inflated, and no single read exceeds READ_MAX_BYTES.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import posixpath
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from zoo.durable import trouble
from zoo.errors import DigestMismatch, FetchError, NotFound
from zoo.sources import Stream
from zoo.sources.patience import Patience, Piece, pieces

CHUNK_BYTES = 256 * 1024
TAIL_BYTES = 128 * 1024  # holds the directory of most wheels
READ_MAX_BYTES = 16 << 20  # a zip's directory or a tar's extended header is read whole, and never this large in earnest
LOCAL_HEADER_MAX_BYTES = 30 + 2 * 65535
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
)


@dataclass(frozen=True, slots=True)
class Archive:
    """Where an archive is: `connect(start, end, validator)` opens bytes [start, end); negative counts from the end."""

    filename: str
    connect: Callable[[int, int | None, str | None], AbstractContextManager[Stream]]
    digests: Mapping[str, str] = field(default_factory=dict)  # by algorithm, as the index states them
    is_sdist: bool = False
    patience: Patience = Patience()


@contextmanager
def member(archive: Archive, wanted: str | None, path: str) -> Iterator[Stream]:
    """The member `wanted`, else the only one whose base name is that of `path`. Raises NotFound or FetchError.

    In an sdist, `wanted` may leave out the folder that all its files stand in.
    """
    opened = _zip_member if archive.filename.endswith((".whl", ".zip")) else _tar_member
    with _damage(archive), opened(archive, wanted, posixpath.basename(path)) as stream:
        yield stream


@contextmanager
def _damage(archive: Archive) -> Iterator[None]:
    """What the readers say of a broken or hostile archive, as one FetchError that names it."""
    try:
        yield
    except NotImplementedError as error:
        raise FetchError(f"{archive.filename}: a kind of archive that is not read ({error})") from error
    except RecursionError as error:
        raise FetchError(f"{archive.filename} is damaged: headers without end") from error
    except DAMAGE as error:
        raise FetchError(f"{archive.filename} is damaged: {str(error) or type(error).__name__}") from error


def _is_wanted(archive: Archive, name: str, wanted: str | None, base: str) -> bool:
    if wanted is None:
        return posixpath.basename(name) == base
    return name == wanted or (archive.is_sdist and name.partition("/")[2] == wanted)


@contextmanager
def _zip_member(archive: Archive, wanted: str | None, base: str) -> Iterator[Stream]:
    with _seekable(archive) as (file, ranges), zipfile.ZipFile(file) as opened:
        found = [one for one in opened.infolist() if _is_wanted(archive, one.filename, wanted, base)]
        _one(archive, [one.filename for one in found], wanted or base)
        info = found[0]
        if info.flag_bits & 0x1:
            raise FetchError(f"{archive.filename}: {info.filename!r} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FetchError(f"{archive.filename}: {info.filename!r} is compressed by method {info.compress_type}")
        if ranges is not None:
            ranges.end = info.header_offset + LOCAL_HEADER_MAX_BYTES + info.compress_size
        with opened.open(info) as data:
            yield Stream(0, info.file_size, None, _chunks(archive, data, info.file_size))


@contextmanager
def _tar_member(archive: Archive, wanted: str | None, base: str) -> Iterator[Stream]:
    raw = Pieces(archive, 0)
    with closing(raw), io.BufferedReader(raw, CHUNK_BYTES) as packed, _unpacked(packed) as plain:
        forward = Forward(plain)
        with tarfile.TarFile(fileobj=_fileobj(forward), mode="r") as opened:
            info = _next(archive, opened, wanted, base)
            if info is None:
                raise NotFound(f"{archive.filename} has no {wanted or base}")

            def chunks() -> Iterator[bytes]:
                with _damage(archive):
                    yield from forward.chunks(info.offset_data, info.size)
                    if wanted is None:  # the only one of its name? Then all is read, and the index's digest can be held
                        if second := _next(archive, opened, wanted, base):
                            _one(archive, [info.name, second.name], base)
                        raw.check()

            yield Stream(0, info.size, None, chunks())


def _next(archive: Archive, opened: tarfile.TarFile, wanted: str | None, base: str) -> tarfile.TarInfo | None:
    """The next wanted member; only what is a plain file is one."""
    while (info := opened.next()) is not None:
        cast(Any, opened).members.clear()  # kept by tarfile for random access, without limit
        if info.isreg() and not info.issparse() and info.size >= 0 and _is_wanted(archive, info.name, wanted, base):
            return info
    return None


def _one(archive: Archive, names: list[str], wanted: str) -> None:
    if not names:
        raise NotFound(f"{archive.filename} has no {wanted}")
    if len(names) > 1:
        raise FetchError(f"{archive.filename} has {wanted} more than once: {', '.join(map(repr, sorted(names)[:4]))}")


def _chunks(archive: Archive, data: IO[bytes], size_bytes: int) -> Iterator[bytes]:
    """All of a zip's member, which zipfile never inflates beyond `size_bytes`, and which may not end before."""
    with _damage(archive):
        while chunk := data.read(CHUNK_BYTES):
            size_bytes -= len(chunk)
            yield chunk
        if size_bytes:
            raise zipfile.BadZipFile(f"a member ends {size_bytes:,} bytes too early")


@contextmanager
def _unpacked(packed: Any) -> Iterator[IO[bytes]]:
    """The tar in a compressed stream, by its first bytes."""
    magic = packed.peek(6)[:6]
    if magic.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=packed) as file:
            yield cast(IO[bytes], file)
    elif magic.startswith(b"BZh"):
        with bz2.BZ2File(packed) as bz2_file:
            yield bz2_file
    elif magic == b"\xfd7zXZ\x00":
        with lzma.LZMAFile(packed) as lzma_file:
            yield lzma_file
    else:
        yield packed


def _fileobj(forward: Forward) -> Any:
    return forward  # tarfile's own protocol asks for write(), which reading never calls


class Forward:
    """A file for tarfile, which reads once and forwards, and never much at a time."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._at = 0

    def tell(self) -> int:
        """Bytes read so far."""
        return self._at

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, or fewer at the end."""
        if not 0 <= size <= READ_MAX_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        data = self._file.read(size)
        self._at += len(data)
        return data

    def seek(self, offset: int) -> None:
        """Skip to `offset`."""
        if offset < self._at:
            raise tarfile.ReadError("a header that points backwards")
        while self._at < offset and self.read(min(CHUNK_BYTES, offset - self._at)):
            pass

    def chunks(self, offset: int, size: int) -> Iterator[bytes]:
        """`size` bytes from `offset` on; ReadError where the file ends before."""
        self.seek(offset)
        end = offset + size
        while self._at < end:
            if not (data := self.read(min(CHUNK_BYTES, end - self._at))):
                raise tarfile.ReadError(f"it ends {end - self._at:,} bytes too early")
            yield data

    def close(self) -> None:
        """Nothing: whoever opened the file closes it."""


class Pieces(io.RawIOBase):
    """Bytes [start, end) of an archive as a file that is read once, over as many connections as it takes.

    Where the host begins anew at 0, what was read already is skipped.
    """

    def __init__(self, archive: Archive, start: int, end: int | None = None, validator: str | None = None) -> None:
        self._archive = archive
        self._arriving: Generator[Piece, None, None] = pieces(
            lambda offset, version: archive.connect(offset, end, version),
            archive.patience,
            offset=start,
            end=end,
            validator=validator,
        )
        self._left = memoryview(b"")
        self._hash = _strongest(archive.digests)
        self.position = start

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes; 0 at the end."""
        out = memoryview(buffer).cast("B")
        while not self._left:
            piece = next(self._arriving, None)
            if piece is None:
                return 0
            self._left = memoryview(piece.data)[max(0, self.position - piece.offset) :]
        n = min(len(out), len(self._left))
        out[:n], self._left = self._left[:n], self._left[n:]
        self.position += n
        if self._hash is not None:
            self._hash[1].update(out[:n])
        return n

    def check(self) -> None:
        """Read to the end; DigestMismatch if the whole is not what the index states."""
        buffer = bytearray(CHUNK_BYTES)
        while self.readinto(buffer):
            pass
        if self._hash is not None:
            name, running = self._hash
            stated, received = self._archive.digests[name].lower(), running.hexdigest()
            if stated != received:
                what = f"the index states {name}:{stated}, received {name}:{received}"
                raise DigestMismatch(f"{self._archive.filename}: {what}; discarded")

    def close(self) -> None:
        """End the connection."""
        self._arriving.close()
        super().close()


class Ranges(io.RawIOBase):
    """A remote file of `size_bytes` with random access: its end is here already, a run of bytes is one request."""

    def __init__(self, archive: Archive, size_bytes: int, tail: bytes, validator: str | None) -> None:
        self._archive, self._size_bytes, self._tail, self._validator = archive, size_bytes, tail, validator
        self._at = 0
        self._run: Pieces | None = None
        self.end = size_bytes  # where the next run may stop

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go elsewhere; a request is made by the next read only."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        if base + offset < 0:
            raise ValueError("a place before the beginning")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """The next bytes; 0 at the end."""
        out = memoryview(buffer).cast("B")
        n = self._from_tail(out) if self._at >= self._size_bytes - len(self._tail) else self._from_run(out)
        self._at += n
        return n

    def close(self) -> None:
        """End the connection."""
        if self._run is not None:
            self._run.close()
        super().close()

    def _from_tail(self, out: memoryview) -> int:
        start = self._at - (self._size_bytes - len(self._tail))
        data = self._tail[start : start + len(out)]
        out[: len(data)] = data
        return len(data)

    def _from_run(self, out: memoryview) -> int:
        if self._run is not None and self._run.position == self._at and (n := self._run.readinto(out)):
            return n
        if self._run is not None:
            self._run.close()
        end = min(self.end, self._size_bytes) if self._at < self.end else self._size_bytes
        self._run = Pieces(self._archive, self._at, end, self._validator)
        return self._run.readinto(out)


class Bounded(io.BufferedReader):
    """Whole reads, as zipfile expects them, and none of a size that only a hostile directory asks for."""

    def read(self, size: int | None = -1, /) -> bytes:
        """`size` bytes, or all, up to READ_MAX_BYTES."""
        n = READ_MAX_BYTES + 1 if size is None or size < 0 else size
        if n > READ_MAX_BYTES + 1:
            raise zipfile.BadZipFile(f"a directory of {n:,} bytes")
        data = super().read(n)
        if len(data) > READ_MAX_BYTES:
            raise zipfile.BadZipFile(f"a directory of more than {READ_MAX_BYTES:,} bytes")
        return data


@contextmanager
def _seekable(archive: Archive) -> Iterator[tuple[IO[bytes], Ranges | None]]:
    """The archive with random access: by ranges, or fetched whole where the host gives none."""
    with archive.connect(-TAIL_BYTES, None, None) as stream:
        size_bytes, validator = stream.size_bytes, stream.validator
        tail = b"".join(stream.chunks) if stream.offset else b""
    if size_bytes is not None and not tail and size_bytes > TAIL_BYTES:  # some hosts know ranges, and none from the end
        with archive.connect(size_bytes - TAIL_BYTES, None, validator) as stream:
            tail = b"".join(stream.chunks) if stream.offset else b""
    if size_bytes is not None and tail:
        with Ranges(archive, size_bytes, tail, validator) as ranges, Bounded(ranges, CHUNK_BYTES) as file:
            yield file, ranges
    else:
        with tempfile.TemporaryFile() as spool:
            _fetch_whole(archive, spool)
            with Bounded(spool, CHUNK_BYTES) as file:  # type: ignore[arg-type]
                yield file, None


def _fetch_whole(archive: Archive, spool: IO[bytes]) -> None:
    """All of it, held to the digest that the index states."""
    whole = Pieces(archive, 0)
    with closing(whole):
        while data := whole.read(CHUNK_BYTES):
            with trouble(Path(tempfile.gettempdir()), hint="TMPDIR says where temporary files go."):
                spool.write(data)
        whole.check()
    spool.seek(0)


def _strongest(digests: Mapping[str, str]) -> tuple[str, Any] | None:
    """The best algorithm that the index states and hashlib has, and a fresh hash of it."""
    for name in ("sha256", "sha512", "sha384", "sha224", "sha1", "md5"):
        if name in digests:
            return name, hashlib.new(name, usedforsecurity=False)
    return None
