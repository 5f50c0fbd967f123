"""Small facts that the store keeps about files: one JSON file a fact, so that no two processes edit the same one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from zoo.digests import DIGEST
from zoo.durable import write_atomically
from zoo.errors import Damaged


@dataclass(frozen=True, slots=True)
class Record:
    """The file `path` of the model `name` is the blob `digest`."""

    name: str  # "efficientnet-lite0:imagenet-1k"
    path: str
    digest: str
    size_bytes: int


def place(folder: Path, *facts: str) -> Path:
    """Where the record of these facts stands: a hash, since names hold `/`, `:` and case that some disks don't keep."""
    return folder / f"{hashlib.sha256(chr(0).join(facts).encode()).hexdigest()[:32]}.json"


def read(path: Path) -> Record | None:
    """The record at `path`, or None if there is none. Raises Damaged for a file that is no record."""
    try:
        fields = json.loads(path.read_bytes())
        record = Record(fields["name"], fields["path"], fields["digest"], fields["size_bytes"])
        if DIGEST.fullmatch(record.digest) and isinstance(record.size_bytes, int):
            return record
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path} is not the record that this program writes", hint="Delete it.") from error
    raise Damaged(f"{path} is not the record that this program writes", hint="Delete it.")


def read_all(folder: Path) -> Iterator[tuple[Path, Record]]:
    """All records of a folder, in the order of their file names."""
    for path in sorted(folder.glob("*.json")):
        if (record := read(path)) is not None:
            yield path, record


def write(path: Path, record: Record, *, scratch: Path, exclusive: bool = False) -> bool:
    """Write it whole or not at all; with `exclusive`, False when another stands there already."""
    data = json.dumps(asdict(record), indent=1, sort_keys=True).encode() + b"\n"
    return write_atomically(path, data, scratch=scratch, exclusive=exclusive)
