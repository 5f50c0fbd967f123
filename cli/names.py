"""What a shell completes after a command that takes a model."""

from __future__ import annotations

import click


def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of models that begin so; none where a catalog is wrong, since a shell has no place for an error."""
    from zoo import registry
    from zoo.errors import ZooError

    try:
        return registry.names(incomplete)
    except ZooError:
        return []


def complete_stored(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of models in the store that begin so."""
    from zoo.errors import ZooError
    from zoo.store import default_store

    try:
        return [each.name for each in default_store().list() if each.name.startswith(incomplete)]
    except ZooError:
        return []
