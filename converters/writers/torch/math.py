"""ONNX's math operators in torch's words.

Signatures are ONNX's (opset graph.OPSET): inputs by position, attributes by keyword.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import operator
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from zoo.converters.graph import DOMAIN
from zoo.converters.writers.torch import lowers

Value = Any


def _elementwise(op: str, f: Any) -> None:
    @lowers(op)
    def lowered(w: Any, X: Value) -> Value:
        return f(X)

    lowered.__name__, lowered.__doc__ = op.lower(), f"Y = {op}(X), element by element."


def _binary(op: str, f: Any) -> None:
    @lowers(op)
    def lowered(w: Any, A: Value, B: Value) -> Value:
        return f(A, B)

    lowered.__name__, lowered.__doc__ = op.lower(), f"C = {op}(A, B), broadcast as numpy does."


_elementwise("Abs", torch.abs)
_elementwise("Neg", operator.neg)
_elementwise("Floor", torch.floor)
_elementwise("Ceil", torch.ceil)
_elementwise("Round", torch.round)  # half to even in both
_elementwise("Reciprocal", torch.reciprocal)
_elementwise("Sqrt", torch.sqrt)
for _op, _f in {"Sin": torch.sin, "Cos": torch.cos, "Exp": torch.exp, "Log": torch.log, "Erf": torch.erf}.items():

    @lowers(_op)
    def _unary(w: Any, input: Value, *, _f: Any = _f) -> Value:  # noqa: A002
        return _f(input)


_binary("Add", operator.add)
_binary("Sub", operator.sub)
_binary("Mul", operator.mul)


@lowers("Div")
def div(w: Any, A: Value, B: Value) -> Value:
    """C = A / B; integers are divided towards zero."""
    if w.dtype_out().is_floating_point:
        return A / B
    return w.function(torch.div, A, B, rounding_mode="trunc")


@lowers("Mod")
def mod(w: Any, A: Value, B: Value, *, fmod: int = 0) -> Value:
    """The remainder: with the divisor's sign (fmod 0, integers), or the dividend's as C's fmod."""
    return w.function(torch.fmod if fmod else torch.remainder, A, B)


@lowers("Pow")
def power(w: Any, X: Value, Y: Value) -> Value:
    """X to the power of Y, in the dtype of X."""
    if w.dtype_in(0) == w.dtype_in(1) or w.dtype_in(0).is_floating_point:
        return w.function(torch.pow, X, Y)
    return w.function(torch.pow, X, Y).to(w.dtype_in(0))


@lowers("Max")
def maximum(w: Any, *data_0: Value) -> Value:
    """The elementwise maximum of any number of tensors."""
    return reduce(torch.maximum, [w.tensor(x, like=data_0) for x in data_0])


@lowers("Min")
def minimum(w: Any, *data_0: Value) -> Value:
    """The elementwise minimum of any number of tensors."""
    return reduce(torch.minimum, [w.tensor(x, like=data_0) for x in data_0])


@lowers("Sum")
def total(w: Any, *data_0: Value) -> Value:
    """The elementwise sum of any number of tensors."""
    return reduce(operator.add, data_0)


@lowers("Clip")
def clip(w: Any, input: Value, min: Value = None, max: Value = None) -> Value:  # noqa: A002
    """Y = min(max(input, min), max). nn.ReLU6 and nn.Hardtanh where the author has them."""
    low, high = (None if b is None else w.known(b) for b in (min, max))
    if low is not None and high is not None:
        low, high = low.item(), high.item()
        if (low, high) == (0, 6) and (y := w.module(nn.ReLU6, input)) is not None:
            return y
        if (y := w.module(nn.Hardtanh, input, min_val=low, max_val=high)) is not None:
            return y
    return w.function(torch.clamp, input, min=min, max=max)


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
    if (y := w.module(nn.GELU, X, approximate=approximate)) is not None:
        return y
    return F.gelu(X, approximate=approximate)


@lowers("HardSwish")
def hard_swish(w: Any, X: Value) -> Value:
    """X * max(0, min(1, X / 6 + 0.5))."""
    return _activation(w, X, nn.Hardswish, F.hardswish)


