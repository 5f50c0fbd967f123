"""The content-addressed store: blobs by their SHA-256, and what is built from them.

    blobs/sha256/ab/ab12...   one file a blob, read-only; it is there whole or not at all
    refs/  pins/              which model uses which blob; what a first fetch found, required ever after
    built/<key>/              derived, can be deleted at any time
    parts/  locks/            private to running processes
    catalogs/  architectures/ what `zoo unbundle` brought

`shared` stores are read-only second layers, in turn. What is stored is used without a request and without a write.
Importing this module is cheap: the path of a stored blob is on the way of every `zoo run`.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo import records
from zoo.digests import digest_hex, hash_file
from zoo.durable import is_full, sync_folder, sync_tree, trouble
from zoo.entry import File
from zoo.errors import BadInput
from zoo.home import home
from zoo.records import Record

if TYPE_CHECKING:
    from zoo.progress import Progress
    from zoo.sources.patience import Patience

KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}", re.ASCII)
BUILT_DAYS = 30.0


@dataclass(frozen=True, slots=True)
class Stored:
    """A model with the files of it that are in the store."""

    name: str
    files: tuple[Record, ...]

    @property
    def size_bytes(self) -> int:
        """Of all its files, each counted once."""
        return sum({record.digest: record.size_bytes for record in self.files}.values())


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the store takes on disk, in bytes."""

    blobs: int
    built: int
    parts: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.blobs + self.built + self.parts


@dataclass(frozen=True, slots=True)
class Damage:
    """A blob whose bytes are no longer what its name says."""

    path: Path
    digest: str  # what it should be
    found: str  # what it is: a digest, or why it cannot be read
    names: tuple[str, ...]  # of the models that use it


