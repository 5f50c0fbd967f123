"""Every weights file of the golden corpus, written by the real frameworks, tensor for tensor and bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from zoo.converters import tensors

CORPUS = Path(__file__).parents[3] / "shared" / "golden"
FORMATS = (
    *("torch_state_dict_zip", "torch_state_dict_legacy", "torch_module_pickle", "fastai_save_pth", "safetensors"),
    *("keras_weights_h5_tf28", "keras3_weights_h5", "chainer", "lasagne"),
)


def cases() -> list[Path]:
    found = [case for name in FORMATS for case in sorted((CORPUS / name).glob("*/meta.json"))]
    return [case.parent for case in found if json.loads(case.read_text())["kind"] == "weights"]


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the golden corpus is not in ../shared")
@pytest.mark.parametrize("case", cases() or [CORPUS], ids=lambda case: f"{case.parent.name}-{case.name}")
def test_golden_weights_are_read_bit_for_bit(case: Path) -> None:
    opened = case / json.loads((case / "meta.json").read_text())["open"]
    truth = case / "tensors.npz" if (case / "tensors.npz").exists() else opened
    expected, actual = dict(np.load(truth, allow_pickle=False)), tensors.read(opened)
    assert set(expected) <= set(actual)
    for name, array in expected.items():
        read = np.asarray(actual[name])
        # the corpus keeps bfloat16 widened to float32
        widened = read.astype(np.float32) if read.dtype.name == "bfloat16" else read
        assert (array.dtype, array.shape) == (widened.dtype, widened.shape)
        assert array.tobytes() == widened.tobytes(), name


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the golden corpus is not in ../shared")
@pytest.mark.parametrize(
    "path", sorted(CORPUS.glob("*/*/*.h5")) or [CORPUS], ids=lambda path: f"{path.parts[-3]}-{path.parts[-2]}"
)
def test_every_hdf5_file_of_the_corpus_is_read_as_h5py_reads_it(path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    expected: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        root = file.get("model_weights", file)
        root.visititems(lambda name, item: expected.update({name: item[()]}) if hasattr(item, "shape") else None)
    actual = tensors.read(path)
    assert set(expected) == set(actual)
    for name, array in expected.items():
        np.testing.assert_array_equal(array, np.asarray(actual[name]))
