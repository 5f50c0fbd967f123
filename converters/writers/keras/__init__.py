"""ONNX graph to a Keras 3 model that runs on Keras' TensorFlow, JAX and torch backends.

Two tables, filled by this folder's files, one an ONNX group:

    ops      operators/: an operator as keras.ops code over real tensors; needs no layer
    lowers   layers/: what is a layer of Keras' own; what is none is an `Op` (saved.py) that runs the operator of `ops`
"""

import os
from importlib.util import find_spec
from pathlib import Path

from zoo.converters.writers.driver import Lowerings

ops = Lowerings("keras")
lowers = Lowerings("keras", parent=ops)

BACKENDS = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}  # Keras' name -> the package; its own order


def choose_backend() -> None:
    """Name a backend that is installed, where the user has named none: Keras' own default is TensorFlow alone."""
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    if "KERAS_BACKEND" in os.environ or (home / "keras.json").exists() or find_spec("tensorflow"):
        return
    installed = [name for name, package in BACKENDS.items() if find_spec(package)]
    if installed:
        os.environ["KERAS_BACKEND"] = installed[0]


choose_backend()
