"""The weights in Keras 3's `.keras` archives: an HDF5 file as a member of a zip, mapped where it is stored as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from zoo.converters.tensors import archive, hdf5
from zoo.converters.tensors.archive import Member
from zoo.converters.tensors.mapped import MappedFile, Tensor, map_file
from zoo.errors import FileError, Malformed, Refused

NAME = "keras-archive"
EXTENSIONS = (".keras",)
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MAX_INFLATED_BYTES = 1 << 32  # of weights that are compressed, and so have to be in memory


def sniff(head: bytes) -> bool:
    """Does the archive begin with one of Keras' members? It writes its metadata first."""
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    return head.startswith(b"PK\3\4") and name in (METADATA.encode(), CONFIG.encode())


def sniff_file(path: Path, head: bytes) -> bool:
    """Whether a file is such an archive, whichever member comes first."""
    if not head.startswith(b"PK\3\4"):
        return False
    if sniff(head):
        return True
    try:
        members = archive.directory(map_file(path))
    except (FileError, OSError):
        return False
    return CONFIG in members and WEIGHTS in members


def read(path: Path) -> dict[str, Tensor]:
    """The weights by their places in the archive's HDF5 file. Raises Malformed and Refused."""
    file = map_file(path)
    return tensors_of(file, archive.directory(file))


def tensors_of(file: MappedFile, members: Mapping[str, Member]) -> dict[str, Tensor]:
    """The weights of a mapped archive."""
    if WEIGHTS not in members:
        if any(name.endswith((".h5", ".npz")) for name in members):
            raise Refused(file.path, "Keras: weights in several members of the archive")
        raise Malformed(file.path, f"Keras: no {WEIGHTS}")
    member = members[WEIGHTS]
    if member.is_deflated and member.size_bytes > MAX_INFLATED_BYTES:
        raise Refused(file.path, f"Keras: {member.size_bytes:,} bytes of compressed weights")
    source = archive.source(file, member)
    data = source if isinstance(source, np.ndarray) else source()
    return hdf5.read_mapped(MappedFile(file.path, hdf5.Part(data), data))
