"""TorchScript archives (torch.jit.save): a program in a zip archive, which is read and never run, and its weights.

    since torch 1.4    <prefix>/data.pkl, <prefix>/data/<key>              the module with its attributes; storages
                       <prefix>/constants.pkl, <prefix>/constants/<key>    the tensors that the code names CONSTANTS.c0
                       <prefix>/code/__torch__/...py                       classes and functions, by their module's path
    1.0                <prefix>/model.json, <prefix>/tensors/<key>         modules, tensors
                       <prefix>/code/...py                                 their methods

The layout is that of torch/csrc/jit/serialization (import.cpp, python_print.cpp).
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

import onnx_ir as ir

from zoo.converters.readers import torch_table, torchscript_1_0, torchscript_graph
from zoo.converters.readers.scribe import Fault
from zoo.converters.readers.torchscript_code import Library
from zoo.converters.tensors import archive, torch_zip
from zoo.converters.tensors.mapped import MappedFile, map_file
from zoo.converters.tensors.pickle_machine import Rules
from zoo.converters.tensors.pickle_values import Instance, Value
from zoo.converters.tensors.torch_globals import CALLS, Storage, refusal, storage_dtype
from zoo.errors import Malformed, Refused

TABLE = torch_table.TABLE
EXTENSIONS = (".pt", ".pth", ".ts", ".torchscript")
# What reading a number, a list or a name fails with where a field holds something else.
NONSENSE = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
MAX_CODE_BYTES = 4 << 20


def _first(value: Value, *_: Value) -> Value:
    return value


def _listed(values: Value = ()) -> list[Value]:
    if not isinstance(values, list | tuple):
        raise ValueError("a list made of something that is none")
    return list(values)


LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
SCRIPT_CALLS = CALLS | {f"torch.jit._pickle.{name}": _listed for name in LISTS}
SCRIPT_CALLS |= {"torch.jit._pickle.restore_type_tag": _first}


def sniff(path: Path, head: bytes) -> bool:
    """Is it a zip archive with code beside its pickle or its model.json?"""
    if head[:4] != b"PK\3\4":
        return False
    try:
        return _prefix(archive.directory(map_file(path))) is not None
    except (Malformed, Refused):
        return False


def _prefix(members: dict[str, archive.Member]) -> str | None:
    """What stands before every member's name; None for another archive."""
    for name in members:
        if posixpath.basename(name) in ("data.pkl", "model.json"):
            prefix = name.removesuffix(posixpath.basename(name))
            if any(other.startswith(f"{prefix}code/") for other in members):
                return prefix
    return None


def read(path: Path) -> ir.Model:
    """The bound graph of the module's `forward` in inference mode: every `training` counts as false.

    Inputs have forward's names; ranks and dtypes, which an archive doesn't state, come from what is done with them.
    Raises Malformed; Refused for operators that are not known, and for what no graph can say.
    """
    file = map_file(path)
    members = archive.directory(file)
    prefix = _prefix(members) or ""
    try:
        library = Library(_code(file, members, prefix))
        if f"{prefix}data.pkl" not in members:
            module, constants, methods = torchscript_1_0.module(file, members, prefix)
            return torchscript_graph.build(library, module, constants, methods)
        root = _pickled(file, members, prefix, "data")
        if not isinstance(root, Instance):
            raise Fault("data.pkl holds no module")
        has_constants = f"{prefix}constants.pkl" in members
        held = list(_pickled(file, members, prefix, "constants")) if has_constants else []
        return torchscript_graph.build(library, root, held, {}, _traced(file, members, prefix))
    except Fault as fault:
        error = Refused if fault.is_refusal else Malformed
        raise error(path, f"TorchScript: {fault}") from fault
    except NONSENSE as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise Malformed(path, f"TorchScript: the program makes no sense: {what[:200]}") from error


def _traced(file: MappedFile, members: dict[str, archive.Member], prefix: str) -> list[Value]:
    """The inputs that newer versions note of a trace, without their numbers."""

    def storage(pid: Value) -> Storage:
        _, cls, key, _, numel = pid[:5]
        return Storage(str(key), storage_dtype(cls), int(numel))

    member = members.get(f"{prefix}traced_inputs.pkl")
    if member is None:
        return []
    value = torch_zip.unpickled(file, member, Rules("TorchScript pickle", refusal, SCRIPT_CALLS, storage))
    inputs = value.get("forward") if isinstance(value, dict) else None
    return list(inputs) if isinstance(inputs, list | tuple) else []


def _pickled(file: MappedFile, members: dict[str, archive.Member], prefix: str, name: str) -> Any:
    storages = torch_zip.Storages(file, members, prefix, f"{name}/")
    rules = Rules("TorchScript pickle", refusal, SCRIPT_CALLS, storages)
    return torch_zip.unpickled(file, members[f"{prefix}{name}.pkl"], rules)


def _code(file: MappedFile, members: dict[str, archive.Member], prefix: str) -> dict[str, str]:
    """The source files by the dotted name of their module."""
    found: dict[str, str] = {}
    left = MAX_CODE_BYTES
    for name, member in members.items():
        if name.startswith(f"{prefix}code/") and name.endswith(".py"):
            if member.size_bytes > left:
                raise Fault(f"more than {MAX_CODE_BYTES >> 20} MB of code", is_refusal=True)
            left -= member.size_bytes
            dotted = name.removeprefix(f"{prefix}code/").removesuffix(".py").replace("/", ".")
            found[dotted] = archive.content(file, member, MAX_CODE_BYTES).decode()
    return found
