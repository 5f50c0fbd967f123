"""Writing so that a power cut or kill -9 leaves the old state or the new one, and what the disk says in our words."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.errors import DiskFull, ReadOnly, StoreError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
MORE_ROOM = "Free some (`zoo cache prune`), or set ZOO_HOME to another disk."
ELSEWHERE = "ZOO_HOME says where the store is: set it to a folder that can be written."
FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def is_full(error: OSError) -> bool:
    """Does it say that a disk or a quota is full?"""
    return error.errno in FULL


@contextmanager
def trouble(place: Path, *, hint: str | None = None) -> Iterator[None]:
    """An OSError in the block becomes DiskFull, ReadOnly or another StoreError that names `place`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if is_full(error):
            raise DiskFull(f"{place}: no room left ({reason})", hint=MORE_ROOM if hint is None else hint) from error
        if error.errno in FORBIDDEN:
            raise ReadOnly(f"{place} cannot be written ({reason})", hint=ELSEWHERE if hint is None else hint) from error
        raise StoreError(f"{place}: {reason}", hint=ELSEWHERE if hint is None else hint) from error


def sync_file(path: Path) -> None:
    """Wait until the bytes of `path` are on the disk."""
    fd = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(path: Path) -> None:
    """Wait until the names in `path` are on the disk, where the system has such a call: Windows has none."""
    if os.name == "nt":
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(fd)
    finally:
        os.close(fd)


def sync_tree(root: Path) -> None:
    """Wait until all files and names under `root` are on the disk."""
    for folder, _, names in os.walk(root):
        for name in names:
            sync_file(Path(folder, name))
        sync_folder(Path(folder))


def write_atomically(target: Path, data: bytes, *, scratch: Path | None = None, exclusive: bool = False) -> bool:
    """`data` as `target`, whole or not at all; with `exclusive` the first writer wins, and the others get False.

    The temporary file stands in `scratch`, which is on the same disk, or beside the target.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = scratch or target.parent
    scratch.mkdir(parents=True, exist_ok=True)
    temporary = scratch / f".{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            if not _link(temporary, target):
                return False
        else:
            os.replace(temporary, target)
        sync_folder(target.parent)
        return True
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _link(temporary: Path, target: Path) -> bool:
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links: nearly as good, the window is two system calls wide
        if target.exists():
            return False
        os.replace(temporary, target)
    return True
