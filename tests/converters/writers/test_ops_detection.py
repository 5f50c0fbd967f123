"""What detectors do in torch: boxes, regions of images, kernels whose elements are moved."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import zoo

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
FREE = pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
COMPUTED = pytest.mark.parametrize("given", [lambda x: [x], lambda x: x], ids=["constant", "computed"])


def f(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def i(*items):
    return np.array(items, dtype=np.int64)


@FREE
@COMPUTED
@pytest.mark.parametrize("centred", [0, 1])
@pytest.mark.parametrize(
    "limits",
    [
        (),
        (i(3),),
        (i(10), np.float32([0.3])),
        (i(10), np.float32([0.5]), np.float32([0.4])),
        (np.int64(4), np.float32(0.2), np.float32(0)),
        (i(3), None, np.float32([0.4])),
    ],
)
def test_boxes_are_kept_as_onnx_runtime_keeps_them(agrees, runtimes, limits, centred, given, free):
    boxes, scores = RNG.random((2, 12, 4)).astype(np.float32), RNG.random((2, 3, 12)).astype(np.float32)
    scores[0, 0, 3] = scores[0, 0, 7]  # of equals the first
    inputs = [boxes, scores, *(None if x is None else given(x) for x in limits)]
    attributes = {"center_point_box": centred}
    expected = runtimes("NonMaxSuppression", attributes, inputs)
    agrees("NonMaxSuppression", attributes, inputs, expected, free=free)


def test_no_boxes_are_none(agrees):
    empty = np.zeros((0, 3), np.int64)
    agrees("NonMaxSuppression", {}, [np.zeros((1, 0, 4), np.float32), np.zeros((1, 2, 0), np.float32), i(3)], [empty])


@FREE
@pytest.mark.parametrize(("mode", "ratio"), list(itertools.product(("avg", "max"), (0, 2))))
@pytest.mark.parametrize("coordinates", ["half_pixel", "output_half_pixel"])
def test_regions_are_read_wherever_they_lie(agrees, coordinates, mode, ratio, free):
    corners = RNG.random((6, 2, 2)).astype(np.float32) * 14 - 2  # some of them upside down, some outside
    attributes = {"mode": mode, "sampling_ratio": ratio, "spatial_scale": 0.5, "output_height": 3, "output_width": 2}
    attributes["coordinate_transformation_mode"] = coordinates
    agrees("RoiAlign", attributes, [f(2, 3, 8, 9), corners.reshape(6, 4), RNG.integers(0, 2, 6)], free=free)


@pytest.mark.parametrize("ratio", [0, 2])
def test_no_regions_are_none(agrees, ratio):
    none = [f(2, 3, 8, 9), np.zeros((0, 4), np.float32), np.zeros(0, np.int64)]
    agrees("RoiAlign", {"output_height": 2, "sampling_ratio": ratio}, none, [np.zeros((0, 3, 2, 1), np.float32)])
    agrees("MaxRoiPool", {"pooled_shape": [2, 1]}, [none[0], f(0, 5)], [np.zeros((0, 3, 2, 1), np.float32)])


@FREE
@pytest.mark.parametrize("scale", [1.0, 0.5, 0.25])
def test_whole_pixels_of_regions_are_pooled_as_in_onnx_runtime(agrees, runtimes, scale, free):
    corners = np.sort(RNG.random((8, 2, 2)) * 22 - 2, 1).reshape(8, 4)
    regions = np.concatenate([RNG.integers(0, 2, (8, 1)), corners], 1).astype(np.float32)
    attributes = {"pooled_shape": [3, 2], "spatial_scale": scale}
    inputs = [f(2, 3, 8, 9), regions]
    agrees("MaxRoiPool", attributes, inputs, runtimes("MaxRoiPool", attributes, inputs, opset=9), free=free)


@FREE
@pytest.mark.parametrize(("groups", "offset_groups"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_a_kernel_whose_elements_are_moved(agrees, runtimes, groups, offset_groups, free):
    attributes = {"pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 2], "group": groups}
    attributes["offset_group"] = offset_groups
    out = ((7 + 3 - 2 - 1) // 2 + 1, 8 + 1 - 2 * 1 - 1 + 1)
    offset, mask = f(2, offset_groups * 12, *out) * 2, RNG.random((2, offset_groups * 6, *out)).astype(np.float32)
    x, weight, bias = f(2, 4, 7, 8), f(6, 4 // groups, 3, 2), f(6)
    for inputs in ([x, [weight], offset, [bias], mask], [x, weight, offset]):
        agrees("DeformConv", attributes, inputs, runtimes("DeformConv", attributes, inputs), free=free)


@pytest.mark.parametrize("axes", [1, 3])
def test_a_kernel_that_is_not_moved_is_a_convolution(agrees, runtimes, axes):
    image, kernel = (6, 5, 4)[:axes], (2, 3, 2)[:axes]
    out = [n - k + 1 for n, k in zip(image, kernel, strict=True)]
    x, weight = f(2, 4, *image), f(3, 4, *kernel)
    offset = np.zeros((2, int(np.prod(kernel)) * axes, *out), np.float32)
    agrees("DeformConv", {}, [x, weight, offset], runtimes("Conv", {}, [x, weight]))


def test_moved_kernels_and_regions_have_gradients(operator):
    model, feeds = operator("DeformConv", {}, [f(1, 2, 4, 4), f(2, 2, 2, 2), f(1, 8, 3, 3)])
    given = [torch.from_numpy(x).double().requires_grad_() for x in feeds.values()]
    assert torch.autograd.gradcheck(zoo.load(model, "torch"), given)
    model, feeds = operator(
        "RoiAlign", {"output_height": 2, "sampling_ratio": 2}, [f(1, 2, 6, 6), np.float32([[1, 1, 4, 5]]), i(0)]
    )
    module = zoo.load(model, "torch")
    x, regions, images = (torch.from_numpy(x) for x in feeds.values())
    assert torch.autograd.gradcheck(lambda x: module(x, regions.double(), images), x.double().requires_grad_())


def test_sampling_of_regions_compiles_without_a_break(operator):
    regions = [np.float32([[1, 1, 5, 6], [0, 0, 3, 3]]), i(0, 0)]
    model, feeds = operator("RoiAlign", {"output_height": 2, "sampling_ratio": 2}, [f(1, 2, 8, 8), *regions], free=True)
    module = zoo.load(model, "torch")
    given = [torch.from_numpy(x) for x in feeds.values()]
    torch._dynamo.reset()
    torch.testing.assert_close(
        torch.compile(module, fullgraph=True, backend="eager", dynamic=True)(*given), module(*given)
    )
