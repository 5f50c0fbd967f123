"""The schema of the registry as values: frozen, standard library only.

A catalog (registry.yaml) is the same facts in YAML; zoo/schema.py checks one and turns it into these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import date
from math import isfinite
from os import PathLike, fspath
from typing import Any

from zoo.names import LICENSE_KINDS as LICENSE_KINDS
from zoo.names import TASKS as TASKS

ROLES = ("weights", "model", "tokenizer", "labels")
PERMISSIVE = frozenset(
    {
        "Apache-2.0",
        "MIT",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "CC-BY-4.0",
        "CC-BY-3.0",
        "ISC",
        "Unlicense",
        "Zlib",
        "0BSD",
    }
)


@dataclass(frozen=True, slots=True)
class File:
    """One published file. The digest is the identity; sources are hints of where its bytes are, tried in turn."""

    path: str
    digest: str | None  # "sha256:<64 hex>", or None until the first fetch
    size_bytes: int | None
    published: (
        str | None
    )  # what its author pins, if less than a whole SHA-256: "sha256-8:11ad3fa6", "sha1:<40 hex>", "md5:<32 hex>"
    sources: tuple[str, ...]  # "https://...", "hf:repo@revision/path", "package:name==version", "file:/path"

    @property
    def pin(self) -> str:
        """How strongly the catalog pins the bytes, in words.

        >>> File("a.pth", None, None, "sha256-8:11ad3fa6", ()).pin
        'the first 8 hex digits of a SHA-256 (11ad3fa6)'
        """
        if self.digest:
            return "whole SHA-256"
        if not self.published:
            return "not pinned"
        kind, _, digits = self.published.partition(":")
        if kind.startswith("sha256-"):
            return f"the first {kind.removeprefix('sha256-')} hex digits of a SHA-256 ({digits})"
        return f"{kind.upper().replace('SHA1', 'SHA-1')} only ({digits})"


@dataclass(frozen=True, slots=True)
class License:
    """What the author states, as SPDX spells it; None where nothing is stated. `stated` says where."""

    weights: str | None = None
    code: str | None = None
    dataset: str | None = None
    stated: str | None = None

    @property
    def kind(self) -> str:
        """`permissive`, `restricted` (any other stated licence), `non-commercial` or `unknown`: of the weights."""
        if self.weights is None:
            return "unknown"
        if "-NC-" in self.weights.upper() or self.weights.upper().endswith("-NC"):
            return "non-commercial"
        return "permissive" if self.weights in PERMISSIVE else "restricted"


@dataclass(frozen=True, slots=True)
class Weights:
    """Trained weights of an architecture, with all that belongs to the weights and not to the architecture."""

    tag: str
    publisher: str
    files: Mapping[str, tuple[File, ...]]  # by role; several files of one role are shards
    license: License = License()
    dataset: str | None = None  # gives the labels (zoo/tasks/labels)
    metrics: Mapping[str, float] = field(default_factory=dict)
    input: Mapping[str, Any] = field(default_factory=dict)
    output: Mapping[str, Any] = field(default_factory=dict)
    rename: str | None = None  # a table in zoo/architectures/renames
    unused: tuple[str, ...] = ()  # tensors of the file that the architecture has no use for; a trailing * matches
    tested: date | None = None  # fetched and run on that day; None: never
    unavailable: date | None = None
    aliases: tuple[str, ...] = ()  # other names of just these weights, such as timm's "resnet50.a1_in1k"

    def of(self, role: str) -> tuple[File, ...]:
        """The files of a role, or an empty tuple."""
        return self.files.get(role, ())

    @property
    def size_bytes(self) -> int | None:
        """The size of everything to be fetched, or None if the publisher states it for no file."""
        sizes = [f.size_bytes for files in self.files.values() for f in files]
        return sum(s for s in sizes if s) if any(sizes) else None


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A name in the registry. The first of `weights` is what the bare name means."""

    name: str  # "resnet50", or "namespace/name" for a catalog with a namespace
    title: str
    task: str
    architecture: str | None  # "timm/resnet50"; None where the model file carries its own graph
    weights: Mapping[str, Weights]
    parts: Mapping[str, str] = field(default_factory=dict)  # a model of models: part -> name of an entry
    paper: str | None = None
    params: int | None = None
    aliases: tuple[str, ...] = ()
    formerly: tuple[
        str, ...
    ] = ()  # names that it once had: they work, with a DeprecationWarning that says the name of today
    deprecated: str | None = None  # a note that names what to use instead
    frameworks: tuple[str, ...] = ()  # those that were seen to open it with the right numbers
    catalog: str = ""  # the file that states it

    @property
    def default(self) -> Weights | None:
        """The weights of the bare name; None for a model of models, which has parts instead."""
        return next(iter(self.weights.values()), None)


def plain(value: Any) -> Any:
    """A value as JSON knows it: dataclasses as objects, dates as ISO text, paths as text, numpy's arrays as lists.

    >>> plain(License("MIT"))
    {'weights': 'MIT', 'code': None, 'dataset': None, 'stated': None}
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None  # JSON has no word for the others
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, PathLike):
        return fspath(value)
    if hasattr(value, "tolist"):  # numpy's, without importing it
        return plain(value.tolist())
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def entry_of(facts: Mapping[str, Any]) -> ModelEntry:
    """The inverse of `plain` for a ModelEntry."""
    weights = {tag: _weights_of(w) for tag, w in facts["weights"].items()}
    return ModelEntry(**{**facts, "weights": weights, **_tuples(facts, "aliases", "formerly", "frameworks")})


def _weights_of(facts: Mapping[str, Any]) -> Weights:
    files = {
        role: tuple(File(**{**f, "sources": tuple(f["sources"])}) for f in files)
        for role, files in facts["files"].items()
    }
    days = {key: date.fromisoformat(facts[key]) if facts[key] else None for key in ("tested", "unavailable")}
    return Weights(
        **{
            **facts,
            "files": files,
            "license": License(**facts["license"]),
            **days,
            **_tuples(facts, "unused", "aliases"),
        }
    )


def _tuples(facts: Mapping[str, Any], *keys: str) -> dict[str, tuple[str, ...]]:
    return {key: tuple(facts[key]) for key in keys}
