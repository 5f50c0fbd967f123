"""Which catalogs count, in order: the built-in one, `$ZOO_HOME/catalogs/*.yaml`, and what `$ZOO_CATALOGS` lists.

`$ZOO_CATALOGS` holds, separated by commas or the platform's path separator, YAML files, folders of them, and addresses
that are pinned: `https://example.org/models.yaml#sha256=<64 hex digits>`, fetched once into the store.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from zoo.errors import EntryError
from zoo.home import home

BUILT_IN = "built-in"
SUFFIXES = (".yaml", ".yml")
ADDRESS = r"https?://[^,\s]*?#sha256=[0-9A-Fa-f]{64}|https?://[^,\s]+"
PINNED = r"(https?://[^#\s]+)#sha256=([0-9a-f]{64})"


class Source(NamedTuple):
    """One catalog, of a file or of an address with a known digest; `label` is what errors and entries call it."""

    label: str
    path: Path | None = None
    sha256: str | None = None  # of an address

    def read(self) -> bytes:
        """The bytes. Raises EntryError when the file can't be read, FetchError and StoreError for an address."""
        try:
            return self._file().read_bytes()
        except OSError as error:
            raise EntryError(f"can't be read: {error.strerror}", file=self.label) from error

    def _file(self) -> Path:
        if self.path is not None:
            return self.path
        from zoo.entry import File
        from zoo.store import default_store

        name = self.label.rpartition("/")[2] or "catalog.yaml"
        return default_store().fetch(File(name, f"sha256:{self.sha256}", None, None, (self.label,)), name=self.label)


def sources() -> list[Source]:
    """Every catalog that counts now, in order."""
    built_in = Source(BUILT_IN, Path(__file__).with_name("registry.yaml"))
    return [built_in, *_folder(home() / "catalogs"), *_stated(os.environ.get("ZOO_CATALOGS", ""))]


def _folder(folder: Path) -> list[Source]:
    """The YAML files of a folder, by name; none if there is no such folder."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIXES) and not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise EntryError(f"can't be read: {error.strerror}", file=folder) from error
    return [Source(str(folder / name), folder / name) for name in names]


def _stated(value: str) -> list[Source]:
    found: list[Source] = []
    for item in map(str.strip, re.findall(rf"{ADDRESS}|[^,{os.pathsep}]+", value)):
        if not item:
            continue
        if item.startswith(("https://", "http://")):
            found.append(_address(item))
            continue
        path = Path(item).expanduser()
        if path.is_dir():
            found += _folder(path)
        elif path.exists():
            found.append(Source(str(path), path))
        else:
            raise EntryError("no such file or folder; $ZOO_CATALOGS names it", file=item)
    return found


def _address(item: str) -> Source:
    pinned = re.fullmatch(PINNED, item)
    if not pinned:
        raise EntryError(
            "an address in $ZOO_CATALOGS has to be pinned: <address>#sha256=<64 hex digits, lower case>", file=item
        )
    return Source(pinned[1], sha256=pinned[2])
