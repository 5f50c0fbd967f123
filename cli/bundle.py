"""zoo bundle: models in one file, for machines without a network."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli import command as cli
from zoo.cli.names import complete

if TYPE_CHECKING:
    from zoo.entry import ModelEntry


@cli.command("bundle", epilog="zoo bundle ppocr minilm-l6 -o kit.tar")
@click.argument("models", nargs=-1, required=True, shell_complete=complete)
@click.option("-o", "--out", required=True, type=click.Path(), metavar="PATH", help="The file to write.")
def command(models: tuple[str, ...], out: str) -> None:
    """Pack MODELS with their catalog entries, graphs and licences into one file; `zoo unbundle` takes it in elsewhere."""
    from zoo.bundle import bundle
    from zoo.catalogtext import catalog_text
    from zoo.cli.items import entries, of
    from zoo.progress import default
    from zoo.store import default_store

    stated = entries(models)
    path = bundle(
        of(models),
        Path(out),
        catalog=catalog_text(stated, yields=True),
        store=default_store(),
        graphs=graphs(stated),
        progress=default(),
    )
    cli.show(path, lambda value: [str(value)])


def graphs(stated: Iterable[ModelEntry]) -> dict[str, Path]:
    """The files of zoo/architectures that the entries use, by their paths in there: weightless graphs and rename tables."""
    from zoo import architectures

    root = Path(str(architectures.__file__)).parent
    wanted = {entry.architecture for entry in stated if entry.architecture}
    tables = {f"renames/{w.rename}" for entry in stated for w in entry.weights.values() if w.rename}
    files = [path for name in sorted(wanted | tables) for path in sorted(root.glob(f"{name}.*"))]
    return {path.relative_to(root).as_posix(): path for path in files}
