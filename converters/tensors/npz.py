"""NumPy's .npz: a zip archive of .npy members. Stored ones are mapped, deflated ones inflated when asked for.

Chainer and Lasagne publish weights so.
"""

from __future__ import annotations

from pathlib import Path

from zoo.converters.tensors import archive, npy
from zoo.converters.tensors.mapped import Tensor, map_file, quoted
from zoo.errors import Malformed, Refused

NAME = "npz"
EXTENSIONS = (".npz",)


def sniff(head: bytes) -> bool:
    """Is it a zip archive whose first member is an array, or one without members (np.savez of nothing)?"""
    size = int.from_bytes(head[26:28], "little")
    return (head[:4] == b"PK\3\4" and head[30 : 30 + size].endswith(b".npy")) or head[:4] == b"PK\5\6"


def read(path: Path) -> dict[str, Tensor]:
    """The arrays by their names, as np.load gives them. Raises Malformed and Refused."""
    file = map_file(path)
    tensors: dict[str, Tensor] = {}
    for member in archive.directory(file).values():
        name = member.name.removesuffix(".npy")
        if name == member.name:
            raise Refused(path, f"npz: member {quoted(name)} is no array", offset=member.offset)
        head = archive.beginning(file, member, npy.PREAMBLE_BYTES + npy.MAX_HEADER_BYTES)
        if not npy.sniff(head):
            raise Malformed(path, f"npz: member {quoted(member.name)} is no array", offset=member.offset)
        tensors[name] = npy.array(file, name, archive.source(file, member), member.size_bytes, head)
    return tensors
