"""torch.save since 1.6: a zip archive with one pickle and one stored member a storage, which are mapped as they stand.

    <any prefix>/data.pkl          the pickle; a storage is a persistent id ("storage", class, key, location, count)
    <any prefix>/data/<key>        the bytes of that storage
    <any prefix>/byteorder         "little" or "big"; little where it is missing

The format is torch/serialization.py's `_save` and `_load`.
"""

from __future__ import annotations

import posixpath
from pathlib import Path

from zoo.converters.tensors import archive, torch_state
from zoo.converters.tensors.mapped import DType, MappedFile, Tensor, map_file, quoted
from zoo.converters.tensors.pickle_machine import Machine, Rules
from zoo.converters.tensors.pickle_values import Value
from zoo.converters.tensors.torch_globals import CALLS, Storage, refusal, storage_dtype
from zoo.errors import Malformed, Refused, UnknownFormat

NAME = "torch"
EXTENSIONS = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".pkl")
MEMBERS = ("data.pkl", "byteorder", "version", ".format_version", ".storage_alignment", "constants.pkl")
MAX_PICKLE_BYTES = 1 << 28


def sniff(head: bytes) -> bool:
    """Is it a zip archive that begins with a member of torch's, in whatever order somebody packed it again?"""
    size = int.from_bytes(head[26:28], "little")
    folder, name = posixpath.split(head[30 : 30 + size].decode("utf-8", "replace"))
    return head[:4] == b"PK\3\4" and (name in MEMBERS or not name or posixpath.basename(folder) in ("data", ".data"))


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a state_dict, of a checkpoint around one, or of a whole module, by their names in it.

    Raises UnknownFormat for other archives, Malformed and Refused for bad ones.
    """
    file = map_file(path)
    members = archive.directory(file)
    pickles = [name for name in members if posixpath.basename(name) == "data.pkl"]
    if not pickles:
        raise UnknownFormat(path)
    if len(pickles) > 1:
        raise Malformed(path, f"torch archive: {len(pickles)} members are a data.pkl: {', '.join(pickles)[:200]}")
    prefix = pickles[0].removesuffix("data.pkl")
    if any(name.startswith(f"{prefix}code/") for name in members):
        raise Refused(path, "a TorchScript archive: it holds a program, and its weights under the program's names")
    rules = Rules("torch pickle", refusal, CALLS, Storages(file, members, prefix))
    return torch_state.weights(path, unpickled(file, members[pickles[0]], rules))


def unpickled(file: MappedFile, pickle: archive.Member, rules: Rules) -> Value:
    """What a member of an archive holds, by the rules given. Raises Malformed or Refused."""
    base = 0 if pickle.is_deflated else pickle.offset
    return Machine(file.path, archive.content(file, pickle, MAX_PICKLE_BYTES), rules, base=base).load()


class Storages:
    """The storages of an archive, by key; called with a persistent id. They lie in `folder` behind the prefix."""

    def __init__(
        self, file: MappedFile, members: dict[str, archive.Member], prefix: str, folder: str = "data/"
    ) -> None:
        self.file, self.members, self.prefix, self.folder = file, members, prefix, folder
        self.made: dict[tuple[str, DType, int], Storage] = {}
        order = members.get(f"{prefix}byteorder")
        text = archive.content(file, order, 16) if order else b"little"
        if text not in (b"little", b"big"):
            raise Malformed(file.path, f"torch archive: byte order {text!r}")
        self.is_big_endian = text == b"big"

    def __call__(self, pid: Value) -> Storage:
        """The storage that ("storage", class, key, location, count) names. Raises ValueError, Malformed."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise ValueError("a persistent id that is no storage")
        _, cls, key, _, numel = pid[:5]
        if not isinstance(key, str) or type(numel) is not int or numel < 0:
            raise ValueError("a storage without a key or a count")
        dtype = storage_dtype(cls)
        if (made := self.made.get((key, dtype, numel))) is not None:
            return made
        storage = Storage(key, dtype, numel, is_big_endian=self.is_big_endian)
        member = self.members.get(f"{self.prefix}{self.folder}{key}")
        if member is None and numel:
            raise Malformed(self.file.path, f"torch archive: storage {quoted(key)} is not in it")
        if member is not None:
            if member.size_bytes != storage.size_bytes:
                what = f"storage {quoted(key)} of {numel:,} x {dtype} has {member.size_bytes:,} bytes"
                raise Malformed(self.file.path, f"torch archive: {what}", offset=member.offset)
            storage.source = archive.source(self.file, member)
        else:
            storage.source = self.file.array[:0]
        return self.made.setdefault((key, dtype, numel), storage)
