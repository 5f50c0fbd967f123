"""ONNX's random operators, and dropout: drawn by the generator that the model keeps for each of its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.converters.graph import DOMAIN
from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.operators.precision import like
from zoo.converters.writers.keras.operators.sizes import is_known, rank, sizes

Tensor = Any


def _uniform(w: Any, shape: Sequence[Any], seed: float | None, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Numbers in float32: half precision has too few between 0 and 1.

    With a seed, in a model that doesn't train, they are those of ONNX's reference, numpy's RandomState(seed).uniform(),
    where the sizes are known. Whatever trains draws others at every step.
    """
    if seed is not None and not np.isnan(seed) and is_known(*shape) and not w.training:
        drawn = np.random.RandomState(int(np.float32(seed)) % 2**32).uniform(low, high, tuple(shape))
        return ops.convert_to_tensor(np.asarray(drawn, dtype="float32"))
    return keras.random.uniform(tuple(shape), low, high, dtype="float32", seed=w.generator(seed))


def _normal(w: Any, shape: Sequence[Any], seed: float | None, mean: float, scale: float) -> Tensor:
    return keras.random.normal(tuple(shape), mean, scale, dtype="float32", seed=w.generator(seed))


@lowers("RandomUniform")
def random_uniform(
    w: Any, *, dtype: int = 1, high: float = 1.0, low: float = 0.0, seed: float | None = None, shape: Sequence[int]
) -> Tensor:
    """Numbers from low to high, each as likely."""
    return _uniform(w, shape, seed, low, high)


@lowers("RandomUniformLike")
def random_uniform_like(
    w: Any,
    input: Tensor,  # noqa: A002
    *,
    dtype: int | None = None,
    high: float = 1.0,
    low: float = 0.0,
    seed: float | None = None,
) -> Tensor:
    """Numbers from low to high, each as likely, in the shape of the input."""
    return _uniform(w, sizes(input), seed, low, high)


@lowers("RandomNormal")
def random_normal(
    w: Any, *, dtype: int = 1, mean: float = 0.0, scale: float = 1.0, seed: float | None = None, shape: Sequence[int]
) -> Tensor:
    """Numbers of the normal distribution of a mean and a deviation."""
    return _normal(w, shape, seed, mean, scale)


@lowers("RandomNormalLike")
def random_normal_like(
    w: Any,
    input: Tensor,  # noqa: A002
    *,
    dtype: int | None = None,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
) -> Tensor:
    """Numbers of the normal distribution of a mean and a deviation, in the shape of the input."""
    return _normal(w, sizes(input), seed, mean, scale)


@lowers("Bernoulli")
def bernoulli(w: Any, input: Tensor, *, dtype: int | None = None, seed: float | None = None) -> Tensor:  # noqa: A002
    """1 as often as each probability says, else 0."""
    return _uniform(w, sizes(input), seed) < ops.cast(input, "float32")


@lowers("Multinomial")
def multinomial(w: Any, input: Tensor, *, dtype: int = 6, sample_size: int = 1, seed: float | None = None) -> Tensor:  # noqa: A002
    """Classes [N, sample_size] drawn by their unnormalised log-probabilities [N, C]."""
    return keras.random.categorical(ops.cast(input, "float32"), sample_size, seed=w.generator(seed))


@lowers("Dropout")
def dropout(
    w: Any, data: Tensor, ratio: Tensor = None, training_mode: Tensor = None, *, seed: int | None = None
) -> Tensor:
    """Drops while the model trains, and where the graph itself says that it trains; the second output is what is kept.

    A graph for inference keeps its author's dropout as a node, which drops nothing until the model trains.
    """
    known = None if training_mode is None else w.numbers(training_mode)
    is_free = training_mode is not None and known is None
    trains = w.training if training_mode is None or (known is not None and not known.any()) else True
    everything = ops.ones_like(data, dtype="bool")
    if not trains and not is_free:
        return data, everything
    p = ops.cast(0.5, "float32") if ratio is None else ops.cast(ops.reshape(ratio, ()), "float32")
    kept = _uniform(w, sizes(data), seed) >= p
    scaled = ops.cast(data, "float32") / ops.where(p < 1, 1 - p, ops.ones_like(p))
    y = like(ops.where(kept, scaled, ops.zeros_like(scaled)), data)
    if not is_free:
        return y, kept
    here = ops.reshape(training_mode, ())
    return ops.where(here, y, data), ops.where(here, kept, everything)


@lowers("StochasticDepth", DOMAIN)
def stochastic_depth(w: Any, X: Tensor, *, p: float, mode: str) -> Tensor:
    """While the model trains, drops samples (`row`) or the whole batch with probability p, and scales up the rest.

    Huang et al., arXiv:1603.09382.
    """
    if not w.training or p == 0.0:
        return X
    shape = [sizes(X)[0] if mode == "row" else 1] + [1] * (rank(X) - 1)
    kept = like(_uniform(w, shape, None) >= p, X)
    return X * kept / (1.0 - p) if p < 1.0 else X * 0
