"""Operators between two convolutions, where pictures have their channels last."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import zoo
from tests.converters.writers.jax.conftest import parsed
from zoo.converters.writers.jax.channels_last import FORMS

BETWEEN = {
    "AveragePool": "AveragePool <kernel_shape = [3, 2], pads = [1, 0, 1, 1], strides = [2, 1], ceil_mode = 1> (a)",
    "BatchNormalization": "BatchNormalization (a, s, b, b, v)",
    "Conv": "Conv <group = 4, pads = [1, 1, 0, 0], dilations = [1, 2]> (a, k, s)",
    "ConvTranspose": "ConvTranspose <group = 2, strides = [2, 1], output_padding = [1, 0], pads = [0, 1, 1, 0]> (a, t)",
    "DepthToSpace": 'DepthToSpace <blocksize = 2, mode = "CRD"> (a)',
    "GlobalAveragePool": "GlobalAveragePool (a)",
    "GlobalLpPool": "GlobalLpPool (a)",
    "GlobalMaxPool": "GlobalMaxPool (a)",
    "GroupNormalization": "GroupNormalization <num_groups = 2> (a, s, b)",
    "InstanceNormalization": "InstanceNormalization (a, s, b)",
    "LRN": "LRN <size = 3, alpha = 0.5> (a)",
    "LpPool": "LpPool <kernel_shape = [2, 2], p = 2> (a)",
    "MaxPool": "MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2], dilations = [1, 2]> (a)",
    "SpaceToDepth": "SpaceToDepth <blocksize = 2> (a)",
}
CHANNELS = {"DepthToSpace": 2, "SpaceToDepth": 32}


def model(call, channels):
    generator = np.random.default_rng(0)
    shapes = {"w": (8, 3, 1, 1), "s": (8,), "b": (8,), "k": (8, 2, 3, 2), "t": (8, 4, 3, 3), "z": (5, channels, 1, 1)}
    used = {name: size for name, size in shapes.items() if name in "wz" or f"{name}," in call or f"{name})" in call}
    weights = {name: generator.normal(size=size).astype(np.float32) for name, size in used.items()}
    if "v)" in call:
        weights["v"] = generator.uniform(0.5, 2, 8).astype(np.float32)
    made = parsed(
        f"agraph (float[N, 3, H, W] x) => (float[N, 5, P, Q] y) {{ a = Conv (x, w) c = {call} y = Conv (c, z) }}",
        weights,
    )
    made.opset_import[0].version = 21  # ONNX Runtime 1.32 has no GlobalLpPool of 22
    return made


def test_every_form_is_tried():
    assert set(BETWEEN) == set(FORMS)


@pytest.mark.parametrize("op", BETWEEN)
def test_a_form_computes_what_its_operator_does_and_nothing_is_transposed_inside(op):
    made = model(BETWEEN[op], CHANNELS.get(op, 8))
    x = np.random.default_rng(1).normal(size=(2, 3, 6, 8)).astype(np.float32)
    expected = zoo.runner(made, "onnx").run({"x": x})["y"]
    apply, params = zoo.load(made, framework="jax", channels="last")
    got = jax.jit(apply)(params, x.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(got.transpose(0, 3, 1, 2), expected, rtol=1e-4, atol=1e-5)
    assert not [node for node in apply.graph if node.op_type == "Transpose"]
    assert [node.domain for node in apply.graph] == ["zoo.channels_last"] * 3
