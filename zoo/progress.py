"""What a long operation tells: how far it is, and what it waits for. A line on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from typing import Any, Protocol


class Progress(Protocol):
    """What the store, verify and bundle call. One thing at a time; `start` again begins anew."""

    def start(self, name: str, total: int | None, at: int = 0) -> None:
        """`name` begins: `total` bytes where that is known, `at` of them already here."""

    def advance(self, n: int) -> None:
        """`n` more bytes."""

    def note(self, text: str) -> None:
        """Something that a person who waits wants to know: a retry, another process, the next source."""

    def done(self) -> None:
        """What was started has ended, well or not."""


class Quiet:
    """Says nothing."""

    def start(self, name: str, total: int | None, at: int = 0) -> None:
        """Nothing."""

    def advance(self, n: int) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def done(self) -> None:
        """Nothing."""


class Terminal:
    """A bar with rate and time left on stderr, by rich; it vanishes when it is done."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None

    def start(self, name: str, total: int | None, at: int = 0) -> None:
        """Show a bar for `name`; the rate counts from `at`."""
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
        from rich.progress import Progress as Bar

        if self._bar is None:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(name, total=total, completed=at)

    def advance(self, n: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.advance(self._task, n)

    def note(self, text: str) -> None:
        """A line above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr)

    def done(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None


def default() -> Progress:
    """A bar where stderr is a terminal, silence where it is a file or a pipe."""
    return Terminal() if sys.stderr is not None and sys.stderr.isatty() else Quiet()
