"""zoo formats: the files that can be read and written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.cli import command as cli

if TYPE_CHECKING:
    from zoo.formats import FormatRow


@cli.command("formats", epilog="zoo formats\nzoo formats --json")
def command() -> None:
    """List the file formats that are known.

    Which can be read, and which `zoo convert --to` writes.
    """
    from zoo.formats import formats

    cli.show(formats(), lines)


def lines(rows: Sequence[FormatRow]) -> list[str]:
    """A line a format."""
    told = [
        (row.name, row.holds, _yes(row.reads), _yes(row.writes), " ".join(row.extensions), row.title) for row in rows
    ]
    return cli.table(told, ("FORMAT", "HOLDS", "READ", "WRITTEN", "FILES", "WHAT"))


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"
