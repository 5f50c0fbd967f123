"""Keras models in two files: the architecture as JSON (`model.to_json()`), and the weights of any era beside it."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from zoo.converters import tensors
from zoo.converters.readers import keras_model
from zoo.converters.tensors import hdf5
from zoo.converters.tensors.mapped import map_file
from zoo.errors import BadInput, Malformed

EXTENSIONS = (".json",)
HINT = "Give both: the architecture's JSON first, then the file of weights."


def sniff(path: Path, head: bytes) -> bool:
    """Is it a JSON object that names a Keras class first, or a module of Keras?"""
    start = head.lstrip()[:512]
    return start.startswith(b"{") and b'"class_name"' in start and (b'"config"' in start or b'"module"' in start)


def read(path: Path, *others: Path) -> ir.Model:
    """The bound graph. Raises Malformed, Refused, and BadInput where the weights aren't given."""
    if len(others) != 1:
        raise BadInput(f"{path.name} is a Keras architecture, and {len(others)} files of weights are given", hint=HINT)
    if path.stat().st_size > keras_model.MAX_CONFIG_BYTES:
        raise Malformed(path, f"Keras: an architecture of {path.stat().st_size:,} bytes")
    version, backend = _origin(others[0])
    config = path.read_bytes()
    found = tensors.read(others[0])
    return keras_model.read(path, config, found, version=version, backend=backend, format_="keras-json")


def _origin(weights: Path) -> tuple[str, str]:
    """The version and the backend that a file of weights states."""
    with weights.open("rb") as file:
        if not hdf5.sniff(file.read(16)):
            return "", ""
    with hdf5.opened(map_file(weights)) as root:
        version, backend = (keras_model.text(weights, root.attrs.get(key, "")) for key in ("keras_version", "backend"))
    return version, backend
