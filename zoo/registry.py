"""Find, search and resolve models by name: what `zoo list`, `zoo info` and every verb that takes a name ask.

Everything is answered from the index (zoo/index.py). Standard library only on this path.
"""

from __future__ import annotations

import re
import sqlite3
import warnings
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.errors import BadInput, UnknownModel, did_you_mean, nearest
from zoo.index import compile_index as compile_index
from zoo.index import connect
from zoo.names import LICENSE_KINDS, TASKS, FormerName, normal

if TYPE_CHECKING:
    from zoo.entry import ModelEntry, Weights

SORTS = {  # word -> column
    "name": "m.id",
    "task": "m.task",
    "params": "m.params",
    "size": "w.size",
    "top1": "w.top1",
    "publisher": "lower(w.publisher)",
    "license": "w.license",
    "tested": "w.tested",
}
_COLUMNS = """m.name, w.tag, min(w.place), m.title, m.task, m.params,
  w.publisher, w.license, w.top1, w.size, w.tested, w.unavailable, m.deprecated"""
_BOTH = "model m JOIN weights w ON w.model = m.id"


class Row(NamedTuple):
    """One line of a listing: a model, and the first of its weights that pass the filters."""

    name: str
    tag: str
    place: int  # of the weights among the model's: 0 is what the bare name means
    title: str
    task: str
    params: int | None
    publisher: str
    license: str | None
    top1: float | None
    size_bytes: int | None
    tested: str | None
    unavailable: str | None
    deprecated: str | None

    @property
    def spec(self) -> str:
        """The shortest name that means just these weights: bare for a model's first."""
        return self.name if self.place == 0 else f"{self.name}:{self.tag}"


def models(
    query: str | None = None,
    *,
    task: str | None = None,
    framework: str | None = None,
    license: str | None = None,
    publisher: str | None = None,
    max_params: int | str | None = None,
    max_size: int | str | None = None,
    min_top1: float | None = None,
    tested: bool | None = None,
    sort: str = "name",
) -> list[ModelEntry]:
    """The models of which some weights pass every filter, as entries whose `weights` are just those that do.

    `query`: words that each occur in name, alias, title, publisher or architecture; or a glob over one of these
    (`resnet*`). `license`: `permissive`, `restricted`, `non-commercial`, `unknown`, or an SPDX id. `max_params` and
    `max_size` (bytes) take numbers or `"25M"`, `"100MB"`; what is unknown passes no limit. `framework`: was seen
    to open in it.
    `sort`: name, task, params, size, top1, publisher, license or tested; from the greatest with a `-` before it.

    Raises BadInput for a filter that no model could ever pass (a task, licence or publisher that does not exist), and
    UnknownFramework.

    >>> [m.name for m in models("minilm", task="sentence-embedding", sort="params")]
    ['paraphrase-minilm-l3', 'minilm-l6']
    """
    filters = {k: v for k, v in locals().items() if k not in ("query", "sort")}
    with closing(_index()) as index:
        where, values = _conditions(index, filters)
        found = _listed(index, query, where, values, sort)
        passing = f"SELECT w.tag FROM {_BOTH} WHERE m.name = ? AND {where} ORDER BY w.place"
        return [
            _only(_entry(index, row.name), [tag for (tag,) in index.execute(passing, [row.name, *values])])
            for row in found
        ]


def rows(query: str | None = None, *, sort: str = "name", **filters: Any) -> list[Row]:
    """What `models` finds as plain rows, quick for thousands: no entry is built."""
    with closing(_index()) as index:
        return _listed(index, query, *_conditions(index, filters), sort)


def info(name: str) -> ModelEntry:
    """The entry of a name, alias or variant (`resnet50:imagenet1k-v1`); of a variant with those weights alone.

    Raises UnknownModel with the nearest names; warns (FormerName, a DeprecationWarning) about names of the past.

    >>> info("mobilenet_v3_large").name
    'mobilenet-v3-large'
    """
    entry, weights = resolve(name)
    return _only(entry, [weights.tag]) if weights and weights != entry.default else entry


