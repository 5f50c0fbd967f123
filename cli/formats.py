"""zoo formats: the files that can be read and written, and the operators that a framework has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from zoo.cli import command as cli

if TYPE_CHECKING:
    from zoo.formats import FormatRow, OperatorRow


@cli.command("formats", epilog="zoo formats\nzoo formats --ops keras\nzoo formats --json")
@click.option("--ops", "framework", metavar="FRAMEWORK", help="List the operators that a framework has instead.")
def command(framework: str | None) -> None:
    """List the file formats that are known.

    Which can be read, and which `zoo convert --to` writes.
    """
    from zoo.formats import formats, operators

    if framework is None:
        cli.show(formats(), lines)
    else:
        cli.show(operators(framework), operator_lines)


def lines(rows: Sequence[FormatRow]) -> list[str]:
    """A line a format."""
    told = [
        (row.name, row.holds, _yes(row.reads), _yes(row.writes), " ".join(row.extensions), row.title) for row in rows
    ]
    return cli.table(told, ("FORMAT", "HOLDS", "READ", "WRITTEN", "FILES", "WHAT"))


def operator_lines(rows: Sequence[OperatorRow]) -> list[str]:
    """A line an operator."""
    return cli.table([(row.operator, row.how) for row in rows], ("OPERATOR", "HOW"))


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"
