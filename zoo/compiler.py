"""Checked catalogs -> one sqlite file: the half of `zoo.index` that is needed only when a catalog has changed."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zoo import schema, yamltree
from zoo.catalogs import Source
from zoo.entry import License, ModelEntry, Weights, plain
from zoo.errors import EntryError, did_you_mean
from zoo.names import normal

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE model (name TEXT PRIMARY KEY, place INTEGER, title TEXT, task TEXT, architecture TEXT, params INTEGER,
  frameworks TEXT, deprecated TEXT, terms TEXT, doc TEXT);
CREATE TABLE weights (model TEXT, place INTEGER, tag TEXT, publisher TEXT, license TEXT, kind TEXT, top1 REAL, size INTEGER,
  tested TEXT, unavailable TEXT, PRIMARY KEY (model, place)) WITHOUT ROWID;
CREATE TABLE name (key TEXT PRIMARY KEY, model TEXT, tag TEXT, former INTEGER) WITHOUT ROWID;
"""


@dataclass
class Merged:
    """All catalogs as one: entries by name, and for every name that finds one (aliases too) whom it finds and who states it."""

    entries: dict[str, ModelEntry] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    names: dict[str, tuple[str, str | None, bool]] = field(default_factory=dict)  # normal name -> (entry, tag, is a former name)


def compiled(found: Sequence[Source], stamp: str) -> bytes:
    """The bytes of an index of these catalogs. Raises EntryError for the first mistake in the first catalog that has one."""
    merged = Merged()
    for each in found:
        add(merged, schema.catalog(yamltree.parse(each.read(), each.label), each.label))
    check_parts(merged)
    index = sqlite3.connect(":memory:")
    index.executescript(TABLES)
    index.execute("INSERT INTO meta VALUES ('stamp', ?)", (stamp,))
    for place, name in enumerate(sorted(merged.entries, key=natural)):
        entry = merged.entries[name]
        index.execute("INSERT INTO model VALUES (?,?,?,?,?,?,?,?,?,?)", _model_row(place, entry))
        index.executemany("INSERT INTO weights VALUES (?,?,?,?,?,?,?,?,?,?)", _weights_rows(entry, merged.entries))
    index.executemany("INSERT INTO name VALUES (?,?,?,?)", [(key, *whom) for key, whom in sorted(merged.names.items())])
    index.commit()
    return index.serialize()


def add(merged: Merged, catalog: schema.Catalog) -> None:
    """Take in one more catalog. A name that is taken already is an EntryError, unless the catalog says `replaces` of it."""
    for name in catalog.replaces:
        _remove(merged, catalog, name)
    for name, entry in catalog.entries.items():
        for stated, tag, former in _all_names(entry):
            _claim(merged, catalog, stated, (name, tag, former), shown=name)
        merged.entries[name], merged.lines[name] = entry, catalog.lines[name]
    for name in catalog.replaces:
        if normal(name) not in merged.names:  # the catalog's namespace stands before its own entry: the bare name goes to it
            own = next(own for own in catalog.entries if normal(own).rpartition("/")[2] == normal(name).rpartition("/")[2])
            _claim(merged, catalog, name, (own, None, False), shown=own)


def _all_names(entry: ModelEntry) -> list[tuple[str, str | None, bool]]:
    """Every name that finds this entry, with the variant that it means, and whether it is one of the past."""
    return [
        (entry.name, None, False),
        *((alias, None, False) for alias in entry.aliases),
        *((old, None, True) for old in entry.formerly),
        *((alias, tag, False) for tag, weights in entry.weights.items() for alias in weights.aliases),
    ]


def _claim(merged: Merged, catalog: schema.Catalog, stated: str, whom: tuple[str, str | None, bool], *, shown: str) -> None:
    key = normal(stated)
    if key in merged.names and merged.names[key] != whom:
        holder = merged.entries.get(merged.names[key][0])
        where = f"line {merged.lines[holder.name]} of {holder.catalog}" if holder else "this catalog"
        remedy = "" if holder is None or holder.catalog == catalog.file else (
            "; give this catalog a `namespace: <word>`, or say `replaces: [...]` at its head"
        )
        raise EntryError(
            f"the name {stated!r} is taken by {merged.names[key][0]!r} ({where}){remedy}",
            file=catalog.file,
            line=catalog.lines.get(shown),
            entry=shown,
        )
    merged.names[key] = whom


