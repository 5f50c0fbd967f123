"""torch.export's ExportedProgram (`.pt2`): the program as JSON in a zip archive, and its weights beside it.

    since torch 2.8    <prefix>/models/<name>.json                              the program
                       <prefix>/data/weights/<name>_weights_config.json         name -> member, dtype, sizes, strides
                       <prefix>/data/weights/weight_<i>                         the bytes
                       the same under data/constants
    2.1 to 2.7         serialized_exported_program.json
                       serialized_state_dict.pt (.json in 2.1), serialized_constants.pt: archives of torch.save

The program's fields are those of torch/_export/serde/schema.py; the archive is torch/export/pt2_archive's.
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers import torch_export_graph, torch_table
from zoo.converters.readers.json_text import parsed
from zoo.converters.readers.scribe import Fault
from zoo.converters.tensors import Tensor, archive, torch_state, torch_zip
from zoo.converters.tensors.mapped import DTYPES, MappedFile, map_file, quoted, tensor
from zoo.converters.tensors.pickle_machine import Rules
from zoo.converters.tensors.torch_globals import CALLS, refusal
from zoo.errors import Malformed, Refused

TABLE = torch_table.TABLE
EXTENSIONS = (".pt2", ".ep")
OLD = "serialized_exported_program.json"
MAX_JSON_BYTES = 64 << 20
MAX_MODELS = 1
# What reading a number, a list or a name fails with where a field holds something else.
NONSENSE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
# torch/_export/serde/schema.py, ScalarType
SCALARS = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64"}
SCALARS |= {12: "bool", 13: "bfloat16"}


def sniff(path: Path, head: bytes) -> bool:
    """Is it a zip archive with a program's JSON in one of the two places?"""
    if head[:4] != b"PK\3\4":
        return False
    try:
        return bool(_program(archive.directory(map_file(path))))
    except (Malformed, Refused):
        return False


def _program(members: dict[str, archive.Member]) -> list[str]:
    """The members that hold a program."""
    return [
        name
        for name in members
        if posixpath.basename(name) == OLD
        or (name.endswith(".json") and posixpath.basename(posixpath.dirname(name)) == "models")
    ]


def read(path: Path) -> ir.Model:
    """The bound graph; sizes that the program leaves free are free. Raises Malformed, Refused."""
    file = map_file(path)
    members = archive.directory(file)
    programs = _program(members)
    if len(programs) != MAX_MODELS:
        raise Refused(path, f"torch.export: {len(programs)} programs in one archive: {', '.join(programs)[:200]}")
    try:
        program = parsed(archive.content(file, members[programs[0]], MAX_JSON_BYTES))
        held = _old_tensors(file, members, programs[0]) if OLD in programs[0] else _tensors(file, members, programs[0])
        return torch_export_graph.build(program, held)
    except Fault as fault:
        error = Refused if fault.is_refusal else Malformed
        raise error(path, f"torch.export: {fault}") from fault
    except NONSENSE as error:
        raise Malformed(path, f"torch.export: the program makes no sense: {str(error)[:200]}") from error


def _tensors(file: MappedFile, members: dict[str, archive.Member], program: str) -> dict[str, Tensor]:
    """Weights and constants by name, mapped where they stand."""
    prefix = program.rpartition("models/")[0]
    name = posixpath.basename(program).removesuffix(".json")
    found: dict[str, Tensor] = {}
    for kind in ("weights", "constants"):
        folder = f"{prefix}data/{kind}/"
        config = members.get(f"{folder}{name}_{kind}_config.json")
        if config is None:
            continue
        entries = parsed(archive.content(file, config, MAX_JSON_BYTES))["config"]
        for key, entry in entries.items():
            if entry.get("tensor_meta") is None:
                continue  # an object of a class, which a node will ask for in vain
            found[key] = _tensor(file, members, folder + str(entry["path_name"]), key, entry)
    return found


def _tensor(file: MappedFile, members: dict[str, archive.Member], at: str, name: str, entry: dict[str, Any]) -> Tensor:
    member, meta = members.get(at), entry["tensor_meta"]
    if member is None:
        raise Fault(f"the bytes of {quoted(name)} are not in the archive")
    if entry.get("use_pickle"):
        raise Fault(f"{quoted(name)} is pickled by itself", is_refusal=True)
    dtype = DTYPES.get(SCALARS.get(meta["dtype"], ""))
    if dtype is None:
        raise Fault(f"{quoted(name)} has the dtype number {meta['dtype']}", is_refusal=True)
    shape, strides = ([integer(n) for n in meta[key]] for key in ("sizes", "strides"))
    source = archive.source(file, member)
    offset = integer(meta["storage_offset"])
    return tensor(file.path, name, source, member.size_bytes, dtype, shape, strides=strides, offset=offset)


def integer(value: Any) -> int:
    """A size that is known: {"as_int": 3}. Raises Fault."""
    found = value.get("as_int") if isinstance(value, dict) else value
    if type(found) is not int:
        raise Fault(f"a size that is no number: {str(value)[:80]}")
    return found


def _old_tensors(file: MappedFile, members: dict[str, archive.Member], program: str) -> dict[str, Tensor]:
    """The tensors of the archives inside the archive, which are held in memory: their members can't be mapped alone."""
    prefix = program.removesuffix(OLD)
    found: dict[str, Tensor] = {}
    for name in ("serialized_state_dict.pt", "serialized_state_dict.json", "serialized_constants.pt"):
        member = members.get(f"{prefix}{name}")
        if member is None or not member.size_bytes:
            continue
        source = archive.source(file, member)
        array = source if isinstance(source, np.ndarray) else source()
        inner = MappedFile(file.path, array.tobytes(), array)
        inside = archive.directory(inner)
        pickles = [n for n in inside if posixpath.basename(n) == "data.pkl"]
        if len(pickles) != 1:
            raise Fault(f"{name} is no archive of torch.save", is_refusal=True)
        storages = torch_zip.Storages(inner, inside, pickles[0].removesuffix("data.pkl"))
        value = torch_zip.unpickled(inner, inside[pickles[0]], Rules("torch pickle", refusal, CALLS, storages))
        found |= torch_state.weights(file.path, value) if value else {}
    return found
