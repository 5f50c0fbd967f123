"""What pins a file beyond its catalog: the project's zoo.lock, and what the first fetch found.

zoo.lock stands in the project's folder ($ZOO_LOCK, else the current directory or the nearest one above that has it):

    {"version": 1, "models": {"resnet50:imagenet1k-v2": {"resnet50-11ad3fa6.pth":
        {"digest": "sha256:...", "size_bytes": 102540417, "sources": ["https://..."]}}}}

A model that it names is held to it by every fetch; a model that it does not name is held to its catalog alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import records
from zoo.digests import DIGEST, parse_published
from zoo.entry import File, ModelEntry, Weights
from zoo.errors import BadInput, DigestMismatch, Malformed

if TYPE_CHECKING:
    from zoo.progress import Progress
    from zoo.store import Store

NAME, VERSION = "zoo.lock", 1


@dataclass(frozen=True, slots=True)
class Locked:
    """One file as zoo.lock has it."""

    digest: str
    size_bytes: int
    sources: tuple[str, ...]


Lock = dict[str, dict[str, Locked]]  # model, path


def find(start: Path | None = None) -> Path | None:
    """The lock file that holds in `start` (the current directory): $ZOO_LOCK, else the nearest zoo.lock upwards."""
    if named := os.environ.get("ZOO_LOCK"):
        return Path(named).expanduser()
    here = (start or Path.cwd()).absolute()
    return next((path for folder in (here, *here.parents) if (path := folder / NAME).is_file()), None)


def read(path: Path) -> Lock:
    """The models of a lock file. Raises Malformed, naming what is wrong where."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{path}: the lock file cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise Malformed(path, f"not JSON: {error}") from error
    if not isinstance(data, dict) or data.get("version") != VERSION or not isinstance(data.get("models"), dict):
        raise Malformed(path, f"not a lock file of version {VERSION}")
    return {name: _files(path, name, files) for name, files in data["models"].items()}


def write(
    items: Sequence[tuple[ModelEntry, Weights | None]],
    store: Store,
    out: Path | None = None,
    *,
    progress: Progress | None = None,
) -> Path:
    """Lock `items` in `out` (the project's lock file, or a new one here); other models in it stay as they are.

    A file that its catalog pins by less than a whole SHA-256 is fetched, to learn it.
    """
    from zoo.durable import trouble, write_atomically

    out = out or find() or Path.cwd() / NAME
    models = read(out) if out.exists() else {}
    store = store.unlocked()
    for entry, weights in items:
        if weights is None:
            continue
        name = model_name(entry, weights)
        models[name] = {file.path: _lock(file, name, store, progress) for file in files_of(weights)}
    data = {
        "version": VERSION,
        "models": {
            name: {
                path: {"digest": one.digest, "size_bytes": one.size_bytes, "sources": list(one.sources)}
                for path, one in sorted(files.items())
            }
            for name, files in sorted(models.items())
        },
    }
    with trouble(out, hint=""):
        write_atomically(out, json.dumps(data, indent=2, ensure_ascii=False).encode() + b"\n")
    return out


def pinned(name: str, file: File, roots: Sequence[Path] = (), lock: Path | None = None) -> File:
    """`file` with the digest and size that hold it: by the lock file, the first fetch (in `roots`), the catalog.

    They must agree where several say something; DigestMismatch names both where they don't. No network.
    """
    locked = read(lock).get(name, {}).get(file.path) if lock is not None else None
    if locked is not None:
        held = replace(
            file,
            digest=_same(
                file,
                locked.digest,
                f"{name}: {lock} and the catalog differ over {file.path}",
                f"`zoo lock {name}` takes the catalog's.",
            ),
            size_bytes=locked.size_bytes,
            sources=tuple(dict.fromkeys(file.sources + locked.sources)),
        )
    else:
        held = file
    if held.digest is not None:
        _same(
            replace(file, digest=None),
            held.digest,
            f"{name}: {file.path}: the pinned digest is not what its author publishes",
            "",
        )
        return held
    for root in roots:
        place = records.place(root / "pins", name, file.path)
        if (first := records.read(place)) is not None:
            hint = f"If you trust the new file, delete {place}."
            digest = _same(held, first.digest, f"{name}: the catalog and the first fetch differ over {file.path}", hint)
            return replace(held, digest=digest, size_bytes=first.size_bytes)
    return held


def model_name(entry: ModelEntry, weights: Weights) -> str:
    """The full name under which refs, pins and locks know it: `resnet50:imagenet1k-v2`."""
    return f"{entry.name}:{weights.tag}"


def files_of(weights: Weights) -> list[File]:
    """All files of all roles."""
    return [file for files in weights.files.values() for file in files]


def _same(file: File, digest: str, what: str, hint: str) -> str:
    """`digest` if it is no other than what `file` states, whole or in part."""
    if file.digest is not None and file.digest != digest:
        raise DigestMismatch(f"{what}: {digest} and {file.digest}", hint=hint)
    if file.published is not None:
        algorithm, digits = parse_published(file.published)
        if algorithm == "sha256" and not digest.removeprefix("sha256:").startswith(digits):
            raise DigestMismatch(f"{what}: {digest} and {file.published}", hint=hint)
    return digest


def _lock(file: File, name: str, store: Store, progress: Progress | None) -> Locked:
    from zoo.sources import shown

    held = file if file.digest is not None else store.pinned(file, name)
    if held.digest is None or held.size_bytes is None:
        path = store.fetch(file, name=name, progress=progress)
        held = replace(store.pinned(file, name), size_bytes=path.stat().st_size)
    assert held.digest is not None and held.size_bytes is not None
    # A source that carries a login or a query stays out: this file goes into the project's repository.
    return Locked(held.digest, held.size_bytes, tuple(url for url in file.sources if shown(url) == url))


def _files(path: Path, name: str, files: Any) -> dict[str, Locked]:
    if not isinstance(files, dict):
        raise Malformed(path, f"model {name!r}: its files are not a table")
    return {file: _locked(path, name, file, fields) for file, fields in files.items()}


def _locked(path: Path, name: str, file: str, fields: Any) -> Locked:
    where = f"model {name!r}, file {file!r}"
    if not isinstance(fields, dict) or not DIGEST.fullmatch(str(fields.get("digest"))):
        raise Malformed(path, f"{where}: its digest is not sha256:<64 hex digits>")
    size_bytes, sources = fields.get("size_bytes"), fields.get("sources", [])
    if not isinstance(size_bytes, int) or isinstance(size_bytes, bool) or size_bytes < 0:
        raise Malformed(path, f"{where}: its size_bytes is not a number of bytes")
    if not isinstance(sources, list) or not all(isinstance(one, str) for one in sources):
        raise Malformed(path, f"{where}: its sources are not a list of URLs")
    return Locked(fields["digest"], size_bytes, tuple(sources))
