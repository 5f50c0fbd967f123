"""Entries -> the YAML of a catalog that states just them: the inverse of zoo/schema.py, for kits and for people who begin one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import date
from typing import Any

from zoo.entry import File, License, ModelEntry, Weights

RENAMED = {"size_bytes": "size"}  # fields whose name in a catalog is another
LEFT_OUT = {"name", "tag", "catalog"}  # said by a key, or by the file


def catalog_text(entries: Iterable[ModelEntry], **head: Any) -> str:
    """The YAML of a catalog of these entries, weights and all; `head` is what it says of itself (`yields=True`)."""
    import yaml

    stated = {**head, **{entry.name: _stated(entry) for entry in entries}}
    return str(yaml.safe_dump(stated, sort_keys=False, allow_unicode=True, width=120))


def _stated(value: Any) -> Any:
    """A value as YAML has it; a field that says nothing is absent."""
    if isinstance(value, (ModelEntry, Weights, File, License)):
        held = {RENAMED.get(f.name, f.name): getattr(value, f.name) for f in fields(value) if f.name not in LEFT_OUT}
        return {name: _stated(each) for name, each in held.items() if each not in (None, (), {}, "", License())}
    if isinstance(value, Mapping):
        return {key: _stated(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_stated(each) for each in value]
    return value if value is None or isinstance(value, (str, int, float, bool, date)) else str(value)
