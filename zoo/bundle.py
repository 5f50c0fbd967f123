"""A kit for machines without a network: a tar of catalog, blobs, graphs and licences, each digest checked on arrival.

    manifest.json               first: the models, and digest and size of every other member
    catalog.yaml  licenses.txt  exactly the models inside; who may do what with them
    blobs/<64 hex>              as in the store
    architectures/<path>        weightless graphs and what belongs to them, as in zoo/architectures

The tar is plain (weights don't compress) and holds no time or user, so equal content is an equal file.
"""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import tarfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from zoo import parts, records
from zoo.digests import DIGEST, Hashes, digest_hex, hash_file
from zoo.durable import sync_file, sync_folder, trouble, write_atomically
from zoo.entry import File, ModelEntry, Weights, plain
from zoo.errors import BadInput, DigestMismatch, Malformed, Refused
from zoo.lock import files_of, model_name
from zoo.progress import Progress, Quiet
from zoo.records import Record
from zoo.version import __version__

if TYPE_CHECKING:
    from zoo.store import Store

VERSION = 1
MANIFEST, CATALOG, LICENSES = "manifest.json", "catalog.yaml", "licenses.txt"
MANIFEST_MAX_BYTES = 16 << 20
GRAPH = re.compile(r"architectures(?:/(?!\.)[A-Za-z0-9_.+-]+)+", re.ASCII)  # no component begins with a dot
BLOB = re.compile(r"blobs/[0-9a-f]{64}", re.ASCII)


Items = Sequence[tuple[ModelEntry, Weights | None]]  # None for a model of models, whose parts are items too


@dataclass(frozen=True, slots=True)
class Unbundled:
    """What a bundle brought."""

    models: tuple[str, ...]
    catalog: Path | None  # in the store's catalogs/, where the registry looks; None if all its models were known
    graphs: tuple[Path, ...]  # in the store's architectures/


@dataclass(frozen=True, slots=True)
class Member:
    """What the manifest says of a member."""

    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The checked manifest: members by name, files with the name of their model, pins among them."""

    members: Mapping[str, Member]
    files: tuple[Record, ...]
    pins: tuple[Record, ...]  # those that their catalog pins by less than a whole SHA-256


def bundle(
    items: Items,
    store: Store,
    out: Path,
    *,
    graphs: Mapping[str, Path] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the kit of `items` to `out`, whole or not at all; what is not in the store yet is fetched.

    `graphs` gives files of zoo/architectures by their path in there; without it, those that the items use.
    """
    if out.is_dir():
        raise BadInput(f"{out} is a folder", hint="Name a file: -o kit.tar")
    contents: dict[str, Path | bytes] = {}
    for name, path in (graphs_of(items) if graphs is None else graphs).items():
        if not GRAPH.fullmatch(f"architectures/{name}"):
            raise BadInput(f"{name!r} is no path inside zoo/architectures")
        contents[f"architectures/{name}"] = path
    models, fetched = {}, []
    for entry, weights in items:
        found = weights and _fetched(entry, weights, store, progress)
        fetched.append((entry, found))
        if weights and found:
            models[model_name(entry, found)] = _described(entry, weights, found)
            contents |= {
                f"blobs/{digest_hex(one.digest or '')}": store.blob(one.digest or "") or b"" for one in files_of(found)
            }
    contents |= {CATALOG: excerpt(fetched).encode(), LICENSES: _licenses(fetched).encode()}
    members = {name: _member(content) for name, content in sorted(contents.items())}
    manifest = {
        "version": VERSION,
        "made_by": f"polyzoo {__version__}",
        "models": models,
        "members": {name: asdict(member) for name, member in members.items()},
    }
    _write(out, json.dumps(manifest, indent=1, ensure_ascii=False).encode(), contents, members, progress or Quiet())
    return out