@lowers("Swish", DOMAIN)
def swish(w: Any, X: Value) -> Value:
    """X * sigmoid(X)."""
    return _activation(w, X, nn.SiLU, F.silu)


@lowers("Softplus")
def softplus(w: Any, X: Value) -> Value:
    """log(1 + exp(X))."""
    return _activation(w, X, nn.Softplus, F.softplus)


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
    if (y := w.module(nn.LeakyReLU, X, negative_slope=alpha)) is not None:
        return y
    return F.leaky_relu(X, negative_slope=alpha)


@lowers("Elu")
def elu(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """X where it is positive, alpha * (exp(X) - 1) elsewhere."""
    if (y := w.module(nn.ELU, X, alpha=alpha)) is not None:
        return y
    return F.elu(X, alpha=alpha)


@lowers("PRelu")
def prelu(w: Any, X: Value, slope: Value) -> Value:
    """X where it is positive, slope * X elsewhere; slope is broadcast to X."""
    return torch.where(X >= 0, X, slope * X)


@lowers("Softmax")
def softmax(w: Any, input: Value, *, axis: int = -1) -> Value:  # noqa: A002
    """exp(input) over its sum along an axis."""
    if (y := w.module(nn.Softmax, input, dim=axis)) is not None:
        return y
    return F.softmax(input, dim=axis)


@lowers("LogSoftmax")
def log_softmax(w: Any, input: Value, *, axis: int = -1) -> Value:  # noqa: A002
    """The logarithm of softmax."""
    return F.log_softmax(input, dim=axis)


def _activation(w: Any, x: Value, cls: type[nn.Module], f: Any) -> Value:
    """The author's module, where he has that very one; the function, where he called the function."""
    y = w.module(cls, x)
    return f(x) if y is None else y


@lowers("MatMul")
def matmul(w: Any, A: Value, B: Value) -> Value:
    """The matrix product as numpy's matmul."""
    return torch.matmul(A, B)


@lowers("Gemm")
def gemm(
    w: Any,
    A: Value,
    B: Value,
    C: Value = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Value:
    """Y [M, N] = alpha * A @ B + beta * C, A [M, K], B [K, N] after their transposes.

    nn.Linear keeps its weight as [N, K]: the case transB=1 with C of shape [N]; `layer` says whether it is.
    """
    if transB and not transA and alpha == beta == 1.0 and (y := linear(w, A, B, C)) is not None:
        return y
    a, b = A.mT if transA else A, B.mT if transB else B
    y = torch.matmul(a, b) if alpha == 1.0 else alpha * torch.matmul(a, b)
    if C is None:
        return y
    return y + C if beta == 1.0 else y + beta * C


@lowers("Linear", DOMAIN)
@lowers("LinearNoBias", DOMAIN)
def linear_op(w: Any, X: Value, W: Value, B: Value = None) -> Value:
    """Y [..., N] = X [..., K] @ W.T + B, W [N, K], B [N]: nn.Linear."""
    y = linear(w, X, W, B)
    return F.linear(X, W, B) if y is None else y


def linear(w: Any, x: Value, weight: Value, bias: Value) -> Value | None:
    """nn.Linear, if weight [N, K] and bias [N] are one's parameters."""
    shape = w.shape(weight)
    if shape is None or len(shape) != 2:
        return None
    arguments = {"in_features": shape[1], "out_features": shape[0], "bias": bias is not None}
    return w.layer(nn.Linear, x, arguments, weight=weight, bias=bias)


@lowers("Einsum")
def einsum(w: Any, *Inputs: Value, equation: str) -> Value:
    """Einstein's summation; the equation is torch's too."""
    return w.function(torch.einsum, equation.replace(" ", ""), *Inputs)


@lowers("CumSum")
def cumsum(w: Any, x: Value, axis: Value, *, exclusive: int = 0, reverse: int = 0) -> Value:
    """The running sum along an axis; from the end (reverse), without the element itself (exclusive)."""
    known = w.known(axis)
    if known is None:
        raise ValueError("CumSum wants an axis that is known before the module runs")
    dim = int(known.reshape(-1)[0])
    y = torch.cumsum(torch.flip(x, [dim]) if reverse else x, dim, dtype=w.dtype_in(0))
    y = torch.flip(y, [dim]) if reverse else y
    return y - x if exclusive else y
