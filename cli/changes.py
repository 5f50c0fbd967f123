"""The options of every command that can change a model: --num-classes, --in-chans, --input-size, --outputs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
NAMES = ("num_classes", "in_chans", "input_size", "outputs")


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """384, or 256x320, as (height, width)."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", value.strip().lower())
    if found is None:
        raise click.BadParameter(f"expected 384 or 256x320 (height x width), got {value!r}", ctx, param)
    return int(found[1]), int(found[2] or found[1])


def change_options(command: F) -> F:
    """Add the options to a command, which gets them by the names that the verbs have for them."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


OPTIONS = (
    click.option("--num-classes", type=click.IntRange(0), metavar="N", help="A new head, to be trained; 0: none."),
    click.option("--in-chans", type=click.IntRange(1), metavar="N", help="Channels of the picture."),
    click.option("--input-size", callback=_size, metavar="SIZE", help="Of the picture: 384, or 256x320, height first."),
    click.option(
        "--outputs", multiple=True, metavar="NAME", help="An inner output, by its module; may be given again."
    ),
)


def taken(options: dict[str, Any]) -> dict[str, Any]:
    """Take the changes out of a command's options: those that were given, as the verbs take them."""
    found = {name: options.pop(name) for name in NAMES}
    found["outputs"] = list(found["outputs"]) or None
    return {name: value for name, value in found.items() if value is not None}
