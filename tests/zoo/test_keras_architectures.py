"""A graph that was made from Keras takes the weights that Keras writes, unchanged, and computes what Keras does."""

from __future__ import annotations

import numpy as np
import pytest

import zoo

pytestmark = pytest.mark.keras


def test_keras_applications_bind_by_kerass_names(tmp_path):
    keras = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    keras.utils.set_random_seed(1)
    model = keras.applications.ResNet50(weights=None)
    path = tmp_path / "resnet50.h5"
    model.save(path)
    runner = zoo.runner(path, architecture="keras/resnet50")
    x = np.random.default_rng(0).standard_normal((2, 224, 224, 3)).astype(np.float32)
    (got,) = runner.run({runner.inputs[0].name: x}).values()
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * np.abs(expected).max())  # sums in another order
