"""ONNX's losses: torch's own."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from zoo.converters.writers.torch import lowers

Value = Any
IGNORED = -100  # torch's default: where ONNX says nothing, no label is this one


@lowers("NegativeLogLikelihoodLoss")
def negative_log_likelihood_loss(
    w: Any,
    input: Value,
    target: Value,
    weight: Value = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",  # noqa: A002
) -> Value:
    """Minus the log-probabilities [N, C, ...] of the labels [N, ...], each label times its weight [C]."""
    return F.nll_loss(input, _labels(w, target), **_options(weight, ignore_index, reduction))


@lowers("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy_loss(
    w: Any,
    scores: Value,
    labels: Value,
    weights: Value = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Value:
    """Minus the log-softmax of scores [N, C, ...] at the labels [N, ...], each label times its weight [C].

    The log-probabilities [N, C, ...] are an output as well.
    """
    options = _options(weights, ignore_index, reduction)
    if len(w.node.outputs) == 1:
        return F.cross_entropy(scores, _labels(w, labels), **options)
    log_prob = F.log_softmax(scores, dim=1)
    return F.nll_loss(log_prob, _labels(w, labels), **options), log_prob


def _labels(w: Any, labels: Value) -> Value:
    return labels if w.dtype_in(1) == torch.int64 else labels.to(torch.int64)


def _options(weight: Value, ignore_index: int | None, reduction: str) -> dict[str, Any]:
    """What differs from torch's defaults."""
    options = {"weight": weight} if weight is not None else {}
    if ignore_index not in (None, IGNORED):
        options["ignore_index"] = ignore_index
    return options if reduction == "mean" else {**options, "reduction": reduction}
