from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from zoo.converters import arrays

VALUES = {
    "file": np.ones((2, 3), np.float32),  # the name of savez's own parameter
    "/model/layer.1/Add_0": np.array(3),
    "text": np.array([["x", "é"]], object),
    "nothing": None,
    "sequence": [np.ones(2), [], [np.zeros((0, 2), np.int8)]],
    "bfloat16": np.arange(6, dtype=np.float32).reshape(2, 3).astype(ml_dtypes.bfloat16).T,
    "float8": np.array(1, ml_dtypes.float8_e4m3fn),
    "int4": np.array([1, -8], ml_dtypes.int4),
    "bool": np.array(True),
    "complex": np.ones(2, np.complex64),
}


def same(a, b):
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return a is b if a is None else (a.dtype, a.shape) == (b.dtype, b.shape) and (a == b).all()


def test_every_kind_of_value_comes_back_as_it_was(tmp_path):
    arrays.save(tmp_path / "a.npz", VALUES)
    back = arrays.load(tmp_path / "a.npz")
    assert list(VALUES) == list(back)
    assert [] == [name for name, value in VALUES.items() if not same(value, back[name])]


@pytest.mark.parametrize("name", ["file", "/model/layer.1/Add_0", "bool"])
def test_numpy_reads_the_plain_ones_by_name(tmp_path, name):
    arrays.save(tmp_path / "a.npz", VALUES)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(VALUES[name], found[name])
