"""Trying again: one loop for whole files and for the ranges of an archive."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from zoo.errors import FetchError
from zoo.sources import Interrupted, Stream

PROGRESS_BYTES = 64 * 1024  # an attempt that brought this much is no failure in a row


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long to try. A host that asks to wait longer than `longest_wait_s` is given up."""

    attempts: int = 5  # in a row that bring nothing
    attempts_unreachable: int = 3  # ... and that get no connection at all
    first_wait_s: float = 0.5
    longest_wait_s: float = 120.0

    def wait_s(self, failures: int, asked_s: float | None) -> float:
        """Doubling with jitter, so that many clients don't come back together; at least what the host asked for."""
        backoff = min(self.first_wait_s * 2.0 ** (failures - 1), self.longest_wait_s) * random.uniform(0.5, 1.0)
        return max(backoff, asked_s or 0.0)


@dataclass(frozen=True, slots=True)
class Piece:
    """`data` stands at `offset` of a file of `size_bytes`. Each connection opens with an empty piece."""

    offset: int
    data: bytes
    size_bytes: int | None
    validator: str | None


def pieces(
    connect: Callable[[int, str | None], AbstractContextManager[Stream]],
    patience: Patience,
    *,
    offset: int = 0,
    end: int | None = None,
    validator: str | None = None,
    note: Callable[[str], object] = lambda text: None,
) -> Generator[Piece, None, None]:
    """The bytes from `offset` to `end` (or the end of the file) over as many connections as it takes.

    `connect(offset, validator)` opens one. The next piece stands where the last ended, or at 0 where the source began
    anew. Raises FetchError when attempts run out.
    """
    failures, furthest = 0, offset
    while True:
        try:
            with connect(offset, validator) as stream:
                offset, validator = stream.offset, stream.validator
                yield Piece(offset, b"", stream.size_bytes, validator)
                for data in stream.chunks:
                    yield Piece(offset, data, stream.size_bytes, validator)
                    offset += len(data)
                expected = stream.size_bytes if end is None else end
                if expected is None or offset >= expected:
                    return
                raise Interrupted(f"the connection ended after {offset:,} of {expected:,} bytes")
        except Interrupted as error:
            # Only bytes beyond the furthest count: a host that ignores Range and drops sends the first ones for ever.
            failures = 1 if offset - furthest >= PROGRESS_BYTES else failures + 1
            furthest = max(furthest, offset)
            _wait(error, failures, patience, note)


def _wait(error: Interrupted, failures: int, patience: Patience, note: Callable[[str], object]) -> None:
    if failures >= (patience.attempts_unreachable if error.unreachable else patience.attempts):
        times = f" ({failures} times in a row)" if failures > 1 else ""
        raise FetchError(f"{error.message}{times}", hint=error.hint) from error
    wait_s = patience.wait_s(failures, error.retry_after_s)
    if wait_s > patience.longest_wait_s:
        raise FetchError(f"{error.message}; it asks to wait {wait_s:,.0f} s", hint="Try again later.") from error
    note(f"{error.message}; trying again in {wait_s:.1f} s")
    time.sleep(wait_s)
