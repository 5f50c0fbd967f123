"""zoo doctor: what is here, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator

import click

from zoo.cli import command as cli
from zoo.doctor import Found, Report, examine


@cli.command("doctor", epilog="zoo doctor\nzoo doctor --import\nzoo doctor --json")
@click.option(
    "--import", "imports", is_flag=True, help="Import every framework to see whether it works: takes seconds."
)
@click.pass_context
def command(ctx: click.Context, imports: bool) -> None:
    """Show what is here and what is wrong with it.

    Frameworks with their versions and devices and what each enables, the store, and the catalogs. Exit code 1 when
    something is wrong; a framework that is not installed is not.
    """
    report = examine(imports=imports)
    cli.show(report, lines)
    if report.problems:
        ctx.exit(1)


def lines(report: Report) -> Iterator[str]:
    """The report, a subject a paragraph, and last what is wrong."""
    yield from cli.pairs((("polyzoo", report.polyzoo), ("python", report.python), ("platform", report.platform)))
    yield from ("", "frameworks")
    width = max(len(each.name) for each in report.frameworks)
    for each in report.frameworks:
        yield f"  {each.name:<{width}}  {_state(each)}"
        yield f"  {'':<{width}}    {each.enables}"
    yield from ("", "devices")
    yield from (f"  {each}" for each in report.devices)
    yield ""
    free = f"{cli.size(report.store.free_bytes)} free" if report.store.free_bytes is not None else "free space unknown"
    yield f"store     {report.store.path}  ({free}, {'writable' if report.store.is_writable else 'not writable'})"
    yield from (f"          {shared}  (shared, read only)" for shared in report.store.shared)
    yield f"network   {'off: ZOO_OFFLINE is set' if report.is_offline else 'on'}"
    for place, catalog in enumerate(report.catalogs):
        what = f"{catalog.models} models" if catalog.models is not None else "wrong, see below"
        yield f"{'catalogs' if place == 0 else '':<8}  {catalog.catalog}  ({what})"
    if report.problems:
        yield from ("", "wrong", *(f"  {problem}" for problem in report.problems))


def _state(found: Found) -> str:
    if found.version is None:
        return f"not installed: {found.install}"
    return "  ".join(filter(None, (found.version, ", ".join(found.devices), found.problem and "can't be imported")))
