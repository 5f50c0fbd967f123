from __future__ import annotations

from importlib.util import find_spec

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest

import zoo
from zoo.converters.verify import compare
from zoo.errors import BadInput, UsageError


@pytest.fixture(scope="module", autouse=True)
def lite0(zoo_home):
    return zoo.pull("efficientnet-lite0")[0]


def test_onnx_is_written_checked_and_runs(tmp_path):
    made = zoo.convert("efficientnet-lite0", "onnx", tmp_path / "lite0.onnx")
    assert made.agreement is not None and made.agreement.agrees
    session = onnxruntime.InferenceSession(made.path, providers=["CPUExecutionProvider"])
    assert (1, 1000) == session.run(None, {"x": np.zeros((1, 3, 224, 224), np.float32)})[0].shape
    assert ["lite0.onnx"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_weights_are_written_under_the_authors_names(tmp_path, name):
    if name.endswith(".pth"):
        pytest.importorskip("torch")
    made = zoo.convert("efficientnet-lite0", "torch" if name.endswith(".pth") else "safetensors", tmp_path / name)
    assert "296 tensors read back bit for bit" == made.checked
    from safetensors.numpy import load_file

    written = load_file(made.path) if name.endswith("safetensors") else zoo.weights(made.path)
    assert (1000, 1280) == np.asarray(written["classifier.weight"]).shape
    runner = zoo.runner(made.path, architecture="timm/tf_efficientnet_lite0")
    assert (2, 1000) == runner.run({"x": np.zeros((2, 3, 224, 224), np.float32)})["logits"].shape


def test_an_exported_program_holds_graph_and_weights(tmp_path):
    torch = pytest.importorskip("torch")
    made = zoo.convert("efficientnet-lite0", "torch", tmp_path / "lite0.pt2")
    assert made.agreement is not None and made.agreement.agrees
    module = torch.export.load(made.path).module()
    assert (3, 1000) == module(torch.zeros(3, 3, 224, 224)).shape


@pytest.mark.parametrize(
    ("to", "out", "options", "error", "words"),
    [
        ("onxx", "a.onnx", {}, UsageError, "Did you mean 'onnx'"),
        ("onnx", "a.pth", {}, BadInput, "ends with .onnx"),
        ("onnx", "nowhere/a.onnx", {}, BadInput, "no such folder"),
        ("onnx", "a.onnx", {"opset": 6}, UsageError, "opset 6 can't be written.*the model has 23"),
        ("onnx", "a.onnx", {"dtype": "float17"}, UsageError, "Did you mean 'float16'"),
        ("safetensors", "a.safetensors", {"opset": 17}, UsageError, "a file of the format safetensors has no opset"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path, to, out, options, error, words):
    with pytest.raises(error, match=words):
        zoo.convert("efficientnet-lite0", to, tmp_path / out, **options)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("opset", [9, 13, 17, 28])
def test_onnx_is_written_at_another_opset_and_agrees(tmp_path, opset):
    made = zoo.convert("efficientnet-lite0", "onnx", tmp_path / "lite0.onnx", opset=opset)
    assert made.agreement is not None and made.agreement.agrees
    assert opset == zoo.inspect(made.path).opset
    names = {tensor.name for tensor in onnx.load(made.path).graph.initializer}
    assert {"classifier.weight", "conv_stem.weight"} <= names


@pytest.mark.parametrize(("dtype", "allowed"), [("float16", 1e-2), ("bfloat16", 5e-2), ("float64", 1e-4)])
def test_onnx_is_written_in_another_dtype_and_agrees_within_it(tmp_path, dtype, allowed):
    made = zoo.convert("efficientnet-lite0", "onnx", tmp_path / "lite0.onnx", dtype=dtype)
    assert made.agreement is not None and allowed == made.agreement.tolerance
    report = zoo.inspect(made.path)
    assert {dtype} == {spec.dtype for spec in (*report.inputs, *report.outputs)}


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.pt2"])
def test_weights_and_programs_are_written_in_another_dtype(tmp_path, name):
    if not name.endswith("safetensors"):
        pytest.importorskip("torch")
    made = zoo.convert(
        "efficientnet-lite0", "safetensors" if name.endswith("s") else "torch", tmp_path / name, dtype="bfloat16"
    )
    if name.endswith(".pt2"):
        assert made.agreement is not None and made.agreement.agrees
    else:
        assert "bfloat16" == np.asarray(zoo.weights(made.path)["classifier.weight"]).dtype.name


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_runner_of_onnx_runtime_takes_and_gives_the_dtype(dtype):
    runner = zoo.runner("efficientnet-lite0", dtype=dtype)
    (given,) = runner.inputs
    x = np.random.default_rng(0).standard_normal((2, 3, 224, 224)).astype(getattr(ml_dtypes, dtype, dtype))
    got = runner.run({"x": x})["logits"]
    expected = zoo.runner("efficientnet-lite0").run({"x": x.astype(np.float32)})
    assert (dtype, dtype) == (given.dtype, got.dtype.name)
    assert compare(expected, {"logits": got}, dtype=dtype).agrees


def test_verify_runs_every_framework_in_a_process_of_its_own():
    if missing := [name for name in ("torch", "jax") if not find_spec(name)]:
        pytest.skip(f"{missing[0]} is not installed")
    verdicts = {v.framework: v for v in zoo.verify("efficientnet-lite0", ["onnx", "torch", "jax"])}
    assert {"onnx", "torch", "jax"} == set(verdicts)
    assert all(v.agrees and v.max_relative < 1e-4 and v.top1 == 1.0 for v in verdicts.values())


def test_inspect_says_what_a_file_is(tmp_path, lite0):
    report = zoo.inspect(lite0)
    assert ("weights", 296) == (report.holds, len(report.tensors))
    path = zoo.convert("efficientnet-lite0", "onnx", tmp_path / "a.onnx", check=False).path
    report = zoo.inspect(path)
    assert ("onnx", "model", 49) == (report.format, report.holds, report.operators["Conv"])
    image = report.inputs[0]
    assert ("x", "float32", (3, 224, 224)) == (image.name, image.dtype, image.shape[1:])
    assert "yes" == report.frameworks["onnx"]
