"""Which operators each framework has lowerings of, without importing it: lowered.json, which tools/lowered.py writes.

A table of a framework can only be filled where it is installed, and takes seconds to import; what it lists is known
beforehand. A test of each framework says when the file is stale.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zoo.converters.graph import DOMAIN
from zoo.converters.writers.driver import Lowerings

LISTED = Path(__file__).with_name("lowered.json")


def listed_names(framework: str) -> list[str]:
    """The operators of a framework's table; `domain::operator` of other domains than ONNX's."""
    return _held(framework)["operators"]


def table(framework: str) -> Lowerings:
    """A table that says what the framework's own does of every node; its lowerings are not there to be called."""
    held, made = _held(framework), Lowerings(framework)
    made.update(dict.fromkeys(map(_key, held["operators"]), _absent))
    if made.of_strings is not None:
        made.of_strings.update(dict.fromkeys(map(_key, held["of strings"]), _absent))
    return made


def listed(lowers: Lowerings) -> dict[str, list[str]]:
    """What lowered.json has of a framework's table and those that it falls back on."""
    tables = [lowers]
    while (parent := tables[-1].parent) is not None:
        tables.append(parent)
    of_strings: Iterable[Mapping[Any, Any]] = (t.of_strings or {} for t in tables)
    return {"operators": _names(tables), "of strings": _names(of_strings)}


def _held(framework: str) -> dict[str, list[str]]:
    held: dict[str, list[str]] = json.loads(LISTED.read_text())[framework]
    return held


def _names(tables: Iterable[Mapping[Any, Any]]) -> list[str]:
    keys = {key for table in tables for key in table}
    inner = f"{DOMAIN}."  # what the layout pass makes, and no model file has
    return sorted(f"{domain}::{op}" if domain else op for domain, op in keys if not domain.startswith(inner))


def _key(name: str) -> tuple[str, str]:
    domain, _, op = name.rpartition("::")
    return domain, op


def _absent(*_: Any, **__: Any) -> Any:
    raise AssertionError("a table of names has no lowerings to call")
