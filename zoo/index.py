"""The catalogs as one sqlite file, so that the command starts fast however long they grow.

An index carries a stamp: the digest of all that it was made from, catalogs and checking code alike. The built-in
catalog's travels in the wheel (zoo/registry.sqlite); any other is made on first use in `$ZOO_HOME/index/`, under its
stamp as the name, so it is never out of date, and two processes that make it at once write the same. Where nothing can
be written it is made in memory.
"""

from __future__ import annotations

import hashlib
import sqlite3
from functools import lru_cache
from pathlib import Path

from zoo.catalogs import BUILT_IN, Source, sources
from zoo.home import home

KEPT = 8  # indexes of other sets of catalogs, or of earlier versions of them
HERE = Path(__file__).parent
CODE = ("schema.py", "yamltree.py", "compiler.py", "entry.py")  # what decides which index a catalog becomes


def connect(*, afresh: bool = False) -> sqlite3.Connection:
    """The index of all catalogs that count now, read-only; made first if need be, or if `afresh`.

    Raises EntryError for a catalog's mistake.
    """
    found = sources()
    stamp = _stamp(found)
    shipped = HERE / "registry.sqlite"
    made = home() / "index" / f"{stamp[:32]}.sqlite"
    for path in () if afresh else (shipped, made) if len(found) == 1 else (made,):
        if (index := _open(path, stamp)) is not None:
            return index
    image = _image(tuple(found), stamp)
    _keep(image, made)
    index = sqlite3.connect(":memory:")
    index.deserialize(image)
    return index


def compile_index(catalog: Path, out: Path) -> None:
    """Write the index of the built-in catalog, whose file is `catalog`, to `out`: what the build of a wheel calls.

    Raises EntryError for a mistake in the catalog.
    """
    found = [Source(BUILT_IN, Path(catalog))]
    Path(out).write_bytes(_image(tuple(found), _stamp(found)))


def _stamp(found: list[Source]) -> str:
    """SHA-256 over the label and content of each catalog and over the code that reads them."""
    parts = [name.encode() + b"\0" + hashlib.sha256((HERE / name).read_bytes()).digest() for name in CODE]
    for each in found:
        digest = bytes.fromhex(each.sha256) if each.sha256 else hashlib.sha256(each.read()).digest()
        parts.append(each.label.encode() + b"\0" + digest)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _open(path: Path, stamp: str) -> sqlite3.Connection | None:
    """The index at a path, or None if there is none, or one of something else, or a damaged one."""
    if not path.is_file():
        return None
    try:
        index = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        stated = index.execute("SELECT value FROM meta WHERE key = 'stamp'").fetchone()
        whole = index.execute("PRAGMA page_count").fetchone()[0] * index.execute("PRAGMA page_size").fetchone()[0]
    except sqlite3.Error:
        return None
    if stated == (stamp,) and whole == path.stat().st_size:
        return index
    index.close()
    return None


@lru_cache(maxsize=2)
def _image(found: tuple[Source, ...], stamp: str) -> bytes:
    """The bytes of the index file, made in memory."""
    from zoo.compiler import compiled

    return compiled(found, stamp)


def _keep(image: bytes, path: Path) -> None:
    """Write the index and drop the oldest beyond KEPT; a folder that can't be written keeps none."""
    from zoo.durable import write_atomically

    try:
        write_atomically(path, image)
        others = sorted(path.parent.glob("*.sqlite"), key=lambda each: each.stat().st_mtime_ns, reverse=True)
        for each in others[KEPT:]:
            each.unlink(missing_ok=True)
    except OSError:  # the index in memory answers; `zoo doctor` says that the folder can't be written
        return
