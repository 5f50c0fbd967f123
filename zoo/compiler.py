"""Checked catalogs -> one sqlite file: the half of `zoo.index` that is needed only when a catalog has changed."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from zoo import schema, yamltree
from zoo.catalogs import Source
from zoo.entry import ModelEntry, Weights, plain
from zoo.errors import EntryError, did_you_mean
from zoo.names import normal

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE model (id INTEGER PRIMARY KEY, name TEXT, title TEXT, task TEXT, architecture TEXT, params INTEGER,
  frameworks TEXT, deprecated TEXT);
CREATE TABLE weights (model INTEGER, place INTEGER, tag TEXT, publisher TEXT, license TEXT, kind TEXT, top1 REAL,
  size INTEGER, tested TEXT, unavailable TEXT, PRIMARY KEY (model, place)) WITHOUT ROWID;
CREATE TABLE name (key TEXT PRIMARY KEY, model INTEGER, tag TEXT, former INTEGER) WITHOUT ROWID;
CREATE TABLE terms (model INTEGER PRIMARY KEY, terms TEXT);
CREATE TABLE doc (model INTEGER PRIMARY KEY, doc TEXT);
"""  # ids are in the order of names; long columns stand apart, so that a listing reads few pages
REMEDY = "; give this catalog a `namespace: <word>`, or say `replaces: [...]` at its head"


@dataclass
class Merged:
    """All catalogs as one: the entries, and for every name that finds one, aliases too, whom it finds."""

    entries: dict[str, ModelEntry] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    names: dict[str, tuple[str, str | None, bool]] = field(
        default_factory=dict
    )  # normal name -> (entry, tag, is a former name)


def compiled(found: Sequence[Source], stamp: str) -> bytes:
    """The bytes of an index of these catalogs. Raises EntryError for the first mistake in them."""
    merged = Merged()
    for each in found:
        add(merged, schema.catalog(yamltree.parse(each.read(), each.label), each.label))
    check_parts(merged)
    index = sqlite3.connect(":memory:")
    index.executescript(TABLES)
    index.execute("INSERT INTO meta VALUES ('stamp', ?)", (stamp,))
    ids = {name: place for place, name in enumerate(sorted(merged.entries, key=natural))}
    for name, id in ids.items():
        entry = merged.entries[name]
        index.execute("INSERT INTO model VALUES (?,?,?,?,?,?,?,?)", (id, *_model_row(entry)))
        index.executemany(
            "INSERT INTO weights VALUES (?,?,?,?,?,?,?,?,?,?)", [(id, *row) for row in _weights_rows(entry, merged)]
        )
        index.execute("INSERT INTO terms VALUES (?,?)", (id, _terms(entry)))
        doc = json.dumps(plain(entry), ensure_ascii=False, separators=(",", ":"))
        index.execute("INSERT INTO doc VALUES (?,?)", (id, doc))
    found_by = [(key, ids[name], tag, former) for key, (name, tag, former) in sorted(merged.names.items())]
    index.executemany("INSERT INTO name VALUES (?,?,?,?)", found_by)
    index.commit()
    return index.serialize()


def add(merged: Merged, catalog: schema.Catalog) -> None:
    """Take in one more catalog. A name that is taken is an EntryError, unless the catalog says `replaces` of it."""
    for name in catalog.replaces:
        _remove(merged, catalog, name)
    for name, entry in catalog.entries.items():
        new = _what_is_new(merged, entry) if catalog.is_yielding else entry
        if new is None:
            continue
        for stated, tag, former in _all_names(new):
            _claim(merged, catalog, stated, (new.name, tag, former), shown=name)
        merged.entries[new.name] = new
        merged.lines.setdefault(new.name, catalog.lines[name])
    for name in catalog.replaces:
        if (
            normal(name) not in merged.names
        ):  # the catalog's namespace stands before its own entry: the bare name goes to it
            own = next(
                own for own in catalog.entries if normal(own).rpartition("/")[2] == normal(name).rpartition("/")[2]
            )
            _claim(merged, catalog, name, (own, None, False), shown=own)


def _what_is_new(merged: Merged, entry: ModelEntry) -> ModelEntry | None:
    """What no earlier catalog states of a yielding one's entry: all, the known one with more weights, or nothing."""
    taken = merged.names
    known = merged.entries.get(taken[normal(entry.name)][0]) if normal(entry.name) in taken else None
    weights = {
        tag: replace(w, aliases=tuple(a for a in w.aliases if normal(a) not in taken))
        for tag, w in entry.weights.items()
    }
    if known is None:
        aliases, formerly = (
            tuple(n for n in names if normal(n) not in taken) for names in (entry.aliases, entry.formerly)
        )
        return replace(entry, weights=weights, aliases=aliases, formerly=formerly)
    more = {tag: w for tag, w in weights.items() if tag not in known.weights}
    if not more or known.architecture != entry.architecture or known.parts:
        return None
    return replace(known, weights={**known.weights, **more})


