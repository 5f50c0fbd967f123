"""zoo list: the models that there are, by filters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from zoo import registry
from zoo.cli import command as cli
from zoo.registry import Row

FILTERS = (
    click.option("--task", metavar="TASK", help="Such as image-classification; see `zoo info` of a model."),
    click.option("--framework", metavar="NAME", help="Was seen to open in it: onnx, torch."),
    click.option(
        "--license",
        "--licence",
        "license",
        metavar="KIND",
        help="permissive, restricted, non-commercial, unknown, or an SPDX id.",
    ),
    click.option("--publisher", metavar="NAME", help="Whose weights."),
    click.option("--max-params", metavar="N", help="At most so many parameters: 10M."),
    click.option("--max-size", metavar="BYTES", help="At most so much to fetch: 100MB."),
    click.option(
        "--min-top1", type=float, metavar="PERCENT", help="At least this accuracy, as its publisher states it."
    ),
    click.option("--tested/--untested", default=None, help="Only what was (never) fetched and run by Polyzoo."),
    click.option(
        "--sort",
        default="name",
        metavar="BY",
        help=f"{', '.join(registry.SORTS)}; with a - before it from the greatest.",
    ),
)
HEADS = ("MODEL", "TASK", "PARAMS", "SIZE", "TOP1", "LICENSE", "TESTED", "PUBLISHER", "TITLE")


def filters(f: Callable[..., None]) -> Callable[..., None]:
    """The options of a listing."""
    for option in reversed(FILTERS):
        f = option(f)
    return f


@cli.command(
    "list",
    epilog="""
    zoo list
    zoo list --task image-classification --max-params 10M --min-top1 75 --sort -top1
    zoo list --license permissive --tested --json
    """,
)
@filters
def command(**chosen: Any) -> None:
    """List models; the filters add up."""
    listing(None, chosen)


def listing(query: str | None, chosen: dict[str, Any]) -> None:
    """Print what passes the filters: as JSON whole entries, else one line a model."""
    if cli.wants_json():
        cli.show(registry.models(query, **chosen), lambda _: ())
        return
    found = registry.rows(query, **chosen)
    cli.show(found, lines)
    if not found:
        cli.note("No model passes these filters.")


def lines(found: Sequence[Row]) -> Iterator[str]:
    """The table, and in a pipe the bare fields."""
    yield from cli.table([_cells(row) for row in found], HEADS, right="PARAMS SIZE TOP1")


def _cells(row: Row) -> tuple[object, ...]:
    """For people with units, for programs the bare numbers."""
    gone = f"(unavailable since {row.unavailable}) " if row.unavailable else ""
    old = "(deprecated) " if row.deprecated else ""
    figures = cli.figure(row.params, cli.count), cli.figure(row.size_bytes, cli.size), row.top1
    return row.spec, row.task, *figures, row.license, row.tested, row.publisher, f"{gone}{old}{row.title}"
