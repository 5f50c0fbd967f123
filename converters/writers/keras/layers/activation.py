"""Activations: a layer of their own where Keras has one, else Activation by name."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras

from zoo.converters.writers.keras import lowers
from zoo.converters.writers.keras.dtypes import HALF
from zoo.converters.writers.keras.layers.values import is_float, is_parameter, scalar

Value = Any


def _named(name: str) -> Callable[..., Value]:
    def lowering(w: Any, X: Value) -> Value:
        return w.layer(keras.layers.Activation, X, {"activation": name}) if is_float(X) else None

    lowering.__doc__ = f"Activation({name!r})."
    return lowering


for op, called in {
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Mish": "mish",
    "HardSwish": "hard_silu",
    "Exp": "exponential",
}.items():
    lowers(op)(_named(called))


@lowers("Relu")
def relu(w: Any, X: Value) -> Value:
    """max(X, 0)."""
    return w.layer(keras.layers.ReLU, X) if is_float(X) else None


@lowers("Clip")
def clip(w: Any, input: Value, min: Value = None, max: Value = None) -> Value:  # noqa: A002
    """max(X, 0), and not above a number: ReLU6."""
    most = scalar(max)
    if not is_float(input) or min is None or scalar(min) != 0.0 or most is None or not 0 < most < math.inf:
        return None
    return w.layer(keras.layers.ReLU, input, {"max_value": most})


@lowers("LeakyRelu")
def leaky_relu(w: Any, X: Value, *, alpha: float = 0.01) -> Value:
    """X where it is positive, alpha * X elsewhere."""
    return w.layer(keras.layers.LeakyReLU, X, {"negative_slope": alpha}) if is_float(X) and alpha >= 0 else None


@lowers("Elu")
def elu(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """X where it is positive, alpha * (exp(X) - 1) elsewhere."""
    return w.layer(keras.layers.ELU, X, {"alpha": alpha}) if is_float(X) else None


@lowers("Selu")
def selu(w: Any, X: Value, *, alpha: float = 1.6732632, gamma: float = 1.050701) -> Value:
    """The ELU of X times gamma, by Klambauer et al.'s two numbers (arXiv:1706.02515)."""
    if not is_float(X) or abs(alpha - 1.6732632) > 1e-6 or abs(gamma - 1.0507010) > 1e-6:
        return None
    return w.layer(keras.layers.Activation, X, {"activation": "selu"})


@lowers("Gelu")
def gelu(w: Any, X: Value, *, approximate: str = "none") -> Value:
    """X times the normal distribution function of X, the exact one."""
    return (
        w.layer(keras.layers.Activation, X, {"activation": "gelu"}) if is_float(X) and approximate == "none" else None
    )


@lowers("Swish")
def swish(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """X * sigmoid(X)."""
    return w.layer(keras.layers.Activation, X, {"activation": "silu"}) if is_float(X) and alpha == 1.0 else None


@lowers("HardSigmoid")
def hard_sigmoid(w: Any, X: Value, *, alpha: float = 0.2, beta: float = 0.5) -> Value:
    """max(0, min(1, X / 6 + 1 / 2))."""
    is_keras = is_float(X) and abs(alpha - 1 / 6) < 1e-7 and beta == 0.5
    return w.layer(keras.layers.Activation, X, {"activation": "hard_sigmoid"}) if is_keras else None


@lowers("Softmax")
def softmax(w: Any, input: Value, *, axis: int = -1) -> Value:  # noqa: A002
    """exp(X) over its sum along an axis; the layer adds up in half precision where X is of that."""
    if not is_float(input) or not input.shape or input.dtype in HALF:
        return None
    last = axis % len(input.shape) == len(input.shape) - 1
    return w.layer(keras.layers.Softmax, input, {"axis": -1 if last else axis})


@lowers("LogSoftmax")
def log_softmax(w: Any, input: Value, *, axis: int = -1) -> Value:  # noqa: A002
    """The logarithm of softmax along the last axis."""
    if not is_float(input) or not input.shape or axis % len(input.shape) != len(input.shape) - 1:
        return None
    return w.layer(keras.layers.Activation, input, {"activation": "log_softmax"})


@lowers("PRelu")
def prelu(w: Any, X: Value, slope: Value) -> Value:
    """X where it is positive, slope * X elsewhere: one slope for each channel of X [N, ..., C], or one for all."""
    if not is_float(X) or len(X.shape) < 2 or not is_parameter(slope):
        return None
    rank, sizes = len(X.shape), slope.shape
    if any(d != 1 for d in sizes[:-1]) or len(sizes) > rank:
        return None
    channels = sizes[-1] if sizes else 1
    if channels not in (1, X.shape[-1]):
        return None
    shared = list(range(1, rank if channels == 1 else rank - 1))
    config = {"shared_axes": shared or None}
    alpha = slope.reshaped(*[1] * (rank - 2), channels)
    return w.layer(keras.layers.PReLU, X, config, alpha_initializer=alpha)
