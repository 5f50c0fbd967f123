"""One process at a time brings a file; the others wait while it does bring something. This only saves bandwidth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.durable import trouble
from zoo.progress import Progress

STUCK_S = 180.0  # a holder that brings nothing for so long is not waited for; longer than any wait between two tries
POLL_S = 0.1


@contextmanager
def turn(path: Path, has_arrived: Callable[[], bool], growth: Callable[[], int], progress: Progress) -> Iterator[None]:
    """Hold the lock file `path`, or go on without: when what we want has arrived, its holder is stuck, or locks fail.

    `growth` changes while anybody brings bytes.
    """
    from filelock import FileLock, Timeout

    with trouble(path.parent.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    is_held, was_told, grown, since = False, False, growth(), time.monotonic()
    while True:
        try:
            lock.acquire(timeout=0)
            is_held = True
            break
        except Timeout:  # held by another
            pass
        except (OSError, NotImplementedError):  # a file system without locks, or another user's lock file
            break
        if not was_told:
            progress.note("waiting for another process that fetches the same file")
            was_told = True
        time.sleep(POLL_S)
        if has_arrived():
            break
        if (now := growth()) != grown:
            grown, since = now, time.monotonic()
        elif time.monotonic() - since > STUCK_S:
            progress.note(f"the other process has brought nothing for {STUCK_S:.0f} s; going on without it")
            break
    try:
        yield
    finally:
        if is_held:
            lock.release()
