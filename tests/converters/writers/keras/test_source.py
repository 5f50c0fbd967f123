"""Keras sources: written, read, run, and compared with ONNX Runtime; what is in them, and what they refuse."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest

import zoo
from zoo import architectures
from zoo.converters.bind import bind
from zoo.converters.graph import parameters
from zoo.converters.whole import lowered, prepared, specs_of
from zoo.converters.writers.onnx.writer import session
from zoo.errors import UnsupportedOps
from zoo.examples import feeds

keras = pytest.importorskip("keras")

from zoo.converters.writers.keras import source as keras_source  # noqa: E402
from zoo.converters.writers.keras.source.tree import KerasTree  # noqa: E402

READS = {
    "hf/minilm-l6": (
        "self.layer = [BertLayer() for _ in range(6)]",
        "for layer in self.layer:",
        'ops.cast(attention_mask, "bool")[:, None, None]',
        "self.LayerNorm = layers.LayerNormalization(epsilon=1e-12)",
    ),
    "timm/tf_efficientnet_lite0": (
        "class BatchNormAct2d(layers.BatchNormalization):",
        'layers.DepthwiseConv2D(kernel_size, strides=strides, padding="same", use_bias=False)',
        "InvertedResidual(144, 24, kernel_size=3, residual=True)",
        "self.classifier = layers.Dense(1000)",
    ),
}
LINES = {"hf/minilm-l6": 260, "timm/tf_efficientnet_lite0": 200}


def seeded(name: str) -> tuple[ir.Model, ir.Model]:
    """An architecture with seeded numbers for weights: as the source takes it, and as it is."""
    rng = np.random.default_rng(0)
    tensors = {}
    for key, value in parameters(architectures.load(name).graph).items():
        shape, dtype = [int(d) for d in value.shape], value.dtype.numpy()
        if not np.issubdtype(dtype, np.floating):
            array = np.zeros(shape, dtype)
        elif "var" in key:
            array = 1 + rng.random(shape, dtype)
        else:
            array = 0.05 * rng.standard_normal(shape, dtype)
        tensors[key] = ir.tensor(array, name=key)
    graph = prepared(architectures.load(name), keras_source.lowers)
    used = parameters(graph.graph)
    return bind(graph, {k: t for k, t in tensors.items() if k in used}), bind(architectures.load(name), tensors)


def opened(folder):
    """The file of a folder as a module."""
    spec = importlib.util.spec_from_file_location(f"source_of_{folder.name}", folder / "model.py")
    assert spec is not None and spec.loader is not None
    file = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(file)
    return file


def fed(model: ir.Model, given: dict[str, np.ndarray]):
    """Inputs as the source takes them: with their channels last, several as a dict."""
    turned = KerasTree(model).layouts.inputs
    arrays = {n: np.transpose(x, turned[n]) if n in turned else x for n, x in given.items()}
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def outputs_of(model: ir.Model, made) -> list[np.ndarray]:
    """Outputs as the graph lays them out."""
    turned = KerasTree(model).layouts.outputs
    arrays = [keras.ops.convert_to_numpy(y) for y in (made.values() if isinstance(made, dict) else [made])]
    perms = [turned.get(v.name) for v in model.graph.outputs]
    return [y if p is None else np.transpose(y, np.argsort(p)) for y, p in zip(arrays, perms, strict=True)]


@pytest.fixture(scope="module", params=READS)
def one(request, tmp_path_factory):
    model, whole = seeded(request.param)
    folder = tmp_path_factory.mktemp("source") / request.param.replace("/", "_")
    inputs, outputs = specs_of(model)
    given = feeds(model, inputs)
    keras_source.save(folder, model, inputs, outputs, given, "A model of nobody's.")
    file = opened(folder)
    return SimpleNamespace(
        name=request.param,
        text=(folder / "model.py").read_text(),
        file=file,
        given=given,
        model=model,
        whole=whole,
        folder=folder,
        native=file.create_model(),
    )


def test_numbers_are_onnx_runtimes(one):
    (expected,) = session(one.whole, device="cpu", plain=True).run(one.given).values()
    (got,) = outputs_of(one.model, one.native(fed(one.model, one.given), training=False))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_a_source_is_saved_by_keras_and_comes_back(one, tmp_path):
    one.native.save(tmp_path / "model.keras")
    back = keras.saving.load_model(tmp_path / "model.keras")
    x = fed(one.model, one.given)
    expected, got = (keras.ops.convert_to_numpy(m(x, training=False)) for m in (one.native, back))
    np.testing.assert_array_equal(expected, got)


def test_the_file_reads_as_a_person_writes(one):
    for words in READS[one.name]:
        assert words in one.text
    assert len(one.text.splitlines()) <= LINES[one.name]
    assert max(map(len, one.text.splitlines())) <= 120
    names = [n.name for n in ast.parse(one.text).body if isinstance(n, ast.ClassDef)]
    assert len(set(names)) == len(names)
    assert "zoo" not in one.text and "onnx" not in one.text


# ---- graphs without a tree, and single operators


def proto(text: str, **tensors: np.ndarray) -> onnx.ModelProto:
    graph = onnx.parser.parse_graph(text)
    graph.initializer.extend(onnx.numpy_helper.from_array(t, n) for n, t in tensors.items())
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


X = "float[2,4,8,8] x"
BODIES = {
    "Conv": (f"({X}) => (float[2,6,4,4] y) {{ y = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w, b) }}", (6, 4, 3, 3)),
    "Conv of the same size": (f"({X}) => (float[2,6,8,8] y) {{ y = Conv<pads=[1,1,1,1]>(x, w) }}", (6, 4, 3, 3)),
    "grouped Conv": (f"({X}) => (float[2,4,8,8] y) {{ y = Conv<group=2, pads=[1,0,1,2]>(x, w) }}", (4, 2, 3, 3)),
    "depthwise Conv": (f"({X}) => (float[2,8,3,3] y) {{ y = Conv<group=4, strides=[2,2]>(x, w, b) }}", (8, 1, 3, 3)),
    "ConvTranspose": (
        f"({X}) => (float[2,6,16,16] y) {{ y = ConvTranspose<strides=[2,2], pads=[1,1,1,1]>(x, w, b) }}",
        (4, 6, 4, 4),
    ),
    "MaxPool": (
        f"({X}) => (float[2,4,5,5] y) {{ y = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,2,2]>(x) }}",
        (),
    ),
    "AveragePool": (f"({X}) => (float[2,4,8,8] y) {{ y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(x) }}", ()),
    "AveragePool with zeros": (
        f"({X}) => (float[2,4,8,8] y)"
        " { y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(x) }",
        (),
    ),
    "pooled whole": (
        f"({X}) => (float[2,4,1,1] y) {{ a = GlobalMaxPool(x) b = GlobalAveragePool(x) y = Add(a, b) }}",
        (),
    ),
    "parts": (
        f"({X}) => (float[2,4,8,8] y) {{ a, b = Split<axis=1, num_outputs=2>(x) c = Slice(b, begin, end, axes)"
        " d = Pad(c, pads) y = Concat<axis=1>(a, d) }",
        (),
    ),
    "Softmax": (f"({X}) => (float[2,4,8,8] y) {{ s = Softmax<axis=1>(x) l = LogSoftmax(x) y = Sub(s, l) }}", ()),
    "activations": (
        f"({X}) => (float[2,4,8,8] y) {{ a = LeakyRelu<alpha=0.2>(x) b = Elu(a) c = HardSwish(b) d = Mish(c)"
        " e = HardSigmoid(d) f = Selu(e) g = Softplus(f) h = ThresholdedRelu(g) y = Erf(h) }",
        (),
    ),
    "reductions": (
        f"({X}) => (float[2,1,8,8] y) {{ a = ReduceL2(x, axis) b = ReduceLogSumExp(x, axis) c = ReduceMax(x, axis)"
        " d = Add(a, b) y = Mul(c, d) }",
        (),
    ),
    "GroupNorm": (f"({X}) => (float[2,4,8,8] y) {{ y = LRN<size=3>(x) }}", ()),
    "Resize": (
        f'({X}) => (float[2,4,16,16] y) {{ y = Resize<mode="linear", coordinate_transformation_mode="half_pixel">'
        "(x, , scales) }",
        (),
    ),
    "logic": (
        f"({X}) => (float[2,4,8,8] y) {{ a = Greater(x, zero) b = IsNaN(x) c = Not(b) d = And(a, c)"
        " y = Where(d, x, zero) }",
        (),
    ),
    "DepthToSpace": (f"({X}) => (float[2,1,16,16] y) {{ y = DepthToSpace<blocksize=2>(x) }}", ()),
    "Clip": (f"({X}) => (float[2,4,8,8] y) {{ a = Clip(x, zero) y = CumSum(a, one) }}", ()),
}
INTEGERS = {"begin": [1], "end": [7], "axes": [2], "axis": [1], "pads": [0, 0, 1, 0, 0, 0, 1, 0], "one": 1}
FLOATS = {"scales": [1, 1, 2, 2], "zero": 0.0}


def model_of(name: str) -> onnx.ModelProto:
    """A graph of the table, with what it reads of the constants and weights."""
    body, shape = BODIES[name]
    held: dict[str, np.ndarray] = {k: np.array(v, np.int64) for k, v in INTEGERS.items()}
    held |= {k: np.array(v, np.float32) for k, v in FLOATS.items()}
    if shape:
        held |= {"w": random(*shape), "b": random(shape[1 if name == "ConvTranspose" else 0])}
    words = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    return proto(f"g {body}", **{k: v for k, v in held.items() if k in words})


@pytest.mark.parametrize("name", BODIES)
def test_operators_compute_what_onnx_runtime_does(name, tmp_path):
    whole = ir.from_proto(model_of(name))
    model = lowered(whole, keras_source.lowers)
    inputs, outputs = specs_of(model)
    given = feeds(model, inputs)
    keras_source.save(tmp_path / "made", model, inputs, outputs, given, "A model.")
    made = opened(tmp_path / "made").create_model()(fed(model, given), training=False)
    expected = session(whole, device="cpu", plain=True).run(given).values()
    for mine, theirs in zip(outputs_of(model, made), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def test_a_source_fits(tmp_path):
    made = zoo.convert(model_of("Conv"), "keras-source", tmp_path / "made", check=False)
    model = opened(made.path).create_model()
    model.compile(keras.optimizers.SGD(0.01), "mse")
    x, y = random(8, 8, 8, 4), random(8, 4, 4, 6)
    losses = model.fit(x, y, epochs=5, batch_size=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("backend", ["jax", "torch", "tensorflow"])
def test_a_source_runs_on_every_backend_of_keras(backend, tmp_path):
    pytest.importorskip(backend)
    made = zoo.convert(model_of("Conv"), "keras-source", tmp_path / "made", check=False)
    script = "import model, numpy; print(float(model.create_model()(numpy.ones((2, 8, 8, 4), 'float32')).sum()))"
    if backend == "tensorflow":
        script = script.replace(".sum()", "[0, 0, 0, 0]")
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=made.path,
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    float(done.stdout.splitlines()[-1])


def test_all_that_can_not_be_written_is_named_at_once(tmp_path):
    model = proto(
        "g (float[2,4] x) => (float[2,4] y, float[2,4] z) { y = Mod<fmod=1>(x, x) z = CumSum<exclusive=1>(x, axis) }",
        axis=np.array(1, np.int64),
    )
    with pytest.raises(UnsupportedOps) as caught:
        zoo.convert(model, "keras-source", tmp_path / "made")
    assert "Mod" in str(caught.value) and "CumSum" in str(caught.value)
    assert [] == list(tmp_path.iterdir())
