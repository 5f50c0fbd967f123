"""ONNX's activations: MXNet's Activation and LeakyReLU, which are layers of many networks' symbols, where they fit."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoo.converters.writers.mxnet import lowers

Value = Any
FUNCTIONS: dict[str, Callable[[Any, Value], Value]] = {
    "Relu": lambda F, x: F.Activation(x, act_type="relu"),
    "Sigmoid": lambda F, x: F.Activation(x, act_type="sigmoid"),
    "Tanh": lambda F, x: F.Activation(x, act_type="tanh"),
    "Softsign": lambda F, x: F.Activation(x, act_type="softsign"),
    "HardSwish": lambda F, x: x * F.hard_sigmoid(x, alpha=1 / 6, beta=0.5),
}

for _op, _f in FUNCTIONS.items():

    @lowers(_op)
    def _unary(w: Any, X: Value, *, _f: Any = _f) -> Value:
        return _f(w.F, X)


@lowers("Softplus")
def softplus(w: Any, X: Value) -> Value:
    """log(1 + exp(X)), as max(X, 0) + log(1 + exp(-|X|)): exp does not overflow."""
    return w.F.relu(X) + w.F.log1p(w.F.exp(-w.F.abs(X)))


@lowers("Mish")
def mish(w: Any, X: Value) -> Value:
    """X * tanh(softplus(X))."""
    return X * w.F.tanh(softplus(w, X))


@lowers("Gelu")
def gelu(w: Any, X: Value, *, approximate: str = "none") -> Value:
    """X times the normal distribution function of X, exact or by tanh."""
    if approximate != "tanh":
        return w.F.LeakyReLU(X, act_type="gelu")
    cube = X * X * X
    return 0.5 * X * (1 + w.F.tanh((X + 0.044715 * cube) * 0.7978845608028654))  # sqrt(2 / pi)


@lowers("Swish")
def swish(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """X * sigmoid(alpha * X)."""
    return X * w.F.sigmoid(X if alpha == 1.0 else alpha * X)


@lowers("HardSigmoid")
def hard_sigmoid(w: Any, X: Value, *, alpha: float = 0.2, beta: float = 0.5) -> Value:
    """max(0, min(1, alpha * X + beta))."""
    return w.F.hard_sigmoid(X, alpha=alpha, beta=beta)


@lowers("LeakyRelu")
def leaky_relu(w: Any, X: Value, *, alpha: float = 0.01) -> Value:
    """X where it is positive, alpha * X elsewhere."""
    return w.F.LeakyReLU(X, act_type="leaky", slope=alpha)


@lowers("Elu")
def elu(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """X where it is positive, alpha * (exp(X) - 1) elsewhere."""
    return w.F.LeakyReLU(X, act_type="elu", slope=alpha)


@lowers("Celu")
def celu(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """max(0, X) + min(0, alpha * (exp(X / alpha) - 1))."""
    return w.F.LeakyReLU(X / alpha, act_type="elu", slope=1.0) * alpha


@lowers("Selu")
def selu(w: Any, X: Value, *, alpha: float = 1.6732632, gamma: float = 1.050701) -> Value:
    """The ELU of X times gamma."""
    return w.F.LeakyReLU(X, act_type="elu", slope=alpha) * gamma


@lowers("ThresholdedRelu")
def thresholded_relu(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """X where it is above alpha, 0 elsewhere."""
    return X * (alpha < X)


@lowers("Shrink")
def shrink(w: Any, input: Value, *, bias: float = 0.0, lambd: float = 0.5) -> Value:  # noqa: A002
    """X towards zero by bias where it is beyond lambd on either side, 0 between."""
    x = input
    return (x + bias) * (x < -lambd) + (x - bias) * (x > lambd)


@lowers("PRelu")
def prelu(w: Any, X: Value, slope: Value) -> Value:
    """X where it is positive, slope * X elsewhere; slope is broadcast to X."""
    positive = w.F.broadcast_maximum(X, w.F.zeros_like(X))
    return positive + w.F.broadcast_mul(X - positive, slope)


@lowers("Softmax")
def softmax(w: Any, input: Value, *, axis: int = -1) -> Value:  # noqa: A002
    """exp(X) over its sum along an axis."""
    return w.F.softmax(input, axis=axis)


@lowers("LogSoftmax")
def log_softmax(w: Any, input: Value, *, axis: int = -1) -> Value:  # noqa: A002
    """The logarithm of the softmax along an axis."""
    return w.F.log_softmax(input, axis=axis)


@lowers("Hardmax")
def hardmax(w: Any, input: Value, *, axis: int = -1) -> Value:  # noqa: A002
    """1 at the first of the largest along an axis, 0 elsewhere."""
    (depth,) = [w.dims(0)[axis]]
    along = axis % w.rank(0)
    at = w.F.argmax(input, axis=along)
    made = w.F.one_hot(at, depth=depth, dtype=w.computed_in(0))
    order = [*range(along), w.rank(0) - 1, *range(along, w.rank(0) - 1)]
    return w.F.transpose(made, axes=order)
