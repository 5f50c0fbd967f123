"""TensorFlow 1's checkpoints with their graph: `NAME.meta`, beside it its data, in the form of either version."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from zoo.converters.readers import tf_model
from zoo.converters.readers.tf_heads import is_meta_graph

EXTENSIONS = (".meta",)


def sniff(path: Path, head: bytes) -> bool:
    """Does it begin with what a MetaGraphDef says of itself?"""
    return is_meta_graph(head)


def read(path: Path) -> ir.Model:
    """The graph with its weights, lazy. Raises Malformed and Refused."""
    return tf_model.meta_graph(path)