def resolve(name: str) -> tuple[ModelEntry, Weights | None]:
    """The entry that a name means and its weights; None for a model of models, whose parts have them.

    Raises UnknownModel with the nearest names; warns (FormerName, a DeprecationWarning) about names of the past.
    """
    with closing(_index()) as index:
        bare, _, tag = normal(name).partition(":")
        asked = normal(name) if tag else bare
        sql = "SELECT m.name, n.tag, n.former FROM name n JOIN model m ON m.id = n.model WHERE n.key IN (?, ?)"
        found = index.execute(f"{sql} ORDER BY length(n.key) DESC", (asked, bare)).fetchone()
        if found is None:
            raise _unknown(index, name)
        entry = _entry(index, found[0])
        alias_tag, former = found[1], found[2]
    if former:
        warnings.warn(f"{name!r} is a former name of {entry.name!r}", FormerName, stacklevel=3)
    if entry.deprecated:
        warnings.warn(f"{entry.name!r} is deprecated: {entry.deprecated}", FormerName, stacklevel=3)
    wanted = alias_tag or tag
    if not wanted:
        return entry, entry.default
    by_tag = {normal(each): weights for each, weights in entry.weights.items()}
    if wanted not in by_tag:
        have = (
            f"It has {', '.join(entry.weights)}."
            if entry.weights
            else "It is made of other models and has no variants."
        )
        raise UnknownModel(name, hint=f"{entry.name!r} has no weights {tag!r}. {have}")
    return entry, by_tag[wanted]


def is_known(name: str) -> bool:
    """Whether a name or alias, as it stands, finds a model; nothing is warned of."""
    with closing(_index()) as index:
        return index.execute("SELECT 1 FROM name WHERE key = ?", (normal(name),)).fetchone() is not None


def names(prefix: str = "") -> list[str]:
    """Every name that begins so, variants included once a colon is typed: what a shell completes."""
    with closing(_index()) as index:
        if ":" in prefix:
            found = index.execute(f"SELECT m.name || ':' || w.tag FROM {_BOTH} ORDER BY m.id, w.place")
        else:
            found = index.execute("SELECT name FROM model ORDER BY id")
        return [name for (name,) in found if name.startswith(normal(prefix))]


def _index() -> sqlite3.Connection:
    index = connect()
    try:
        index.execute(f"SELECT count(*) FROM {_BOTH}").fetchone()
        return index
    except sqlite3.DatabaseError:  # a damaged file of the right size
        index.close()
        return connect(afresh=True)


def _entry(index: sqlite3.Connection, name: str) -> ModelEntry:
    import json

    from zoo.entry import entry_of

    (doc,) = index.execute(
        "SELECT d.doc FROM doc d JOIN model m ON m.id = d.model WHERE m.name = ?", (name,)
    ).fetchone()
    return entry_of(json.loads(doc))


def _only(entry: ModelEntry, tags: list[str]) -> ModelEntry:
    """The entry with these of its weights alone."""
    from dataclasses import replace

    return replace(entry, weights={tag: entry.weights[tag] for tag in tags}) if entry.weights else entry


def _conditions(index: sqlite3.Connection, filters: dict[str, Any]) -> tuple[str, list[Any]]:
    """The SQL conditions of these filters over `m` and `w`, and their values."""
    made = [made for name, value in filters.items() if value is not None for made in [_CONDITIONS[name](index, value)]]
    return " AND ".join(sql for sql, _ in made) or "1", [value for _, values in made for value in values]


def _listed(index: sqlite3.Connection, query: str | None, where: str, values: list[Any], sort: str) -> list[Row]:
    column = SORTS.get(sort.removeprefix("-"))
    if column is None:
        raise BadInput(
            f"can't sort by {sort!r}",
            hint=did_you_mean(sort, SORTS) or f"Known: {', '.join(SORTS)}; with a - before it from the greatest.",
        )
    order = f"{column} IS NULL, {column} {'DESC' if sort.startswith('-') else 'ASC'}, m.id"
    matching, words = _query(index, query)
    sql = f"SELECT {_COLUMNS} FROM {_BOTH} WHERE {where} AND {matching} GROUP BY m.id ORDER BY {order}"
    return [Row(*row) for row in index.execute(sql, [*values, *words])]


