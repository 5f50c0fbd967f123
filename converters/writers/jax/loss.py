"""ONNX's losses."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from zoo.converters.writers.jax import lowers
from zoo.errors import HubError

Value = Any


@lowers("NegativeLogLikelihoodLoss")
def negative_log_likelihood_loss(
    w: Any,
    input: Value,  # noqa: A002
    target: Value,
    weight: Value = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Value:
    """Minus the log-probabilities [N, C, ...] of the labels [N, ...], each label times its weight [C]."""
    return _loss(input, target, weight, ignore_index, reduction)


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
    log_prob = jax.nn.log_softmax(scores, axis=1)
    return _loss(log_prob, labels, weights, ignore_index, reduction), log_prob


def _loss(log_prob: Value, labels: Value, weight: Value, ignore_index: int | None, reduction: str) -> Value:
    counts = jnp.ones(labels.shape, bool) if ignore_index is None else labels != ignore_index
    at = jnp.where(counts, labels, 0)
    each = -jnp.take_along_axis(log_prob, jnp.expand_dims(at, 1), 1).squeeze(1)
    share = counts.astype(log_prob.dtype) if weight is None else jnp.where(counts, weight[at], 0)
    each = jnp.where(counts, each * share, 0)
    if reduction == "none":
        return each
    if reduction not in ("sum", "mean"):
        raise HubError(f"a loss with the unknown reduction {reduction!r}")
    return jnp.sum(each) if reduction == "sum" else jnp.sum(each) / jnp.sum(share)
