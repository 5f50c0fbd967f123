"""The author's tensors as a pytree: nested dicts by his dotted names, `{"layer1": {"0": {"weight": ...}}}`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Tree = dict[str, Any]


def paths(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The place of each name: its parts; where a part is a tensor itself, it and the next are one key.

    >>> paths(["a.b", "c", "c.d"])
    {'a.b': ('a', 'b'), 'c': ('c',), 'c.d': ('c.d',)}
    """
    leaves = set(names := list(names))
    made = {}
    for name in names:
        parts, keys, start = name.split("."), [], 0
        for end in range(1, len(parts) + 1):
            if end == len(parts) or ".".join(parts[:end]) not in leaves:
                keys.append(".".join(parts[start:end]))
                start = end
        made[name] = tuple(keys)
    return made


def nested(flat: Mapping[str, Any]) -> Tree:
    """Values by dotted names as nested dicts."""
    tree: Tree = {}
    for name, keys in paths(flat).items():
        put(tree, keys, flat[name])
    return tree


def put(tree: Tree, keys: tuple[str, ...], value: Any) -> None:
    """Set a leaf, in place."""
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
    tree[keys[-1]] = value


def flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dicts as values by dotted names: the way back of `nested`."""
    made: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            made |= {f"{key}.{name}": leaf for name, leaf in flat(value).items()}
        else:
            made[key] = value
    return made


def merge(params: Mapping[str, Any], updates: Mapping[str, Any]) -> Tree:
    """The params with some leaves replaced: what a training step gives for running statistics. Changes neither.

    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    made = dict(params)
    for key, value in updates.items():
        made[key] = merge(params[key], value) if isinstance(value, Mapping) else value
    return made
