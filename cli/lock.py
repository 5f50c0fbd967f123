"""zoo lock: the digests that a project uses, in a file of the project."""

from __future__ import annotations

import click

from zoo.cli import command as cli
from zoo.cli.names import complete


@cli.command("lock", epilog="zoo lock resnet50:imagenet1k-v2 minilm-l6\nzoo lock ppocr -o deploy/zoo.lock")
@click.argument("models", nargs=-1, required=True, shell_complete=complete)
@click.option(
    "-o", "--out", type=click.Path(), metavar="PATH", help="By itself the project's zoo.lock, or a new one here."
)
def command(models: tuple[str, ...], out: str | None) -> None:
    """Hold a project to the digests of MODELS.

    Writes the SHA-256 of all their files to zoo.lock, to which later pulls in this folder are held. What a catalog
    pins by less than a whole SHA-256 is fetched first.
    """
    from pathlib import Path

    from zoo.cli.items import of
    from zoo.lock import write
    from zoo.progress import default
    from zoo.store import default_store

    path = write(of(models), default_store(), Path(out) if out else None, progress=default())
    cli.show(path, lambda value: [str(value)])
