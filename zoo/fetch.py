"""From sources into the store: once for all schemes. Sources in turn, resumed parts, hashing on the way, one commit.

Right without locks: every process writes a part of its own, the digest decides, and the rename is atomic. The lock of
a blob only saves bandwidth, so nothing that is wrong with it (none, always granted, its holder stuck) does harm.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from zoo import parts, records, sources
from zoo.digests import Hashes, digest_hex, hash_file
from zoo.durable import MORE_ROOM, sync_file, sync_folder, trouble
from zoo.entry import File
from zoo.errors import DigestMismatch, DiskFull, Exhausted, FetchError, NotFound, Offline, StoreError
from zoo.parts import Part
from zoo.progress import Progress
from zoo.records import Record
from zoo.sources.patience import Patience, Piece, pieces
from zoo.turn import turn

if TYPE_CHECKING:
    from zoo.store import Store


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be brought where; `name` is the model's."""

    store: Store
    file: File
    name: str
    progress: Progress
    patience: Patience


def fetch(order: Order) -> Path:
    """The path of the file's blob, from the first of its sources that has it. Raises FetchError or StoreError."""
    store, key = order.store, part_key(order.file)
    found: list[Path] = []

    def has_arrived() -> bool:
        found[:] = filter(None, [store.stored(order.file, order.name, order.progress)])
        return bool(found)

    with turn(store.locks / f"{key}.lock", has_arrived, lambda: parts.growth(store.parts, key), order.progress):
        if has_arrived():  # another process may have brought it while we waited
            return found[0]
        part = parts.claim(store.parts, key) or parts.new(store.parts, key)
        try:
            path = _arrive(replace(order, file=store.pinned(order.file, order.name)), part)
        except StoreError:
            part.discard()  # on a full disk, room is worth more than the bytes
            raise
        finally:
            order.progress.done()
            part.release()
    for folder in parts.abandoned(store.parts):
        if folder.name.split(".")[0] == key:
            shutil.rmtree(folder, ignore_errors=True)
    return path


def part_key(file: File) -> str:
    """What a part file is a part of: the pinned digest, else what the catalog says of the file."""
    if file.digest is not None:
        return digest_hex(file.digest)
    facts = "\n".join([file.path, file.published or "", *file.sources])
    return "unpinned-" + hashlib.sha256(facts.encode()).hexdigest()[:32]


def keep(store: Store, arrived: Path, digest: str) -> Path:
    """The file `arrived` becomes the blob `digest`, which it must be: read-only, fsync, rename, fsync."""
    target = store.blob_path(digest)
    with trouble(store.root):
        target.parent.mkdir(parents=True, exist_ok=True)
        arrived.chmod(stat.S_IMODE(arrived.stat().st_mode) & ~0o222)
        sync_file(arrived)
        if not target.is_file():
            os.replace(arrived, target)
            sync_folder(target.parent)
    return target


def check_room(store: Store, needed_bytes: int) -> None:
    """DiskFull, before anything is written, if the disk has no room for so much more."""
    with trouble(store.root):
        free_bytes = shutil.disk_usage(store.root).free
    if needed_bytes > free_bytes:
        raise DiskFull(
            f"{store.root}: {needed_bytes:,} bytes are to come and {free_bytes:,} are free",
            hint=MORE_ROOM,
        )


def _arrive(order: Order, part: Part) -> Path:
    """The file by the first of its sources that has it. Raises its error, or Exhausted with all of them."""
    failures: list[tuple[str, FetchError]] = []
    urls = order.file.sources
    for url, following in zip_longest(urls, urls[1:]):
        try:
            hashes = _receive(_briefer(order) if following else order, url, part)
            _remember(order, hashes)
            path = keep(order.store, part.bytes, hashes.digest)
            part.discard()
            return path
        except DigestMismatch as error:
            _restart(part)
            failures.append((url, error))
        except FetchError as error:
            failures.append((url, error))
        if following:
            order.progress.note(f"{_said(*failures[-1])}; trying {sources.shown(following)}")
    raise _failed(order, failures)


def _briefer(order: Order) -> Order:
    """With another source at hand, a host that can't be reached at all is not asked twice."""
    return replace(order, patience=replace(order.patience, attempts_unreachable=1))


def _receive(order: Order, url: str, part: Part) -> Hashes:
    """All bytes of the file into the part, hashed and found to agree with what is pinned."""
    hashes = _resumable(order, url, part)
    if hashes.size_bytes:
        with suppress(DigestMismatch):
            return _agreed(order, _download(order, url, part, hashes))
        # The bytes of an earlier process, or of another version at the host: once more, all from here.
        order.progress.note(f"{order.file.path}: the bytes from an earlier try don't fit; starting anew")
        _restart(part)
    return _agreed(order, _download(order, url, part, Hashes(order.file.published)))


def _resumable(order: Order, url: str, part: Part) -> Hashes:
    """The hashes of what an earlier process left, or of nothing where that can't be gone on with."""
    file = order.file
    is_pinned = file.digest is not None or file.published is not None
    hashes = Hashes(file.published)
    with trouble(part.folder):
        if part.bytes.exists() and (is_pinned or _validator(part, url)):
            hash_file(part.bytes, hashes)
    is_whole = file.size_bytes is not None and hashes.size_bytes >= file.size_bytes
    if is_whole and (hashes.size_bytes != file.size_bytes or hashes.disagreement(file)):
        hashes = Hashes(file.published)
    if hashes.size_bytes == 0:
        _restart(part)
    else:
        order.progress.note(f"{file.path}: going on from byte {hashes.size_bytes:,} of an earlier try")
    return hashes


