"""Weights in several files behind an index, and indexes that point elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from zoo.converters import tensors
from zoo.errors import BadInput, FileError, Malformed, Refused


def write(folder: Path, weight_map: dict[str, Any], name: str = "model.safetensors.index.json") -> Path:
    (folder / name).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return folder / name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    safetensors.numpy.save_file({"a": np.ones(2), "c": np.arange(3)}, tmp_path / "1.safetensors")
    safetensors.numpy.save_file({"b": np.zeros((2, 2))}, tmp_path / "2.safetensors")
    return tmp_path


def test_every_tensor_comes_from_its_file_in_the_indexs_order(folder: Path) -> None:
    path = write(folder, {"a": "1.safetensors", "b": "2.safetensors", "c": "1.safetensors"})
    read = tensors.read(path)
    assert list(read) == ["a", "b", "c"]
    np.testing.assert_array_equal(np.arange(3), read["c"].numpy())


@pytest.mark.torch
def test_an_index_of_torch_files(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model-00001-of-00001.bin")
    path = write(tmp_path, {"a": "pytorch_model-00001-of-00001.bin"}, "pytorch_model.bin.index.json")
    assert list(tensors.read(path)) == ["a"]


@pytest.mark.parametrize(
    "place",
    ["../1.safetensors", "/etc/passwd", "sub/1.safetensors", "..", ".", "", "a\\b", "model.safetensors.index.json"],
)
def test_a_file_outside_the_folder_is_refused(folder: Path, place: str) -> None:
    with pytest.raises(Refused, match="not a file of weights in the same folder"):
        tensors.read(write(folder, {"a": place}))


def test_links_that_the_user_made_are_followed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    # As in the cache of huggingface_hub, whose snapshots are links to its blobs.
    blob = tmp_path_factory.mktemp("blobs") / "5f2d"
    (folder / "2.safetensors").rename(blob)
    (folder / "2.safetensors").symlink_to(blob)
    assert list(tensors.read(write(folder, {"b": "2.safetensors"}))) == ["b"]


def test_what_the_index_and_the_files_disagree_on_is_named(folder: Path) -> None:
    with pytest.raises(Malformed, match="'1.safetensors' holds 'c', which the index doesn't put there"):
        tensors.read(write(folder, {"a": "1.safetensors"}))
    with pytest.raises(Malformed, match="'d' is not in '2.safetensors'"):
        tensors.read(write(folder, {"b": "2.safetensors", "d": "2.safetensors"}))
    with pytest.raises(BadInput, match="'3.safetensors', which it names, is not in its folder"):
        tensors.read(write(folder, {"b": "3.safetensors"}))


@pytest.mark.parametrize(
    "text", ['{"weight_map": [', '{"weight_map": []}', '{"weight_map": {"a": 1}}', '{"weight_map": ' + "[" * 100_000]
)
def test_an_index_that_is_none_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(FileError):
        tensors.read(tmp_path / "x.json")


def test_a_path_that_can_not_be_opened_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"):
        tensors.read(tmp_path / "absent.pth")
    with pytest.raises(BadInput, match="directory"):
        tensors.read(tmp_path)
