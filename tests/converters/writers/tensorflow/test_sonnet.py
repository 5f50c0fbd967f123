"""The TensorFlow writer's module as a tree of Sonnet's."""

from __future__ import annotations

import numpy as np
import pytest

import zoo

snt = pytest.importorskip("sonnet", reason="the extra polyzoo[sonnet] is not installed")


def test_it_is_a_tree_of_sonnets_modules_with_the_authors_tensors(pictures, weights, x):
    from zoo.converters.writers.sonnet.writer import tensors

    module = zoo.load(pictures, framework="sonnet")
    assert isinstance(module, snt.Module)
    assert all(isinstance(part, snt.Module) for part in (module.stem, module.stem.conv, module.layers))
    expected = zoo.runner(pictures, "onnx").run({"x": x})["logits"]
    np.testing.assert_allclose(module(x.transpose(0, 2, 3, 1)), expected, rtol=1e-5, atol=1e-5)
    assert all(tensors(module)[name].numpy().tobytes() == array.tobytes() for name, array in weights.items())


def test_sonnets_optimizers_train_it(pictures, x):
    import tensorflow as tf

    module, last = zoo.load(pictures, framework="sonnet"), x.transpose(0, 2, 3, 1).copy()
    optimizer, losses = snt.optimizers.SGD(1e-4), []
    for _ in range(5):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(module(last) ** 2)
        optimizer.apply(tape.gradient(loss, module.trainable_variables), module.trainable_variables)
        losses.append(float(loss))
    assert losses[-1] < losses[0]


def test_a_runner_of_it_is_one_of_tensorflows(pictures, x):
    expected = zoo.runner(pictures, "onnx").run({"x": x})["logits"]
    np.testing.assert_allclose(zoo.runner(pictures, "sonnet").run({"x": x})["logits"], expected, rtol=1e-5, atol=1e-5)
