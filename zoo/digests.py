"""Digests: what pins a file, how strongly, and whether the bytes that arrive are the ones that are pinned."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from zoo.entry import File
from zoo.errors import BadInput

CHUNK_BYTES = 1 << 20
DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
PUBLISHED = re.compile(r"(?P<algorithm>sha256|sha1|md5)(?:-(?P<digits>\d+))?:(?P<hex>[0-9a-f]+)", re.ASCII)
HEX_DIGITS = {"sha256": 64, "sha1": 40, "md5": 32}


def digest_hex(digest: str) -> str:
    """The 64 hex digits of "sha256:<64 hex>"; BadInput for anything else, so that no digest is ever a path."""
    if not DIGEST.fullmatch(digest):
        raise BadInput(f"{digest!r} is no digest", hint="Its form is sha256:<64 hex digits>.")
    return digest.removeprefix("sha256:")


def parse_published(published: str) -> tuple[str, str]:
    """The algorithm and the first hex digits that an author states.

    >>> parse_published("sha256-8:11ad3fa6")
    ('sha256', '11ad3fa6')
    """
    match = PUBLISHED.fullmatch(published.lower())
    if match:
        algorithm, digits = match["algorithm"], match["hex"]
        expected = int(match["digits"]) if match["digits"] else HEX_DIGITS[algorithm]
        if 4 <= len(digits) == expected <= HEX_DIGITS[algorithm]:
            return algorithm, digits
    raise BadInput(
        f"{published!r} is no published digest", hint="Its form is sha256-8:11ad3fa6, sha1:<40 hex> or md5:<32 hex>."
    )


class Hashes:
    """The digests of a file while its bytes pass: SHA-256, and the algorithm that its author publishes."""

    def __init__(self, published: str | None) -> None:
        self._stated = parse_published(published) if published else None
        algorithms = {"sha256", *([self._stated[0]] if self._stated else [])}
        # The weak ones only recognise what their author published; what is trusted is the SHA-256.
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
        self.size_bytes = 0

    def update(self, data: bytes) -> None:
        """The next bytes of the file."""
        self.size_bytes += len(data)
        for one in self._hashes.values():
            one.update(data)

    @property
    def digest(self) -> str:
        """`sha256:<64 hex>` of all bytes so far."""
        return f"sha256:{self._hashes['sha256'].hexdigest()}"

    def disagreement(self, file: File) -> str | None:
        """What `file` pins against what arrived, in words; None where they agree."""
        if file.digest is not None and file.digest != self.digest:
            return f"expected {file.digest}, received {self.digest}"
        if self._stated is not None:
            algorithm, digits = self._stated
            received = self._hashes[algorithm].hexdigest()
            if not received.startswith(digits):
                return f"its author publishes {file.published}, received {algorithm}:{received}"
        return None


def hash_file(path: Path, hashes: Hashes | None = None, advance: Callable[[int], object] = lambda n: None) -> Hashes:
    """`hashes` after the bytes of `path`, read in chunks of 1 MiB; `advance` is told of each."""
    hashes = hashes or Hashes(None)
    with path.open("rb") as file:
        while data := file.read(CHUNK_BYTES):
            hashes.update(data)
            advance(len(data))
    return hashes
