"""zoo bundle: models in one file, for machines without a network."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli import command as cli
from zoo.cli.names import complete


@cli.command("bundle", epilog="zoo bundle ppocr minilm-l6 -o kit.tar")
@click.argument("models", nargs=-1, required=True, shell_complete=complete)
@click.option("-o", "--out", required=True, type=click.Path(), metavar="PATH", help="The file to write.")
def command(models: tuple[str, ...], out: str) -> None:
    """Pack MODELS into one file.

    With their entries, graphs and licences; `zoo unbundle` takes it in on a machine without a network.
    """
    from zoo.bundle import bundle
    from zoo.cli.items import of
    from zoo.progress import default
    from zoo.store import default_store

    path = bundle(of(models), default_store(), Path(out), progress=default())
    cli.show(path, lambda value: [str(value)])
