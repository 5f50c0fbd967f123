"""torch's files as the installed torch writes them: what `torch.load` gives, we give, bit for bit."""

from __future__ import annotations

import argparse
import collections
import datetime
import io
import pathlib
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.converters import tensors
from zoo.errors import Malformed, Refused

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

DTYPES = (
    *("float64", "float32", "float16", "bfloat16", "complex64", "complex128", "bool"),
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
)
FORMS = {
    "zip": {},
    "zip-protocol-4": {"pickle_protocol": 4},
    "zip-protocol-5": {"pickle_protocol": 5},
    "legacy": {"_use_new_zipfile_serialization": False},
    "legacy-protocol-4": {"_use_new_zipfile_serialization": False, "pickle_protocol": 4},
}


@pytest.fixture(params=FORMS)
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A function that writes a value with torch.save in one of FORMS and gives the file."""

    def write(value: Any, name: str = "x.pth") -> Path:
        torch.save(value, tmp_path / name, **FORMS[request.param])
        return tmp_path / name

    return write


def bits(tensor: Any) -> tuple[tuple[int, ...], bytes]:
    """A torch tensor's shape and numbers, in row-major order."""
    flat = tensor.detach().contiguous()
    return tuple(flat.shape), flat.reshape(-1).view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def assert_same(expected: dict[str, Any], actual: dict[str, tensors.Tensor]) -> None:
    assert list(expected) == list(actual)
    for name, tensor in expected.items():
        assert bits(tensor) == (tuple(actual[name].shape), actual[name].tobytes()), name
        assert str(tensor.dtype).removeprefix("torch.") == actual[name].numpy().dtype.name, name
        assert actual[name].name == name


def random(dtype: str, *shape: int) -> Any:
    width = getattr(torch, dtype).itemsize
    raw = torch.randint(0, 2 if dtype == "bool" else 256, (*shape[:-1], shape[-1] * width), dtype=torch.uint8)
    return raw.view(getattr(torch, dtype))


def test_every_dtype_is_read_bit_for_bit(save: Any) -> None:
    state = {dtype: random(dtype, 3, 4) for dtype in DTYPES}
    assert_same(state, tensors.read(save(state)))


def test_views_of_one_storage_keep_their_sizes_strides_and_offsets(save: Any) -> None:
    base = torch.arange(60.0).reshape(3, 4, 5)
    state = {
        "whole": base,
        "transposed": base.permute(2, 0, 1),
        "sliced": base[1:, 1:3, ::2],
        "one": base[2, 3, 4],
        "expanded": base[0, 0, :1].expand(7, 5),
        "reversed dims": base.mT,
    }
    read = tensors.read(save(state))
    assert_same(state, read)
    whole = read["whole"].numpy()
    assert all(np.shares_memory(whole, t.numpy()) for t in read.values())
    assert read["transposed"].numpy().strides == tuple(4 * s for s in base.permute(2, 0, 1).stride())


def test_tied_tensors_are_tied_in_memory_too(save: Any) -> None:
    weight = torch.randn(5, 3)
    read = tensors.read(save({"wte.weight": weight, "lm_head.weight": weight}))
    assert np.shares_memory(read["wte.weight"].numpy(), read["lm_head.weight"].numpy())


def test_empty_and_scalar_tensors(save: Any) -> None:
    state = {"none": torch.zeros(0), "rows": torch.zeros(0, 7, 2), "scalar": torch.tensor(3), "view": torch.ones(4)[4:]}
    assert_same(state, tensors.read(save(state)))


