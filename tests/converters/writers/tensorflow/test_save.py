"""SavedModels and TFLite files: written, run from the files, and refused where they can't be."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
import tensorflow as tf

import zoo
from zoo.converters.writers.tensorflow import browser, save
from zoo.converters.writers.tensorflow.writer import tensors
from zoo.errors import BadInput, HubError, UsageError

ALONE = """
import sys, numpy as np, tensorflow as tf
folder, given = sys.argv[1:]
x = np.load(given)
model = tf.saved_model.load(folder)
assert "zoo" not in sys.modules
y = model.signatures["serving_default"](x=tf.constant(x))["logits"]
np.testing.assert_array_equal(y, model(x))
with tf.GradientTape() as tape:
    loss = tf.reduce_sum(model(x, training=True) ** 2)
assert all(g is not None for g in tape.gradient(loss, [v for v in model.held.values() if v.trainable]))
np.save(given, y)
"""


@pytest.fixture
def file(pictures, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(pictures, path)
    return path


def test_a_saved_model_runs_and_trains_where_zoo_is_not_imported(pictures, x, tmp_path):
    module = zoo.load(pictures, framework="tensorflow")
    tf.saved_model.save(module, str(tmp_path / "saved"))
    given = tmp_path / "x.npy"
    np.save(given, x.transpose(0, 2, 3, 1))
    subprocess.run([sys.executable, "-c", ALONE, str(tmp_path / "saved"), str(given)], check=True, cwd=tmp_path)
    expected = zoo.runner(pictures, "onnx").run({"x": x})["logits"]
    np.testing.assert_allclose(np.load(given), expected, rtol=1e-5, atol=1e-5)


def test_a_saved_model_keeps_tensors_whose_names_are_no_nodes_names(tmp_path):
    from tests.converters.writers.tensorflow.conftest import parsed

    names = ["onnx::MatMul_193", "/a b/é", "_part", "dense/kernel:0", "dense.kernel", "."]
    steps = [f"y{i + 1} = Add (y{i}, {chr(97 + i)})" for i in range(len(names))]
    model = parsed("agraph (float[N, 3] y0) => (float[N, 3] y6) {" + " ".join(steps) + "}")
    for i, (node, name) in enumerate(zip(model.graph.node, names, strict=True)):
        node.input[1] = name
        array = np.full(3, 10**i, np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    module = zoo.load(model, framework="tensorflow")
    assert list(tensors(module)) == names
    assert module.dense.kernel is module.held["dense/kernel:0"]
    assert module.dense.kernel.name == "dense/kernel:0"
    assert module.dense.kernel_ is module.held["dense.kernel"]
    tf.saved_model.save(module, str(tmp_path / "saved"))
    assert tf.saved_model.load(str(tmp_path / "saved"))(tf.zeros([1, 3])).numpy().tolist() == [[111111] * 3]


@pytest.mark.parametrize("kind", ["float32", "float16", "int8-dynamic", "int8"])
def test_a_tflite_file_computes_the_same(pictures, x, tmp_path, kind):
    module = zoo.load(pictures, framework="tensorflow")
    path = tmp_path / "model.tflite"
    save.tflite(module, path, kind, [{"x": x}] if kind == "int8" else None)
    expected = zoo.runner(pictures, "onnx").run({"x": x})["logits"]
    got = save.run_tflite(path, module.source, {"x": x})["logits"]
    allowed = {"float32": 1e-5, "float16": 5e-3, "int8-dynamic": 3e-2, "int8": 5e-2}[kind]
    assert np.abs(got - expected).max() <= allowed * np.abs(expected).max()


def test_8_bits_want_samples_and_nothing_else_does(pictures, x, tmp_path):
    module = zoo.load(pictures, framework="tensorflow")
    for kind, samples in (("int8", None), ("float16", [{"x": x}])):
        with pytest.raises(UsageError, match="a TFLite file of int8 wants them, no other does"):
            save.tflite(module, tmp_path / "a.tflite", kind, samples)
    with pytest.raises(UsageError, match="unknown dtype 'int4' of a TFLite file"):
        save.tflite(module, tmp_path / "a.tflite", "int4")


def test_an_operator_that_tflite_lacks_is_refused_by_name(tmp_path):
    from tests.converters.writers.tensorflow.conftest import parsed

    model = parsed('agraph (string[N] x) => (bool[N] y) { y = RegexFullMatch <pattern = "a+"> (x) }')
    with pytest.raises(HubError, match=r"TFLite's converter refuses the model.*RegexFullMatch"):
        save.tflite(zoo.load(model, framework="tensorflow"), tmp_path / "a.tflite")


def test_convert_writes_and_checks_a_saved_model(file, tmp_path):
    for _ in range(2):  # the second takes the place of the first
        made = zoo.convert(file, "saved-model", tmp_path / "saved")
    assert made.checked == "tf.saved_model.load and ONNX Runtime"
    assert made.agreement.agrees
    assert "serving_default" in tf.saved_model.load(str(tmp_path / "saved")).signatures
    said = (tmp_path / "saved" / "README.md").read_text()
    assert "Written by polyzoo" in said
    assert "    x: float32 [None, None, None, 3]\n" in said
    assert "tensorflowjs_converter --input_format=tf_saved_model" in said


def test_what_tensorflowjs_has_of_a_frozen_signature_is_what_the_folder_says(pictures, tmp_path):
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from tests.converters.writers.tensorflow.conftest import parsed

    for number, (model, lacks) in enumerate(
        [
            (pictures, []),
            (parsed("agraph (float[N] x) => (float[N] y) { y = Gelu (x) }"), []),
            (parsed("agraph (float[N, M, M] x) => (float[N] y) { y = Det (x) }"), ["MatrixDeterminant"]),
        ]
    ):
        module = zoo.load(model, framework="tensorflow")
        assert browser.lacking(module.serving()) == lacks
        folder = tmp_path / str(number)
        save.saved_model(module, folder, "")
        loaded = tf.saved_model.load(str(folder))
        frozen = convert_variables_to_constants_v2(loaded.signatures["serving_default"])
        assert {node.op for node in frozen.graph.as_graph_def().node} - browser.OPERATORS == set(lacks)


@pytest.mark.parametrize("dtype", [None, "float16", "int8-dynamic"])
def test_convert_writes_and_checks_tflite(file, tmp_path, dtype):
    made = zoo.convert(file, "tflite", tmp_path / "a.tflite", dtype=dtype)
    assert made.agreement.agrees
    assert made.checked == "TFLite's interpreter and ONNX Runtime"


def test_convert_takes_samples_from_a_file(file, x, tmp_path):
    np.savez(tmp_path / "samples.npz", x=x)
    made = zoo.convert(file, "tflite", tmp_path / "a.tflite", dtype="int8", samples=tmp_path / "samples.npz")
    assert made.agreement.agrees
    assert made.agreement.mean_relative < 0.1
    for arrays, problem in (
        ({"y": x, "z": x}, r"others.npz has no array 'x'"),
        ({"y": x[:0]}, "others.npz has 0 samples"),
        ({"y": x[:, 0]}, r"input 'x'"),
    ):
        np.savez(tmp_path / "others.npz", **arrays)
        with pytest.raises(BadInput, match=problem):
            zoo.convert(file, "tflite", tmp_path / "b.tflite", dtype="int8", samples=tmp_path / "others.npz")


def test_the_only_array_of_samples_is_the_only_inputs(file, x, tmp_path):
    """A Processor names what it prepares by the task, and a graph as its author did."""
    np.savez(tmp_path / "samples.npz", image=x)
    named = tmp_path / "named.tflite"
    zoo.convert(file, "tflite", named, dtype="int8", samples=[{"x": x[:1]}, {"x": x[1:]}])
    zoo.convert(file, "tflite", tmp_path / "a.tflite", dtype="int8", samples=tmp_path / "samples.npz")
    assert named.read_bytes() == (tmp_path / "a.tflite").read_bytes()
    with pytest.raises(BadInput, match="no input 'y'"):
        zoo.convert(file, "tflite", named, dtype="int8", samples=[{"y": x}])


def test_convert_refuses_what_a_format_has_not(file, tmp_path):
    with pytest.raises(UsageError, match="unknown dtype 'bfloat16' of the format tflite"):
        zoo.convert(file, "tflite", tmp_path / "a.tflite", dtype="bfloat16")
    with pytest.raises(UsageError, match="leave samples= out"):
        zoo.convert(file, "onnx", tmp_path / "a.onnx", samples=[])
