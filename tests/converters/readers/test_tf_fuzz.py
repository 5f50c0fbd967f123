"""Good TensorFlow, TFLite and Keras files, mutated: whatever comes of it is a graph or a clean error, nothing else.

Seeded, so that a failure comes again. A few mutations a file run always, ten thousand with `-m slow`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.converters.tensors.test_fuzz import mutated
from zoo.converters import formats, tensors
from zoo.errors import FileError, ZooError

CORPUS = Path(__file__).parents[4] / "shared" / "golden"
FEW, MANY = 40, 10_000
# the file that is mutated, and what is read then
FILES = {
    "tflite_float/mlp/model.tflite": ".",
    "tflite_int8/mlp/model.tflite": ".",
    "tf1_frozen/vgg_slim_bn/frozen.pb": ".",
    "tf1_checkpoint/depthwise_atrous_convs/model.ckpt.meta": ".",
    "sonnet2_savedmodel/mlp/saved_model/saved_model.pb": "..",
    "tf1_checkpoint/resnet_odd_same_v1format/model.ckpt": "weights",
    "tf2_checkpoint/tfmodule_mlp/ckpt-1.index": "weights",
    "keras3_keras/mlp/model.keras": ".",
}


def survive(path: Path, how: str) -> bool:
    """Read a file as a model or as weights; False for a clean error. Anything else is raised."""
    try:
        if how == "weights":
            assert all(t.numpy().nbytes < 64 << 20 for t in tensors.read(path).values())
        else:
            formats.read([path.parent if how == ".." else path])
    except ZooError as error:
        assert isinstance(error, FileError), error
        return False
    return True


def run(tmp_path: Path, name: str, first: int, count: int) -> None:
    """Mutations of a file, beside the others of its folder."""
    folder = tmp_path / "case"
    shutil.copytree((CORPUS / name).parent, folder)
    path = folder / Path(name).name
    for file in folder.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    folder.chmod(0o755)
    data, survived = path.read_bytes(), 0
    assert survive(path, FILES[name])
    for seed in range(first, first + count):
        path.unlink()  # the last one is still mapped
        path.write_bytes(mutated(data, np.random.default_rng(seed)))
        try:
            survived += survive(path, FILES[name])
        except BaseException as error:
            error.add_note(f"file {name!r}, seed {seed}")
            raise
    assert survived < count


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the golden corpus is not in ../shared")
@pytest.mark.parametrize("name", FILES)
def test_a_mutated_file_is_a_graph_or_a_clean_error(tmp_path: Path, name: str) -> None:
    run(tmp_path, name, 0, FEW)


@pytest.mark.slow
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the golden corpus is not in ../shared")
@pytest.mark.parametrize("name", FILES)
def test_ten_thousand_mutated_files_are_graphs_or_clean_errors(tmp_path: Path, name: str) -> None:
    run(tmp_path, name, FEW, MANY)
