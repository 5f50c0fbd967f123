"""Small models as their authors' frameworks export them: a residual net, an inverted residual net, a transformer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("keras", reason="the extra polyzoo[keras] is not installed")
pytest.importorskip("tensorflow", reason="the extra polyzoo[tensorflow] is not installed")

Tensors = dict[str, np.ndarray[Any, Any]]
HEAD = '<ir_version: 10, opset_import: ["" : 23]>'
NORM = "{}.weight", "{}.bias", "{}.running_mean", "{}.running_var"
RESNET = """
resnet (float[N, 3, H, W] image) => (float[N, 5] logits) {
  a = Conv <pads = [3, 3, 3, 3], strides = [2, 2]> (image, "conv1.weight")
  b = BatchNormalization <epsilon = 1e-5> (a, @bn1)
  c = Relu (b)
  d = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (c)
  e = Conv <pads = [1, 1, 1, 1]> (d, "layer1.0.conv1.weight")
  f = BatchNormalization <epsilon = 1e-5> (e, @layer1.0.bn1)
  g = Relu (f)
  h = Conv <pads = [1, 1, 1, 1]> (g, "layer1.0.conv2.weight")
  i = BatchNormalization <epsilon = 1e-5> (h, @layer1.0.bn2)
  j = Add (i, d)
  k = Relu (j)
  l = GlobalAveragePool (k)
  m = Flatten (l)
  logits = Gemm <transB = 1> (m, "fc.weight", "fc.bias")
}
"""
MOBILENET = """
mobilenet (float[N, 3, H, W] image) => (float[N, 5] logits)
<float six = {6.0}, float zero = {0.0}, float ratio = {0.2}> {
  a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (image, "stem.weight", "stem.bias")
  b = HardSwish (a)
  c = Conv <pads = [1, 1, 1, 1], strides = [2, 2], group = 8> (b, "block.depthwise.weight")
  d = BatchNormalization <epsilon = 1e-3> (c, @block.norm)
  e = Clip (d, zero, six)
  f = GlobalAveragePool (e)
  g = Conv (f, "block.squeeze.weight", "block.squeeze.bias")
  h = Relu (g)
  i = Conv (h, "block.excite.weight", "block.excite.bias")
  j = HardSigmoid <alpha = 0.16666667, beta = 0.5> (i)
  k = Mul (e, j)
  l = Conv (k, "block.project.weight")
  m = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (b)
  r = Add (l, m)
  n = GlobalAveragePool (r)
  o = Flatten (n)
  p = Dropout (o, ratio)
  logits = Gemm <transB = 1> (p, "head.weight", "head.bias")
}
"""
# attention's projections as torch's nn.Linear has them, the heads split and joined as its exporter writes it
TRANSFORMER = """
transformer (int64[N, L] ids, int64[N, L] mask) => (float[N, L, 16] hidden, float[N, 3] logits)
<int64[4] split = {0, 0, 4, 4}, int64[3] join = {0, 0, 16}, int64[2] heads = {1, 2}, int64[1] places = {1},
 int64[2] rows = {1, 3}, int64 zero = {0}> {
  a = Gather ("embeddings.weight", ids)
  x = LayerNormalization <epsilon = 1e-12> (a, "norm0.weight", "norm0.bias")
  qt = Transpose <perm = [1, 0]> ("attention.query.weight")
  q0 = MatMul (x, qt)
  q1 = Add (q0, "attention.query.bias")
  q2 = Reshape (q1, split)
  q = Transpose <perm = [0, 2, 1, 3]> (q2)
  kt = Transpose <perm = [1, 0]> ("attention.key.weight")
  k0 = MatMul (x, kt)
  k1 = Add (k0, "attention.key.bias")
  k2 = Reshape (k1, split)
  k = Transpose <perm = [0, 2, 1, 3]> (k2)
  vt = Transpose <perm = [1, 0]> ("attention.value.weight")
  v0 = MatMul (x, vt)
  v1 = Add (v0, "attention.value.bias")
  v2 = Reshape (v1, split)
  v = Transpose <perm = [0, 2, 1, 3]> (v2)
  shown = Cast <to = 9> (mask)
  seen = Unsqueeze (shown, heads)
  is_token = GreaterOrEqual (ids, zero)
  token = Unsqueeze (is_token, rows)
  every = And (token, seen)
  y = Attention (q, k, v, every)
  z = Transpose <perm = [0, 2, 1, 3]> (y)
  z1 = Reshape (z, join)
  ot = Transpose <perm = [1, 0]> ("attention.output.weight")
  o0 = MatMul (z1, ot)
  o = Add (o0, "attention.output.bias")
  r = Add (x, o)
  s = LayerNormalization <epsilon = 1e-12> (r, "norm1.weight", "norm1.bias")
  ut = Transpose <perm = [1, 0]> ("mlp.up.weight")
  u0 = MatMul (s, ut)
  u1 = Add (u0, "mlp.up.bias")
  u = Gelu (u1)
  dt = Transpose <perm = [1, 0]> ("mlp.down.weight")
  d0 = MatMul (u, dt)
  d = Add (d0, "mlp.down.bias")
  t = Add (s, d)
  hidden = LayerNormalization <epsilon = 1e-12> (t, "norm2.weight", "norm2.bias")
  pooled = ReduceMean <keepdims = 0> (hidden, places)
  logits = Gemm <transB = 1> (pooled, "head.weight", "head.bias")
}
"""


def _norm(name: str, n: int) -> dict[str, tuple[int, ...]]:
    return {part.format(name): (n,) for part in NORM}


def _linear(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


SHAPES: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "resnet": {
        "conv1.weight": (8, 3, 7, 7),
        **_norm("bn1", 8),
        "layer1.0.conv1.weight": (8, 8, 3, 3),
        **_norm("layer1.0.bn1", 8),
        "layer1.0.conv2.weight": (8, 8, 3, 3),
        **_norm("layer1.0.bn2", 8),
        **_linear("fc", 5, 8),
    },
    "mobilenet": {
        "stem.weight": (8, 3, 3, 3),
        "stem.bias": (8,),
        "block.depthwise.weight": (8, 1, 3, 3),
        **_norm("block.norm", 8),
        "block.squeeze.weight": (4, 8, 1, 1),
        "block.squeeze.bias": (4,),
        "block.excite.weight": (8, 4, 1, 1),
        "block.excite.bias": (8,),
        "block.project.weight": (8, 8, 1, 1),
        **_linear("head", 5, 8),
    },
    "transformer": {
        "embeddings.weight": (30, 16),
        **dict.fromkeys(("norm0.weight", "norm0.bias"), (16,)),
        **_linear("attention.query", 16, 16),
        **_linear("attention.key", 16, 16),
        **_linear("attention.value", 16, 16),
        **_linear("attention.output", 16, 16),
        **dict.fromkeys(("norm1.weight", "norm1.bias"), (16,)),
        **_linear("mlp.up", 64, 16),
        **_linear("mlp.down", 16, 64),
        **dict.fromkeys(("norm2.weight", "norm2.bias"), (16,)),
        **_linear("head", 3, 16),
    },
}
TEXTS = {"resnet": RESNET, "mobilenet": MOBILENET, "transformer": TRANSFORMER}


def parsed(text: str, weights: Mapping[str, Any] | None = None) -> onnx.ModelProto:
    """A model of its text and its weights; `@bn1` are the four tensors of a batch norm."""
    text = re.sub(r"@([\w.]+)", lambda m: ", ".join(f'"{part.format(m[1])}"' for part in NORM), text)
    model = onnx.parser.parse_model(HEAD + text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in (weights or {}).items())
    return model


@pytest.fixture(scope="session")
def weights() -> dict[str, Tensors]:
    """The authors' tensors, seeded, of each model."""
    generator = np.random.default_rng(0)
    made = {
        name: {key: generator.normal(scale=0.3, size=shape).astype(np.float32) for key, shape in shapes.items()}
        for name, shapes in SHAPES.items()
    }
    for tensors in made.values():
        tensors |= {key: np.abs(array) + 0.5 for key, array in tensors.items() if key.endswith("running_var")}
    return made


