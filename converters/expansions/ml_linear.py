"""Linear models of ai.onnx.ml in ONNX's words."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from zoo.converters.expansions import Builder, expands
from zoo.converters.expansions.ml_features import as_float
from zoo.converters.expansions.ml_scores import binary_label, flat, labels_of, top_label, transformed, two_scores
from zoo.errors import HubError

ML = "ai.onnx.ml"


def _product(op: Builder, node: ir.Node, targets: int) -> ir.Value:
    """X [N, F] times the coefficients [targets, F], and the intercepts: [N, targets], float32."""
    coefficients = np.array(node.attributes.get_floats("coefficients", []), dtype=np.float32)
    intercepts = np.array(node.attributes.get_floats("intercepts", []), dtype=np.float32)
    if targets < 1 or coefficients.size == 0 or coefficients.size % targets:
        raise HubError(f"{node.op_type} {node.name!r} has {coefficients.size} coefficients for {targets} scores")
    if intercepts.size not in (0, 1, targets):
        raise HubError(f"{node.op_type} {node.name!r} has {intercepts.size} intercepts for {targets} scores")
    weight = op.const(np.ascontiguousarray(coefficients.reshape(targets, -1).T), np.float32)
    scores: ir.Value = op.MatMul(as_float(op, node.inputs[0]), weight)
    return op.Add(scores, op.const(intercepts, np.float32)) if intercepts.size else scores  # type: ignore[no-any-return]


@expands("LinearRegressor", ML)
def linear_regressor(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Y [N, targets] = X W.T + b, transformed."""
    scores = _product(op, node, node.attributes.get_int("targets", 1))
    return [transformed(op, scores, node.attributes.get_string("post_transform", "NONE"))]


@expands("LinearClassifier", ML)
def linear_classifier(op: Builder, node: ir.Node) -> list[ir.Value]:
    """The label [N] and the scores [N, classes] of X [N, F]; one score of two classes is the second's."""
    labels, _ = labels_of(node)
    transform = node.attributes.get_string("post_transform", "NONE")
    intercepts = len(node.attributes.get_floats("intercepts", []))
    scores = _product(op, node, intercepts or len(labels))
    if intercepts == 1 and len(labels) == 2:
        label = binary_label(op, node, op.Greater(flat(op, scores), op.scalar(0.0, scores)))
        scores = two_scores(op, scores, transform, is_probability=True)
    else:
        label = top_label(op, node, scores)
    return [label, transformed(op, scores, transform)]
