"""ONNX's random operators, and dropout.

They draw by the caller's key `rngs`, each node in a stream of its own; without one by the node's seed, or 0: a pure
function gives the same for the same arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from zoo.converters.graph import DOMAIN
from zoo.converters.writers.jax import lowers
from zoo.errors import BadInput

Value = Any


def _draw(f: Any, w: Any, shape: Sequence[int], dtype: Any, seed: float | None) -> Value:
    """Numbers drawn in float32 at least: half precision has too few between 0 and 1."""
    wide = jnp.promote_types(dtype, jnp.float32)
    return f(w.key(seed), tuple(shape), wide)


@lowers("RandomUniform")
def random_uniform(
    w: Any, *, dtype: int = 1, high: float = 1.0, low: float = 0.0, seed: float | None = None, shape: Sequence[int]
) -> Value:
    """Numbers from low to high, each as likely."""
    return (_draw(jax.random.uniform, w, shape, w.dtype_of(dtype), seed) * (high - low) + low).astype(w.dtype_of(dtype))


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
    return (_draw(jax.random.normal, w, shape, w.dtype_of(dtype), seed) * scale + mean).astype(w.dtype_of(dtype))


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
    wide = input.astype(jnp.promote_types(input.dtype, jnp.float32))
    return jax.random.bernoulli(w.key(seed), wide).astype(w.dtype_of(dtype or w.type_in(0)))


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
        y, kept = _dropped(_train_key(w, seed), data, p)
        return y, kept
    y, kept = _dropped(w.key(seed), data, p)
    if known is not None:
        return y, kept
    trains = training_mode.reshape(())
    return jnp.where(trains, y, data), jnp.where(trains, kept, True)


def _train_key(w: Any, seed: float | None = None) -> jax.Array:
    if w.rngs is None:
        raise BadInput("train=True of a model with dropout takes rngs, a key: apply(..., rngs=jax.random.key(0))")
    key: jax.Array = w.key(seed)
    return key


def _dropped(key: jax.Array, x: Value, p: Value) -> tuple[Value, Value]:
    """What dropout with probability p leaves of x, scaled up, and where it was kept."""
    kept = jax.random.uniform(key, x.shape) >= p
    return jnp.where(kept, x / jnp.where(p < 1, 1 - p, 1), 0).astype(x.dtype), kept


@lowers("StochasticDepth", DOMAIN)
def stochastic_depth(w: Any, X: Value, *, p: float, mode: str) -> Value:
    """While the model trains, drops samples (`row`) or the whole batch with probability p, and scales up the rest.

    Huang et al., arXiv:1603.09382.
    """
    if not w.train or p == 0.0:
        return X
    shape = [X.shape[0] if mode == "row" else 1] + [1] * (X.ndim - 1)
    kept = jax.random.bernoulli(_train_key(w), 1.0 - p, shape)
    return jnp.where(kept, X / (1.0 - p) if p < 1.0 else X, 0)
