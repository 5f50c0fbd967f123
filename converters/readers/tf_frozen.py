"""Frozen TensorFlow graphs: a GraphDef whose variables have become constants (`.pb`)."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from zoo.converters.readers import tf_model
from zoo.converters.readers.tf_heads import is_graph

EXTENSIONS = (".pb",)


def sniff(path: Path, head: bytes) -> bool:
    """Does it begin with a node: a message of a name and an operator?"""
    return is_graph(head)


def read(path: Path) -> ir.Model:
    """The graph with its weights, lazy. Raises Malformed and Refused."""
    return tf_model.frozen(path)
