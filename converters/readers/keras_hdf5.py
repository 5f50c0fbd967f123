"""Keras models in one HDF5 file: `model_config`, the architecture as JSON, and `model_weights`, of Keras 1 to 3.

Kernels go in unchanged, under the names that zoo.converters.tensors gives the same file, and are transposed by nodes.
A layer that isn't in the table is refused by name, above all Lambda, which is code.
"""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from zoo.converters.readers import keras_model
from zoo.converters.tensors import hdf5
from zoo.converters.tensors.mapped import map_file
from zoo.errors import FileError

EXTENSIONS = (".h5", ".hdf5", ".keras")


def sniff(path: Path, head: bytes) -> bool:
    """Is it HDF5 whose root has an architecture? Keras' weights files have none."""
    if not hdf5.sniff(head):
        return False
    try:
        with hdf5.opened(map_file(path)) as root:
            return "model_config" in root.attrs
    except FileError:
        return False


def read(path: Path) -> ir.Model:
    """The bound graph. Inputs and outputs are the author's: names, dtypes, and channels last if his are.

    Raises Malformed, and Refused for what the table of layers doesn't have.
    """
    with hdf5.opened(map_file(path)) as root:
        config = keras_model.text(path, root.attrs.get("model_config"))
        group = root.get(hdf5.KERAS_MODEL, root)
        version, backend = (
            keras_model.text(path, group.attrs.get(key, root.attrs.get(key, "")))
            for key in ("keras_version", "backend")
        )
    tensors = hdf5.read(path)
    return keras_model.read(path, config, tensors, version=version, backend=backend, format_="keras-hdf5")
