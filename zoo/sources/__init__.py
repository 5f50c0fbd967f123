"""How bytes arrive: one file a scheme. A source only streams; digests and part files are zoo/fetch.py's, for all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast
from urllib.parse import urlsplit, urlunsplit

from zoo.errors import FetchError

SCHEMES = {
    "https": "zoo.sources.https",
    "http": "zoo.sources.https",
    "hf": "zoo.sources.hf",
    "package": "zoo.sources.package",
    "file": "zoo.sources.file",
}


@dataclass(frozen=True, slots=True)
class Stream:
    """The bytes of one file from `offset` on; `offset` is 0 where the source could not begin elsewhere."""

    offset: int
    size_bytes: int | None  # of the whole file, where the source says it
    validator: str | None  # what If-Range takes: names this very version of the file
    chunks: Iterator[bytes]


class Source(Protocol):
    """A scheme: each is a module of this folder with this one function."""

    def stream(
        self, url: str, *, path: str, offset: int = 0, validator: str | None = None
    ) -> AbstractContextManager[Stream]:
        """Open `url`; `path` is File.path, for sources that hold many files.

        Raises Interrupted where another try may help, and another FetchError where none will.
        """


class Interrupted(FetchError):
    """Another try may help: a dropped or stalled connection, 429, 503. Retried by zoo/sources/patience.py."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, unreachable: bool = False) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.unreachable = unreachable  # no connection at all: with another source at hand, better go there


def source(url: str) -> Source:
    """The source that streams `url`; FetchError for a scheme that is not in the table."""
    scheme = url.partition(":")[0]
    if scheme not in SCHEMES:
        known = ", ".join(f"{scheme}:" for scheme in SCHEMES)
        raise FetchError(f"{shown(url)!r} is of no scheme that is known here", hint=f"Sources begin with {known}.")
    return cast(Source, import_module(SCHEMES[scheme]))


def shown(url: str) -> str:
    """`url` as it may be printed or kept: without login, query and fragment, where secrets travel.

    >>> shown("https://me:secret@example.org/a.pth?token=abc")
    'https://example.org/a.pth'
    """
    if not url.startswith(("http://", "https://")):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:  # "http://[" has no parts that could be shown
        return url.partition(":")[0] + "://..."
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def is_offline() -> bool:
    """Does ZOO_OFFLINE forbid the network?"""
    return os.environ.get("ZOO_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")
