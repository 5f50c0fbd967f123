"""Names as entries with their weights, a model of models as all of its parts: what `zoo lock` and `zoo bundle` work on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from zoo import registry
from zoo.entry import ModelEntry, Weights


def of(models: Iterable[str]) -> list[tuple[ModelEntry, Weights]]:
    """Each entry and weights that the names mean, once, in their order. Raises UnknownModel."""
    return list({(entry.name, weights.tag): (entry, weights) for model in models for entry, weights in _of(model)}.values())


def _of(model: str) -> Iterator[tuple[ModelEntry, Weights]]:
    entry, weights = registry.resolve(model)
    if weights is not None:
        yield entry, weights
    for part in entry.parts.values():
        yield from _of(part)


def entries(models: Iterable[str]) -> list[ModelEntry]:
    """The entries that say all of these models: each with those of its weights that are meant, parts before their whole."""
    weights: dict[str, dict[str, Weights]] = {}
    found: dict[str, ModelEntry] = {}
    for entry, each in of(models := list(models)):
        weights.setdefault(entry.name, {})[each.tag] = each
        found[entry.name] = entry
    wholes = [entry for entry, each in map(registry.resolve, models) if each is None]
    made = [replace(entry, weights=weights[name]) for name, entry in found.items()]
    return made + list({entry.name: entry for entry in wholes}.values())
