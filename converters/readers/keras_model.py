"""A Keras model out of its architecture and tensors, whichever files they came from: the way that all readers share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from zoo.converters.readers import (
    keras_config,
    keras_convolutions,
    keras_graph,
    keras_keras1,
    keras_layers,
    keras_merges,
    keras_more,
    keras_operations,
    keras_recurrent,
    keras_weights,
)
from zoo.converters.tensors import Tensor
from zoo.errors import Malformed, Refused

TABLE = (
    keras_layers.TABLE
    | keras_convolutions.TABLE
    | keras_merges.TABLE
    | keras_recurrent.TABLE
    | keras_keras1.TABLE
    | keras_more.TABLE
    | keras_operations.TABLE
)
# What reading a number, a list or a name fails with where a field holds something else.
NONSENSE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
MAX_CONFIG_BYTES = 16 << 20
LAMBDA_HINT = "A Lambda is code. Build the model without it, or give the graph by architecture= and the weights alone."


def read(
    path: Path, config: str | bytes, tensors: Mapping[str, Tensor], *, version: str, backend: str, format_: str
) -> ir.Model:
    """The bound graph. Raises Malformed, and Refused for what the table of layers doesn't have, naming `path`."""
    try:
        entry = json.loads(config)
        numbers = _version(version, entry)
        if numbers < (2, 0):
            entry = keras_keras1.modern(entry)
        if not backend:  # Keras 1 doesn't say what it ran on; TensorFlow's variables have an output's number
            stated = entry.get("backend") if isinstance(entry, dict) else ""
            is_theano = numbers < (2, 0) and not any(name.endswith(":0") for name in tensors)
            backend = str(stated or ("theano" if is_theano else "tensorflow"))
        model = keras_config.model(entry)
        origin = keras_graph.Origin(numbers, backend, format_)
        return keras_graph.build(model, TABLE, _weights(tensors, model, numbers), origin)
    except keras_config.Fault as fault:
        hint = LAMBDA_HINT if "'Lambda'" in str(fault) else ""
        error = Refused if fault.is_refusal else Malformed
        raise error(path, f"Keras: {fault}", hint=hint) from fault
    except NONSENSE as error:
        raise Malformed(path, f"Keras: the architecture makes no sense: {str(error)[:200]}") from error


def _version(stated: str, entry: Any) -> tuple[int, int]:
    """Keras' version, major and minor: as stated; else 3 where classes name their modules, and 1 as it never did."""
    stated = stated or (str(entry.get("keras_version") or "") if isinstance(entry, dict) else "")
    if not stated:
        return (3, 0) if isinstance(entry, dict) and "module" in entry else (1, 0)
    major, minor = (int(part) for part in stated.split("-")[0].split(".")[:2])
    return major, minor


def _weights(
    tensors: Mapping[str, Tensor], model: keras_config.Model, version: tuple[int, int]
) -> keras_weights.Weights:
    """The tensors as layers find them, by the form of their names."""
    if any(name.endswith(keras_weights.Tracked.SUFFIX) for name in tensors):
        return keras_weights.Tracked(tensors, model)
    if any("/vars/" in name for name in tensors):
        return keras_weights.Numbered(tensors, model)
    return keras_weights.Keras1(tensors) if version < (2, 0) else keras_weights.Named(tensors)


def text(path: Path, value: Any) -> str:
    """An attribute that holds text, in whichever form HDF5 gives it. Raises Malformed."""
    value = value.item() if hasattr(value, "item") else value
    found = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if not isinstance(found, str) or len(found) > MAX_CONFIG_BYTES:
        raise Malformed(path, "Keras: no model_config")
    return found