def unbundle(
    path: Path,
    store: Store,
    *,
    is_known: Callable[[str], bool] = lambda name: False,
    progress: Progress | None = None,
) -> Unbundled:
    """Bring a kit into the store. Everything is staged and checked first: a kit that is not right leaves no trace.

    `is_known` says which names other catalogs have already: those entries are left to them. Raises Malformed, Refused,
    DigestMismatch, EntryError or StoreError.
    """
    progress = progress or Quiet()
    try:
        file = path.open("rb")
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    with file:
        part = parts.new(store.parts, "bundle")
        try:
            manifest = _stage(path, file, part.tree, store, progress)
            catalog = _unknown((part.tree / CATALOG).read_bytes(), path, is_known)
            return _commit(manifest, catalog, part.tree, store)
        except (tarfile.TarError, RecursionError) as error:
            raise Malformed(path, f"not a bundle, or cut off: {error}", offset=file.tell()) from error
        finally:
            progress.done()
            part.discard()


def excerpt(items: Items) -> str:
    """A catalog of exactly these entries, with these weights of each: JSON, which YAML contains."""
    entries: dict[str, dict[str, Any]] = {}
    for entry, weights in items:
        facts = entries.setdefault(entry.name, _facts(entry, drop=("name", "catalog", "weights")))
        if weights is not None:
            facts.setdefault("weights", {})[weights.tag] = _weights_facts(weights)
    return _catalog(entries)


def _catalog(entries: Mapping[str, Any]) -> str:
    """It yields: a later Polyzoo may have an entry of its own by the same name."""
    return json.dumps({"yields": True, **entries}, indent=1, ensure_ascii=False) + "\n"


def graphs_of(items: Items) -> dict[str, Path]:
    """The files of zoo/architectures that the items use: graphs, and tables that rename tensors."""
    folder = Path(__file__).parent / "architectures"
    found = [folder / f"{entry.architecture}.onnx.gz" for entry, _ in items if entry.architecture]
    for _, weights in items:
        found += (folder / "renames").glob(f"{weights.rename}.*") if weights and weights.rename else ()
    return {path.relative_to(folder).as_posix(): path for path in found if path.is_file()}


def _facts(value: Any, drop: Sequence[str] = ()) -> dict[str, Any]:
    """The fields of an entry that say something, as a catalog spells them."""
    return {key: fact for key, fact in plain(value).items() if key not in drop and fact not in (None, [], {}, "")}


def _weights_facts(weights: Weights) -> dict[str, Any]:
    facts = _facts(weights, drop=("tag", "files", "license"))
    files = {
        role: [{("size" if key == "size_bytes" else key): fact for key, fact in _facts(one).items()} for one in some]
        for role, some in weights.files.items()
    }
    return {**facts, "files": files, "license": _facts(weights.license)}


def _unknown(data: bytes, path: Path, is_known: Callable[[str], bool]) -> bytes | None:
    """The kit's catalog, checked as any other, less what is known here; None if that is all of it."""
    from zoo import schema, yamltree

    schema.catalog(yamltree.parse(data, f"{path}: {CATALOG}"), f"{path}: {CATALOG}")
    try:
        entries = json.loads(data)
    except ValueError as error:
        raise Malformed(path, f"{CATALOG} is not as `zoo bundle` writes it") from error
    left = {name: facts for name, facts in entries.items() if name != "yields" and not is_known(name)}
    for facts in left.values():
        for one in (facts, *facts.get("weights", {}).values()):
            if "aliases" in one:
                one["aliases"] = [alias for alias in one["aliases"] if not is_known(alias)]
    return _catalog(left).encode() if left else None


def _fetched(entry: ModelEntry, weights: Weights, store: Store, progress: Progress | None) -> Weights:
    """The weights with every file in the store and pinned by its whole digest."""
    name = model_name(entry, weights)

    def pinned(file: File) -> File:
        path = store.fetch(file, name=name, progress=progress)
        digest = store.pinned(file, name).digest or hash_file(path).digest
        return replace(file, digest=digest, size_bytes=path.stat().st_size)

    return replace(weights, files={role: tuple(map(pinned, files)) for role, files in weights.files.items()})