def test_parameters_and_tensor_subclasses_are_their_numbers(save: Any) -> None:
    class Marked(torch.Tensor):
        pass

    parameter = torch.nn.Parameter(torch.randn(2))
    noted = torch.nn.Parameter(torch.randn(2))
    noted.note = "kept by _rebuild_parameter_with_state"
    state = {"p": parameter, "noted": noted, "buffer": torch.nn.Buffer(torch.ones(2))}
    assert_same(state, tensors.read(save(state)))
    globals()["Marked"] = Marked
    Marked.__qualname__ = "Marked"
    subclassed = torch.ones(3).as_subclass(Marked)
    assert_same({"s": torch.ones(3)}, tensors.read(save({"s": subclassed})))


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "module", "net", "params", "ema"])
def test_a_training_checkpoint_gives_the_weights_and_nothing_else(save: Any, key: str) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    checkpoint = {
        "epoch": 3,
        "best_acc1": torch.tensor(76.1),
        "arch": "resnet18",
        key: model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": {"base_lrs": [0.1], "last_epoch": np.int64(3), "milestones": collections.Counter({30: 1})},
        "args": argparse.Namespace(lr=0.1, output=pathlib.PurePosixPath("out"), betas=(0.9, 0.999)),
        "loss": np.float64(0.25),
        "history": collections.defaultdict(list, {"loss": [1.0, 0.5]}),
        "date": datetime.datetime(2026, 1, 2),
        "rng": [torch.get_rng_state(), np.random.RandomState(0).get_state()],
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "size": torch.Size([1, 2]),
        "raw": b"\0\xff",
        "set": {1, 2},
    }
    assert_same(model.state_dict(), tensors.read(save(checkpoint)))


def test_several_networks_in_one_checkpoint_keep_their_names_apart(save: Any) -> None:
    checkpoint = {"encoder": {"w": torch.ones(1)}, "decoder": {"w": torch.zeros(1)}, "parts": [torch.ones(2)]}
    assert list(tensors.read(save(checkpoint))) == ["encoder.w", "decoder.w", "parts.0"]


def test_numpy_arrays_in_a_state_dict_are_tensors_too(save: Any) -> None:
    arrays = {
        "c": np.arange(6.0).reshape(2, 3),
        "f": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "b": np.ones(2, bool),
    }
    read = tensors.read(save(arrays | {"big": np.arange(3, dtype=">i4"), "names": np.array(["a", None], object)}))
    assert list(read) == ["c", "f", "b", "big"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, read[name].numpy())
    np.testing.assert_array_equal([0, 1, 2], read["big"].numpy())


