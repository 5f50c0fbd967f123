"""ONNX's activations: the author's module where he has that very one, else the function of torch's."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from zoo.converters.writers.torch import lowers
from zoo.converters.writers.torch.unsigned import in_int64, is_wide

Value = Any


def _activation(w: Any, x: Value, cls: type[nn.Module], f: Callable[..., Value], **arguments: Any) -> Value:
    """The author's module, where he has that very one; the function, where he called the function."""
    x = w.as_tensor(0, x)
    y = w.module(cls, x, **arguments)
    return f(x, **arguments) if y is None else y


@lowers("Relu")
def relu(w: Any, X: Value) -> Value:
    """max(X, 0)."""
    return _activation(w, X, nn.ReLU, F.relu)


@lowers("Sigmoid")
def sigmoid(w: Any, X: Value) -> Value:
    """1 / (1 + exp(-X))."""
    return _activation(w, X, nn.Sigmoid, torch.sigmoid)


@lowers("Tanh")
def tanh(w: Any, input: Value) -> Value:  # noqa: A002
    """The hyperbolic tangent."""
    return _activation(w, input, nn.Tanh, torch.tanh)


@lowers("Gelu")
def gelu(w: Any, X: Value, *, approximate: str = "none") -> Value:
    """X times the normal distribution function of X, exact or by tanh."""
    return _activation(w, X, nn.GELU, F.gelu, approximate=approximate)


@lowers("HardSwish")
def hard_swish(w: Any, X: Value) -> Value:
    """X * max(0, min(1, X / 6 + 0.5))."""
    return _activation(w, X, nn.Hardswish, F.hardswish)


