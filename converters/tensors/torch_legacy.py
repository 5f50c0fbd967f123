"""torch.save before 1.6, and since then on request: pickles in a row, then the numbers.

    pickle   the magic number 0x1950a86a20f9469cfc6c
    pickle   the protocol version, 1001
    pickle   what machine wrote it
    pickle   the object; a storage is a persistent id ("storage", class, key, location, count, view)
    pickle   the keys of the storages that follow
    then for each key its count, 8 bytes, and its numbers, little-endian always

The format is torch/serialization.py's `_legacy_save` and `_legacy_load`, and THPStorage_writeFileRaw.
"""

from __future__ import annotations

import struct
from pathlib import Path

from zoo.converters.tensors import torch_state
from zoo.converters.tensors.mapped import MappedFile, Tensor, map_file, quoted
from zoo.converters.tensors.pickle_machine import Machine, Rules
from zoo.converters.tensors.pickle_values import Value
from zoo.converters.tensors.torch_globals import CALLS, Storage, refusal, storage_dtype
from zoo.errors import Malformed

NAME = "torch (before 1.6)"
EXTENSIONS = (".pth", ".pt", ".bin", ".ckpt", ".pkl")
MAGIC = 0x1950A86A20F9469CFC6C
MAGIC_BYTES = MAGIC.to_bytes(10, "little")
PROTOCOL = 1001


def sniff(head: bytes) -> bool:
    """Does it begin with a pickle of the magic number, in any protocol that has LONG1?"""
    return head[:1] == b"\x80" and MAGIC_BYTES in head[:32]


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a state_dict, of a checkpoint around one, or of a whole module, by their names in it.

    Raises Malformed and Refused.
    """
    file = map_file(path)
    storages = _Storages()
    machine = Machine(path, file.data, Rules("torch pickle", refusal, CALLS, storages))
    if (magic := machine.load()) != MAGIC:
        raise Malformed(path, f"torch: begins with {str(magic)[:40]}, not with its magic number", offset=0)
    if (protocol := machine.again().load()) != PROTOCOL:
        raise Malformed(path, f"torch: protocol {str(protocol)[:40]}, not {PROTOCOL:,}", offset=0)
    machine.again().load()
    value = machine.again().load()
    keys = machine.again().load()
    if not isinstance(keys, list) or not all(isinstance(key, str | int) for key in keys):
        raise Malformed(path, "torch: no list of storages after the pickle", offset=machine.pos)
    at = machine.pos
    for key in keys:
        at = storages.locate(file, str(key), at)
    if at != len(file):
        raise Malformed(path, f"torch: {len(file) - at:,} bytes after the last storage", offset=at)
    return torch_state.weights(path, value)


class _Storages:
    """The storages of a stream, by key; called with a persistent id."""

    def __init__(self) -> None:
        self.roots: dict[str, Storage] = {}
        self.views: list[tuple[Storage, Storage, int]] = []  # a view, its root, and where it begins in bytes

    def __call__(self, pid: Value) -> Value:
        if isinstance(pid, tuple) and len(pid) >= 2 and pid[0] == "module":
            return pid[1]  # a class with its source code, which nobody reads
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise ValueError("a persistent id that is no storage")
        _, cls, key, _, numel, view = (*pid, None)[:6]
        if not isinstance(key, str | int) or type(numel) is not int or numel < 0:
            raise ValueError("a storage without a key or a count")
        dtype, name = storage_dtype(cls), str(key)
        root = self.roots.setdefault(name, Storage(name, dtype, numel))
        if (root.dtype, root.numel) != (dtype, numel):
            raise ValueError(f"storage {quoted(name)} is stated twice, and differently")
        if view is None:
            return root
        if not isinstance(view, tuple) or len(view) != 3 or any(type(n) is not int or n < 0 for n in view[1:]):
            raise ValueError("a view of a storage without its offset and count")
        offset, count = view[1:]
        if offset + count > numel:
            raise ValueError(f"a view of {count:,} numbers at {offset:,} of a storage of {numel:,}")
        part = Storage(name, dtype, count)
        self.views.append((part, root, offset * dtype.itemsize))
        return part

    def locate(self, file: MappedFile, key: str, at: int) -> int:
        """Point the storage `key` to its bytes, which stand at `at` behind their count; where the next one stands."""
        storage = self.roots.get(key)
        if storage is None or storage.source is not None:
            raise Malformed(file.path, f"torch: storage {quoted(key)} is not in the pickle, or comes twice", offset=at)
        (numel,) = struct.unpack("<q", file.slice(at, 8, f"the count of storage {quoted(key)}").tobytes())
        if numel != storage.numel:
            what = f"torch: storage {quoted(key)} of {storage.numel:,} numbers states {numel:,}"
            raise Malformed(file.path, what, offset=at)
        storage.source = file.slice(at + 8, storage.size_bytes, f"storage {quoted(key)}")
        for part, root, begin in self.views:
            if root is storage:
                part.source = storage.source[begin : begin + part.size_bytes]
        return at + 8 + storage.size_bytes
