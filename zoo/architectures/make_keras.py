"""Weightless graphs of Keras Applications: the model as Keras saves it to HDF5, read by our own reader.

Published kernels are HWIO and go in unchanged: the graph holds their Transpose.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters import graph as g
from zoo.converters.bind import bind, detach
from zoo.converters.canonical import canonical
from zoo.converters.readers import keras_hdf5
from zoo.converters.writers.onnx.writer import runner
from zoo.converters.writers.onnx.writer import write as to_onnx


def make(name: str, recipe: Mapping[str, Any]) -> tuple[ir.Model, float]:
    """The weightless canonical graph of `keras.applications.<class>`, and its largest relative error against Keras."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras

    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, recipe["class"])(weights=None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        model.save(path)
        weightless, tensors = detach(keras_hdf5.read(path))
        weightless = canonical(weightless)
        size = recipe["size"]
        x = np.random.default_rng(0).standard_normal((2, size, size, 3)).astype(np.float32)
        run = runner(to_onnx(bind(weightless, tensors)))
        (got,) = run.run({run.inputs[0].name: x}).values()
    expected = model.predict(x, verbose=0)
    weightless.graph.name = name
    weightless.metadata_props[g.MADE_BY] = json.dumps(
        {
            "package": f"keras {importlib.metadata.version('keras')}",
            "exporter": f"polyzoo {importlib.metadata.version('polyzoo')} readers/keras_hdf5",
            "opset": g.STORED_OPSET,
        }
    )
    return weightless, float(np.abs(got - expected).max() / np.abs(expected).max())
