"""TorchScript, ExportedPrograms and MXNet's symbols that attack their readers, and good ones that were mutated."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.converters.tensors.test_fuzz import mutated
from tests.hostile import archives, programs
from zoo.converters.readers import mxnet, torch_export, torchscript
from zoo.errors import FileError, ZooError

CORPUS = Path(__file__).parents[4] / "shared" / "golden"
FEW, MANY = 30, 10_000
SECONDS = 1.0  # what a file may cost at most on an idle machine; the one that tests may be five times slower
MEMORY_BYTES = 200 << 20


@pytest.mark.parametrize(("name", "data", "what"), list(programs.every()), ids=[name for name, *_ in programs.every()])
def test_a_program_that_attacks_is_refused(name: str, data: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(data)
    begin = time.process_time()
    with pytest.raises(FileError) as caught:
        torchscript.read(path)
    assert re.search(what, str(caught.value)), str(caught.value)
    assert time.process_time() - begin < 5 * SECONDS


PROGRAM = {
    "graph_module": {
        "graph": {"nodes": [], "inputs": [], "outputs": [{"as_tensor": {"name": "x"}}], "tensor_values": {}},
        "signature": {"input_specs": [], "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": "x"}}}}]},
    }
}
PROGRAMS: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{", "no JSON"),
    "a list": (b"[]", "makes no sense"),
    "many lists": (b"[" + b"[]," * 1_500_000 + b"0]", "parts"),
    "nesting": (b"[" * 100_000, "no JSON"),
    "a value that nothing makes": (json.dumps(PROGRAM).encode(), "nothing makes it"),
    "a foreign operator": (
        json.dumps(
            PROGRAM
            | {"graph_module": PROGRAM["graph_module"] | {"graph": PROGRAM["graph_module"]["graph"] | {"nodes": [
                {"target": "os.system", "inputs": [], "outputs": [], "metadata": {}}]}}}
        ).encode(),
        "os.system is called",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_exported_program_that_lies_is_refused(name: str, tmp_path: Path) -> None:
    data, what = PROGRAMS[name]
    (tmp_path / "x.pt2").write_bytes(archives.zipped({"m/models/model.json": data}))
    with pytest.raises(FileError, match=what):
        torch_export.read(tmp_path / "x.pt2")


def test_no_hostile_file_takes_much_memory(tmp_path: Path) -> None:
    for i, (_, data, _) in enumerate(programs.every()):
        (tmp_path / f"{i}.pt").write_bytes(data)
    code = (
        "import sys, resource\n"
        "from zoo.converters.readers import torchscript\nfrom zoo.errors import FileError\nfrom pathlib import Path\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sorted(Path(sys.argv[1]).glob('*.pt')):\n"
        "    try:\n        torchscript.read(path)\n    except FileError:\n        pass\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(run.stdout) < MEMORY_BYTES


# ---- mutations: a member of an archive is changed and the archive written again, so that the change is read


def rezipped(path: Path, rng: np.random.Generator) -> bytes:
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist() if not name.endswith(".debug_pkl")}
    told = [name for name in members if name.endswith((".py", ".json", ".pkl"))]
    name = told[int(rng.integers(len(told)))]
    members[name] = mutated(members[name], rng)
    return archives.zipped(members)


def symbol(path: Path, rng: np.random.Generator) -> bytes:
    return mutated(path.read_bytes(), rng)


FUZZED: dict[str, tuple[str, Callable[[Path, np.random.Generator], bytes], Callable[[Path], object]]] = {
    "script": ("torchscript_script/t112_gru_rnn_mix/model.pt", rezipped, torchscript.read),
    "trace": ("torchscript_trace/t112_vgg_bn/model.pt", rezipped, torchscript.read),
    "trace of 1.0": ("torchscript_trace/t10_gru_rnn_mix/model.pt", rezipped, torchscript.read),
    "export": ("torch_export_pt2/activations/model.pt2", rezipped, torch_export.read),
    "symbol": ("mxnet/conv_quirks/model-symbol.json", symbol, mxnet.read),
}


def fuzz(tmp_path: Path, name: str, first: int, count: int) -> None:
    file, change, read = FUZZED[name]
    original = CORPUS / file
    path = tmp_path / original.name
    if original.suffix == ".json":
        (tmp_path / "model-0000.params").write_bytes((original.parent / "model-0000.params").read_bytes())
    for seed in range(first, first + count):
        path.unlink(missing_ok=True)  # the last one is still mapped
        path.write_bytes(change(original, np.random.default_rng(seed)))
        try:
            read(path)
        except ZooError as error:
            assert "\n" not in str(error)
        except BaseException as error:
            error.add_note(f"{name}, seed {seed}")
            raise


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the golden corpus is not in ../shared")
@pytest.mark.parametrize("name", FUZZED)
@np.errstate(all="ignore")
def test_a_mutated_program_is_a_graph_or_a_clean_error(name: str, tmp_path: Path) -> None:
    fuzz(tmp_path, name, 0, FEW)


@pytest.mark.slow
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the golden corpus is not in ../shared")
@pytest.mark.parametrize("name", FUZZED)
@np.errstate(all="ignore")
def test_ten_thousand_mutated_programs_are_graphs_or_clean_errors(name: str, tmp_path: Path) -> None:
    fuzz(tmp_path, name, FEW, MANY)
