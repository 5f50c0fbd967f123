"""ONNX's activations: Keras' own where they are the same function."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.dtypes import HALF
from zoo.converters.writers.keras.operators.precision import dtype_of, in_int64, like, wide
from zoo.converters.writers.keras.operators.sizes import places, rank, sizes

Tensor = Any
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Relu": lambda x: in_int64(ops.relu, x),
    "Sigmoid": ops.sigmoid,
    "Tanh": ops.tanh,
    "HardSwish": ops.hard_silu,
    "Softplus": ops.softplus,
    "Softsign": ops.softsign,
    "Mish": lambda x: x * ops.tanh(ops.softplus(x)),
}

for _op, _f in FUNCTIONS.items():

    @lowers(_op)
    def _unary(w: Any, X: Tensor, *, _f: Any = _f) -> Tensor:
        return _f(X)


@lowers("Gelu")
def gelu(w: Any, X: Tensor, *, approximate: str = "none") -> Tensor:
    """X times the normal distribution function of X, exact or by tanh."""
    return ops.gelu(X, approximate=approximate == "tanh")


@lowers("Swish")
def swish(w: Any, X: Tensor, *, alpha: float = 1.0) -> Tensor:
    """X * sigmoid(alpha * X)."""
    return ops.silu(X) if alpha == 1.0 else X * ops.sigmoid(alpha * X)


@lowers("SwiGLU")
def swiglu(w: Any, A: Tensor, B: Tensor, *, alpha: float = 1.0) -> Tensor:
    """A * sigmoid(alpha * A) * B: the gate A and what it lets through, of one shape."""
    return swish(w, A, alpha=alpha) * B


@lowers("HardSigmoid")
def hard_sigmoid(w: Any, X: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """max(0, min(1, alpha * X + beta))."""
    return ops.clip(alpha * X + beta, 0, 1)


@lowers("LeakyRelu")
def leaky_relu(w: Any, X: Tensor, *, alpha: float = 0.01) -> Tensor:
    """X where it is positive, alpha * X elsewhere."""
    return ops.leaky_relu(X, alpha)


@lowers("Elu")
def elu(w: Any, X: Tensor, *, alpha: float = 1.0) -> Tensor:
    """X where it is positive, alpha * (exp(X) - 1) elsewhere."""
    return ops.elu(X, alpha)


@lowers("Celu")
def celu(w: Any, X: Tensor, *, alpha: float = 1.0) -> Tensor:
    """max(0, X) + min(0, alpha * (exp(X / alpha) - 1))."""
    return ops.celu(X, alpha)


@lowers("Selu")
def selu(w: Any, X: Tensor, *, alpha: float = 1.6732632, gamma: float = 1.050701) -> Tensor:
    """The ELU of X times gamma."""
    return gamma * ops.elu(X, alpha)


@lowers("ThresholdedRelu")
def thresholded_relu(w: Any, X: Tensor, *, alpha: float = 1.0) -> Tensor:
    """X where it is above alpha, 0 elsewhere."""
    return ops.where(alpha < X, X, ops.zeros_like(X))


@lowers("Shrink")
def shrink(w: Any, input: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:  # noqa: A002
    """X towards zero by bias where it is beyond lambd on either side, 0 between."""
    x = input if "int" not in dtype_of(input) else ops.cast(input, "float32")
    return ops.where(x < -lambd, x + bias, ops.where(x > lambd, x - bias, ops.zeros_like(x)))


@lowers("PRelu")
def prelu(w: Any, X: Tensor, slope: Tensor) -> Tensor:
    """X where it is positive, slope * X elsewhere; slope is broadcast to X."""
    return ops.where(X >= 0, X, slope * X)


@lowers("Softmax")
def softmax(w: Any, input: Tensor, *, axis: int = -1) -> Tensor:  # noqa: A002
    """exp(X) over its sum along an axis."""
    return normalised_exp(input, axis)


def normalised_exp(x: Tensor, axis: int) -> Tensor:
    """The softmax; of half precision each of its steps is, as in ONNX's own words for it, but the sum is added up wide.

    TensorFlow's softmax adds up in half precision, and is off by several of its steps.
    """
    if dtype_of(x) not in HALF:
        return ops.softmax(x, axis=axis)
    powers = ops.exp(x - ops.max(x, axis, keepdims=True))
    return powers / like(ops.sum(wide(powers), axis, keepdims=True), powers)


@lowers("LogSoftmax")
def log_softmax(w: Any, input: Tensor, *, axis: int = -1) -> Tensor:  # noqa: A002
    """The logarithm of the softmax along an axis."""
    return ops.log_softmax(input, axis=axis)


@lowers("Hardmax")
def hardmax(w: Any, input: Tensor, *, axis: int = -1) -> Tensor:  # noqa: A002
    """1 at the first of the largest along an axis, 0 elsewhere."""
    at = places(sizes(input)[axis], axis, rank(input))
    return ops.cast(ops.equal(at, ops.cast(ops.argmax(input, axis, keepdims=True), "int32")), dtype_of(input))