def _query(index: sqlite3.Connection, query: str | None) -> tuple[str, list[str]]:
    wanted = normal(query or "")
    if re.search(r"[*?[]", wanted):
        from fnmatch import translate

        pattern = re.compile(translate(wanted))
        index.create_function(
            "glob_any", 1, lambda terms: any(map(pattern.match, terms.split("\n"))), deterministic=True
        )
        return "glob_any((SELECT terms FROM terms t WHERE t.model = m.id))", []
    has_word = "instr((SELECT terms FROM terms t WHERE t.model = m.id), ?) > 0"
    return " AND ".join([has_word] * len(wanted.split())) or "1", wanted.split()


def _of_task(index: sqlite3.Connection, value: str) -> tuple[str, list[Any]]:
    return "m.task = ?", [_known(value, TASKS, "task")]


def _of_framework(index: sqlite3.Connection, value: str) -> tuple[str, list[Any]]:
    from zoo.converters.frameworks import framework

    return "(' ' || m.frameworks || ' ') LIKE ?", [f"% {framework(value).name} %"]


def _of_license(index: sqlite3.Connection, value: str) -> tuple[str, list[Any]]:
    stated = [name for (name,) in index.execute("SELECT DISTINCT license FROM weights WHERE license IS NOT NULL")]
    word = _known(value, (*LICENSE_KINDS, *stated), "licence")
    return ("w.kind = ?" if word in LICENSE_KINDS else "w.license = ?"), [word]


def _of_publisher(index: sqlite3.Connection, value: str) -> tuple[str, list[Any]]:
    return "w.publisher = ?", [
        _known(value, [name for (name,) in index.execute("SELECT DISTINCT publisher FROM weights")], "publisher")
    ]


def _known(value: str, words: Any, what: str) -> str:
    """The member of `words` that equals `value` but for case. Raises BadInput."""
    for word in words:
        if word.lower() == value.lower():
            return str(word)
    raise BadInput(
        f"no model has the {what} {value!r}", hint=did_you_mean(value, words) or f"Known: {', '.join(words)}."
    )


def amount(value: int | float | str) -> float:
    """A number, or text with a suffix: `10M` and `10MB` are ten million, `7B` seven billion, `1GiB` is 2**30.

    Raises BadInput.

    >>> amount("1.5k"), amount("2 MiB")
    (1500.0, 2097152.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(?:([kmgtb]?)|([kmgt])(i?)b)", str(value).replace("_", "").strip().lower())
    if not found:
        raise BadInput(f"expected an amount such as 25M, 100MB or 1.5GiB, found {value!r}")
    power = {"": 0, "k": 1, "m": 2, "g": 3, "b": 3, "t": 4}[found[2] or found[3] or ""]
    unit: int = (1024 if found[4] else 1000) ** power
    return float(found[1]) * unit


_CONDITIONS: dict[str, Any] = {
    "task": _of_task,
    "framework": _of_framework,
    "license": _of_license,
    "publisher": _of_publisher,
    "max_params": lambda index, value: ("m.params <= ?", [amount(value)]),
    "max_size": lambda index, value: ("w.size <= ?", [amount(value)]),
    "min_top1": lambda index, value: ("w.top1 >= ?", [float(value)]),
    "tested": lambda index, value: (f"w.tested IS {'NOT ' if value else ''}NULL", []),
}


def _unknown(index: sqlite3.Connection, name: str) -> UnknownModel:
    """The error for a name that nothing has: with the nearest three, those that contain it first."""
    wanted = normal(name).partition(":")[0]
    known = dict(index.execute("SELECT n.key, m.name FROM name n JOIN model m ON m.id = n.model WHERE n.former = 0"))
    alike = [key for key in known if len(wanted) > 2 and wanted in key] + nearest(wanted, known, 9)
    near = list(dict.fromkeys(known[key] for key in alike))[:3]
    hint = f"Did you mean {', '.join(map(repr, near))}?" if near else "`zoo list` shows what there is."
    return UnknownModel(name, hint=hint)
