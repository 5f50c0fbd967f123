"""zoo search: models by words."""

from __future__ import annotations

from typing import Any

import click

from zoo.cli import command as cli
from zoo.cli.list import filters, listing


@cli.command(
    "search",
    epilog="""
    zoo search minilm
    zoo search 'resnet*' --license permissive
    zoo search mobilenet torchvision --json
    """,
)
@click.argument("words", nargs=-1, required=True)
@filters
def command(words: tuple[str, ...], **chosen: Any) -> None:
    """Find models by words or a glob.

    All WORDS have to occur in name, alias, title, publisher and architecture; a glob has to match one of them.
    """
    listing(" ".join(words), chosen)
