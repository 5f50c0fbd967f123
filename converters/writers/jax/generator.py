"""ONNX's random operators, and dropout.

They draw by the caller's key `rngs`, each node in a stream of its own. Without one a pure function gives the same for
the same arguments: with a seed the numbers of ONNX's reference, numpy's RandomState(seed).uniform(), else by the key 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zoo.converters.graph import DOMAIN
from zoo.converters.writers.jax import lowers
from zoo.errors import BadInput

Value = Any


def _uniform(w: Any, shape: Sequence[int], dtype: Any, seed: float | None) -> Value:
    """Numbers in [0, 1), in float32 at least: half precision has too few of them."""
    wide = jnp.promote_types(dtype, jnp.float32)
    if w.rngs is None and seed is not None and not math.isnan(seed):
        drawn = np.random.RandomState(int(np.float32(seed)) % 2**32).uniform(size=tuple(shape))
        return jnp.asarray(np.asarray(drawn), wide)
    return jax.random.uniform(w.key(seed), tuple(shape), wide)


@lowers("RandomUniform")
def random_uniform(
    w: Any, *, dtype: int = 1, high: float = 1.0, low: float = 0.0, seed: float | None = None, shape: Sequence[int]
) -> Value:
    """Numbers from low to high, each as likely."""
    to = w.dtype_of(dtype)
    return (_uniform(w, shape, to, seed) * (high - low) + low).astype(to)


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
    made = dtype or w.type_in(0)
    return random_uniform(w, dtype=made, high=high, low=low, seed=seed, shape=input.shape)


@lowers("RandomNormal")
def random_normal(
    w: Any, *, dtype: int = 1, mean: float = 0.0, scale: float = 1.0, seed: float | None = None, shape: Sequence[int]
) -> Value:
    """Numbers of the normal distribution of a mean and a deviation."""
    to = w.dtype_of(dtype)
    drawn = jax.random.normal(w.key(seed), tuple(shape), jnp.promote_types(to, jnp.float32))
    return (drawn * scale + mean).astype(to)


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
    made = dtype or w.type_in(0)
    return random_normal(w, dtype=made, mean=mean, scale=scale, seed=seed, shape=input.shape)


@lowers("Bernoulli")
def bernoulli(w: Any, input: Value, *, dtype: int | None = None, seed: float | None = None) -> Value:  # noqa: A002
    """1 as often as each probability says, else 0."""
    drawn = _uniform(w, input.shape, jnp.promote_types(input.dtype, float), seed)
    return (drawn < input).astype(w.dtype_of(dtype or w.type_in(0)))


@lowers("Multinomial")
def multinomial(w: Any, input: Value, *, dtype: int = 6, sample_size: int = 1, seed: float | None = None) -> Value:  # noqa: A002
    """Classes [N, sample_size] drawn by their unnormalised log-probabilities [N, C]."""
    drawn = jax.random.categorical(w.key(seed), input.astype(jnp.float32), shape=(sample_size, input.shape[0]))
    return drawn.T.astype(w.dtype_of(dtype))


@lowers("Dropout")
def dropout(w: Any, data: Value, ratio: Value = None, training_mode: Value = None, *, seed: int | None = None) -> Value:
    """Drops while the model trains, and where the graph itself says that it trains; the second output is what is kept.

    A graph for inference keeps its author's dropout as a node, which drops nothing until `train` is asked for.
    """
    p = 0.5 if ratio is None else ratio.reshape(()).astype(jnp.float32)
    known = None if training_mode is None else w.constant(training_mode)
    if training_mode is None or (known is not None and not known.any()):
        if not w.train:
            return data, jnp.ones(data.shape, bool)
        _check_key(w)
    y, kept = _dropped(data, p, _uniform(w, data.shape, float, seed))
    if training_mode is None or known is not None:
        return y, kept
    trains = training_mode.reshape(())
    return jnp.where(trains, y, data), jnp.where(trains, kept, True)


def _check_key(w: Any) -> None:
    """Raise BadInput where a model is to drop, and has no key to drop by."""
    if w.rngs is None:
        raise BadInput("train=True of a model with dropout takes rngs, a key: apply(..., rngs=jax.random.key(0))")


def _dropped(x: Value, p: Value, drawn: Value) -> tuple[Value, Value]:
    """What dropout with probability p leaves of x, scaled up, and where it was kept."""
    kept = drawn >= p
    return jnp.where(kept, x / jnp.where(p < 1, 1 - p, 1), 0).astype(x.dtype), kept


@lowers("StochasticDepth", DOMAIN)
def stochastic_depth(w: Any, X: Value, *, p: float, mode: str) -> Value:
    """While the model trains, drops samples (`row`) or the whole batch with probability p, and scales up the rest.

    Huang et al., arXiv:1603.09382.
    """
    if not w.train or p == 0.0:
        return X
    shape = [X.shape[0] if mode == "row" else 1] + [1] * (X.ndim - 1)
    _check_key(w)
    kept = jax.random.bernoulli(w.key(), 1.0 - p, shape)
    return jnp.where(kept, X / (1.0 - p) if p < 1.0 else X, 0)
