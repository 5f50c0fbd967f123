"""A small picture model whose tensors bear dotted names, and models from ONNX's own text form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest

import zoo
from zoo.converters.frameworks import FRAMEWORKS

if not FRAMEWORKS["mxnet"].is_installed:
    pytest.skip("mxnet: the extra polyzoo[mxnet] is not installed", allow_module_level=True)

HEAD = '<ir_version: 10, opset_import: ["" : 23]>'
PICTURES = """
agraph (float[N, 3, H, W] x) => (float[N, 5] logits) {
  a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, "stem.conv.weight")
  b = BatchNormalization <epsilon = 1e-3>
      (a, "stem.bn.weight", "stem.bn.bias", "stem.bn.running_mean", "stem.bn.running_var")
  c = Relu (b)
  d = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (c)
  e = Conv <pads = [1, 1, 1, 1], group = 8> (d, "layers.0.depthwise.weight", "layers.0.depthwise.bias")
  f = GlobalAveragePool (e)
  g = Flatten (f)
  h = Dropout (g)
  logits = Gemm <transB = 1> (h, "head.weight", "head.bias")
}
"""
SHAPES = {
    "stem.conv.weight": (8, 3, 3, 3),
    "stem.bn.weight": (8,),
    "stem.bn.bias": (8,),
    "stem.bn.running_mean": (8,),
    "stem.bn.running_var": (8,),
    "layers.0.depthwise.weight": (8, 1, 3, 3),
    "layers.0.depthwise.bias": (8,),
    "head.weight": (5, 8),
    "head.bias": (5,),
}


def parsed(graph: str, weights: Mapping[str, Any] | None = None) -> onnx.ModelProto:
    """A model of its text and its weights."""
    model = onnx.parser.parse_model(HEAD + graph)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in (weights or {}).items())
    return model


@pytest.fixture(scope="session")
def weights() -> dict[str, Any]:
    """The author's tensors of the picture model."""
    generator = np.random.default_rng(0)
    made = {name: generator.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    made["stem.bn.running_var"] = np.abs(made["stem.bn.running_var"]) + 0.5
    return made


@pytest.fixture(scope="session")
def pictures(weights: dict[str, Any]) -> onnx.ModelProto:
    """A convolution, a normalisation, a pool, a depthwise convolution, dropout and a linear layer."""
    return parsed(PICTURES, weights)


@pytest.fixture(scope="session")
def x() -> Any:
    """Two pictures [2, 3, 12, 13]."""
    return np.random.default_rng(1).normal(size=(2, 3, 12, 13)).astype(np.float32)


@pytest.fixture(scope="session")
def expected(pictures: onnx.ModelProto, x: Any) -> Any:
    """What ONNX Runtime makes of the pictures: logits [2, 5]."""
    return zoo.runner(pictures, "onnx").run({"x": x})["logits"]


@pytest.fixture
def agrees() -> Callable[..., None]:
    """Runs a model in MXNet, as a symbol or operator by operator, and compares it with ONNX Runtime."""

    def check(graph: str, *feeds: Mapping[str, Any], compiled: bool = True) -> None:
        model = parsed(graph)
        reference, runner = zoo.runner(model, "onnx"), zoo.runner(model, "mxnet")
        assert (runner.compiled is not None) == compiled  # type: ignore[attr-defined]
        for given in feeds:
            expected, got = reference.run(given), runner.run(given)
            for name, want in expected.items():
                assert (want.shape, want.dtype) == (got[name].shape, got[name].dtype)
                np.testing.assert_allclose(got[name], want, rtol=1e-5, atol=1e-6)

    return check