def _described(entry: ModelEntry, weights: Weights, fetched: Weights) -> dict[str, Any]:
    """What the manifest says of a model; `is_pinned`: its own catalog pins the file wholly."""
    files = [
        {"path": one.path, "digest": one.digest, "size_bytes": one.size_bytes, "is_pinned": stated.digest is not None}
        for stated, one in zip(files_of(weights), files_of(fetched), strict=True)
    ]
    return {"title": entry.title, "publisher": weights.publisher, "license": plain(weights.license), "files": files}


def _licenses(items: Items) -> str:
    """What the authors state, model by model, for a person to read."""
    lines = ["What the authors of these models state. Nothing is added; what they don't state is unknown.", ""]
    for entry, weights in items:
        if weights is None:
            continue
        stated = weights.license
        lines += [f"{model_name(entry, weights)}: {entry.title}, published by {weights.publisher}"]
        lines += [
            f"  weights: {stated.weights or 'unknown'}" + (f" (stated: {stated.stated})" if stated.stated else "")
        ]
        lines += [
            f"  {what}: {value}" for what, value in (("code", stated.code), ("data set", stated.dataset)) if value
        ]
        lines += [f"  paper: {entry.paper}"] if entry.paper else []
    return "\n".join(lines) + "\n"


def _member(content: Path | bytes) -> Member:
    if isinstance(content, Path):
        hashes = hash_file(content)
    else:
        (hashes := Hashes(None)).update(content)
    return Member(hashes.digest, hashes.size_bytes)


def _write(
    out: Path, manifest: bytes, contents: Mapping[str, Path | bytes], members: Mapping[str, Member], progress: Progress
) -> None:
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    progress.start(out.name, sum(member.size_bytes for member in members.values()))
    try:
        with trouble(out, hint=""):
            with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
                _add(tar, MANIFEST, manifest, len(manifest))
                for name, member in members.items():
                    _add(tar, name, contents[name], member.size_bytes)
                    progress.advance(member.size_bytes)
            sync_file(temporary)
            os.replace(temporary, out)
            sync_folder(out.absolute().parent)
    finally:
        progress.done()
        with suppress(FileNotFoundError):
            temporary.unlink()