class Store:
    """The store at `root`, over read-only `shared` ones. Nothing is created before something is written."""

    def __init__(
        self, root: Path, shared: Sequence[Path] = (), *, patience: Patience | None = None, heeds_lock: bool = True
    ) -> None:
        self.root = Path(root).expanduser().absolute()
        self.shared = tuple(Path(one).expanduser().absolute() for one in shared)
        self._patience = patience
        self._heeds_lock = heeds_lock

    @property
    def roots(self) -> tuple[Path, ...]:
        """All layers, ours first."""
        return (self.root, *self.shared)

    @property
    def parts(self) -> Path:
        """Private folders of running processes."""
        return self.root / "parts"

    @property
    def locks(self) -> Path:
        """Lock files: they only save bandwidth."""
        return self.root / "locks"

    @property
    def refs(self) -> Path:
        """Which model uses which blob."""
        return self.root / "refs"

    @property
    def pins(self) -> Path:
        """What a first fetch found where a catalog pins less than a whole SHA-256."""
        return self.root / "pins"

    def blob_path(self, digest: str) -> Path:
        """Where the blob of `digest` stands in our own layer, whether it is there or not."""
        return _blob_path(self.root, digest)

    def blob(self, digest: str) -> Path | None:
        """The path of a stored blob, or None. BadInput for what is no digest."""
        return next((path for root in self.roots if (path := _blob_path(root, digest)).is_file()), None)

    def pinned(self, file: File, name: str) -> File:
        """`file` with all that pins it: the catalog, the project's zoo.lock, the first fetch."""
        from zoo.lock import find, pinned

        return pinned(name, file, self.roots, find() if self._heeds_lock else None)

    def unlocked(self) -> Store:
        """The same store, not held to the project's zoo.lock: to write it anew."""
        return Store(self.root, self.shared, patience=self._patience, heeds_lock=False)

    def stored(self, file: File, name: str, progress: Progress | None = None) -> Path | None:
        """The path of `file`'s blob if it is here, without a request. A damaged one of ours is thrown away."""
        pinned = self.pinned(file, name)
        for root in self.roots if pinned.digest is not None else ():
            path = _blob_path(root, pinned.digest or "")
            if not path.is_file():
                continue
            size_bytes = path.stat().st_size
            if pinned.size_bytes in (None, size_bytes) or hash_file(path).digest == pinned.digest:
                if root == self.root:
                    self._refer_quietly(Record(name, file.path, pinned.digest or "", size_bytes))
                return path
            if root == self.root:
                if progress is not None:
                    progress.note(f"{path} is damaged ({size_bytes:,} bytes); fetching it again")
                with trouble(self.root):
                    path.unlink(missing_ok=True)
        return None

    def fetch(self, file: File, *, name: str, progress: Progress | None = None) -> Path:
        """The path of `file`'s blob, fetched and verified if it is not here; `name` is the model's, "vit-b-16:augreg".

        Raises FetchError or StoreError. A wrong digest is never served.
        """
        if (path := self.stored(file, name, progress)) is not None:
            return path
        from zoo.fetch import Order, fetch
        from zoo.progress import Quiet
        from zoo.sources.patience import Patience

        return fetch(Order(self, file, name, progress or Quiet(), self._patience or Patience()))

    def refer(self, record: Record) -> None:
        """Note that the model `record.name` uses a blob, so that `prune` leaves it."""
        place = records.place(self.refs, record.name, record.path, record.digest)
        if not place.exists():
            with trouble(self.root):
                records.write(place, record, scratch=self.parts)

    def _refer_quietly(self, record: Record) -> None:
        # A stored blob is served from a store that can't be written: then there is nobody to prune it either.
        if os.access(self.root, os.W_OK):
            from zoo.errors import StoreError

            with suppress(StoreError):
                self.refer(record)

    def built(self, key: str) -> Path | None:
        """The folder that was built for `key`, or None."""
        return next((path for root in self.roots if (path := root / "built" / _checked(key)).is_dir()), None)

    @contextmanager
    def build(self, key: str) -> Iterator[Path]:
        """A private folder to fill, which becomes `built(key)` on a clean exit and vanishes on an exception.

        When two build the same, the first one's stays. Raises DiskFull, ReadOnly or StoreError.
        """
        from zoo import parts

        target = self.root / "built" / _checked(key)
        part = parts.new(self.parts, "built")
        try:
            with trouble(self.root):
                part.tree.mkdir()
            try:
                yield part.tree
            except OSError as error:
                if not is_full(error):
                    raise
                with trouble(self.root):
                    raise
            with trouble(self.root):
                sync_tree(part.tree)
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    part.tree.rename(target)
                except OSError:
                    if not target.is_dir():
                        raise
                sync_folder(target.parent)
        finally:
            part.discard()

    def list(self) -> Sequence[Stored]:
        """The models of which something is stored here, by name."""
        models: dict[str, list[Record]] = {}
        for _, record in records.read_all(self.refs):
            if self.blob_path(record.digest).is_file():
                models.setdefault(record.name, []).append(record)
        return [Stored(name, tuple(sorted(files, key=lambda r: r.path))) for name, files in sorted(models.items())]

    def size(self) -> Sizes:
        """What our own layer takes on disk."""
        return Sizes(*(_size_bytes(self.root / room) for room in ("blobs", "built", "parts")))

    def verify(self, progress: Progress | None = None) -> Sequence[Damage]:
        """Hash every blob of our own layer again; what differs from its name is returned, and nothing is changed."""
        from zoo.progress import Quiet

        progress = progress or Quiet()
        names: dict[str, set[str]] = {}
        for _, record in records.read_all(self.refs):
            names.setdefault(record.digest, set()).add(record.name)
        damaged = []
        for path in self._blobs():
            digest = f"sha256:{path.name}"
            progress.start(path.name[:12], path.stat().st_size)
            try:
                found = hash_file(path, advance=progress.advance).digest
            except OSError as error:
                found = error.strerror or type(error).__name__
            if found != digest:
                damaged.append(Damage(path, digest, found, tuple(sorted(names.get(digest, ())))))
        progress.done()
        return damaged

    def remove(self, name: str, *, dry_run: bool = False) -> Sequence[Path]:
        """Forget a model (all its variants, if `name` has none) and delete the blobs that no other one uses."""
        mine, others = [], set()
        for path, record in records.read_all(self.refs):
            if record.name == name or record.name.startswith(f"{name}:"):
                mine.append((path, record))
            else:
                others.add(record.digest)
        blobs = sorted({self.blob_path(record.digest) for _, record in mine if record.digest not in others})
        gone = [path for path in blobs if path.is_file()]
        if not dry_run:
            self._delete([*gone, *(path for path, _ in mine)])
        return gone

    def prune(
        self, *, keep: Container[str] = (), built_days: float = BUILT_DAYS, dry_run: bool = False
    ) -> Sequence[Path]:
        """Delete what nobody needs: unreferenced blobs, abandoned parts, what was built `built_days` ago or earlier.

        `keep` holds digests and keys of built/ that stay in any case.
        """
        from zoo import parts

        used = {record.digest for _, record in records.read_all(self.refs)}
        gone = [path for path in self._blobs() if (d := f"sha256:{path.name}") not in used and d not in keep]
        gone += parts.abandoned(self.parts)
        before = time.time() - built_days * 86400
        for path in sorted((self.root / "built").glob("*")):
            if path.stat().st_mtime <= before and path.name not in keep:
                gone.append(path)
        if not dry_run:
            self._delete(gone)
        return gone

    def _blobs(self) -> Sequence[Path]:
        return [path for path in sorted((self.root / "blobs" / "sha256").glob("*/*")) if path.is_file()]

    def _delete(self, paths: Sequence[Path]) -> None:
        with trouble(self.root):
            for path in paths:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)


def default_store() -> Store:
    """The store at $ZOO_HOME, else in the platform's cache folder, over those of $ZOO_SHARED (split as PATH is)."""
    shared = [Path(one) for one in os.environ.get("ZOO_SHARED", "").split(os.pathsep) if one]
    return Store(home(), shared)


def _blob_path(root: Path, digest: str) -> Path:
    digits = digest_hex(digest)
    return root / "blobs" / "sha256" / digits[:2] / digits


def _checked(key: str) -> str:
    if not KEY.fullmatch(key):
        raise BadInput(f"{key!r} is no key of built/")
    return key


def _size_bytes(folder: Path) -> int:
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(path, name)).st_size
    return total
