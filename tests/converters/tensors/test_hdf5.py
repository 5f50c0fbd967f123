"""HDF5 files as h5py writes them, and as nobody should."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from zoo.converters import tensors
from zoo.converters.tensors import hdf5
from zoo.converters.tensors.mapped import map_file
from zoo.errors import FileError, Malformed, Refused

h5py = pytest.importorskip("h5py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.h5"


def test_every_layout_and_filter_gives_the_numbers(path: Path) -> None:
    rng = np.random.default_rng(0)
    big = rng.standard_normal((100, 7))
    with h5py.File(path, "w") as file:
        file["a/b/c"] = big.astype(np.float32)
        file["half"] = np.float16([1.5])
        file["ids"] = np.arange(5)
        file["big endian"] = np.arange(5, dtype=">f8")
        file["bool"] = np.array([True, False])
        file["complex"] = np.array([1 + 2j])
        file["scalar"] = 3.5
        file["empty"] = np.zeros((0, 3), np.float32)
        file.create_dataset("chunked", data=big, chunks=(30, 4))
        file.create_dataset("gzip", data=big, chunks=(30, 4), compression="gzip")
        file.create_dataset("all", data=big, chunks=(100, 7), compression="gzip", shuffle=True, fletcher32=True)
        file.create_dataset("odd", data=np.arange(7, dtype="u1"), chunks=(7,), fletcher32=True)
        file["again"] = file["gzip"]
        file["soft"] = h5py.SoftLink("/a/b/c")
    expected: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        for name in [*(n for n in file if n != "a"), "a/b/c"]:
            expected[name] = file[name][()]
    actual = tensors.read(path)
    assert set(expected) == set(actual)
    for name, array in expected.items():
        np.testing.assert_array_equal(array, actual[name].numpy(), err_msg=name)
        assert np.asarray(array).dtype.newbyteorder("=") == actual[name].numpy().dtype


def test_contiguous_datasets_are_mapped_copy_on_write(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["w"] = np.ones(10)
    before = path.read_bytes()
    tensor = tensors.read(path)["w"]
    assert not tensor.numpy().flags.owndata
    tensor.numpy()[:] = 3
    assert before == path.read_bytes()


def test_bfloat16_is_read_as_keras_writes_it(path: Path) -> None:
    expected = np.arange(4).astype(ml_dtypes.bfloat16)
    with h5py.File(path, "w") as file:
        file["w"] = expected
        file["w"].attrs["dtype"] = "bfloat16"
    actual = tensors.read(path)["w"].numpy()
    assert actual.dtype == expected.dtype
    assert actual.tobytes() == expected.tobytes()


def test_a_whole_keras_model_gives_the_names_of_its_weights_file(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["model_weights/conv/conv/kernel:0"] = np.ones(2)
        file["optimizer_weights/Adam/m:0"] = np.ones(2)
    assert list(tensors.read(path)) == ["conv/conv/kernel:0"]


@pytest.mark.parametrize("value", ["text", np.array([b"ab"]), np.zeros(2, "i4,f4")], ids=["text", "bytes", "compound"])
def test_anything_but_numbers_is_refused_by_name(path: Path, value: object) -> None:
    with h5py.File(path, "w") as file:
        file["labels"] = value
    with pytest.raises(Refused, match="dataset 'labels' is of dtype"):
        tensors.read(path)


def test_data_that_is_not_in_the_file_is_an_error(path: Path) -> None:
    (path.parent / "secret").write_bytes(bytes(400))
    with h5py.File(path, "w") as file:
        file.create_dataset("w", (100,), "f4", external=[("secret", 0, 400)])
    with pytest.raises(FileError, match="'w'"):
        tensors.read(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("w", (100,), "f4")
    with pytest.raises(FileError, match="'w'"):
        tensors.read(path)
    with h5py.File(path, "w") as file:
        file["w"] = h5py.ExternalLink("other.h5", "/w")
    with pytest.raises(FileError):
        tensors.read(path)


def test_a_shape_larger_than_the_file_is_an_error(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("w", (1 << 40,), "f4", chunks=(1 << 20,), compression="gzip")
    with pytest.raises(Malformed, match="'w' has 0 chunks"):
        tensors.read(path)


def test_a_chunk_that_inflates_to_more_is_an_error(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("w", data=np.zeros(1 << 22), chunks=(1 << 22,), compression="gzip")
    data = path.read_bytes()
    shape = (1 << 22).to_bytes(8, "little")
    chunk = (1 << 22).to_bytes(4, "little") + (8).to_bytes(4, "little")
    assert data.count(chunk) == 1
    small = data.replace(shape, (4).to_bytes(8, "little")).replace(chunk, (4).to_bytes(4, "little") + chunk[4:])
    path.write_bytes(small)
    with pytest.raises(FileError):
        tensors.read(path)["w"].numpy()


def test_attributes_of_more_values_than_the_file_can_hold_are_an_error(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["w"] = np.ones(2)
        file.attrs.create("names", ["text"] * 7, dtype=h5py.string_dtype())
    data = path.read_bytes()
    seven = (7).to_bytes(8, "little")
    assert data.count(seven * 2) == 1  # the attribute's size, and its largest
    path.write_bytes(data.replace(seven * 2, (1 << 33).to_bytes(8, "little") * 2))
    start = time.process_time()
    with hdf5.opened(map_file(path)) as root, pytest.raises(FileError, match="without end"):
        dict(root.attrs)
    assert time.process_time() - start < 1


def test_attributes_that_repeat_one_long_text_are_an_error(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs.create("names", ["x" * 60_000] + ["y"] * 3_000, dtype=h5py.string_dtype())
    data = path.read_bytes()
    first = data.index((60_000).to_bytes(4, "little"))
    reference = data[first : first + 16]
    start = first + 16
    path.write_bytes(data[:start] + reference * 3_000 + data[start + 16 * 3_000 :])
    with hdf5.opened(map_file(path)) as root, pytest.raises(FileError, match="without end"):
        dict(root.attrs)


def test_groups_that_contain_themselves_end(path: Path) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("a")
        group["b"] = group
        group["c"] = group
        group["up"] = h5py.SoftLink("/")
    start = time.process_time()
    with pytest.raises(FileError, match="without end"):
        tensors.read(path)
    assert time.process_time() - start < 5
    with h5py.File(path, "w") as file:
        file["me"] = h5py.SoftLink("/me")
    with pytest.raises(FileError):
        tensors.read(path)


def test_a_file_cut_anywhere_is_an_error_or_whole(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["a/kernel:0"] = np.arange(10.0)
        file["a"].attrs["weight_names"] = ["kernel:0"]
    data = path.read_bytes()
    for size in range(8, len(data), 23):
        path.write_bytes(data[:size])
        with suppress(FileError):
            np.testing.assert_array_equal(np.arange(10.0), tensors.read(path)["a/kernel:0"].numpy())
