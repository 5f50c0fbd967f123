from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from zoo.converters.verify import compare

NAN, INF = np.nan, np.inf


def floats(*numbers):
    return np.array(numbers, np.float32)


@pytest.mark.parametrize(
    ("want", "have"),
    [
        (floats(1, INF, NAN, -INF), floats(1.00005, INF, NAN, -INF)),
        ([floats(1), floats(2, 3)], [floats(1), floats(2, 3)]),
        (None, None),
        (np.array(["a", "é"], object), np.array(["a", "é"])),
        (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)),
        (np.array(True), np.array(True)),
        (floats(1).astype(ml_dtypes.bfloat16), floats(1).astype(ml_dtypes.bfloat16)),
    ],
)
def test_what_is_the_same_agrees(want, have):
    assert compare({"y": want}, {"y": have}).agrees


@pytest.mark.parametrize(
    ("want", "have"),
    [
        (floats(1), floats(NAN)),
        (floats(INF), floats(-INF)),
        (floats(INF), floats(NAN)),
        (floats(1, 2), floats(1)),
        ([floats(1)], [floats(1), floats(2)]),
        ([floats(1)], floats(1)),
        (floats(1), None),
        (None, floats(1)),
        (np.array(["a"], object), np.array(["b"], object)),
    ],
)
def test_another_kind_or_shape_is_apart_without_bounds(want, have):
    found = compare({"y": want}, {"y": have})
    assert (False, INF) == (found.agrees, found.max_relative)


def test_an_output_that_is_missing_does_not_agree():
    assert not compare({"y": floats(1)}, {}).agrees


def test_an_infinity_on_both_sides_hides_no_difference_of_the_rest():
    found = compare({"y": floats(1, INF)}, {"y": floats(1.1, INF)})
    assert not found.agrees
    assert 0.1 == pytest.approx(found.max_relative, rel=1e-3)


def test_of_8_bits_the_root_mean_square_counts():
    want = np.ones(100, np.float32)
    outlier, noise = want.copy(), -want
    outlier[0] = 5
    found = compare({"y": want}, {"y": outlier}, dtype="int8-dynamic")
    assert (True, 4.0, 0.4) == (found.agrees, found.max_relative, pytest.approx(found.mean_relative))
    assert not compare({"y": want}, {"y": noise}, dtype="int8-dynamic").agrees
    assert not compare({"y": want}, {"y": outlier}, dtype="float16").agrees


def test_top1_is_the_share_of_rows_with_the_same_winner():
    found = compare({"y": np.array([[1, 2], [3, 1]], np.float32)}, {"y": np.array([[1, 2], [1, 3]], np.float32)})
    assert 0.5 == found.top1
