"""Keras 2 and 3 models in one HDF5 file: `model_config`, the architecture as JSON, and `model_weights`.

Kernels go in unchanged, under the names that zoo.converters.tensors gives the same file, and are transposed by nodes.
A layer that isn't in the table is refused by name, above all Lambda, which is code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx_ir as ir

from zoo.converters.readers import keras_config, keras_convolutions, keras_graph, keras_layers, keras_merges
from zoo.converters.tensors import hdf5
from zoo.converters.tensors.mapped import map_file
from zoo.errors import FileError, Malformed, Refused

EXTENSIONS = (".h5", ".hdf5", ".keras")
TABLE = keras_layers.TABLE | keras_convolutions.TABLE | keras_merges.TABLE
# What reading a number, a list or a name fails with where a field holds something else.
NONSENSE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
MAX_CONFIG_BYTES = 16 << 20


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
        config = _text(path, root.attrs.get("model_config"))
        group = root.get(hdf5.KERAS_MODEL, root)
        version, backend = (
            _text(path, group.attrs.get(key, root.attrs.get(key, ""))) for key in ("keras_version", "backend")
        )
    weights = hdf5.read(path)
    if not version or version.startswith("1."):
        raise Refused(path, f"a model of Keras {version or '0 or 1'}", hint="Keras 2 and later are read.")
    if backend == "theano":
        raise Refused(path, "a model of Keras on Theano, which turns kernels round and pads in its own way")
    try:
        major, minor = (int(part) for part in version.split(".")[:2])
        model = keras_config.model(json.loads(config))
        return keras_graph.build(model, TABLE, weights, keras_graph.Origin((major, minor), backend))
    except keras_config.Fault as fault:
        error = Refused if fault.is_refusal else Malformed
        raise error(path, f"Keras: {fault}") from fault
    except NONSENSE as error:
        raise Malformed(path, f"Keras: the architecture makes no sense: {str(error)[:200]}") from error


def _text(path: Path, value: Any) -> str:
    value = value.item() if hasattr(value, "item") else value
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if not isinstance(text, str) or len(text) > MAX_CONFIG_BYTES:
        raise Malformed(path, "Keras: no model_config")
    return text
