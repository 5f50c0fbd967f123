"""Resizing, sampling and blocks in torch: every mode, any rank, F.interpolate where it is the same."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import zoo
from zoo.errors import HubError

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
FREE = pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
COMPUTED = pytest.mark.parametrize("given", [lambda x: [x], lambda x: x], ids=["constant", "computed"])
COORDINATES = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


def f(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def i(*items):
    return np.array(items, dtype=np.int64)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", [*ROUNDINGS, "linear", "cubic"])
def test_resize_by_scales_and_by_sizes(agrees, mode, coordinates):
    kind = {"mode": "nearest", "nearest_mode": mode} if mode in ROUNDINGS else {"mode": mode}
    attributes = {**kind, "coordinate_transformation_mode": coordinates}
    x = f(1, 2, 4, 6)
    for scales in ((1, 1, 2, 3), (1, 1, 0.6, 1.3), (1, 1, 0.5, 1)):
        agrees("Resize", attributes, [x, None, [np.float32(scales)]])
    for sizes in ((1, 2, 7, 3), (1, 2, 1, 9)):
        agrees("Resize", attributes, [x, None, None, [i(*sizes)]])
    agrees("Resize", attributes, [x, None, None, i(1, 2, 5, 8)], free={"x0"})
    agrees("Resize", attributes, [x, None, np.float32([1, 1, 1.5, 0.7])], free={"x0"})


@pytest.mark.parametrize("exclude_outside", [0, 1])
@pytest.mark.parametrize("antialias", [0, 1])
@pytest.mark.parametrize(("mode", "a"), [("linear", -0.75), ("cubic", -0.75), ("cubic", -0.5)])
def test_resize_smooths_and_leaves_out_as_asked(agrees, mode, a, antialias, exclude_outside):
    attributes = {"mode": mode, "antialias": antialias, "exclude_outside": exclude_outside, "cubic_coeff_a": a}
    for sizes in ((1, 2, 3, 4), (1, 2, 8, 11)):
        agrees("Resize", attributes, [f(1, 2, 7, 9), None, None, [i(*sizes)]])


@FREE
@COMPUTED
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_reads_a_region_and_fills_what_is_outside(agrees, mode, given, free):
    attributes = {"mode": mode, "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 5.0}
    region = np.float32([0, 0, 0.25, -0.25, 1, 1, 0.75, 1.25])
    agrees(
        "Resize", attributes, [f(1, 2, 5, 4), given(region), None, given(i(1, 2, 3, 6))], free={"x0"} if free else ()
    )
    some = {**attributes, "axes": [3, 2]}
    agrees(
        "Resize", some, [f(1, 2, 5, 4), given(region[[3, 2, 7, 6]]), None, given(i(6, 3))], free={"x0"} if free else ()
    )


@FREE
@COMPUTED
@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_keeps_the_aspect_ratio(agrees, mode, policy, given, free):
    attributes = {"mode": mode, "keep_aspect_ratio_policy": policy, "axes": [2, 3]}
    agrees("Resize", attributes, [f(1, 2, 4, 6), None, None, given(i(7, 8))], free={"x0"} if free else ())


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize(
    ("shape", "scales"),
    [
        ((4, 5), (2, 2)),
        ((5,), (2,)),
        ((2, 3, 4, 5), (2, 1, 1, 2)),
        ((3, 4, 5), (1, 1, 2)),
        ((1, 1, 2, 3, 2), (1, 1, 2, 2, 3)),
    ],
)
def test_resize_takes_any_rank_and_any_axes(agrees, mode, shape, scales):
    agrees("Resize", {"mode": mode}, [f(*shape), None, [np.float32(scales)]])


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.float16, np.float64])
def test_resize_of_integers_rounds_and_stays_in_range(agrees, mode, dtype):
    x = RNG.integers(0, 127, (1, 2, 4, 4)).astype(dtype)
    # on numpy 2 onnx's reference divides by the scale in its float32, which is exact for a power of two alone
    scale = 0.5 if dtype is np.float64 else 1.5
    agrees("Resize", {"mode": mode}, [x, None, [np.float32([1, 1, 2, scale])]])


@FREE
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_is_f_interpolate_where_that_is_the_same(operator, agrees, mode, free):
    x = f(1, 2, 4, 5)
    scales = [np.float32([1, 1, 2, 2])]
    model, _ = operator("Resize", {"mode": mode}, [x, None, scales], free=free)
    code = zoo.load(model, "torch").code
    assert "F.interpolate(x0, scale_factor=2.0" in code
    assert "resize(" not in code
    agrees("Resize", {"mode": mode}, [x, None, scales], free=free)


def test_resize_of_an_older_opset_with_empty_inputs_in_the_place_of_none(agrees):
    x, empty = f(1, 2, 4, 4), [np.zeros(0, np.float32)]
    expected = x.repeat(2, 2).repeat(2, 3)
    attributes = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    agrees("Resize", attributes, [x, empty, empty, [i(1, 2, 8, 8)]], [expected], opset=11)


def test_resize_without_a_mode_of_torch_s_has_a_gradient_and_compiles(operator):
    model, feeds = operator(
        "Resize", {"mode": "cubic", "cubic_coeff_a": -0.5}, [f(1, 1, 3, 4), None, None, [i(1, 1, 5, 6)]]
    )
    module = zoo.load(model, "torch")
    x = torch.from_numpy(feeds["x0"])
    assert torch.autograd.gradcheck(module, x.double().requires_grad_())
    torch.testing.assert_close(torch.compile(module, fullgraph=True, backend="eager")(x), module(x))


def test_interpolation_of_what_is_no_number_is_refused(operator):
    model, _ = operator("Resize", {"mode": "linear"}, [np.ones((1, 1, 2, 2), bool), None, [np.float32([1, 1, 2, 2])]])
    with pytest.raises(HubError, match="Resize by linear of torch.bool"):
        zoo.load(model, "torch")


@FREE
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_grids_of_any_rank_in_every_padding(agrees, mode, axes, free):
    x, grid = f(2, 2, *(4, 3, 5)[:axes]), (RNG.random((2, *(3, 2, 2)[:axes], axes)) * 2.6 - 1.3).astype(np.float32)
    for padding, corners in itertools.product(("zeros", "border", "reflection"), (0, 1)):
        attributes = {"mode": mode, "padding_mode": padding, "align_corners": corners}
        agrees("GridSample", attributes, [x, grid], free=free)


def test_a_grid_of_another_dtype_than_the_image(agrees):
    grid = (RNG.random((1, 2, 2, 2)) * 2 - 1).astype(np.float64)
    agrees("GridSample", {}, [f(1, 2, 3, 4), grid])
    agrees("GridSample", {"mode": "nearest"}, [RNG.integers(0, 9, (1, 2, 3, 4)), grid])


@FREE
@COMPUTED
@pytest.mark.parametrize("corners", [0, 1])
def test_affine_grids(agrees, corners, given, free):
    agrees("AffineGrid", {"align_corners": corners}, [f(2, 2, 3), given(i(2, 3, 4, 5))], free=free)
    agrees("AffineGrid", {"align_corners": corners}, [f(2, 3, 4), given(i(2, 3, 4, 5, 6))], free=free)


@FREE
@COMPUTED
def test_the_middle_is_cut_or_padded(agrees, given, free):
    agrees("CenterCropPad", {}, [f(5, 6), given(i(3, 9))], free=free)
    agrees("CenterCropPad", {"axes": [-1]}, [f(5, 6), given(i(3))], free=free)
    agrees("CenterCropPad", {"axes": [1, 0]}, [f(5, 6), given(i(9, 2))], free=free)


@FREE
@COMPUTED
def test_blocks_are_added_up_over_any_number_of_axes(agrees, given, free):
    agrees("Col2Im", {}, [f(1, 5, 5), given(i(5, 5)), given(i(1, 5))], free=free)
    agrees("Col2Im", {}, [f(2, 6, 4), given(i(6)), given(i(3))], free=free)
    agrees("Col2Im", {}, [RNG.integers(0, 9, (1, 4, 4)), given(i(3, 3)), given(i(2, 2))], free=free)
    two = {"pads": [0, 1, 1, 0], "strides": [2, 1]}
    agrees("Col2Im", two, [f(2, 2 * 4, 3 * 5), given(i(5, 5)), given(i(2, 2))], free=free)
    three = {"dilations": [1, 2, 1], "pads": [1, 0, 0, 1, 0, 0]}
    agrees("Col2Im", three, [f(1, 2 * 8, 5 * 2 * 3), given(i(4, 4, 4)), given(i(2, 2, 2))], free=free)


@FREE
@pytest.mark.parametrize("block", [2, 3])
def test_blocks_of_pixels_are_channels(agrees, block, free):
    x = f(2, 2, 2 * block, 3 * block)
    apart = x.reshape(2, 2, 2, block, 3, block)
    for mode, order in (("DCR", (0, 3, 5, 1, 2, 4)), ("CRD", (0, 1, 3, 5, 2, 4))):
        channels = apart.transpose(order).reshape(2, -1, 2, 3)
        agrees("SpaceToDepth", {"blocksize": block, "mode": mode}, [x], [channels], free=free)
        agrees("DepthToSpace", {"blocksize": block, "mode": mode}, [channels], [x], free=free)