def _remove(merged: Merged, catalog: schema.Catalog, name: str) -> None:
    """Forget an earlier catalog's entry, which this one says it replaces."""
    found = merged.names.get(normal(name))
    if found is None or found[1] is not None:
        hint = did_you_mean(name, merged.entries)
        raise EntryError(f"no earlier catalog has the model {name!r} to replace. {hint}".strip(), file=catalog.file, field="replaces")
    old = found[0]
    last = normal(old).rpartition("/")[2]
    if not any(normal(own).rpartition("/")[2] == last for own in catalog.entries):
        raise EntryError(f"replaces {old!r}, and has no entry of that name itself", file=catalog.file, field="replaces")
    del merged.entries[old]
    merged.names = {key: whom for key, whom in merged.names.items() if whom[0] != old}


def check_parts(merged: Merged) -> None:
    """Every part of a model of models names an entry that has weights itself."""
    for name, entry in merged.entries.items():
        for part, target in entry.parts.items():
            bare, _, tag = target.partition(":")
            whom = merged.names.get(normal(bare))
            found = merged.entries.get(whom[0]) if whom else None
            problem = (
                f"no model of the name {target!r}. {did_you_mean(bare, merged.entries)}".strip()
                if found is None
                else f"{target!r} is a model of parts itself"
                if found.parts
                else f"{found.name!r} has no weights {tag!r}; it has {', '.join(found.weights)}"
                if tag and tag not in found.weights
                else ""
            )
            if problem:
                raise EntryError(problem, file=entry.catalog, line=merged.lines[name], entry=name, field=f"parts.{part}")


def natural(name: str) -> tuple[tuple[bool, int, str], ...]:
    """The key that sorts names as people do: resnet50 before resnet101, bare names before namespaces' of the same word."""
    space, _, bare = name.rpartition("/")
    pieces = re.findall(r"\d+|\D+", bare)
    return (*((not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in pieces), (False, -1, space))


def _model_row(place: int, entry: ModelEntry) -> tuple[object, ...]:
    bare = entry.name.rpartition("/")[2]
    tags = [f"{entry.name}:{tag}" for tag in entry.weights]
    publishers = dict.fromkeys(w.publisher for w in entry.weights.values())
    own = [alias for w in entry.weights.values() for alias in w.aliases]
    terms = dict.fromkeys((entry.name, bare, entry.title, *entry.aliases, *own, *tags, *publishers, entry.architecture or ""))
    doc = json.dumps(plain(entry), ensure_ascii=False, separators=(",", ":"))
    searched = "\n".join(normal(term) for term in terms if term)
    frameworks = " ".join(entry.frameworks)
    return entry.name, place, entry.title, entry.task, entry.architecture, entry.params, frameworks, entry.deprecated, searched, doc


def _weights_rows(entry: ModelEntry, entries: Mapping[str, ModelEntry]) -> list[tuple[object, ...]]:
    if entry.parts:
        return [(entry.name, 0, "", *_facts_of_parts(entry, entries))]
    return [(entry.name, i, tag, *_facts(w, w.license, w.size_bytes)) for i, (tag, w) in enumerate(entry.weights.items())]


def _facts(w: Weights, license: License, size_bytes: int | None) -> tuple[object, ...]:
    days = (d.isoformat() if d else None for d in (w.tested, w.unavailable))
    return w.publisher, license.weights, license.kind, w.metrics.get("top1"), size_bytes, *days


def _facts_of_parts(entry: ModelEntry, entries: Mapping[str, ModelEntry]) -> tuple[object, ...]:
    """What holds of a model of models: sizes add up, a fact that differs between parts is none, the last missing day counts."""
    chosen = []
    for target in entry.parts.values():
        name, _, tag = target.partition(":")
        part = entries[name] if name in entries else next(e for e in entries.values() if normal(name) in map(normal, e.aliases))
        weights = part.weights[tag] if tag else part.default
        assert weights is not None  # check_parts has seen to it
        chosen.append(weights)
    licenses = {w.license.weights for w in chosen}
    kinds = {w.license.kind for w in chosen}
    kind = next(k for k in ("unknown", "non-commercial", "restricted", "permissive") if k in kinds)
    sizes, tested = [w.size_bytes for w in chosen], [w.tested for w in chosen]
    gone = [w.unavailable for w in chosen if w.unavailable]
    return (
        ", ".join(dict.fromkeys(w.publisher for w in chosen)),
        licenses.pop() if len(licenses) == 1 else None,
        kind,
        None,
        sum(s for s in sizes if s) if all(sizes) else None,
        max(d for d in tested if d).isoformat() if all(tested) else None,
        min(gone).isoformat() if gone else None,
    )