def _download(order: Order, url: str, part: Part, hashes: Hashes) -> Hashes:
    """Write and hash what comes from `url` behind the `hashes.size_bytes` bytes that the part has."""
    file, progress = order.file, order.progress
    if file.digest == hashes.digest:  # the earlier process ended between its last byte and the rename
        return hashes
    _check_trust(url, file)
    origin = sources.source(url)
    arriving = pieces(
        lambda offset, validator: origin.stream(url, path=file.path, offset=offset, validator=validator),
        order.patience,
        offset=hashes.size_bytes,
        end=file.size_bytes,
        validator=_validator(part, url),
        note=progress.note,
    )
    with trouble(order.store.root):
        out = part.bytes.open("ab", buffering=0)
    with out, closing(arriving):
        for piece in arriving:
            if not piece.data:
                hashes = _connected(order, url, piece, part, hashes)
                progress.start(file.path, _expected(order, piece), at=piece.offset)
            elif file.size_bytes is not None and hashes.size_bytes + len(piece.data) > file.size_bytes:
                raise DigestMismatch(f"it sends more than the pinned {file.size_bytes:,} bytes")
            else:
                _write(order.store, out, piece.data)
                hashes.update(piece.data)
                progress.advance(len(piece.data))
    return hashes


def _connected(order: Order, url: str, piece: Piece, part: Part, hashes: Hashes) -> Hashes:
    """A connection is open: has it the right size, is there room, does it go on where we are?"""
    pinned = order.file.size_bytes
    if pinned is not None and piece.size_bytes not in (None, pinned):
        raise DigestMismatch(f"it has {piece.size_bytes:,} bytes, and {pinned:,} are pinned")
    if piece.offset != hashes.size_bytes:
        if piece.offset != 0:
            raise FetchError(f"{sources.shown(url)} sends from byte {piece.offset:,}, asked from {hashes.size_bytes:,}")
        _restart(part)
        hashes = Hashes(order.file.published)
    check_room(order.store, (_expected(order, piece) or 0) - piece.offset)
    with trouble(order.store.root):
        origin = {"source": _source_id(url), "validator": piece.validator}
        (part.folder / "from.json").write_text(json.dumps(origin))
    return hashes


def _expected(order: Order, piece: Piece) -> int | None:
    return piece.size_bytes if order.file.size_bytes is None else order.file.size_bytes


def _agreed(order: Order, hashes: Hashes) -> Hashes:
    """`hashes` if they are what is pinned, else DigestMismatch."""
    file, size = order.file, f"{hashes.size_bytes:,} bytes"
    if file.size_bytes is not None:
        size = f"{hashes.size_bytes:,} of {file.size_bytes:,} bytes"
    if (what := hashes.disagreement(file)) is not None:
        raise DigestMismatch(f"{what} ({size}); discarded")
    if file.digest is None and file.size_bytes not in (None, hashes.size_bytes):
        raise DigestMismatch(f"{size}; discarded")
    return hashes


def _remember(order: Order, hashes: Hashes) -> None:
    """Before the blob can be seen: which model uses it, and what a weaker pin means from now on."""
    store, file = order.store, order.file
    record = Record(order.name, file.path, hashes.digest, hashes.size_bytes)
    if file.digest is None:
        place = records.place(store.pins, order.name, file.path)
        with trouble(store.root):
            is_first = records.write(place, record, scratch=store.parts, exclusive=True)
        # Another process may have been first, and then its bytes are the ones to trust.
        if not is_first and (first := records.read(place)) is not None and first.digest != hashes.digest:
            raise DigestMismatch(f"expected {first.digest}, as first fetched, received {hashes.digest}; discarded")
    store.refer(record)


def _failed(order: Order, failures: list[tuple[str, FetchError]]) -> FetchError:
    what = f"{order.file.path} of {order.name}"
    if not failures:
        return NotFound(f"{what}: its entry names no source")
    if all(isinstance(error, Offline) for _, error in failures):
        hint = f"Unset it, or `zoo pull {order.name}` while there is a network."
        return Offline(f"{what} is not in the store, and ZOO_OFFLINE is set", hint=hint)
    if len(failures) == 1:
        error = failures[0][1]
        return type(error)(f"{what}: {_said(*failures[0])}", hint=error.hint)
    lines = "".join(f"\n  {sources.shown(url)}: {type(error).__name__}: {error}" for url, error in failures)
    return Exhausted(f"{what} could not be had from any of its {len(failures)} sources:{lines}")


def _said(url: str, error: FetchError) -> str:
    """What a source said. Hosts name themselves; bytes that are wrong don't."""
    return f"{sources.shown(url)}: {error.message}" if isinstance(error, DigestMismatch) else error.message


def _check_trust(url: str, file: File) -> None:
    """Anybody on the way can change what comes by plain http, which is no harm where a whole digest decides."""
    if url.startswith("http://") and file.digest is None:
        from zoo.sources.https import is_loopback

        if not is_loopback(url):
            raise FetchError(f"{sources.shown(url)} is not https, and no whole digest pins {file.path}")


def _write(store: Store, out: io.FileIO, data: bytes) -> None:
    view = memoryview(data)
    with trouble(store.root):
        while view:
            view = view[out.write(view) :]


def _restart(part: Part) -> None:
    """The part is empty again. Truncated, not removed: the file may be open for appending."""
    with trouble(part.folder), part.bytes.open("ab") as file:
        file.truncate(0)


def _source_id(url: str) -> str:
    """Recognises a source without keeping its URL, where tokens may stand."""
    return hashlib.sha256(url.encode()).hexdigest()[:32]


def _validator(part: Part, url: str) -> str | None:
    """The version of the file at `url` that the part's bytes are of, where its host gave one."""
    try:
        fields = json.loads((part.folder / "from.json").read_bytes())
        validator = fields["validator"] if fields["source"] == _source_id(url) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return validator if isinstance(validator, str) else None
