"""Pools in torch: windows, padding and indices as ONNX has them, where torch has others."""

from __future__ import annotations

import numpy as np
import pytest

import zoo

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
WINDOWS = [
    {"kernel_shape": [3], "strides": [2], "pads": [1, 0]},
    {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 3], "pads": [2, 0, 1, 1], "ceil_mode": 1},
    {"kernel_shape": [2, 3], "dilations": [2, 1], "strides": [3, 2], "ceil_mode": 1},
    {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1], "dilations": [1, 2]},
    {"kernel_shape": [2, 3, 2], "strides": [1, 2, 2], "pads": [0, 1, 1, 1, 1, 0]},
    {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [2, 4], "strides": [1, 3], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [3, 3], "auto_pad": "VALID"},
]


def f(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def image(attributes):
    return f(2, 3, *(10, 9, 8)[: len(attributes["kernel_shape"])])


@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
@pytest.mark.parametrize("attributes", WINDOWS)
def test_pools_lay_their_windows_as_onnx_does(agrees, runtimes, attributes, free):
    x = image(attributes)
    order = {"storage_order": 1} if len(attributes["kernel_shape"]) > 1 else {}
    for more in ({}, order):
        a = {**attributes, **more}
        agrees("MaxPool", a, [x], runtimes("MaxPool", a, [x], 2), outputs=2, free=free)
    agrees("MaxPool", attributes, [x], runtimes("MaxPool", attributes, [x]), free=free)
    for more in ({}, {"count_include_pad": 1}):
        a = {**attributes, **more}
        agrees("AveragePool", a, [x], runtimes("AveragePool", a, [x]), free=free)
    for p in (1, 2, 3):
        a = {**attributes, "p": p}
        agrees("LpPool", a, [x], runtimes("LpPool", a, [x]), free=free)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_padding_never_wins_over_the_least_number(agrees, dtype):
    lowest = np.full((1, 1, 2, 2), np.iinfo(dtype).min, dtype)
    attributes = {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1]}
    places = np.array([[0, 0, 1], [0, 0, 1], [2, 2, 3]]).reshape(1, 1, 3, 3)
    agrees("MaxPool", attributes, [lowest], [np.full((1, 1, 3, 3), np.iinfo(dtype).min, dtype), places], outputs=2)


@pytest.mark.parametrize("rank", [2, 3, 4, 5, 6])
def test_global_pools_take_images_of_any_rank(agrees, rank):
    x = f(2, 3, *range(2, rank))
    axes = tuple(range(2, rank))
    agrees("GlobalMaxPool", {}, [x], [x.max(axes, keepdims=True)], free=True)
    agrees("GlobalAveragePool", {}, [x], [x.mean(axes, keepdims=True)])
    norm = np.sum(np.abs(x) ** 3, axes, keepdims=True) ** (1 / 3)
    agrees("GlobalLpPool", {"p": 3}, [x], [norm.astype(np.float32)])


def test_a_maximum_over_four_axes_stands_where_its_index_says(agrees):
    x = f(2, 3, 3, 4, 3, 4)
    largest, places = agrees("MaxPool", {"kernel_shape": [2, 2, 2, 2]}, [x], four_axes(x), outputs=2)
    assert np.array_equal(largest, x.ravel()[places])


def four_axes(x):
    windows = np.lib.stride_tricks.sliding_window_view(x, (2, 2, 2, 2), axis=(2, 3, 4, 5)).reshape(2, 3, 2, 3, 2, 3, 16)
    flat = np.arange(x.size).reshape(x.shape)
    at = np.lib.stride_tricks.sliding_window_view(flat, (2, 2, 2, 2), axis=(2, 3, 4, 5)).reshape(windows.shape)
    return [windows.max(-1), np.take_along_axis(at, windows.argmax(-1)[..., None], -1)[..., 0]]


def test_an_average_over_nothing_but_padding_counts_the_image_alone(agrees):
    x = f(1, 1, 4, 4)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=np.nan), (2, 2), axis=(2, 3)
    )
    expected = np.nanmean(windows, (-1, -2)).astype(np.float32)
    for free in (False, True):
        agrees("AveragePool", {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}, [x], [expected], free=free)


@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
def test_unpooling_puts_each_maximum_back(agrees, runtimes, free):
    x = f(2, 3, 6, 4)
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2]}
    pooled, places = runtimes("MaxPool", attributes, [x], 2)
    expected = np.zeros(x.size, np.float32)
    expected[places.ravel()] = pooled.ravel()
    agrees("MaxUnpool", attributes, [pooled, places], [expected.reshape(x.shape)], free=free)
    larger = np.pad(expected.reshape(x.shape), ((0, 0), (0, 0), (0, 1), (0, 2)))
    for size in (np.array(larger.shape), [np.array(larger.shape)]):
        agrees("MaxUnpool", attributes, [pooled, places, size], [larger], free=free)


def test_no_images_give_no_output(agrees):
    agrees("MaxPool", {"kernel_shape": [2, 2]}, [f(0, 2, 4, 4)], [np.zeros((0, 2, 3, 3), np.float32)])


def test_a_pool_reads_as_torch_writes_it(operator):
    model, _ = operator("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}, [f(1, 3, 8, 8)])
    assert "F.max_pool2d(x0, kernel_size=2)" in zoo.load(model, "torch").code


def test_what_torch_lacks_is_differentiable(operator):
    model, feeds = operator("AveragePool", {"kernel_shape": [2, 2], "dilations": [2, 1]}, [f(1, 2, 5, 5)])
    x = torch.from_numpy(feeds["x0"]).double().requires_grad_()
    assert torch.autograd.gradcheck(zoo.load(model, "torch").double(), x)
