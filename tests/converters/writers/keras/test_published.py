"""Published weights, fetched once into the session's store, as Keras models of their own layers."""

from __future__ import annotations

from collections import Counter

import keras
import numpy as np
import pytest

import zoo
from zoo import loaders
from zoo.converters.save import author_tensors
from zoo.converters.writers.keras.saved import Op
from zoo.converters.writers.keras.writer import tensors
from zoo.examples import feeds

MODELS = {
    "efficientnet-lite0": {"Conv2D": 33, "DepthwiseConv2D": 16, "BatchNormalization": 49, "Dense": 1},
    "minilm-l6": {"MultiHeadAttention": 6, "Dense": 12, "LayerNormalization": 13, "Embedding": 2},
}


@pytest.fixture(scope="module", params=MODELS)
def published(request, zoo_home):
    return request.param, zoo.load(request.param, framework="keras")


def test_outputs_are_those_of_onnx_runtime(published):
    name, native = published
    reference = zoo.runner(name)
    given = feeds(loaders.architecture(loaders.resolve(name)), list(reference.inputs), zoo.info(name).default)
    arrays = [x.transpose(0, 2, 3, 1) if x.ndim == 4 else x for x in given.values()]
    made = native(arrays[0] if len(arrays) == 1 else arrays)
    ((_, want),) = reference.run(given).items()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(made), want, rtol=0, atol=1e-4 * np.abs(want).max())


def test_all_that_multiplies_is_a_layer_of_keras(published):
    name, native = published
    found = Counter(type(layer).__name__ for layer in native.layers)
    assert MODELS[name] == {layer: found[layer] for layer in MODELS[name]}
    ops = {step.op for layer in native.layers if isinstance(layer, Op) for step in layer.program.steps}
    assert not ops & {"Conv", "MatMul", "Gemm", "Linear", "LinearNoBias", "Attention", "Einsum", "Transpose"}


def test_the_authors_tensors_come_back_bit_for_bit(published):
    name, native = published
    author, back = author_tensors(loaders.source(loaders.resolve(name))), tensors(native)
    assert list(author) == list(back)
    assert all(back[key].numpy().tobytes() == tensor.numpy().tobytes() for key, tensor in author.items())
