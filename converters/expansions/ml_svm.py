"""Support vector machines of ai.onnx.ml in ONNX's words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from zoo.converters.expansions import Builder, expands, loop
from zoo.converters.expansions.ml_features import as_float
from zoo.converters.expansions.ml_scores import label_at, labels_of, top_label, transformed
from zoo.errors import HubError

ML = "ai.onnx.ml"
LEAST = 1e-7  # what libsvm keeps between a pair's probability and 0 or 1
MOST_ROUNDS = 100  # of libsvm's multiclass_probability (svm.cpp), which ends before where it changes too little


def _floats(node: ir.Node, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(node.attributes.get_floats(name, []), dtype=np.float32)


def _kernel(
    op: Builder, node: ir.Node, x: ir.Value, vectors: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> ir.Value:
    """The kernel of each row of x [N, F] with each vector [V, F]: [N, V]."""
    kind = node.attributes.get_string("kernel_type", "LINEAR")
    parameters = [*_floats(node, "kernel_params"), 0.0, 0.0, 0.0]
    gamma, offset, degree = (float(p) for p in parameters[:3])
    if kind == "RBF":
        difference = op.Sub(op.Unsqueeze(x, op.const([1])), op.const(vectors, np.float32))
        distance = op.ReduceSumSquare(difference, op.const([2]), keepdims=0)
        return op.Exp(op.Mul(distance, op.const(-gamma, np.float32)))  # type: ignore[no-any-return]
    product = op.MatMul(x, op.const(np.ascontiguousarray(vectors.T), np.float32))
    if kind == "LINEAR":
        return product  # type: ignore[no-any-return]
    scaled = op.Add(op.Mul(product, op.const(gamma, np.float32)), op.const(offset, np.float32))
    if kind == "POLY":
        return op.Pow(scaled, op.const(degree, np.float32))  # type: ignore[no-any-return]
    if kind == "SIGMOID":
        return op.Tanh(scaled)  # type: ignore[no-any-return]
    raise HubError(f"{node.op_type} {node.name!r} with kernel {kind!r}; there are LINEAR, POLY, RBF and SIGMOID")


def _vectors(node: ir.Node, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    vectors = _floats(node, "support_vectors")
    if count <= 0 or vectors.size == 0 or vectors.size % count:
        raise HubError(f"{node.op_type} {node.name!r} has {vectors.size} numbers for {count} support vectors")
    return vectors.reshape(count, -1)


@expands("SVMRegressor", ML)
def svm_regressor(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Y [N, 1] of X [N, F]; whether it belongs to the one class (1 or -1) where that is asked for."""
    x, coefficients, rho = as_float(op, node.inputs[0]), _floats(node, "coefficients"), _floats(node, "rho")
    count = node.attributes.get_int("n_supports", 0)
    features = _kernel(op, node, x, _vectors(node, count)) if count else x
    if coefficients.size == 0 or (count and coefficients.size != count):
        raise HubError(f"SVMRegressor {node.name!r} has {coefficients.size} coefficients for {count} support vectors")
    y = op.MatMul(features, op.const(coefficients.reshape(-1, 1), np.float32))
    y = op.Add(y, op.const(rho[:1], np.float32)) if rho.size else y
    if node.attributes.get_int("one_class", 0):
        positive = op.Greater(y, op.const(0, np.float32))
        return [op.Where(positive, op.const(1, np.float32), op.const(-1, np.float32))]
    return [transformed(op, y, node.attributes.get_string("post_transform", "NONE"))]


@expands("SVMClassifier", ML)
def svm_classifier(op: Builder, node: ir.Node) -> list[ir.Value]:
    """The label [N], and the scores: of each class, or (without probabilities) of each pair of classes, X [N, F]."""
    labels, is_text = labels_of(node)
    transform = node.attributes.get_string("post_transform", "NONE")
    coefficients = _floats(node, "coefficients")
    per_class = list(node.attributes.get_ints("vectors_per_class", []))
    x = as_float(op, node.inputs[0])
    if not sum(per_class):  # a linear machine: a row of coefficients a class
        weight = np.ascontiguousarray(coefficients.reshape(len(labels), -1).T)
        scores = op.Add(op.MatMul(x, op.const(weight, np.float32)), op.const(_floats(node, "rho")[:1], np.float32))
        return [top_label(op, node, scores), transformed(op, scores, transform)]
    if len(per_class) != len(labels):
        raise HubError(f"SVMClassifier {node.name!r} has vectors of {len(per_class)} classes and {len(labels)} labels")
    decisions = _decisions(op, node, x, per_class, coefficients.reshape(len(labels) - 1, -1))
    winner = op.ArgMax(_votes(op, decisions, len(labels)), axis=1, keepdims=0)
    label = label_at(op, node, winner)
    if len(_floats(node, "prob_a")):
        return [label, transformed(op, _probabilities(op, node, decisions, len(labels)), transform)]
    if len(labels) == 2:
        if transform == "PROBIT":
            raise HubError(f"SVMClassifier {node.name!r}: PROBIT of what is no probability")
        return [label, transformed(op, op.Concat(op.Neg(decisions), decisions, axis=1), transform)]
    return [label, transformed(op, decisions, transform)]


def _pairs(classes: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(classes) for j in range(i + 1, classes)]


