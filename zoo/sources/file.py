"""`file:/path`, `file:~/path`, `file:///path%20quoted`: a file of this machine, or of a folder that mirrors a host."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from zoo.errors import FetchError, NotFound
from zoo.sources import Stream

CHUNK_BYTES = 1 << 20


def local_path(url: str) -> Path:
    """The path that a file: URL names. Only the form with `//` is percent-decoded, as a URL is.

    >>> local_path("file:///a%20b").as_posix(), local_path("file:/a%20b").as_posix()
    ('/a b', '/a%20b')
    """
    if url.startswith("file://"):
        parts = urlsplit(url)
        host = parts.netloc if parts.netloc not in ("", "localhost") else ""
        return Path(url2pathname(f"//{host}{parts.path}" if host else parts.path)).expanduser()
    return Path(url.removeprefix("file:")).expanduser()


@contextmanager
def stream(url: str, *, path: str, offset: int = 0, validator: str | None = None) -> Iterator[Stream]:
    """A local file from `offset` on; a folder stands for the file `path` in it. A changed file begins anew."""
    place = local_path(url)
    try:
        place = place / path if place.is_dir() else place
        file = _opened(place)
    except FileNotFoundError:
        raise NotFound(f"{place} does not exist") from None
    except OSError as error:
        raise FetchError(f"{place} cannot be read: {error.strerror}") from error
    with file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise NotFound(f"{place} is not a regular file")
        version = f"{found.st_mtime_ns}-{found.st_size}"
        start = offset if validator in (None, version) and offset <= found.st_size else 0
        file.seek(start)
        yield Stream(start, found.st_size, version, _chunks(file, place))


def _opened(place: Path) -> BinaryIO:
    # A pipe would block for ever in open(); O_NONBLOCK lets fstat refuse it.
    return os.fdopen(os.open(place, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)), "rb")


def _chunks(file: BinaryIO, place: Path) -> Iterator[bytes]:
    try:
        while data := file.read(CHUNK_BYTES):
            yield data
    except OSError as error:
        raise FetchError(f"{place} cannot be read: {error.strerror}") from error