def _add(tar: tarfile.TarFile, name: str, content: Path | bytes, size_bytes: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size_bytes
    with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as file:
        tar.addfile(info, file)


def _stage(path: Path, file: Any, tree: Path, store: Store, progress: Progress) -> Manifest:
    """Every member as a file in `tree`, checked against the manifest, which is checked against the store."""
    from zoo.fetch import check_room
    from zoo.sources.archive import Forward

    forward = Forward(file)
    tar = tarfile.TarFile(fileobj=cast(Any, forward), mode="r")
    first = tar.next()
    if first is None or first.name != MANIFEST or not first.isreg() or first.size > MANIFEST_MAX_BYTES:
        raise Malformed(path, f"its first member is not {MANIFEST}: not a bundle")
    manifest = _manifest(path, b"".join(forward.chunks(first.offset_data, first.size)))
    total = sum(member.size_bytes for member in manifest.members.values())
    if total > (found := path.stat().st_size):
        raise Malformed(path, f"its members have {total:,} bytes and the file only {found:,}")
    check_room(store, total)
    _check_pins(manifest, store)
    progress.start(path.name, total)
    left = dict(manifest.members)
    while (info := tar.next()) is not None:
        member = left.pop(info.name, None)
        if member is None or not info.isreg() or info.issparse() or info.size != member.size_bytes:
            raise Refused(path, f"member {info.name!r} is not what its manifest says", offset=info.offset)
        _stage_member(path, info, member, forward, tree, progress)
    if left:
        raise Malformed(path, f"{len(left)} members of its manifest are missing: {', '.join(sorted(left)[:3])}")
    return manifest


def _stage_member(
    path: Path, info: tarfile.TarInfo, member: Member, forward: Any, tree: Path, progress: Progress
) -> None:
    hashes = Hashes(None)
    target = tree / info.name  # one of the manifest's names, which were checked
    with trouble(tree):
        target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as out:
        for data in forward.chunks(info.offset_data, info.size):
            hashes.update(data)
            with trouble(tree):
                out.write(data)
            progress.advance(len(data))
        with trouble(tree):
            out.flush()
    if hashes.digest != member.digest:
        raise DigestMismatch(f"{path}: {info.name}: expected {member.digest}, received {hashes.digest}")


def _commit(manifest: Manifest, catalog: bytes | None, tree: Path, store: Store) -> Unbundled:
    """What is staged goes to its place: first what is said of blobs, then the blobs, the catalog last."""
    from zoo.fetch import keep

    graphs = [name for name in manifest.members if GRAPH.fullmatch(name)]
    place = store.root / "catalogs" / f"bundle-{digest_hex(manifest.members[CATALOG].digest)[:12]}.yaml"
    with trouble(store.root):
        for record in manifest.pins:
            pin = records.place(store.pins, record.name, record.path)
            records.write(pin, record, scratch=store.parts, exclusive=True)
        for record in manifest.files:
            store.refer(record)
        for name, member in manifest.members.items():
            if BLOB.fullmatch(name):
                keep(store, tree / name, member.digest)
        for name in graphs:
            write_atomically(store.root / name, (tree / name).read_bytes(), scratch=store.parts)
        if catalog is not None:
            write_atomically(place, catalog, scratch=store.parts)
    models = tuple(dict.fromkeys(record.name for record in manifest.files))
    return Unbundled(models, place if catalog is not None else None, tuple(store.root / name for name in graphs))


def _check_pins(manifest: Manifest, store: Store) -> None:
    """A kit may not bring other bytes than those that were fetched first, nor another graph under a known name."""
    for record in manifest.pins:
        first = records.read(records.place(store.pins, record.name, record.path))
        if first is not None and first.digest != record.digest:
            what = f"{record.path} of {record.name}"
            raise DigestMismatch(f"{what}: expected {first.digest}, as first fetched, the bundle has {record.digest}")
    for name, member in manifest.members.items():
        if GRAPH.fullmatch(name) and (store.root / name).is_file():
            known = hash_file(store.root / name).digest
            if known != member.digest:
                raise DigestMismatch(f"{name}: the store has {known}, the bundle {member.digest}; graphs never change")


def _manifest(path: Path, data: bytes) -> Manifest:
    """The manifest, field by field; Malformed or Refused for what is not as it should be."""
    try:
        fields = json.loads(data)
        if fields["version"] != VERSION:
            raise Malformed(path, f"a bundle of version {fields['version']!r}, and this program reads {VERSION}")
        members = {name: Member(m["digest"], m["size_bytes"]) for name, m in fields["members"].items()}
        files = [
            (Record(name, one["path"], one["digest"], one["size_bytes"]), one["is_pinned"])
            for name, model in fields["models"].items()
            for one in model["files"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Malformed(
            path, f"{MANIFEST} is not the manifest of a bundle ({type(error).__name__}: {error})"
        ) from error
    for name, member in members.items():
        if not (name in (CATALOG, LICENSES) or GRAPH.fullmatch(name) or BLOB.fullmatch(name)):
            raise Refused(path, f"a member named {name!r}")
        if not isinstance(member.digest, str) or not DIGEST.fullmatch(member.digest):
            raise Malformed(path, f"{name}: its digest is not sha256:<64 hex digits>")
        if type(member.size_bytes) is not int or member.size_bytes < 0:
            raise Malformed(path, f"{name}: its size is not a number of bytes")
        if BLOB.fullmatch(name) and member.digest != f"sha256:{name.removeprefix('blobs/')}":
            raise Refused(path, f"{name} has another digest than its name")
    for record, _ in files:
        if not all(isinstance(fact, str) for fact in (record.name, record.path, record.digest)):
            raise Malformed(path, f"{MANIFEST}: a file whose name, path or digest is not a string")
        blob = members.get(f"blobs/{record.digest.removeprefix('sha256:')}")
        if blob is None or record.digest != blob.digest or record.size_bytes != blob.size_bytes:
            raise Malformed(path, f"{record.path!r} of {record.name!r} is not among its blobs")
    if CATALOG not in members:
        raise Malformed(path, f"it holds no {CATALOG}")
    return Manifest(members, tuple(one for one, _ in files), tuple(one for one, is_pinned in files if not is_pinned))
