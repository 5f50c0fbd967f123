"""ONNX's losses."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

from keras import ops

from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.operators.precision import dtype_of

Tensor = Any


@lowers("NegativeLogLikelihoodLoss")
def negative_log_likelihood_loss(
    w: Any,
    input: Tensor,  # noqa: A002
    target: Tensor,
    weight: Tensor = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log-probabilities [N, C, ...] of the labels [N, ...], each label times its weight [C]."""
    return _loss(w, input, target, weight, ignore_index, reduction)


@lowers("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy_loss(
    w: Any,
    scores: Tensor,
    labels: Tensor,
    weights: Tensor = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log-softmax of scores [N, C, ...] at the labels [N, ...], each label times its weight [C].

    The log-probabilities [N, C, ...] are an output as well.
    """
    log_prob = ops.log_softmax(scores, axis=1)
    return _loss(w, log_prob, labels, weights, ignore_index, reduction), log_prob


def _loss(w: Any, log_prob: Tensor, labels: Tensor, weight: Tensor, ignore_index: int | None, reduction: str) -> Tensor:
    if reduction not in ("none", "sum", "mean"):
        raise w.refused(f"unknown reduction {reduction!r}")
    at, share = labels, ops.ones_like(labels, dtype=dtype_of(log_prob))
    if ignore_index is not None:
        counts = ops.not_equal(labels, ignore_index)
        at, share = ops.where(counts, labels, ops.zeros_like(labels)), ops.cast(counts, dtype_of(log_prob))
    if weight is not None:
        share = share * ops.take(weight, at, axis=0)
    picked = ops.squeeze(ops.take_along_axis(log_prob, ops.expand_dims(at, 1), axis=1), 1)
    each = -picked * share
    if ignore_index is not None:  # 0 where nothing counts, even of an infinite loss
        each = ops.where(ops.equal(share, 0), ops.zeros_like(each), each)
    if reduction == "none":
        return each
    return ops.sum(each) if reduction == "sum" else ops.sum(each) / ops.sum(share)