class Net(torch.nn.Module):
    """Parameters, buffers persistent and not, children shared, absent and in containers, and plain attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.randn(1))
        self.register_parameter("nothing", None)
        self.register_buffer("mean", torch.randn(3))
        self.register_buffer("cache", torch.randn(3), persistent=False)
        self.block = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.GELU())
        self.again = self.block
        self.gone: Any = torch.nn.Identity()
        self.gone = None
        self.rnn = torch.nn.LSTM(3, 4, bidirectional=True)
        self.encoder = torch.nn.TransformerEncoderLayer(8, 2, 16, activation=torch.nn.functional.gelu)
        self.heads = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 2)})
        self.tables = torch.nn.ParameterList([torch.randn(2), torch.randn(3)])
        self.options = {"path": pathlib.PurePosixPath("a"), "when": datetime.date(2026, 1, 1)}


def test_a_whole_module_gives_its_state_dict(save: Any) -> None:
    module = Net()
    assert_same(module.state_dict(), tensors.read(save(module)))


def test_a_module_inside_a_checkpoint_gives_its_state_dict(save: Any) -> None:
    module = Net().half()
    assert_same(module.state_dict(), tensors.read(save({"epoch": 1, "model": module, "ema": None})))


def test_a_data_parallel_prefix_stays_and_can_be_taken_off(save: Any) -> None:
    module = torch.nn.DataParallel(torch.nn.Linear(2, 2))
    read = tensors.read(save(module.state_dict()))
    assert list(read) == ["module.weight", "module.bias"]
    assert {"module.weight": "weight", "module.bias": "bias"} == tensors.unprefixed(read)
    assert_same(module.state_dict(), tensors.read(save(module)))


def test_an_empty_state_dict_is_empty(save: Any) -> None:
    assert tensors.read(save(torch.nn.ReLU().state_dict())) == {}


def test_a_file_without_tensors_says_so(save: Any) -> None:
    with pytest.raises(Refused, match="no tensors"):
        tensors.read(save({"epoch": 3}))


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_sparse_quantized_and_conjugate_tensors_are_refused_by_name(save: Any) -> None:
    with pytest.raises(Refused, match="_rebuild_sparse_tensor' is called"):
        tensors.read(save({"w": torch.eye(3).to_sparse()}))
    with pytest.raises(Refused, match="torch.QInt8Storage"):
        tensors.read(save({"w": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}))
    with pytest.raises(Refused, match="resolve_conj"):
        tensors.read(save({"w": torch.ones(3, dtype=torch.complex64).conj()}))


def test_writing_to_a_tensor_leaves_the_file_as_it_was(save: Any) -> None:
    path = save({"w": torch.arange(10.0)})
    before = path.read_bytes()
    read = tensors.read(path)
    read["w"].numpy()[:] = -1
    torch.from_numpy(read["w"].numpy()).add_(1)
    assert before == path.read_bytes()
    assert tensors.read(path)["w"].numpy()[1] == 1


def test_reading_copies_nothing(save: Any) -> None:
    state = {f"w{i}": torch.randn(4, i + 1) for i in range(5)}
    arrays = [t.numpy() for t in tensors.read(save(state)).values()]
    bases = {id(base) for array in arrays for base in [root(array)]}
    assert len(bases) == 1
    assert not any(array.flags.owndata for array in arrays)


def root(array: Any) -> Any:
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array.obj if isinstance(array, memoryview) else array


def test_as_numpy_array_is_the_mapped_array(save: Any) -> None:
    tensor = tensors.read(save({"w": torch.ones(3)}))["w"]
    assert np.asarray(tensor).dtype == np.float32
    assert np.shares_memory(np.asarray(tensor), tensor.numpy())
    assert np.asarray(tensor, np.float64).dtype == np.float64


def repacked(path: Path, compression: int = zipfile.ZIP_DEFLATED, prefix: str = "", **changed: bytes) -> Path:
    """An archive of torch packed again by zipfile, with another prefix and other members."""
    out = path.with_name(f"repacked-{path.name}")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", compression) as new:
        for name in old.namelist():
            inside = name.partition("/")[2]
            new.writestr(prefix + inside, changed.get(inside, old.read(name)))
    return out


@pytest.mark.parametrize("prefix", ["", "a/", "a/b/c/"])
def test_an_archive_packed_again_by_another_tool(tmp_path: Path, prefix: str) -> None:
    state = {"w": torch.randn(100, 3), "half": torch.randn(7).half(), "empty": torch.zeros(0)}
    torch.save(state, tmp_path / "x.pth")
    assert_same(state, tensors.read(repacked(tmp_path / "x.pth", prefix=prefix)))
    assert_same(state, tensors.read(repacked(tmp_path / "x.pth", zipfile.ZIP_STORED, prefix=prefix)))


def test_an_archive_of_a_big_endian_machine(tmp_path: Path) -> None:
    state = {"f": torch.randn(5), "c": torch.randn(3, dtype=torch.complex64), "i": torch.arange(4, dtype=torch.int16)}
    torch.save(state, tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth") as archive:
        data = {f"data/{i}": archive.read(f"x/data/{i}") for i in range(3)}
    widths = {"data/0": "u4", "data/1": "u4", "data/2": "u2"}
    swapped = {name: np.frombuffer(raw, widths[name]).byteswap().tobytes() for name, raw in data.items()}
    path = repacked(tmp_path / "x.pth", zipfile.ZIP_STORED, "x/", byteorder=b"big", **swapped)
    assert_same(state, tensors.read(path))


def test_an_archive_with_zip64_records(tmp_path: Path) -> None:
    state = {"w": torch.randn(100)}
    torch.save(state, tmp_path / "x.pth")
    path = tmp_path / "zip64.pth"
    with zipfile.ZipFile(tmp_path / "x.pth") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            with new.open(name, "w", force_zip64=True) as member:
                member.write(old.read(name))
    assert_same(state, tensors.read(path))
    assert_same(state, tensors.read(with_zip64_end(path)))


def with_zip64_end(path: Path) -> Path:
    """The same archive with its numbers in a zip64 end record, the plain one full of ones."""
    data = path.read_bytes()
    at = data.rindex(b"PK\5\6")
    _, _, _, _, entries, size, start, _ = struct.unpack("<4s4H2IH", data[at : at + 22])
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, size, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, at, 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    out = path.with_name("end64.pth")
    out.write_bytes(data[:at] + end64 + locator + end)
    return out


def test_a_storage_of_another_size_than_stated_is_an_error(tmp_path: Path) -> None:
    torch.save({"w": torch.randn(100)}, tmp_path / "x.pth")
    path = repacked(tmp_path / "x.pth", prefix="x/", **{"data/0": bytes(40)})
    with pytest.raises(Malformed, match="storage '0' of 100 x float32 has 40 bytes"):
        tensors.read(path)


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_file_cut_anywhere_is_an_error(tmp_path: Path, form: str) -> None:
    torch.save({"w": torch.randn(10), "b": torch.randn(3).half()}, tmp_path / "x.pth", **FORMS[form])
    data = (tmp_path / "x.pth").read_bytes()
    cut = tmp_path / "cut.pth"
    for size in range(1, len(data), 7):
        cut.write_bytes(data[:size])
        with pytest.raises((Malformed, tensors.UnknownFormat)):
            tensors.read(cut)


def tar_file(path: Path, state: dict[str, Any]) -> Path:
    """A file as torch 0.1.1 wrote it: `storages`, `tensors` and `pickle` in a tar (torch.serialization.legacy_load)."""
    storages, tensors_, ids = io.BytesIO(), io.BytesIO(), {}
    pickle.dump(len(state), storages, 2)
    for i, tensor in enumerate(state.values()):
        pickle.dump((i, "cpu", torch.FloatStorage), storages, 2)
        storages.write(struct.pack("<q", tensor.untyped_storage().nbytes() // 4))
        storages.write(bytes(tensor.untyped_storage()))
    pickle.dump([(100, 0, 2, 3)], storages, 2)  # storage 100 is three numbers of storage 0, from the third
    views = {"view": torch.zeros(3)} if state else {}
    pickle.dump(len(state) + len(views), tensors_, 2)
    for i, (name, tensor) in enumerate((state | views).items()):
        ids[name] = i + 200
        pickle.dump((ids[name], 100 if name == "view" else i, torch.FloatTensor), tensors_, 2)
        shape, strides = tensor.shape, tensor.stride()
        tensors_.write(
            struct.pack(f"<ii{2 * len(shape) + 1}q", len(shape), 0, *shape, *strides, tensor.storage_offset())
        )

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return str(value.id) if isinstance(value, Reference) else None

    stream = io.BytesIO()
    Pickler(stream, 2).dump(collections.OrderedDict((name, Reference(i)) for name, i in ids.items()))
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in (("storages", storages), ("tensors", tensors_), ("pickle", stream)):
            info = tarfile.TarInfo(name)
            info.size = len(content.getvalue())
            content.seek(0)
            tar.addfile(info, content)
    return path


class Reference:
    def __init__(self, id_: int) -> None:
        self.id = id_


def test_a_tar_of_torchs_first_year_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    path = tar_file(tmp_path / "x.pth", {"a.weight": base.T, "b": torch.tensor(2.5)})
    expected = torch.load(path, weights_only=False)
    actual = tensors.read(path)
    assert_same(dict(expected), actual)
    np.testing.assert_array_equal([2, 3, 4], actual["view"].numpy())
    cut = tmp_path / "cut.pth"
    data = path.read_bytes()
    for size in range(600, data.rindex(b"ustar") + 256, 97):
        cut.write_bytes(data[:size])
        with pytest.raises((Malformed, Refused)):
            tensors.read(cut)
