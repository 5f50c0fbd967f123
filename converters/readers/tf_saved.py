"""TensorFlow's SavedModels, of version 1 and 2: a folder of saved_model.pb and variables/."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from zoo.converters.readers import tf_model
from zoo.converters.readers.tf_heads import is_saved_model

EXTENSIONS = (".pb",)
FILE = "saved_model.pb"


def sniff(path: Path, head: bytes) -> bool:
    """Is it such a folder, or the file in it?"""
    if path.is_dir():
        return (path / FILE).is_file()
    return is_saved_model(head)


def read(path: Path) -> ir.Model:
    """The graph for serving with its weights, lazy. Raises Malformed and Refused."""
    file = path / FILE if path.is_dir() else path
    return tf_model.saved_model(file.parent, file)
