"""ONNX's random operators, and dropout, which MXNet applies while it trains (autograd.record, is_train)."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.converters.graph import DOMAIN
from zoo.converters.writers.mxnet import lowers

Value = Any


def _drawn(w: Any, shape: Sequence[int], seed: float | None, kind: str, low: float, high: float, dtype: Any) -> Value:
    """Random numbers; with a seed those of ONNX's reference, numpy's RandomState(seed)."""
    if seed is not None and not math.isnan(seed):
        drawn = getattr(np.random.RandomState(int(np.float32(seed)) % 2**32), kind)(low, high, size=tuple(shape))
        return w.cast(w.array(np.asarray(drawn)), dtype)
    return w.cast(getattr(w.F.random, kind)(low, high, shape=tuple(shape), dtype="float32"), dtype)


@lowers("RandomUniform")
def random_uniform(
    w: Any, *, dtype: int = 1, high: float = 1.0, low: float = 0.0, seed: float | None = None, shape: Sequence[int]
) -> Value:
    """Numbers from low to high, each as likely."""
    return _drawn(w, shape, seed, "uniform", low, high, dtype)


@lowers("RandomUniformLike")
def random_uniform_like(
    w: Any,
    input: Value,  # noqa: A002
    *,
    dtype: int | None = None,
    high: float = 1.0,
    low: float = 0.0,
    seed: float | None = None,
) -> Value:
    """Numbers from low to high, each as likely, in the shape of the input."""
    return _drawn(w, w.whole(0), seed, "uniform", low, high, dtype or w.type_in(0))


@lowers("RandomNormal")
def random_normal(
    w: Any, *, dtype: int = 1, mean: float = 0.0, scale: float = 1.0, seed: float | None = None, shape: Sequence[int]
) -> Value:
    """Numbers of the normal distribution of a mean and a deviation."""
    return _drawn(w, shape, seed, "normal", mean, scale, dtype)


@lowers("RandomNormalLike")
def random_normal_like(
    w: Any,
    input: Value,  # noqa: A002
    *,
    dtype: int | None = None,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
) -> Value:
    """Numbers of the normal distribution of a mean and a deviation, in the shape of the input."""
    return _drawn(w, w.whole(0), seed, "normal", mean, scale, dtype or w.type_in(0))


@lowers("Bernoulli")
def bernoulli(w: Any, input: Value, *, dtype: int | None = None, seed: float | None = None) -> Value:  # noqa: A002
    """1 as often as each probability says, else 0."""
    drawn = _drawn(w, w.whole(0), seed, "uniform", 0.0, 1.0, w.computed_in(0))
    return w.cast(w.np.less(drawn, input), dtype or w.type_in(0))


@lowers("Dropout")
def dropout(w: Any, data: Value, ratio: Value = None, training_mode: Value = None, *, seed: int | None = None) -> Value:
    """Drops while the model trains, and where the graph itself says that it trains; the second output is what is kept.

    A graph for inference keeps its author's dropout as a node, which drops nothing until MXNet trains.
    """
    p = 0.5 if ratio is None else float(w.number(ratio))
    trains = training_mode is not None and bool(w.number(training_mode))
    if not trains:
        y = w.F.Dropout(data, p=p) if p else data
        return (y, w.cast(w.F.ones_like(data), "bool")) if w.is_read(1) else y
    if seed is not None and p:  # the numbers of ONNX's reference
        drawn = np.random.RandomState(seed).uniform(0, 1, size=tuple(w.whole(0))) >= p
        kept = w.array((drawn / (1 - p)).astype(w.computed_in(0)))
    else:
        kept = w.F.Dropout(w.F.ones_like(data), p=p, mode="always") if p else w.F.ones_like(data)
    return data * kept, w.cast(kept, "bool")


@lowers("StochasticDepth", DOMAIN)
def stochastic_depth(w: Any, X: Value, *, p: float, mode: str) -> Value:
    """While the model trains, drops samples (`row`) or the whole batch with probability p, and scales up the rest.

    Huang et al., arXiv:1603.09382.
    """
    if p == 0.0:
        return X
    first = 0 if mode == "row" else None
    one = X
    for axis in range(w.rank(0)):
        if axis != first:
            one = w.F.slice_axis(one, axis=axis, begin=0, end=1)
    return w.F.broadcast_mul(X, w.F.Dropout(w.F.ones_like(one), p=p))
