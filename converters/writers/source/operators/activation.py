"""Activations."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import operator
from typing import Any

from zoo.converters.writers.source.operators import lowers
from zoo.converters.writers.source.unwritable import Unwritable

Value = Any
NEURAL = {"Relu": "relu", "Sigmoid": "sigmoid", "Softplus": "softplus", "HardSwish": "hard_silu"}


def _neural(op: str, name: str) -> None:
    @lowers(op)
    def lowering(w: Any, X: Value) -> Value:
        return w.neural(name, X)


for _op, _name in NEURAL.items():
    _neural(_op, _name)


@lowers("Mish")
def mish(w: Any, X: Value) -> Value:
    """X * tanh(softplus(X))."""
    return w.infix(operator.mul, X, w.f("tanh", w.neural("softplus", X)))


@lowers("Softsign")
def softsign(w: Any, input: Value) -> Value:  # noqa: A002
    """X / (1 + |X|)."""
    return w.infix(operator.truediv, input, w.infix(operator.add, 1.0, w.f("abs", input)))


@lowers("Swish")
def swish(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """X * sigmoid(alpha * X)."""
    if alpha == 1:
        return w.neural("silu", X)
    return w.infix(operator.mul, X, w.neural("sigmoid", w.infix(operator.mul, alpha, X)))


@lowers("Gelu")
def gelu(w: Any, X: Value, *, approximate: str = "none") -> Value:
    """X times the normal distribution's share below it."""
    return w.neural("gelu", X, approximate=approximate == "tanh")


@lowers("HardSigmoid")
def hard_sigmoid(w: Any, X: Value, *, alpha: float = 0.2, beta: float = 0.5) -> Value:
    """Alpha * X + beta, kept within 0 and 1."""
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return w.infix(operator.truediv, w.neural("relu6", w.infix(operator.add, X, 3.0)), 6.0)
    return w.f("clip", w.infix(operator.add, w.infix(operator.mul, alpha, X), beta), 0.0, 1.0)


@lowers("LeakyRelu")
def leaky_relu(w: Any, X: Value, *, alpha: float = 0.01) -> Value:
    """X, and alpha * X below zero."""
    return w.neural("leaky_relu", X, negative_slope=alpha)


@lowers("Elu")
def elu(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """X, and alpha * (exp(X) - 1) below zero."""
    return w.neural("elu", X, **({} if alpha == 1 else {"alpha": alpha}))


@lowers("Celu")
def celu(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """X, and alpha * (exp(X / alpha) - 1) below zero."""
    return w.neural("celu", X, **({} if alpha == 1 else {"alpha": alpha}))


@lowers("Selu")
def selu(
    w: Any, X: Value, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875
) -> Value:
    """Gamma * (X, and alpha * (exp(X) - 1) below zero)."""
    if abs(alpha - 1.6732632) > 1e-6 or abs(gamma - 1.050701) > 1e-6:
        raise Unwritable(f"its alpha is {alpha} and its gamma {gamma}, and not those of SELU")
    return w.neural("selu", X)


@lowers("ThresholdedRelu")
def thresholded_relu(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """X above alpha, and zero elsewhere."""
    return w.f("where", w.infix(operator.gt, X, alpha), X, 0.0)


@lowers("PRelu")
def prelu(w: Any, X: Value, slope: Value) -> Value:
    """X, and slope * X below zero."""
    return w.f("where", w.infix(operator.lt, X, 0.0), w.infix(operator.mul, w.operand(slope, w.rank(X)), X), X)


@lowers("Softmax")
def softmax(w: Any, input: Value, *, axis: int = -1) -> Value:  # noqa: A002
    """exp(x) over their sum along an axis."""
    return w.neural("softmax", input, axis=_behind(w, input, axis))


@lowers("LogSoftmax")
def log_softmax(w: Any, input: Value, *, axis: int = -1) -> Value:  # noqa: A002
    """The logarithm of the softmax."""
    return w.neural("log_softmax", input, axis=_behind(w, input, axis))


def _behind(w: Any, x: Value, axis: int) -> int:
    """The last axis as -1."""
    return -1 if axis in (-1, w.rank(x) - 1) else axis
