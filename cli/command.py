"""What every command has: --json and --debug, examples under its help, and one way to show a value."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

JSON = "zoo.json"
T = TypeVar("T")


class Command(click.Command):
    """A click command whose epilog is a list of examples, with --json and --debug."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params += common_options()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, one a line as they would be typed."""
        examples(self.epilog, formatter)


class Group(click.Group):
    """A command of commands."""

    command_class = Command

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, one a line as they would be typed."""
        examples(self.epilog, formatter)


def common_options() -> list[click.Parameter]:
    """The options that stand after every command, and before it too."""
    return [
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            callback=_set_json,
            help="Print JSON; of several results, one a line.",
        ),
        click.Option(["--debug"], is_flag=True, expose_value=False, help="Show where in the code an error arose."),
    ]


def _set_json(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[JSON] = True


def examples(text: str | None, formatter: click.HelpFormatter) -> None:
    """Write lines under the heading `Examples`."""
    if text:
        with formatter.section("Examples"):
            for line in text.strip().splitlines():
                formatter.write(f"  {line.strip()}\n")


def command(name: str, epilog: str, **settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """Decorate a function as the command of this name; `epilog` has an example a line."""
    return click.command(name, cls=Command, epilog=epilog, **settings)


def wants_json() -> bool:
    """Whether --json stands in this command line."""
    return bool(click.get_current_context().meta.get(JSON))


def show(value: T, render: Callable[[T], Iterable[str]]) -> None:
    """Print a value: its JSON by --json, else the lines that `render` makes of it."""
    if wants_json():
        click.echo(as_json(value, indent=2 if sys.stdout.isatty() else None))
    elif lines := list(render(value)):
        click.echo("\n".join(lines))


def show_line(value: T, render: Callable[[T], Iterable[str]]) -> None:
    """Print one of many values as soon as it is there: a line of JSON by --json, else what `render` makes of it."""
    click.echo(as_json(value) if wants_json() else "\n".join(render(value)))


def as_json(value: object, indent: int | None = None) -> str:
    """JSON of any value of ours; what is no finite number is null, since JSON has no word for it."""
    import json

    from zoo.entry import plain

    return json.dumps(plain(value), ensure_ascii=False, indent=indent, allow_nan=False)


def note(text: str) -> None:
    """Say something that is not the result: on stderr."""
    click.echo(text, err=True)


def table(rows: Sequence[Sequence[object]], heads: Sequence[str], *, right: str = "") -> list[str]:
    """Rows as aligned columns cut to the terminal's width; into a pipe as tab-separated fields without heads.

    `right` names the heads of columns that are aligned to the right. None is shown as `-`, and empty in a pipe.
    """
    if not sys.stdout.isatty():
        return ["\t".join("" if cell is None else _flat(cell) for cell in row) for row in rows]
    from shutil import get_terminal_size

    cells = [list(heads), *(["-" if cell is None else _flat(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    is_right = [head in right.split() for head in heads]
    most = get_terminal_size().columns
    return [_line(row, widths, is_right, most) for row in cells]


def _line(row: Sequence[str], widths: Sequence[int], is_right: Sequence[bool], most: int) -> str:
    line = "  ".join(
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(row, widths, is_right, strict=True)
    ).rstrip()
    return line if len(line) <= most else line[: most - 1] + "…"


def _flat(cell: object) -> str:
    """One line without control characters: names from files of strangers must not steer a terminal."""
    text = str(cell)
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def pairs(facts: Iterable[tuple[str, object]]) -> list[str]:
    """Names and values in two columns; what is None or empty is left out."""
    stated = [(name, value) for name, value in facts if value not in (None, "")]
    width = max((len(name) for name, _ in stated), default=0)
    return [f"{name:<{width}}  {_flat(value)}" for name, value in stated]


def figure(n: int | None, shown: Callable[[int | None], str | None]) -> object:
    """A number for a table: as people read it on a terminal, bare in a pipe."""
    return shown(n) if sys.stdout.isatty() else n


def count(n: int | None) -> str | None:
    """A count to three digits: 25.6M."""
    return None if n is None else _scaled(n, ("", "K", "M", "G", "T"))


def size(n: int | None) -> str | None:
    """Bytes to three digits, in powers of ten: 102 MB."""
    return None if n is None else _scaled(n, (" B", " kB", " MB", " GB", " TB"))


def _scaled(n: float, units: Sequence[str]) -> str:
    for unit in units[:-1]:
        if n < 999.5:
            return f"{n:.3g}{unit}"
        n /= 1000
    return f"{n:.3g}{units[-1]}"
