"""Tensor containers: a file of weights -> names and tensors, whatever framework wrote it, and nothing of it executed.

A tensor is an `onnx_ir.TensorProtocol`: name, dtype (bfloat16 and float8 too), shape, and bytes that stay on disk,
mapped copy-on-write, until somebody looks. One module a container: NAME, EXTENSIONS, `sniff(head)`, `read(path)`.
"""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Protocol

from zoo.converters.tensors import (
    hdf5,
    keras_zip,
    mxnet,
    npy,
    npz,
    safetensors,
    sharded,
    tf_bundle,
    torch_legacy,
    torch_tar,
    torch_zip,
)
from zoo.converters.tensors.mapped import Tensor
from zoo.errors import BadInput, UnknownFormat

__all__ = ["CONTAINERS", "HEAD_BYTES", "Container", "Tensor", "container_of", "read", "unprefixed"]

HEAD_BYTES = 4096


class Container(Protocol):
    """What each module of this package is."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a module's constant
        """What people call it."""

    @property
    def EXTENSIONS(self) -> tuple[str, ...]:  # noqa: N802
        """How its files are named, most often."""

    def sniff(self, head: bytes) -> bool:
        """Do a file's first HEAD_BYTES bytes look like this container's?"""

    def read(self, path: Path) -> dict[str, Tensor]:
        """Names to tensors. Raises FileError."""


# In the order in which they are asked; no two say yes to one file.
CONTAINERS: tuple[Container, ...] = (
    *(safetensors, keras_zip, npz, torch_zip, torch_legacy),
    *(hdf5, npy, mxnet, tf_bundle, torch_tar, sharded),
)

WRAPPERS = ("module.", "_orig_mod.")  # torch.nn.DataParallel and torch.compile


def read(path: str | PathLike[str]) -> dict[str, Tensor]:
    """The tensors of any weights file by the names in it; what the file is, its bytes say and not its name.

    Raises BadInput when it can't be opened, UnknownFormat when no container knows it, Malformed when it isn't what it
    seems, Refused when it holds what is never read.
    """
    path = Path(path)
    try:
        return container_of(path).read(path)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from error


def container_of(path: Path) -> Container:
    """The container whose bytes a file begins with; raises UnknownFormat or OSError."""
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    for container in CONTAINERS:
        if container.sniff(head):
            return container
    raise UnknownFormat(path)


def unprefixed(names: Iterable[str]) -> dict[str, str]:
    """Each name in a file -> the name without what torch.nn.DataParallel and torch.compile put before all of them.

    A prefix is taken off when all names have it, and only then.

    >>> unprefixed(["module.fc.weight", "module.fc.bias"])
    {'module.fc.weight': 'fc.weight', 'module.fc.bias': 'fc.bias'}
    >>> unprefixed(["module.fc.weight", "fc.bias"])
    {'module.fc.weight': 'module.fc.weight', 'fc.bias': 'fc.bias'}
    """
    plain = {name: name for name in names}
    while plain and (prefix := _common_prefix(plain.values())):
        plain = {name: short.removeprefix(prefix) for name, short in plain.items()}
    return plain


def _common_prefix(names: Iterable[str]) -> str:
    names = list(names)
    return next((p for p in WRAPPERS if all(name.startswith(p) for name in names)), "")