def _decisions(
    op: Builder,
    node: ir.Node,
    x: ir.Value,
    per_class: Sequence[int],
    coefficients: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> ir.Value:
    """One number for each pair of classes [N, pairs], above zero for the first of the two."""
    count, starts = sum(per_class), np.cumsum([0, *per_class])
    pairs, rho = _pairs(len(per_class)), _floats(node, "rho")
    if coefficients.shape[1] != count or rho.size < len(pairs):
        raise HubError(f"SVMClassifier {node.name!r}: {coefficients.shape[1]} coefficients a class, {count} vectors")
    weight = np.zeros((count, len(pairs)), dtype=np.float32)
    for column, (i, j) in enumerate(pairs):
        weight[starts[i] : starts[i + 1], column] = coefficients[j - 1, starts[i] : starts[i + 1]]
        weight[starts[j] : starts[j + 1], column] = coefficients[i, starts[j] : starts[j + 1]]
    kernel = _kernel(op, node, x, _vectors(node, count))
    made: ir.Value = op.Add(op.MatMul(kernel, op.const(weight, np.float32)), op.const(rho[: len(pairs)], np.float32))
    return made


def _votes(op: Builder, decisions: ir.Value, classes: int) -> ir.Value:
    """How many pairs each class wins [N, classes]."""
    first, second = (np.zeros((classes * (classes - 1) // 2, classes), dtype=np.float32) for _ in range(2))
    for row, (i, j) in enumerate(_pairs(classes)):
        first[row, i] = second[row, j] = 1
    wins = op.Cast(op.Greater(decisions, op.const(0, np.float32)), to=ir.DataType.FLOAT)
    losses = op.Sub(op.const(1, np.float32), wins)
    made: ir.Value = op.Add(
        op.MatMul(wins, op.const(first, np.float32)), op.MatMul(losses, op.const(second, np.float32))
    )
    return made


def _probabilities(op: Builder, node: ir.Node, decisions: ir.Value, classes: int) -> ir.Value:
    """The classes' probabilities [N, C] that fit those of the pairs best (Wu, Lin and Weng, 2004; as in libsvm)."""
    a, b = (op.const(_floats(node, name), np.float32) for name in ("prob_a", "prob_b"))
    pair = op.Sigmoid(op.Neg(op.Add(op.Mul(decisions, a), b)))
    pair = op.Clip(pair, op.const(LEAST, np.float32), op.const(1 - LEAST, np.float32))
    upper, lower = (np.zeros((classes * (classes - 1) // 2, classes * classes), np.float32) for _ in range(2))
    for row, (i, j) in enumerate(_pairs(classes)):
        upper[row, i * classes + j] = lower[row, j * classes + i] = 1
    flat = op.Add(
        op.MatMul(pair, op.const(upper, np.float32)),
        op.MatMul(op.Sub(op.const(1, np.float32), pair), op.const(lower, np.float32)),
    )
    r = op.Reshape(flat, op.const([-1, classes, classes]))  # r[i, j]: of i, if it is i or j
    turned = op.Transpose(r, perm=[0, 2, 1])
    eye = op.const(np.eye(classes), np.float32)
    squares = op.ReduceSumSquare(r, op.const([1]), keepdims=1)  # of each column
    q = op.Sub(op.Mul(eye, squares), op.Mul(turned, r))
    start = op.Add(op.Mul(op.Slice(flat, op.const([0]), op.const([classes]), op.const([1])), op.const(0, np.float32)),
                   op.const(1 / classes, np.float32))  # fmt: skip
    start.type, start.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([None, classes])

    def step(inner: Builder, _: ir.Value, states: Sequence[ir.Value]) -> list[ir.Value | None]:
        return [_improved(inner, q, states[0], classes)]

    return loop(op, op.const(max(MOST_ROUNDS, classes)), [start], step)[0]


def _improved(op: Builder, q: ir.Value, p: ir.Value, classes: int) -> ir.Value:
    """One round over all classes, for the rows that it still changes enough."""
    qp = op.Squeeze(op.MatMul(q, op.Unsqueeze(p, op.const([2]))), op.const([2]))
    pqp = op.ReduceSum(op.Mul(p, qp), op.const([1]), keepdims=1)
    error = op.ReduceMax(op.Abs(op.Sub(qp, pqp)), op.const([1]), keepdims=1)
    is_done = op.Less(error, op.const(0.005 / classes, np.float32))
    one, better = op.const(1, np.float32), p
    for t in range(classes):
        place = op.const([t])
        mine, row = op.Gather(qp, place, axis=1), op.Squeeze(op.Gather(q, place, axis=1), op.const([1]))
        own = op.Gather(row, place, axis=1)
        change = op.Div(op.Sub(pqp, mine), own)
        at = op.const(np.eye(classes)[t], np.float32)
        total = op.Add(one, change)
        two = op.const(2, np.float32)
        grown = op.Add(pqp, op.Mul(change, op.Add(op.Mul(change, own), op.Mul(two, mine))))
        pqp = op.Div(grown, op.Mul(total, total))
        better = op.Div(op.Add(better, op.Mul(change, at)), total)
        qp = op.Div(op.Add(qp, op.Mul(change, row)), total)
    made: ir.Value = op.Where(is_done, p, better)
    return made