def _all_names(entry: ModelEntry) -> list[tuple[str, str | None, bool]]:
    """Every name that finds this entry, with the variant that it means, and whether it is one of the past."""
    return [
        (entry.name, None, False),
        *((alias, None, False) for alias in entry.aliases),
        *((old, None, True) for old in entry.formerly),
        *((alias, tag, False) for tag, weights in entry.weights.items() for alias in weights.aliases),
    ]


def _claim(
    merged: Merged, catalog: schema.Catalog, stated: str, whom: tuple[str, str | None, bool], *, shown: str
) -> None:
    """Let a name find `whom`. A name that finds something already stays with it: EntryError."""
    key = normal(stated)
    known = merged.names.get(key)
    holder = merged.entries.get(known[0]) if known else None
    is_ours = known == whom and (holder is None or catalog.is_yielding)  # stated twice by one entry, or extended
    if known and not is_ours:
        where = f"line {merged.lines[holder.name]} of {holder.catalog}" if holder else "this entry's other name"
        remedy = "" if holder is None or holder.catalog == catalog.file else REMEDY
        problem = f"the name {stated!r} is taken by {known[0]!r} ({where}){remedy}"
        raise EntryError(problem, file=catalog.file, line=catalog.lines.get(shown), entry=shown)
    merged.names[key] = whom


def _remove(merged: Merged, catalog: schema.Catalog, name: str) -> None:
    """Forget an earlier catalog's entry, which this one says it replaces."""
    found = merged.names.get(normal(name))
    if found is None or found[1] is not None:
        hint = did_you_mean(name, merged.entries)
        raise EntryError(
            f"no earlier catalog has the model {name!r} to replace. {hint}".strip(), file=catalog.file, field="replaces"
        )
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
            if problem := _problem_of_part(merged, target):
                raise EntryError(
                    problem, file=entry.catalog, line=merged.lines[name], entry=name, field=f"parts.{part}"
                )


def _problem_of_part(merged: Merged, target: str) -> str:
    bare, _, tag = target.partition(":")
    whom = merged.names.get(normal(bare))
    if whom is None:
        return f"no model of the name {target!r}. {did_you_mean(bare, merged.entries)}".strip()
    found = merged.entries[whom[0]]
    if found.parts:
        return f"{target!r} is a model of parts itself"
    if tag and tag not in found.weights:
        return f"{found.name!r} has no weights {tag!r}; it has {', '.join(found.weights)}"
    return ""


def _part(merged: Merged, target: str) -> Weights:
    bare, _, tag = target.partition(":")
    name, alias_tag, _ = merged.names[normal(bare)]
    weights = merged.entries[name].weights
    return weights[tag or alias_tag or next(iter(weights))]


def natural(name: str) -> tuple[tuple[bool, int, str], ...]:
    """The key that sorts names as people do: resnet50 before resnet101, and a bare name before a namespace's."""
    space, _, bare = name.rpartition("/")
    pieces = re.findall(r"\d+|\D+", bare)
    return (*((not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in pieces), (False, -1, space))


def _model_row(entry: ModelEntry) -> tuple[object, ...]:
    return (
        entry.name,
        entry.title,
        entry.task,
        entry.architecture,
        entry.params,
        " ".join(entry.frameworks),
        entry.deprecated,
    )


def _terms(entry: ModelEntry) -> str:
    """All that a search looks at, a line each."""
    tags = [f"{entry.name}:{tag}" for tag in entry.weights]
    of_weights = [term for w in entry.weights.values() for term in (w.publisher, *w.aliases)]
    bare = entry.name.rpartition("/")[2]
    terms = (entry.name, bare, entry.title, *entry.aliases, *tags, *of_weights, entry.architecture or "")
    return "\n".join(dict.fromkeys(normal(term) for term in terms if term))


def _weights_rows(entry: ModelEntry, merged: Merged) -> list[tuple[object, ...]]:
    if entry.parts:
        return [(0, "", *_facts_of_parts([_part(merged, target) for target in entry.parts.values()]))]
    return [(i, tag, *_facts(w)) for i, (tag, w) in enumerate(entry.weights.items())]


def _facts(w: Weights) -> tuple[object, ...]:
    days = (d.isoformat() if d else None for d in (w.tested, w.unavailable))
    return w.publisher, w.license.weights, w.license.kind, w.metrics.get("top1"), w.size_bytes, *days


def _facts_of_parts(parts: Sequence[Weights]) -> tuple[object, ...]:
    """What holds of a model of models: sizes add up, the least free licence counts, what a part lacks it lacks."""
    licenses = {w.license.weights for w in parts}
    kinds = {w.license.kind for w in parts}
    sizes = [w.size_bytes for w in parts if w.size_bytes]
    tested = [w.tested for w in parts if w.tested]
    gone = [w.unavailable for w in parts if w.unavailable]
    return (
        ", ".join(dict.fromkeys(w.publisher for w in parts)),
        licenses.pop() if len(licenses) == 1 else None,
        next(kind for kind in ("unknown", "non-commercial", "restricted", "permissive") if kind in kinds),
        None,
        sum(sizes) if len(sizes) == len(parts) else None,
        max(tested).isoformat() if len(tested) == len(parts) else None,
        min(gone).isoformat() if gone else None,
    )
