"""ONNX's activations: jax.nn's where it has them."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from zoo.converters.writers.jax import lowers

Value = Any
FUNCTIONS: dict[str, Callable[[Value], Value]] = {
    "Relu": jax.nn.relu,
    "Sigmoid": jax.nn.sigmoid,
    "Tanh": jnp.tanh,
    "HardSwish": jax.nn.hard_swish,
    "Softplus": jax.nn.softplus,
    "Softsign": jax.nn.soft_sign,
    "Mish": jax.nn.mish,
}

for _op, _f in FUNCTIONS.items():

    @lowers(_op)
    def _unary(w: Any, X: Value, *, _f: Any = _f) -> Value:
        return _f(X)


@lowers("Gelu")
def gelu(w: Any, X: Value, *, approximate: str = "none") -> Value:
    """X times the normal distribution function of X, exact or by tanh."""
    return jax.nn.gelu(X, approximate=approximate == "tanh")


@lowers("Swish")
def swish(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """X * sigmoid(alpha * X); of half precision computed in float32."""
    x = X.astype(jnp.promote_types(X.dtype, jnp.float32))
    return (x * jax.nn.sigmoid(x if alpha == 1.0 else alpha * x)).astype(X.dtype)


@lowers("SwiGLU")
def swiglu(w: Any, A: Value, B: Value, *, alpha: float = 1.0) -> Value:
    """A * sigmoid(alpha * A) * B: the gate A and what it lets through, of one shape."""
    return swish(w, A, alpha=alpha) * B


@lowers("HardSigmoid")
def hard_sigmoid(w: Any, X: Value, *, alpha: float = 0.2, beta: float = 0.5) -> Value:
    """max(0, min(1, alpha * X + beta))."""
    return jnp.clip(alpha * X + beta, 0, 1)


@lowers("LeakyRelu")
def leaky_relu(w: Any, X: Value, *, alpha: float = 0.01) -> Value:
    """X where it is positive, alpha * X elsewhere."""
    return jax.nn.leaky_relu(X, alpha)


@lowers("Elu")
def elu(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """X where it is positive, alpha * (exp(X) - 1) elsewhere."""
    return jax.nn.elu(X, alpha)


@lowers("Celu")
def celu(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """max(0, X) + min(0, alpha * (exp(X / alpha) - 1))."""
    return jax.nn.celu(X, alpha)


@lowers("Selu")
def selu(w: Any, X: Value, *, alpha: float = 1.6732632, gamma: float = 1.050701) -> Value:
    """The ELU of X times gamma."""
    return gamma * jax.nn.elu(X, alpha)


@lowers("ThresholdedRelu")
def thresholded_relu(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """X where it is above alpha, 0 elsewhere."""
    return jnp.where(alpha < X, X, 0)


@lowers("Shrink")
def shrink(w: Any, input: Value, *, bias: float = 0.0, lambd: float = 0.5) -> Value:  # noqa: A002
    """X towards zero by bias where it is beyond lambd on either side, 0 between."""
    x = input
    return jnp.where(x < -lambd, x + bias, jnp.where(x > lambd, x - bias, 0))


@lowers("PRelu")
def prelu(w: Any, X: Value, slope: Value) -> Value:
    """X where it is positive, slope * X elsewhere; slope is broadcast to X."""
    return jnp.where(X >= 0, X, slope * X)


@lowers("Softmax")
def softmax(w: Any, input: Value, *, axis: int = -1) -> Value:  # noqa: A002
    """exp(X) over its sum along an axis."""
    return jax.nn.softmax(input, axis=axis)


@lowers("LogSoftmax")
def log_softmax(w: Any, input: Value, *, axis: int = -1) -> Value:  # noqa: A002
    """The logarithm of the softmax along an axis."""
    return jax.nn.log_softmax(input, axis=axis)


@lowers("Hardmax")
def hardmax(w: Any, input: Value, *, axis: int = -1) -> Value:  # noqa: A002
    """1 at the first of the largest along an axis, 0 elsewhere."""
    return jax.nn.one_hot(jnp.argmax(input, axis), input.shape[axis], axis=axis, dtype=input.dtype)
