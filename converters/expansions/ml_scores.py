"""What the classifiers and regressors of ai.onnx.ml have in common: transforms of scores, and labels."""

from __future__ import annotations

import math

import onnx_ir as ir

from zoo.converters.expansions import Builder
from zoo.errors import HubError

NEARLY_ZERO = 1e-7  # what SOFTMAX_ZERO takes for zero (ONNX Runtime's and the reference's number)


def transformed(op: Builder, scores: ir.Value, transform: str) -> ir.Value:
    """Scores [N, C] after a post_transform: NONE, LOGISTIC, SOFTMAX, SOFTMAX_ZERO or PROBIT."""
    if transform not in TRANSFORMS:
        raise HubError(f"post_transform {transform!r}; there are {', '.join(TRANSFORMS)}")
    made: ir.Value = TRANSFORMS[transform](op, scores)
    return made


def _softmax_zero(op: Builder, scores: ir.Value) -> ir.Value:
    """Softmax over the scores that are not zero; those that are stay zero, and a row of zeros is one half each."""
    is_zero = op.LessOrEqual(op.Abs(scores), op.scalar(NEARLY_ZERO, scores))
    zero = op.scalar(0.0, scores)
    top = op.ReduceMax(scores, op.const([1]), keepdims=1)
    parts = op.Where(is_zero, zero, op.Exp(op.Sub(scores, top)))
    total = op.ReduceSum(parts, op.const([1]), keepdims=1)
    return op.Where(op.Equal(total, zero), op.scalar(0.5, scores), op.Div(parts, total))  # type: ignore[no-any-return]


def _probit(op: Builder, p: ir.Value) -> ir.Value:
    """The inverse of the normal distribution function, by Winitzki's approximation, as ONNX Runtime computes it."""
    x = op.Sub(op.Mul(p, op.scalar(2.0, p)), op.scalar(1.0, p))
    log = op.Log(op.Mul(op.Sub(op.scalar(1.0, p), x), op.Add(op.scalar(1.0, p), x)))
    v = op.Add(op.Mul(log, op.scalar(0.5, p)), op.scalar(2 / (math.pi * 0.147), p))
    inner = op.Sqrt(op.Sub(op.Mul(v, v), op.Mul(log, op.scalar(1 / 0.147, p))))
    return op.Mul(op.Mul(op.Sign(x), op.Sqrt(op.Sub(inner, v))), op.scalar(math.sqrt(2), p))  # type: ignore[no-any-return]


TRANSFORMS = {
    "NONE": lambda op, scores: scores,
    "LOGISTIC": lambda op, scores: op.Sigmoid(scores),
    "SOFTMAX": lambda op, scores: op.Softmax(scores, axis=1),
    "SOFTMAX_ZERO": _softmax_zero,
    "PROBIT": _probit,
}


def labels_of(node: ir.Node) -> tuple[list[int] | list[str], bool]:
    """The labels of a classifier's classes, and whether they are strings. Raises HubError for none or both."""
    ints = next((list(a.as_ints()) for n, a in node.attributes.items() if n in INT_LABELS), [])
    strings = list(node.attributes.get_strings("classlabels_strings", []))
    if bool(ints) == bool(strings):
        raise HubError(f"{node.op_type} {node.name!r} has {'labels of two types' if ints else 'no labels'}")
    return (strings, True) if strings else (ints, False)


INT_LABELS = ("classlabels_int64s", "classlabels_ints")


def label_at(op: Builder, node: ir.Node, index: ir.Value) -> ir.Value:
    """The label of each class index [N]."""
    labels, is_text = labels_of(node)
    if not is_text and labels == list(range(len(labels))):
        return index
    table = op.strings([str(label) for label in labels]) if is_text else op.const(labels)
    made: ir.Value = op.Gather(table, index)
    return made


def top_label(op: Builder, node: ir.Node, scores: ir.Value) -> ir.Value:
    """The label of the highest score of each row [N, C], the first of equals."""
    return label_at(op, node, op.ArgMax(scores, axis=1, keepdims=0))


def binary_label(op: Builder, node: ir.Node, is_second: ir.Value) -> ir.Value:
    """The second label where a truth value [N] holds, the first elsewhere."""
    return label_at(op, node, op.Cast(is_second, to=ir.DataType.INT64))


def two_scores(op: Builder, second: ir.Value, transform: str, *, is_probability: bool) -> ir.Value:
    """Both scores [N, 2] of two classes, out of the second's [N, 1]: what is transformed as a margin has its opposite.

    What is left as it is, or taken for a probability, has what is missing to one, as in ONNX Runtime.
    """
    if transform == "PROBIT" or (is_probability and transform == "NONE"):
        first = op.Sub(op.scalar(1.0, second), second)
    else:
        first = op.Neg(second)
    made: ir.Value = op.Concat(first, second, axis=1)
    return made


def flat(op: Builder, column: ir.Value) -> ir.Value:
    """[N, 1] as [N]."""
    made: ir.Value = op.Squeeze(column, op.const([1]))
    return made
