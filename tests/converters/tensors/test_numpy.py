""".npy and .npz files as numpy writes them, and as it doesn't."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.hostile import archives
from zoo.converters import tensors
from zoo.errors import FileError, Malformed, Refused

ARRAYS = {
    "conv1/W": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big": np.arange(4, dtype=">i2"),
    "complex": np.array([[1 + 2j]], np.complex128),
    "bool": np.array([True, False]),
    "half": np.array([0.5], np.float16),
    "scalar": np.array(3),
    "empty": np.zeros((0, 5), np.float32),
}


def assert_same(expected: dict[str, np.ndarray], actual: dict[str, tensors.Tensor]) -> None:
    assert list(expected) == list(actual)
    for name, array in expected.items():
        np.testing.assert_array_equal(array, actual[name].numpy())
        assert array.dtype.newbyteorder("=") == actual[name].numpy().dtype
        assert array.shape == tuple(actual[name].shape)


def npy(header: str | bytes, data: bytes = bytes(24), version: bytes = b"\1\0") -> bytes:
    text = header.encode() if isinstance(header, str) else header
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version == b"\1\0" else 4, "little") + text + data


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_gives_what_numpy_gives(tmp_path: Path, save: object) -> None:
    save(tmp_path / "x.npz", **ARRAYS)  # type: ignore[operator]
    assert_same(ARRAYS, tensors.read(tmp_path / "x.npz"))


def test_stored_arrays_are_mapped_and_deflated_ones_are_not_kept(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.ones(1000))
    stored = tensors.read(tmp_path / "x.npz")["a"]
    assert stored.numpy() is stored.numpy()
    np.savez_compressed(tmp_path / "x.npz", a=np.ones(1000))
    deflated = tensors.read(tmp_path / "x.npz")["a"]
    assert deflated.numpy() is not deflated.numpy()
    deflated.numpy()[0] = 7  # may be written to, as a mapped one may
    assert deflated.numpy()[0] == 1


def test_an_npz_of_nothing_is_empty(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz")
    assert tensors.read(tmp_path / "x.npz") == {}


@pytest.mark.parametrize("name", ARRAYS)
def test_npy_gives_the_array_under_the_files_name(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "w.npy", ARRAYS[name])
    assert_same({"w": ARRAYS[name]}, tensors.read(tmp_path / "w.npy"))


def test_arrays_of_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "executed",)  # type: ignore[return-value]

    np.save(tmp_path / "x.npy", np.array([Bomb()], object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=np.array([Bomb()], object))
    for name in ("x.npy", "x.npz"):
        with pytest.raises(Refused, match=r"dtype \|O; only numbers"):
            tensors.read(tmp_path / name)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "array", [np.array(["a"]), np.array([b"a"]), np.array([(1, 2.0)], "i4,f4"), np.array(["2026"], "M8[D]")]
)
def test_arrays_of_anything_but_numbers_are_refused_by_name(tmp_path: Path, array: np.ndarray) -> None:
    np.savez(tmp_path / "x.npz", labels=array)
    with pytest.raises(Refused, match="'labels' is of dtype .*; only numbers"):
        tensors.read(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "content",
    [
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000,)}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-6,)}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (5,)}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 40 + "6)}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4611686018427387904)}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (0, " + "9" * 4000 + ")}", b""),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': 'abc'}"),
        npy("{'descr': 'nonsense', 'fortran_order': False, 'shape': (6,)}"),
        npy("{'descr': '<f4', 'shape': (6,)}"),
        npy("__import__('os').system('id')"),
        npy("(" * 5000),
        npy("[" * 5000 + "]" * 5000),
        npy(b"\xff\xfe"),
        npy("{}" + " " * 20_000),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", version=b"\7\0"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", version=b"\3\0"),
        npy("")[:9],
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", bytes(25)),
    ],
    ids=lambda content: repr(content[10:50]),
)
def test_a_header_that_lies_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(FileError, match="(array|tensor) 'x'"):
        tensors.read(tmp_path / "x.npy")
    (tmp_path / "x.npz").write_bytes(archives.zipped({"x.npy": content}))
    with pytest.raises(FileError, match="(array|tensor) 'x'"):
        tensors.read(tmp_path / "x.npz")


def test_members_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    good = io.BytesIO()
    np.save(good, np.ones(2))
    (tmp_path / "x.npz").write_bytes(archives.zipped({"a.npy": good.getvalue(), "code.py": b"import os"}))
    with pytest.raises(Refused, match="'code.py' is no array"):
        tensors.read(tmp_path / "x.npz")
    (tmp_path / "x.npz").write_bytes(archives.zipped({"a.npy": pickle.dumps([1])}))
    with pytest.raises(Malformed, match="'a.npy' is no array"):
        tensors.read(tmp_path / "x.npz")


def test_a_deflated_bomb_is_bounded_by_what_it_states(tmp_path: Path) -> None:
    header = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (6,)}")
    data = archives.zipped({"x.npy": header + bytes(64 << 20)}, zipfile.ZIP_DEFLATED)
    (tmp_path / "x.npz").write_bytes(archives.patched(data, b"PK\1\2", 24, "<I", len(header)))
    with pytest.raises(Malformed, match="doesn't inflate to"):
        tensors.read(tmp_path / "x.npz")["x"].numpy()
