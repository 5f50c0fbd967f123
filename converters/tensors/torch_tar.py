"""torch.save of torch 0.1.1 and before: a tar of three members, each a row of pickles with numbers between them.

    storages   how many; for each its key, location and class, then its count (8 bytes) and numbers;
               then the views: (key, root's key, offset, count)
    tensors    how many; for each its key, its storage's key and its class, then its rank (4 bytes, and 4 of padding),
               sizes, strides and offset (8 bytes each)
    pickle     the object; a tensor is a persistent id, its key

The format is torch/serialization.py's `legacy_load`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from zoo.converters.tensors import torch_state
from zoo.converters.tensors.mapped import MAX_RANK, MappedFile, Tensor, map_file, quoted
from zoo.converters.tensors.pickle_machine import Machine, Rules
from zoo.converters.tensors.pickle_values import Value, Wrong
from zoo.converters.tensors.torch_globals import CALLS, Storage, View, refusal, storage_dtype
from zoo.errors import Malformed

NAME = "torch (tar)"
EXTENSIONS = (".pth", ".pt")
MEMBERS = ("storages", "tensors", "pickle")
BLOCK = 512
MAX_ENTRIES = 16
MAX_STORAGES = 100_000


def sniff(head: bytes) -> bool:
    """Is it a tar whose first member is torch's?"""
    first = head[:100].rstrip(b"\0").removeprefix(b"./").decode("latin1")
    return head[257:262] == b"ustar" and first in (*MEMBERS, "sys_info")


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a state_dict, of a checkpoint around one, or of a whole module, by their names in it.

    Raises Malformed and Refused.
    """
    file = map_file(path)
    members = _members(file)
    if absent := [name for name in MEMBERS if name not in members]:
        raise Malformed(path, f"torch tar: no {absent[0]!r} in it")
    storages = _storages(file, members["storages"])
    tensors = _tensors(file, members["tensors"], storages)

    def persistent(pid: Value) -> Value:
        if isinstance(pid, tuple) and pid:
            return pid[0]  # a class with its source code, which nobody reads
        if str(pid) not in tensors:
            raise ValueError(f"tensor {quoted(str(pid))} is not in the archive")
        return tensors[str(pid)]

    value = _machine(file, members["pickle"], persistent).load()
    return torch_state.weights(path, value)


def _members(file: MappedFile) -> dict[str, int]:
    """Name -> offset of the content of the plain files of a tar (POSIX 1003.1, ustar interchange format)."""
    found: dict[str, int] = {}
    at = 0
    for _ in range(MAX_ENTRIES):
        header = file.data[at : at + BLOCK]
        if len(header) < BLOCK or not any(header):
            return found
        try:
            size = int(header[124:136].strip(b"\0 ") or b"0", 8)
        except ValueError as error:
            raise Malformed(file.path, "tar: a size that is no number", offset=at + 124) from error
        name = header[:100].rstrip(b"\0").decode("latin1").removeprefix("./")
        file.slice(at + BLOCK, size, f"tar member {quoted(name)}")
        if header[156:157] in (b"0", b"\0"):
            if name in found:
                raise Malformed(file.path, f"tar: two members are named {quoted(name)}", offset=at)
            found[name] = at + BLOCK
        at += BLOCK + -(-size // BLOCK) * BLOCK
    raise Malformed(file.path, f"torch tar: more than {MAX_ENTRIES} members", offset=at)


def _machine(file: MappedFile, offset: int, persistent: Callable[[Value], Value] | None = None) -> Machine:
    return Machine(file.path, file.data, Rules("torch pickle", refusal, CALLS, persistent), offset)


def _count(machine: Machine, what: str) -> int:
    count = machine.load()
    if type(count) is not int or not 0 <= count <= MAX_STORAGES:
        raise machine.malformed(f"no count of {what}", machine.pos)
    return count


def _row(machine: Machine, size: int, what: str) -> tuple[Value, ...]:
    row = machine.again().load()
    if not isinstance(row, tuple) or len(row) != size:
        raise machine.malformed(f"no {what} where one should be", machine.pos)
    return row


def _numbers(file: MappedFile, machine: Machine, code: str, what: str) -> tuple[int, ...]:
    data = file.slice(machine.pos, struct.calcsize(code), what).tobytes()
    machine.pos += len(data)
    return struct.unpack(code, data)


def _storages(file: MappedFile, offset: int) -> dict[str, Storage]:
    machine = _machine(file, offset)
    storages: dict[str, Storage] = {}
    begins: dict[str, int] = {}
    for _ in range(_count(machine, "storages")):
        key, _, cls = _row(machine, 3, "storage")
        what = f"storage {quoted(str(key))}"
        try:
            dtype = storage_dtype(cls)
        except Wrong as error:
            raise machine.refused(f"{what}: {error}", machine.pos) from error
        (numel,) = _numbers(file, machine, "<q", what)
        source = file.slice(machine.pos, numel * dtype.itemsize, what)
        storages[str(key)], begins[str(key)] = Storage(str(key), dtype, numel, source), machine.pos
        machine.pos += source.size
    views = machine.again().load()
    for view in views if isinstance(views, list) else ():
        key, root_key, first, numel = view if isinstance(view, tuple) and len(view) == 4 else (0, None, 0, 0)
        root, begin = storages.get(str(root_key)), begins.get(str(root_key))
        is_count = type(first) is int and type(numel) is int and min(first, numel) >= 0
        if root is None or begin is None or not is_count or first + numel > root.numel:
            raise machine.malformed(f"a view {str(view)[:80]} of a storage that is none", machine.pos)
        width = root.dtype.itemsize
        source = file.slice(begin + first * width, numel * width, "a view")
        storages[str(key)] = Storage(str(key), root.dtype, numel, source)
    return storages


def _tensors(file: MappedFile, offset: int, storages: dict[str, Storage]) -> dict[str, View]:
    machine = _machine(file, offset)
    tensors: dict[str, View] = {}
    for _ in range(_count(machine, "tensors")):
        key, storage_key, _ = _row(machine, 3, "tensor")
        what, storage = f"tensor {quoted(str(key))}", storages.get(str(storage_key))
        rank, _ = _numbers(file, machine, "<iI", what)
        if storage is None or not 0 <= rank <= MAX_RANK:
            raise machine.malformed(f"{what} of rank {rank} without a storage", machine.pos)
        numbers = _numbers(file, machine, f"<{2 * rank + 1}q", what)
        tensors[str(key)] = View(storage, storage.dtype, numbers[-1], numbers[:rank], numbers[rank:-1])
    return tensors
