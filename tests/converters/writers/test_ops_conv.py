"""Convolutions in torch: every form of padding, free sizes, and the layers that they become."""

from __future__ import annotations

import numpy as np
import pytest

import zoo
from zoo.errors import HubError

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)


def f(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
@pytest.mark.parametrize(
    ("attributes", "image", "kernel"),
    [
        ({"strides": [2], "pads": [2, 0]}, (9,), (3,)),
        ({"strides": [2, 3], "pads": [1, 0, 2, 1], "dilations": [1, 2], "group": 2}, (9, 8), (3, 2)),
        ({"pads": [1, 1, 1, 0, 0, 0], "strides": [1, 2, 1]}, (4, 5, 4), (2, 1, 3)),
        ({"auto_pad": "VALID", "strides": [2, 2]}, (7, 8), (3, 3)),
        *(
            ({"auto_pad": f"SAME_{end}", "strides": s}, (7, 8), (3, 4))
            for end in ("UPPER", "LOWER")
            for s in ([1, 1], [2, 3])
        ),
        ({"auto_pad": "SAME_UPPER", "strides": [3], "group": 2}, (8,), (1,)),
    ],
)
def test_a_convolution_pads_as_onnx_does(agrees, runtimes, attributes, image, kernel, free):
    group = attributes.get("group", 1)
    inputs = [f(2, 4, *image), [f(6, 4 // group, *kernel)], [f(6)]]
    agrees("Conv", attributes, inputs, runtimes("Conv", attributes, inputs), free=free)


@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
@pytest.mark.parametrize(
    ("attributes", "image", "kernel"),
    [
        ({"strides": [2, 3], "output_padding": [1, 2], "pads": [1, 1, 1, 1]}, (4, 4), (3, 3)),
        ({"strides": [2, 2], "pads": [0, 0, 1, 1]}, (4, 4), (3, 3)),
        ({"strides": [1, 3, 2], "dilations": [1, 1, 2], "pads": [1, 1, 1, 0, 0, 0]}, (5, 4, 3), (2, 2, 2)),
        ({"strides": [2, 1], "output_padding": [1, 0], "pads": [1, 0, 0, 2]}, (4, 5), (3, 3)),
        ({"strides": [2], "group": 2}, (5,), (3,)),
        *(({"auto_pad": f"SAME_{end}", "strides": [2, 1]}, (4, 5), (3, 4)) for end in ("UPPER", "LOWER")),
        *(
            ({"auto_pad": p, "strides": [2, 2], "output_shape": [8, 10]}, (4, 5), (4, 3))
            for p in ("NOTSET", "SAME_UPPER")
        ),
        ({"strides": [2], "output_shape": [7]}, (4,), (3,)),
    ],
)
def test_a_transposed_convolution_cuts_as_onnx_does(agrees, runtimes, attributes, image, kernel, free):
    inputs = [f(2, 4, *image), [f(4, 3, *kernel)], [f(3 * attributes.get("group", 1))]]
    agrees("ConvTranspose", attributes, inputs, runtimes("ConvTranspose", attributes, inputs), free=free)


@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
def test_what_a_transposed_convolution_puts_back_beyond_a_step_is_the_bias(agrees, free):
    x, weight, bias = f(1, 2, 3), f(2, 1, 1), np.float32([5])
    expected = np.full((1, 1, 10), 5, np.float32)
    expected[0, 0, [0, 2, 4]] += np.einsum("c,ck->k", weight[:, 0, 0], x[0])
    agrees("ConvTranspose", {"strides": [2], "output_shape": [10]}, [x, [weight], [bias]], [expected], free=free)


def test_same_padding_of_a_kernel_smaller_than_its_step_gives_the_image_times_the_step(agrees):
    x, weight = f(1, 1, 3), f(1, 1, 1)
    expected = np.zeros((1, 1, 6), np.float32)
    expected[0, 0, ::2] = x[0, 0] * weight[0, 0, 0]
    for pad in ("SAME_UPPER", "SAME_LOWER"):
        agrees("ConvTranspose", {"strides": [2], "auto_pad": pad}, [x, [weight]], [expected])


def test_a_convolution_whose_kernel_is_computed_runs(agrees, runtimes):
    inputs = [f(1, 2, 5, 5), f(3, 2, 2, 3), f(3)]
    agrees("Conv", {"pads": [1, 0, 0, 1]}, inputs, runtimes("Conv", {"pads": [1, 0, 0, 1]}, inputs))


def test_half_precision_stays_half(operator):
    model, feeds = operator("Conv", {"pads": [1, 1]}, [f(1, 2, 5).astype(np.float16), [f(3, 2, 3).astype(np.float16)]])
    assert np.float16 == zoo.runner(model, "torch").run(feeds)["y0"].dtype


def test_what_torch_has_no_convolution_for_is_refused_by_name(operator):
    model, _ = operator("Conv", {}, [f(1, 1, 3, 3, 3, 3), [f(1, 1, 2, 2, 2, 2)]])
    with pytest.raises(HubError, match="over 4 axes: torch's are over 1 to 3"):
        zoo.load(model, "torch")


def test_same_padding_of_free_sizes_compiles_without_a_break(operator):
    model, feeds = operator(
        "Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, [f(1, 2, 7, 8), [f(3, 2, 3, 3)]], free=True
    )
    module = zoo.load(model, "torch")
    x = torch.from_numpy(feeds["x0"])
    assert torch.equal(module(x), torch.compile(module, fullgraph=True, backend="eager", dynamic=True)(x))
