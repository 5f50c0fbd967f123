"""zoo unbundle: take in what `zoo bundle` packed."""

from __future__ import annotations

import click

from zoo.cli import command as cli


@cli.command("unbundle", epilog="zoo unbundle kit.tar")
@click.argument("path", type=click.Path())
def command(path: str) -> None:
    """Take the models of the file PATH into the store; each digest is checked."""
    from pathlib import Path

    from zoo.bundle import unbundle
    from zoo.progress import default
    from zoo.store import default_store

    cli.show(unbundle(Path(path), default_store(), progress=default()), lambda brought: [*brought.models])