@lowers("Swish")
def swish(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """X * sigmoid(alpha * X): nn.SiLU is the case alpha = 1."""
    return _activation(w, X, nn.SiLU, F.silu) if alpha == 1.0 else X * torch.sigmoid(alpha * X)


@lowers("SwiGLU")
def swiglu(w: Any, A: Value, B: Value, *, alpha: float = 1.0) -> Value:
    """A * sigmoid(alpha * A) * B: the gate A and what it lets through, of one shape."""
    return swish(w, A, alpha=alpha) * B


@lowers("Softplus")
def softplus(w: Any, X: Value) -> Value:
    """log(1 + exp(X))."""
    return _activation(w, X, nn.Softplus, F.softplus)


@lowers("Softsign")
def softsign(w: Any, input: Value) -> Value:  # noqa: A002
    """X / (1 + |X|)."""
    return _activation(w, input, nn.Softsign, F.softsign)


@lowers("Mish")
def mish(w: Any, X: Value) -> Value:
    """X tanh(softplus(X))."""
    return _activation(w, X, nn.Mish, F.mish)


@lowers("HardSigmoid")
def hard_sigmoid(w: Any, X: Value, *, alpha: float = 0.2, beta: float = 0.5) -> Value:
    """max(0, min(1, alpha * X + beta)); nn.Hardsigmoid is the case alpha = 1/6."""
    if abs(alpha - 1 / 6) < 1e-7 and beta == 0.5:
        return _activation(w, X, nn.Hardsigmoid, F.hardsigmoid)
    return torch.clamp(alpha * X + beta, min=0, max=1)


@lowers("LeakyRelu")
def leaky_relu(w: Any, X: Value, *, alpha: float = 0.01) -> Value:
    """X where it is positive, alpha * X elsewhere."""
    return _activation(w, X, nn.LeakyReLU, F.leaky_relu, negative_slope=alpha)


@lowers("Elu")
def elu(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """X where it is positive, alpha * (exp(X) - 1) elsewhere."""
    return _activation(w, X, nn.ELU, F.elu, alpha=alpha)


@lowers("Celu")
def celu(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """max(0, X) + min(0, alpha * (exp(X / alpha) - 1))."""
    return _activation(w, X, nn.CELU, F.celu, alpha=alpha)


@lowers("Selu")
def selu(w: Any, X: Value, *, alpha: float = 1.6732632, gamma: float = 1.050701) -> Value:
    """The ELU of X times gamma: nn.SELU is the case of Klambauer et al.'s two numbers (arXiv:1706.02515)."""
    if abs(alpha - 1.6732632) < 1e-6 and abs(gamma - 1.0507010) < 1e-6:
        return _activation(w, X, nn.SELU, F.selu)
    return gamma * F.elu(X, alpha=alpha)


@lowers("ThresholdedRelu")
def thresholded_relu(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """X where it is above alpha, 0 elsewhere."""
    return _activation(w, X, nn.Threshold, F.threshold, threshold=alpha, value=0.0)


@lowers("Shrink")
def shrink(w: Any, input: Value, *, bias: float = 0.0, lambd: float = 0.5) -> Value:  # noqa: A002
    """X towards zero by bias where it is beyond lambd on either side, 0 between."""
    if w.dtype_in(0).is_floating_point:
        if bias == 0.0 and lambd >= 0:
            return _activation(w, input, nn.Hardshrink, F.hardshrink, lambd=lambd)
        if bias == lambd >= 0:
            return _activation(w, input, nn.Softshrink, F.softshrink, lambd=lambd)

    def shrunk(x: Value) -> Value:
        return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, 0))

    if is_wide(w):
        return in_int64(w, shrunk, input)
    return shrunk(input) if w.dtype_in(0).is_floating_point else shrunk(input).to(w.dtype_in(0))


@lowers("PRelu")
def prelu(w: Any, X: Value, slope: Value) -> Value:
    """X where it is positive, slope * X elsewhere; slope is broadcast to X.

    nn.PReLU keeps one slope a channel as [C]: the case of a parameter that the graph gives further axes.
    """
    if is_wide(w):
        return X
    parameter = _reshaped_parameter(w, slope)
    shape = w.shape_in(1)
    if parameter is not None and _is_by_channel(shape, w.rank_in(0)):
        y = w.layer(nn.PReLU, X, {"num_parameters": max(shape, default=1)}, weight=parameter)
        if y is not None:
            return y
    return torch.where(X >= 0, X, slope * X)


def _is_by_channel(shape: tuple[Any, ...] | None, rank: int) -> bool:
    """Whether slopes of this shape are one for all, or one for each place along the second axis."""
    if shape is None or not all(isinstance(d, int) for d in shape):
        return False
    return all(d == 1 for d in shape) or (len(shape) == rank - 1 and all(d == 1 for d in shape[1:]))


def _reshaped_parameter(w: Any, x: Value) -> Value | None:
    """The parameter that a value is with other axes of size one."""
    if not isinstance(x, fx.Proxy):
        return None
    node = x.node
    while node.op == "call_method" and node.target in ("unsqueeze", "reshape", "view"):
        node = node.args[0]
    return fx.Proxy(node, w.tracer) if node.op == "get_attr" else None


@lowers("Softmax")
def softmax(w: Any, input: Value, *, axis: int = -1) -> Value:  # noqa: A002
    """exp(input) over its sum along an axis."""
    return _activation(w, input, nn.Softmax, F.softmax, dim=axis)


@lowers("LogSoftmax")
def log_softmax(w: Any, input: Value, *, axis: int = -1) -> Value:  # noqa: A002
    """The logarithm of softmax."""
    return _activation(w, input, nn.LogSoftmax, F.log_softmax, dim=axis)


@lowers("Hardmax")
def hardmax(w: Any, input: Value, *, axis: int = -1) -> Value:  # noqa: A002
    """1 where the first of the largest along an axis stands, 0 elsewhere."""
    x = w.as_tensor(0, input)
    largest = torch.argmax(x, dim=axis, keepdim=True)
    return torch.scatter(torch.zeros_like(x), axis, largest, 1.0)
