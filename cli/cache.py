"""zoo cache: the store on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli import command as cli
from zoo.cli.names import complete_stored

if TYPE_CHECKING:
    from zoo.store import Damage, Sizes, Stored

EPILOG = "zoo cache list\nzoo cache verify\nzoo cache prune --dry-run\nzoo cache remove resnet50"


@click.group("cache", cls=cli.Group, epilog=EPILOG)
def command() -> None:
    """Look after what has been fetched and built."""


def dry_run(f: click.decorators.FC) -> click.decorators.FC:
    """The option of all that deletes."""
    return click.option("--dry-run", is_flag=True, help="Only say what would go.")(f)


@command.command("list", epilog="zoo cache list\nzoo cache list --json")
def list_() -> None:
    """List the models of which files are stored."""
    from zoo.store import default_store

    cli.show(default_store().list(), stored)


@command.command("size", epilog="zoo cache size")
def size() -> None:
    """Show what the store takes on disk."""
    from zoo.store import default_store

    cli.show(default_store().size(), sizes)


@command.command("path", epilog="cd $(zoo cache path)")
def path() -> None:
    """Print the folder of the store."""
    from zoo.store import default_store

    cli.show(default_store().root, lambda root: [str(root)])


@command.command("verify", epilog="zoo cache verify")
@click.pass_context
def verify(ctx: click.Context) -> None:
    """Hash every stored file again; exit code 1 when one is damaged."""
    from zoo.progress import default
    from zoo.store import default_store

    damaged = default_store().verify(default())
    cli.show(damaged, damages)
    if damaged:
        cli.note(f"{len(damaged)} damaged: `zoo cache remove MODEL`, then `zoo pull MODEL`.")
        ctx.exit(1)


@command.command("prune", epilog="zoo cache prune --dry-run\nzoo cache prune --built-days 0")
@click.option(
    "--built-days", type=click.FloatRange(0), default=30.0, show_default=True, help="What was built so long ago goes."
)
@dry_run
def prune(built_days: float, dry_run: bool) -> None:
    """Delete what no model uses: abandoned downloads, old builds, files of forgotten models."""
    from zoo.store import default_store

    gone(default_store().prune(built_days=built_days, dry_run=dry_run), dry_run)


@command.command("remove", epilog="zoo cache remove resnet50:imagenet1k-v1\nzoo cache remove resnet50 --dry-run")
@click.argument("models", nargs=-1, required=True, shell_complete=complete_stored)
@dry_run
def remove(models: tuple[str, ...], dry_run: bool) -> None:
    """Delete the stored files of MODELS that no other model uses."""
    from zoo.errors import UnknownModel
    from zoo.store import default_store

    store = default_store()
    here = [each.name for each in store.list()]
    full = {model: full_names(model) for model in models}
    for model, names in full.items():
        if not any(each == name or each.startswith(f"{name}:") for each in here for name in names):
            raise UnknownModel(model, here, what="model in the store", hint="`zoo cache list` shows them.")
    gone([each for names in full.values() for name in names for each in store.remove(name, dry_run=dry_run)], dry_run)


def full_names(model: str) -> list[str]:
    """The names under which the store knows a model: the registry's for an alias, of a model of models its parts'."""
    from zoo import registry
    from zoo.errors import UnknownModel

    try:
        entry, weights = registry.resolve(model)
    except UnknownModel:  # fetched by a catalog that counts no longer
        return [model]
    if weights is None:
        return [name for part in entry.parts.values() for name in full_names(part)]
    return [f"{entry.name}:{weights.tag}" if ":" in model or weights != entry.default else entry.name]


def gone(paths: Sequence[Path], dry_run: bool) -> None:
    """Print what was deleted, or would be."""
    cli.show(paths, lambda value: [str(each) for each in value])
    cli.note(f"{len(paths)} {'would be ' if dry_run else ''}deleted")


def stored(models: Sequence[Stored]) -> Iterator[str]:
    """A line a model."""
    rows = [
        (each.name, cli.figure(each.size_bytes, cli.size), ", ".join(file.path for file in each.files))
        for each in models
    ]
    yield from cli.table(rows, ("MODEL", "SIZE", "FILES"), right="SIZE")


def sizes(found: Sizes) -> Iterator[str]:
    """A line a room of the store."""
    rooms = {"fetched": found.blobs, "built": found.built, "unfinished": found.parts, "all": found.total}
    yield from cli.pairs((name, cli.size(n)) for name, n in rooms.items())


def damages(found: Sequence[Damage]) -> Iterator[str]:
    """A line a damaged file."""
    for each in found:
        yield f"{each.path}: {each.found}, of {', '.join(each.names) or 'no model'}"
