"""Keras 3's `.keras`: a zip of config.json, metadata.json and model.weights.h5. Other members aren't read."""

from __future__ import annotations

import json
from pathlib import Path

import onnx_ir as ir

from zoo.converters.readers import keras_model
from zoo.converters.tensors import archive, keras_zip
from zoo.converters.tensors.mapped import map_file
from zoo.errors import Malformed

EXTENSIONS = (".keras",)
MAX_METADATA_BYTES = 1 << 16


def sniff(path: Path, head: bytes) -> bool:
    """Is it a zip archive with Keras' members?"""
    return keras_zip.sniff_file(path, head)


def read(path: Path) -> ir.Model:
    """The bound graph. Raises Malformed, and Refused for what the table of layers doesn't have."""
    file = map_file(path)
    members = archive.directory(file)
    if keras_zip.CONFIG not in members:
        raise Malformed(path, f"Keras: no {keras_zip.CONFIG}")
    config = archive.content(file, members[keras_zip.CONFIG], keras_model.MAX_CONFIG_BYTES)
    version = ""
    if keras_zip.METADATA in members:
        try:
            facts = json.loads(archive.content(file, members[keras_zip.METADATA], MAX_METADATA_BYTES))
            version = str(facts.get("keras_version", ""))
        except (ValueError, AttributeError, RecursionError) as error:
            raise Malformed(path, f"Keras: {keras_zip.METADATA} is no JSON object: {error}") from error
    tensors = keras_zip.tensors_of(file, members)
    return keras_model.read(path, config, tensors, version=version, backend="tensorflow", format_="keras-archive")
