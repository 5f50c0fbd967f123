"""Private folders under parts/: each belongs to one process, and can be taken over when that process is gone.

The owner holds a flock on the folder's file `held` for as long as it lives. Where that can be relied on (the same
running kernel, and a file system whose locks do conflict) a free lock says that the owner is gone. Elsewhere (another
machine on a network file system, or locks that succeed for everybody, as on some Lustre, GPFS and NFS mounts:
huggingface_hub#4306) only age says it. Taking over is a rename, so one taker wins. Nothing here is needed for
correctness: what two processes write to one part by mischance, the digest refuses.
"""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from zoo.durable import trouble

try:
    import fcntl
except ImportError:  # Windows, where a folder with an open file can't be renamed: that protects a living owner
    fcntl = None  # type: ignore[assignment]

# Untouched for so long, an owner that can't be asked is taken for gone; no stall and no wait between tries is as long.
STALE_S = 1800.0
HELD, BYTES, TREE = "held", "bytes", "tree"


class Part:
    """A private folder: `bytes` is a file that arrives, `tree` a folder that is being built."""

    def __init__(self, folder: Path, fd: int) -> None:
        self.folder = folder
        self._fd = fd

    @property
    def bytes(self) -> Path:
        """The file that arrives."""
        return self.folder / BYTES

    @property
    def tree(self) -> Path:
        """The folder that is being built."""
        return self.folder / TREE

    def release(self) -> None:
        """Let others take it over: the lock goes, the bytes stay."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def discard(self) -> None:
        """Remove it with all it holds."""
        self.release()
        shutil.rmtree(self.folder, ignore_errors=True)


def new(parts: Path, key: str) -> Part:
    """A fresh private folder for `key`, which holds no dot. Raises DiskFull, ReadOnly or StoreError."""
    with trouble(parts.parent):
        parts.mkdir(parents=True, exist_ok=True)
        folder = _name(parts, key)
        # Made under a name that nobody takes over, and locked before it gets its own: no moment without an owner.
        unborn = parts / f".{folder.name}"
        unborn.mkdir()
        try:
            fd = os.open(unborn / HELD, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            shutil.rmtree(unborn, ignore_errors=True)
            raise
        _lock(fd)
        if os.name == "nt":
            os.close(fd)
            fd = -1
        unborn.rename(folder)
    return Part(folder, fd)


def claim(parts: Path, key: str) -> Part | None:
    """The largest abandoned part of `key`, now ours by a rename; None where there is none."""
    found = [folder for folder in _folders(parts) if folder.name.split(".")[0] == key]
    for folder in sorted(found, key=lambda folder: -_size_bytes(folder / BYTES)):
        fd = _take(folder)
        if fd is None:
            continue
        mine = _name(parts, key)
        try:
            folder.rename(mine)
        except OSError:  # somebody was faster, or it is alive on Windows
            if fd >= 0:
                os.close(fd)
            continue
        return Part(mine, fd)
    return None


def growth(parts: Path, key: str) -> int:
    """A number that changes while anybody receives bytes for `key`."""
    return sum(_size_bytes(folder / BYTES) for folder in _folders(parts) if folder.name.split(".")[0] == key)


def abandoned(parts: Path) -> list[Path]:
    """Whatever nobody writes to any more: private folders, and temporary files that nobody touches."""
    found = []
    for path in sorted(parts.iterdir()) if parts.is_dir() else ():
        if path.name.startswith(".") or not path.is_dir():
            if _is_stale(path):
                found.append(path)
        elif (fd := _take(path)) is not None:
            if fd >= 0:
                os.close(fd)
            found.append(path)
    return found


def _name(parts: Path, key: str) -> Path:
    return parts / f"{key}.{_kernel()}.{secrets.token_hex(6)}"


def _folders(parts: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError):
        yield from (path for path in parts.iterdir() if not path.name.startswith(".") and path.name.count(".") == 2)


def _size_bytes(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return -1


def _take(folder: Path) -> int | None:
    """The lock of a folder whose owner is gone (-1 on Windows, where the rename decides); None while it may live."""
    if fcntl is None:
        return -1
    try:
        fd = os.open(folder / HELD, os.O_RDWR)
    except OSError:
        return None
    if _lock(fd) and ((folder.name.split(".")[1] == _kernel() and _locks_conflict(folder)) or _is_stale(folder)):
        return fd
    os.close(fd)
    return None


def _lock(fd: int) -> bool:
    """Take the lock if it is free; a file system without locks has it free always."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _locks_conflict(folder: Path) -> bool:
    """We hold the folder's lock: is it refused to a second opening, as it should be?"""
    fd = os.open(folder / HELD, os.O_RDWR)
    try:
        return not _lock(fd)
    finally:
        os.close(fd)


def _is_stale(path: Path) -> bool:
    """Has nobody written to it for STALE_S?"""
    times = []
    for one in (path, path / HELD, path / BYTES):
        with suppress(OSError):
            times.append(one.stat().st_mtime)
    return bool(times) and time.time() - max(times) > STALE_S


@cache
def _kernel() -> str:
    """Names the running kernel: locks conflict for all its containers, and none of its processes outlives it."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")[:12]
    import hashlib

    return hashlib.sha256(platform.node().encode()).hexdigest()[:12]
