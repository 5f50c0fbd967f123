"""Files of Keras' own, SavedModels and TFLite files of a converted model, opened as their users open them."""

from __future__ import annotations

import subprocess
import sys
import warnings

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf

import zoo
from tests.converters.writers.keras.conftest import parsed
from zoo.converters.writers.keras.writer import tensors
from zoo.errors import HubError, UnsupportedOps

NAMES = ["resnet", "mobilenet", "transformer"]
# in a process of its own: opens a file with `import zoo` alone, runs it on a backend, and saves what it gives
OPENED = """
import sys, numpy as np, zoo
file, given, made = sys.argv[1:]
import keras
assert "zoo.converters.writers.keras.writer" not in sys.modules
model = keras.saving.load_model(file)
arrays = list(np.load(given).values())
y = model(arrays[0] if len(arrays) == 1 else arrays)
y = y if isinstance(y, dict) else {"logits": y}
np.savez(made, **{name: keras.ops.convert_to_numpy(value) for name, value in y.items()})
from zoo.converters.writers.keras.writer import tensors
np.savez(made + ".tensors.npz", **{name: t.numpy() for name, t in tensors(model).items()})
"""


@pytest.fixture(scope="module")
def natives(models):
    return {name: zoo.load(model, framework="keras") for name, model in models.items()}


def close(made, want):
    for key, array in want.items():
        np.testing.assert_allclose(made[key], array, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_file_opens_as_it_was_written_and_knows_the_authors_tensors(
    natives, weights, feeds, as_keras, tmp_path, name, ending
):
    path = tmp_path / f"model{ending}"
    natives[name].save(path)
    again = keras.saving.load_model(path)
    back = tensors(again)
    assert list(weights[name]) == list(back)
    assert all(back[key].numpy().tobytes() == array.tobytes() for key, array in weights[name].items())
    given = as_keras(feeds[name])
    for one, other in zip(keras.tree.flatten(again(given)), keras.tree.flatten(natives[name](given)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [layer.name for layer in natives[name].layers] == [layer.name for layer in again.layers]


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_import_zoo_is_all_that_a_file_takes_on_each_backend(
    natives, weights, feeds, expected, as_keras, tmp_path, backend, monkeypatch
):
    pytest.importorskip(backend, reason=f"the extra polyzoo[{backend}] is not installed")
    monkeypatch.setenv("KERAS_BACKEND", backend)
    path, given, made = (tmp_path / name for name in ("model.keras", "given.npz", "made.npz"))
    natives["transformer"].save(path)
    np.savez(given, *as_keras(feeds["transformer"]))
    files = [str(path), str(given), str(made)]
    script = f"import keras\n{OPENED}" if backend == "jax" else OPENED  # Keras may be there before zoo, or come after
    subprocess.run([sys.executable, "-Wignore", "-c", script, *files], check=True, cwd=tmp_path)
    close(np.load(made), expected["transformer"])
    back = np.load(f"{made}.tensors.npz")
    assert list(weights["transformer"]) == list(back)
    assert all(back[key].tobytes() == array.tobytes() for key, array in weights["transformer"].items())


@pytest.mark.parametrize("to", ["keras", "h5"])
def test_convert_writes_a_file_and_checks_it(models, feeds, expected, as_keras, tmp_path, to):
    source, out = tmp_path / "model.onnx", tmp_path / f"model.{to}"
    onnx.save(models["mobilenet"], source)
    made = zoo.convert(source, to, out)
    assert ("keras.saving.load_model and ONNX Runtime", True) == (made.checked, made.agreement.agrees)
    y = keras.saving.load_model(out)(as_keras(feeds["mobilenet"]))
    close({"logits": y}, expected["mobilenet"])


def test_convert_to_half_precision(models, tmp_path):
    source, out = tmp_path / "model.onnx", tmp_path / "model.keras"
    onnx.save(models["resnet"], source)
    assert zoo.convert(source, "keras", out, dtype="float16").agreement.agrees
    assert {"float16"} == {keras.backend.standardize_dtype(w.dtype) for w in keras.saving.load_model(out).weights}


def test_a_saved_model_wants_no_code_at_all(natives, feeds, expected, as_keras, tmp_path):
    name = "transformer"
    natives[name].export(tmp_path / "saved", verbose=False)
    script = (
        "import sys, numpy as np, tensorflow as tf\n"
        "model = tf.saved_model.load(sys.argv[1])\n"
        "arrays = list(np.load(sys.argv[2]).values())\n"
        "y = model.serve(arrays[0] if len(arrays) == 1 else arrays)\n"
        "assert 'zoo' not in sys.modules\n"
        "np.savez(sys.argv[2], **(y if isinstance(y, dict) else {'logits': y}))\n"
    )
    given, arrays = tmp_path / "given.npz", as_keras(feeds[name])
    np.savez(given, *(arrays if isinstance(arrays, list) else [arrays]))
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "saved"), str(given)], check=True, cwd=tmp_path)
    close(np.load(given), expected[name])


@pytest.mark.parametrize("name", NAMES)
def test_a_tflite_file_has_no_operators_but_tflites_own(natives, feeds, expected, as_keras, name):
    data = tf.lite.TFLiteConverter.from_keras_model(natives[name]).convert()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow announces that its interpreter moves to a package of its own
        runner = tf.lite.Interpreter(model_content=data).get_signature_runner()
    arrays = as_keras(feeds[name])
    names = [x.name for x in natives[name].inputs]
    made = runner(**dict(zip(names, arrays if isinstance(arrays, list) else [arrays], strict=True)))
    by_shape = {array.shape: array for array in made.values()}  # the outputs have names of TFLite's own
    close({key: by_shape[array.shape] for key, array in expected[name].items()}, expected[name])


def test_numbers_that_are_the_architectures_go_into_the_file_too(tmp_path):
    """A constant of more elements than SMALL is a weight of its layer; a smaller one stands in its config."""
    big = np.random.default_rng(0).normal(size=(1, 2000)).astype(np.float32)
    model = parsed("constants (float[N, 2000] x) => (float[N, 2000] y) { y = Add (x, big) }", {"big": big})
    native = zoo.load(model, framework="keras")
    native.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(np.zeros((1, 2000), np.float32)), big)


def test_a_model_of_lists_is_saved_too(tmp_path):
    model = parsed(
        """lists (float[N, 4] x, int64 at) => (float[N, K] y)
        <int64[2] sizes = {1, 3}> {
          parts = SplitToSequence <axis = 1> (x, sizes)
          y = SequenceAt (parts, at)
        }"""
    )
    feeds = {"x": np.arange(8, dtype=np.float32).reshape(2, 4), "at": np.array(1)}
    want = zoo.runner(model, "onnx").run(feeds)["y"]
    native = zoo.load(model, framework="keras")
    native.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again([tf.constant(feeds["x"]), tf.constant(feeds["at"])]), want)


def test_what_keras_has_no_tensors_of_is_refused_by_name():
    model = parsed('strings (string[N] x) => (bool[N] y) { y = RegexFullMatch <pattern = "a+"> (x) }')
    with pytest.raises(UnsupportedOps, match=r"(?s)no lowering for keras.*RegexFullMatch of strings"):
        zoo.load(model, framework="keras")


def test_an_author_whose_numbers_do_not_fit_is_told(natives, models):
    with pytest.raises(HubError, match="Keras failed on tensorflow"):
        runner = zoo.runner(models["transformer"], "keras")
        runner.run({"ids": np.full((1, 3), 10**6), "mask": np.ones((1, 3), np.int64)})
