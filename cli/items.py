"""Names as entries with their weights, a model of models with its parts: what `zoo lock` and `zoo bundle` work on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from zoo import registry
from zoo.entry import ModelEntry, Weights

Item = tuple[ModelEntry, Weights | None]


def of(models: Iterable[str]) -> list[Item]:
    """Each entry and weights that the names mean, once, in their order; None for a whole. Raises UnknownModel."""
    found = {(entry.name, weights and weights.tag): (entry, weights) for each in models for entry, weights in _of(each)}
    return list(found.values())


def _of(model: str) -> Iterator[Item]:
    entry, weights = registry.resolve(model)
    yield entry, weights
    for part in entry.parts.values():
        yield from _of(part)
