"""Write a bound graph, or its weights, in a format of formats.TARGETS: to a path that is given, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir

from zoo.converters.formats import TARGETS, Target
from zoo.converters.graph import parameters
from zoo.errors import BadInput, UsageError, did_you_mean

Tensor = ir.TensorProtocol
CONTAINERS = {  # safetensors' names of dtypes (its README), by ONNX's
    "FLOAT": "F32",
    "DOUBLE": "F64",
    "FLOAT16": "F16",
    "BFLOAT16": "BF16",
    "FLOAT8E4M3FN": "F8_E4M3",
    "FLOAT8E5M2": "F8_E5M2",
    "INT64": "I64",
    "INT32": "I32",
    "INT16": "I16",
    "INT8": "I8",
    "UINT64": "U64",
    "UINT32": "U32",
    "UINT16": "U16",
    "UINT8": "U8",
    "BOOL": "BOOL",
}


MADE_BY = "Written by polyzoo"  # in the head of the first file of a folder that we wrote, which may be replaced


def checked(to: str, out: Path) -> Path:
    """The path, if a file or folder of the format `to` can be written there. Raises UsageError or BadInput."""
    if to not in TARGETS:
        raise UsageError(f"unknown format {to!r}", hint=did_you_mean(to, TARGETS) or f"Known: {', '.join(TARGETS)}.")
    if TARGETS[to].files:
        return _checked_folder(TARGETS[to], out.absolute())
    if out.suffix.lower() not in TARGETS[to].extensions:
        ends = ", ".join(TARGETS[to].extensions)
        raise BadInput(f"{out}: a file of the format {to} has a name that ends with {ends}")
    if out.is_dir():
        raise BadInput(f"{out} is a folder; name the file")
    if not out.parent.is_dir():
        raise BadInput(f"{out.parent}: no such folder")
    return out


def _checked_folder(target: Target, out: Path) -> Path:
    """The path, if there is nothing, an empty folder, or one that we wrote: it is replaced as a whole."""
    if not out.parent.is_dir():
        raise BadInput(f"{out.parent}: no such folder")
    if not out.exists() and not out.is_symlink():
        return out
    if not out.is_dir() or out.is_symlink():
        raise BadInput(f"{out} is no folder; the format {target.name} is one")
    if out == Path.cwd() or out in Path.cwd().parents:
        raise BadInput(f"{out} is the folder that this runs in; name one in it")
    found = sorted(path.name for path in out.iterdir())
    if others := [name for name in found if name not in (*target.files, "__pycache__")]:
        raise BadInput(f"{out} holds other files ({', '.join(others[:3])})", hint="Name a new folder.")
    if found:
        first = out / target.files[0]
        if not first.is_file() or MADE_BY not in first.read_text(encoding="utf-8", errors="replace"):
            raise BadInput(f"{out} was not written by polyzoo", hint="Name a new folder.")
    return out


def author_tensors(model: ir.Model) -> dict[str, Tensor]:
    """The tensors of a bound model by their author's names; all its initializers, where none is a marked parameter."""
    marked = {name: value.const_value for name, value in parameters(model.graph).items()}
    found = marked or {name: value.const_value for name, value in model.graph.initializers.items()}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def safetensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors, one at a time. Raises UsageError for a dtype that the format lacks."""
    import json

    header: dict[str, object] = {}
    offset = 0
    for name, tensor in tensors.items():
        dtype = CONTAINERS.get(tensor.dtype.name)
        if dtype is None:
            raise UsageError(f"safetensors has no dtype {tensor.dtype.name}, which {name!r} is of")
        header[name] = {
            "dtype": dtype,
            "shape": list(tensor.shape.numpy()),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor.numpy()).tobytes())


class Staged:
    """A folder beside `out` whose files take their places together when the block ends well, and vanish otherwise.

    `out` itself may be made as a file or as a folder, which takes the place of an older one as a whole.
    """

    def __init__(self, out: Path) -> None:
        self.out = out

    def __enter__(self) -> Path:
        self._folder = tempfile.TemporaryDirectory(prefix=f".{self.out.name}.", dir=self.out.parent)
        return Path(self._folder.name) / self.out.name

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                files = sorted(Path(self._folder.name).iterdir(), key=lambda p: p.name == self.out.name)
                for file in files:  # what the model refers to is there before the model
                    self._replace(file, self.out.parent / file.name)
        finally:
            self._folder.cleanup()

    def _replace(self, new: Path, place: Path) -> None:
        if not (new.is_dir() and place.is_dir()):
            os.replace(new, place)
            return
        old = Path(self._folder.name) / ".old"  # os.replace takes the place of files and of empty folders alone
        os.rename(place, old)
        try:
            os.rename(new, place)
        except OSError:
            os.rename(old, place)
            raise
