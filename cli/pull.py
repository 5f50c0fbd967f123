"""zoo pull: fetch models into the store."""

from __future__ import annotations

from collections.abc import Iterator

import click

from zoo.cli import command as cli
from zoo.cli.names import complete


@cli.command("pull", epilog="zoo pull efficientnet-lite0\nzoo pull minilm-l6 ppocr --json")
@click.argument("models", nargs=-1, required=True, shell_complete=complete)
def command(models: tuple[str, ...]) -> None:
    """Fetch MODELS into the store.

    Every file is checked. What is there already makes no request. Licences go to stderr, the paths of the files to
    stdout.
    """
    import zoo

    pulled = []
    for model in models:
        for line in licenses(model):
            cli.note(line)
        pulled.append({"model": model, "files": zoo.pull(model)})
    cli.show(pulled, lambda value: [str(path) for each in value for path in each["files"]])


def licenses(model: str) -> Iterator[str]:
    """What its publisher says of the use of each of the weights that a name means."""
    from zoo import registry

    entry, weights = registry.resolve(model)
    if weights is None:
        for part in dict.fromkeys(entry.parts.values()):
            yield from licenses(part)
        return
    stated = weights.license.weights or "none stated by its publisher"
    yield f"{entry.name}:{weights.tag}  licence: {stated}, publisher: {weights.publisher}"
