"""A small picture model and models of a few operators in ONNX's own text form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("tensorflow", reason="the extra polyzoo[tensorflow] is not installed")

HEAD = '<ir_version: 10, opset_import: ["" : 23]>'
PICTURES = """
agraph (float[N, 3, H, W] x) => (float[N, 5] logits) {
  a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, stem.conv.weight)
  b = BatchNormalization <epsilon = 1e-3> (a, stem.bn.weight, stem.bn.bias, stem.bn.running_mean, stem.bn.running_var)
  c = Relu (b)
  d = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (c)
  e = Conv <pads = [1, 1, 1, 1], group = 8> (d, layers.0.depthwise.weight, layers.0.depthwise.bias)
  f = GlobalAveragePool (e)
  g = Flatten (f)
  h = Dropout (g)
  logits = Gemm <transB = 1> (h, head.weight, head.bias)
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
    """A model of its text; ONNX's text has no dots in names, which stand for themselves here."""
    dotted = {name: name.replace(".", "__dot__") for name in weights or {}}
    for name, plain in dotted.items():
        graph = graph.replace(name, plain)
    model = onnx.parser.parse_model(HEAD + graph)
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = name.replace("__dot__", ".")
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
    """A convolution, a normalisation, a pool, a depthwise convolution and a linear layer."""
    return parsed(PICTURES, weights)


@pytest.fixture(scope="session")
def x() -> Any:
    """Two pictures [2, 3, 12, 13]."""
    return np.random.default_rng(1).normal(size=(2, 3, 12, 13)).astype(np.float32)


@pytest.fixture
def agrees() -> Callable[..., Any]:
    """Runs a model in TensorFlow, as one graph or step by step, and compares it with ONNX Runtime."""
    import zoo
    from zoo.converters.writers.tensorflow.runner import TensorFlowRunner

    def check(
        graph: str, feeds: Mapping[str, Any], weights: Mapping[str, Any] | None = None, *, traced: bool = True
    ) -> list[Any]:
        model = parsed(graph, weights)
        expected = zoo.runner(model, "onnx").run(feeds).values()
        runner = zoo.runner(model, "tensorflow")
        assert isinstance(runner, TensorFlowRunner)
        assert (runner.module.why_eager == "") == traced
        got = list(runner.run(feeds).values())
        for want, have in zip(expected, got, strict=True):
            want = np.asarray(want)
            assert (want.shape, want.dtype.kind in "OSU") == (have.shape, have.dtype.kind == "O")
            if have.dtype.kind == "O":
                assert want.astype(str).tolist() == have.tolist()
            else:
                np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)
        return got

    return check