@pytest.fixture(scope="session")
def models(weights: dict[str, Tensors]) -> dict[str, onnx.ModelProto]:
    """Each model with its weights."""
    return {name: parsed(text, weights[name]) for name, text in TEXTS.items()}


@pytest.fixture(scope="session")
def feeds() -> dict[str, Tensors]:
    """Two samples for each model, the second text shorter than the first."""
    generator = np.random.default_rng(1)
    image = generator.normal(size=(2, 3, 32, 32)).astype(np.float32)
    mask = np.array([[1] * 7, [1] * 4 + [0] * 3])
    ids = generator.integers(0, 30, size=(2, 7))
    return {"resnet": {"image": image}, "mobilenet": {"image": image}, "transformer": {"ids": ids, "mask": mask}}


@pytest.fixture(scope="session")
def expected(models: dict[str, onnx.ModelProto], feeds: dict[str, Tensors]) -> dict[str, Tensors]:
    """What ONNX Runtime makes of them."""
    import zoo

    return {name: zoo.runner(model, "onnx").run(feeds[name]) for name, model in models.items()}


@pytest.fixture(scope="session")
def as_keras() -> Callable[[Tensors], Any]:
    """Arrays as a Keras model takes them: one alone, several in a list, pictures with their channels last."""

    def given(arrays: Tensors) -> Any:
        found = [np.ascontiguousarray(a.transpose(0, 2, 3, 1)) if a.ndim == 4 else a for a in arrays.values()]
        return found[0] if len(found) == 1 else found

    return given
