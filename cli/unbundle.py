"""zoo unbundle: take in what `zoo bundle` packed."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli import command as cli


@cli.command("unbundle", epilog="zoo unbundle kit.tar")
@click.argument("path", type=click.Path())
def command(path: str) -> None:
    """Take in what `zoo bundle` packed.

    The models of the file PATH go into the store; each digest is checked.
    """
    from zoo import registry
    from zoo.bundle import unbundle
    from zoo.progress import default
    from zoo.store import default_store

    brought = unbundle(Path(path), default_store(), is_known=registry.is_known, progress=default())
    cli.show(brought, lambda value: value.models)
