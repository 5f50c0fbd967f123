"""safetensors files as the safetensors library writes them."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from zoo.converters import tensors
from zoo.errors import FileError


def test_names_dtypes_shapes_and_numbers_are_the_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    expected = {
        "a.weight": rng.standard_normal((3, 4, 5)).astype(np.float32),
        "half": rng.standard_normal(7).astype(np.float16),
        "brain": rng.standard_normal(5).astype(ml_dtypes.bfloat16),
        "ids": np.arange(6, dtype=np.int64).reshape(2, 3),
        "mask": np.array([True, False]),
        "complex": np.array([1 + 2j], np.complex64),
        "scalar": np.array(2.5),
        "empty": np.zeros((0, 3), np.uint8),
    }
    path = tmp_path / "any name"
    safetensors.numpy.save_file(expected, path, metadata={"format": "np"})
    actual = tensors.read(path)
    assert set(expected) == set(actual)
    for name, array in expected.items():
        assert (array.dtype, array.shape) == (actual[name].numpy().dtype, tuple(actual[name].shape))
        assert array.tobytes() == actual[name].tobytes()


@pytest.mark.torch
def test_float8_is_read_as_torch_writes_it(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    import safetensors.torch

    for dtype in ("float8_e4m3fn", "float8_e5m2", "bfloat16"):
        expected = torch.arange(-8, 8).to(getattr(torch, dtype))
        safetensors.torch.save_file({"w": expected}, tmp_path / "x")
        actual = tensors.read(tmp_path / "x")["w"]
        assert dtype == actual.numpy().dtype.name
        assert expected.view(torch.uint8).numpy().tobytes() == actual.tobytes()


def test_all_tensors_share_one_mapping_and_writing_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    safetensors.numpy.save_file({"a": np.ones(3), "b": np.zeros(3)}, path)
    before = path.read_bytes()
    read = tensors.read(path)
    read["a"].numpy()[:] = 5
    assert before == path.read_bytes()
    assert not any(tensor.numpy().flags.owndata for tensor in read.values())


def test_a_file_cut_anywhere_is_an_error(tmp_path: Path) -> None:
    path, cut = tmp_path / "x", tmp_path / "cut"
    safetensors.numpy.save_file({"a": np.ones(3), "b": np.zeros((2, 2), np.int8)}, path)
    data = path.read_bytes()
    for size in range(len(data)):
        cut.write_bytes(data[:size])
        with pytest.raises(FileError):
            tensors.read(cut)
