"""Good files of every container, mutated: whatever comes of it is tensors or a clean error, never anything else.

Seeded, so that a failure comes again. A few hundred mutations a container run always, ten thousand with `-m slow`.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from tests.hostile import archives
from zoo.converters import tensors
from zoo.errors import FileError

MANY = 10_000
FEW = 400
MAX_TENSOR_BYTES = 64 << 20  # what is stated for a tensor of these files may not be larger: it is never made then
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


class Pickler(pickle._Pickler):  # type: ignore[name-defined] # the one in Python, whose save can name any global
    """Writes what torch.save writes, with no torch at hand."""

    def persistent_id(self, value: object) -> object:
        return value.pid if isinstance(value, Stored) else None


class Stored:
    def __init__(self, kind: str, key: str, numel: int, *view: None) -> None:
        self.pid = ("storage", Named("torch", kind), key, "cpu", numel, *view)


class Named:
    """A global of that name."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


def save_named(pickler: Pickler, value: Named) -> None:
    pickler.write(b"c" + f"{value.module}\n{value.name}\n".encode())


class Rebuilt:
    def __init__(self, *args: object) -> None:
        self.args = args


def save_rebuilt(pickler: Pickler, value: Rebuilt) -> None:
    save_named(pickler, Named("torch._utils", "_rebuild_tensor_v2"))
    pickler.save(value.args)
    pickler.write(b"R")


Pickler.dispatch = Pickler.dispatch | {Named: save_named, Rebuilt: save_rebuilt}


def state_dict(*view: None, protocol: int = 2) -> bytes:
    stream = io.BytesIO()
    weight = Rebuilt(Stored("FloatStorage", "0", 12, *view), 0, (3, 4), (4, 1), False, {})
    bias = Rebuilt(Stored("HalfStorage", "1", 3, *view), 0, (3,), (1,), False, {})
    value = {
        "epoch": 3,
        "lr": 0.5,
        "state_dict": {"fc.weight": weight, "fc.bias": bias, "n": [1, (2, None), {"a": True}]},
    }
    Pickler(stream, protocol).dump(value)
    return stream.getvalue()


def torch_zip(path: Path, compression: int = zipfile.ZIP_STORED) -> None:
    members = {"x/data.pkl": state_dict(), "x/byteorder": b"little", "x/data/0": bytes(48), "x/data/1": bytes(6)}
    path.write_bytes(archives.zipped(members, compression))


def torch_legacy(path: Path) -> None:
    parts = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    numbers = [(12).to_bytes(8, "little") + bytes(48), (3).to_bytes(8, "little") + bytes(6)]
    path.write_bytes(b"".join([*parts, state_dict(None), pickle.dumps(["0", "1"], 2), *numbers]))


def hdf5(path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["a/kernel:0"] = np.arange(12.0).reshape(3, 4)
        file.create_dataset("a/bias:0", data=np.arange(40.0), chunks=(16,), compression="gzip", shuffle=True)
        file["a"].attrs["weight_names"] = [b"kernel:0", b"bias:0"]
        file["a"].attrs["backend"] = "tensorflow"


def mxnet_params(path: Path) -> None:
    weight = struct.pack("<IiI2q3i", 0xF993FAC9, 0, 2, 3, 4, 1, 0, 0) + bytes(48)
    bias = struct.pack("<2I1q3i", 0xF993FAC8, 1, 3, 1, 0, 2) + bytes(6)
    names = b"".join(struct.pack("<Q", len(name)) + name for name in (b"arg:fc_weight", b"aux:bias"))
    path.write_bytes(struct.pack("<3Q", 0x112, 0, 2) + weight + bias + struct.pack("<Q", 2) + names)


def numpys(path: Path, save: Callable[..., object], *args: object, **arrays: object) -> None:
    with path.open("wb") as file:  # np.savez would add an ending to a path
        save(file, *args, **arrays)


MAKERS: dict[str, Callable[[Path], object]] = {
    "torch zip": torch_zip,
    "torch zip deflated": lambda path: torch_zip(path, zipfile.ZIP_DEFLATED),
    "torch legacy": torch_legacy,
    "safetensors": lambda path: safetensors.numpy.save_file({"a": np.ones((2, 3)), "b": np.ones(3, np.float16)}, path),
    "npz": lambda path: numpys(path, np.savez, a=np.ones((2, 3)), b=np.asfortranarray(np.ones((2, 2), ">f4"))),
    "npz deflated": lambda path: numpys(path, np.savez_compressed, a=np.ones((20, 30)), b=np.ones(3)),
    "npy": lambda path: numpys(path, np.save, np.ones((2, 3))),
    "hdf5": hdf5,
    "mxnet params": mxnet_params,
}


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four changes: bytes flipped, a number written, a piece cut, doubled, moved or inserted."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at, size = int(rng.integers(len(changed) or 1)), int(rng.choice([1, 2, 4, 8]))
        piece = bytes(changed[at : at + int(rng.integers(1, 64))])
        match rng.integers(6):
            case 0:
                changed[at : at + 1] = bytes([int(rng.integers(256))])
            case 1:
                value = INTERESTING[rng.integers(len(INTERESTING))] & (1 << 8 * size) - 1
                changed[at : at + size] = value.to_bytes(size, str(rng.choice(["little", "big"])))  # type: ignore[arg-type]
            case 2:
                del changed[at : at + len(piece)]
            case 3:
                changed[at:at] = piece
            case 4:
                to = int(rng.integers(len(changed) or 1))
                changed[to : to + len(piece)] = piece
            case _:
                del changed[at:]
    return bytes(changed)


def survive(path: Path) -> bool:
    """Read a file and look at every number; False for a clean error. Anything else is raised."""
    try:
        for tensor in tensors.read(path).values():
            assert tensor.nbytes <= MAX_TENSOR_BYTES
            assert tuple(tensor.shape) == tensor.numpy().shape
            tensor.numpy().sum()
    except FileError as error:
        assert "\n" not in str(error)
        return False
    return True


def run(tmp_path: Path, container: str, first: int, count: int) -> None:
    good = tmp_path / "good"
    MAKERS[container](good)
    assert survive(good)
    data, path, survived = good.read_bytes(), tmp_path / "x", 0
    for seed in range(first, first + count):
        path.unlink(missing_ok=True)  # the last one is still mapped
        path.write_bytes(mutated(data, np.random.default_rng(seed)))
        try:
            survived += survive(path)
        except BaseException as error:
            error.add_note(f"container {container!r}, seed {seed}")
            raise
    assert survived < count


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("container", MAKERS)
@np.errstate(all="ignore")
def test_a_mutated_file_is_tensors_or_a_clean_error(tmp_path: Path, container: str) -> None:
    run(tmp_path, container, 0, FEW)


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("container", MAKERS)
@np.errstate(all="ignore")
def test_ten_thousand_mutated_files_are_tensors_or_clean_errors(tmp_path: Path, container: str) -> None:
    run(tmp_path, container, FEW, MANY)
