"""Products of matrices: MatMul, Gemm, Einsum, and nn.Linear where the author has one."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from zoo.converters.graph import DOMAIN
from zoo.converters.writers.torch import lowers
from zoo.converters.writers.torch.unsigned import in_int64, is_wide

Value = Any


@lowers("MatMul")
def matmul(w: Any, A: Value, B: Value) -> Value:
    """The matrix product as numpy's matmul."""
    return in_int64(w, torch.matmul, A, B) if is_wide(w) else torch.matmul(A, B)


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
    if not w.dtype_in(0).is_floating_point:  # an integral factor keeps integers exact
        alpha, beta = (int(f) if f.is_integer() else f for f in (alpha, beta))
    if is_wide(w):
        a, b, C = (x if x is None else w.as_tensor(i, x).to(torch.int64) for i, x in enumerate((a, b, C)))
    y = torch.matmul(a, b) if alpha == 1.0 else alpha * torch.matmul(a, b)
    if C is not None:
        y = y + C if beta == 1.0 else y + beta * C
    dtype = w.dtype_in(0)
    is_exact = dtype.is_floating_point or (alpha == beta == 1.0 and not is_wide(w))
    return y if is_exact else y.to(dtype)  # alpha and beta are floats, and integers become floats with them


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
    equation = equation.replace(" ", "")
    xs = [w.as_tensor(i, x) for i, x in enumerate(Inputs)]
    product = functools.partial(w.function, torch.einsum, equation)
    return in_int64(w, product, *xs) if is_wide(w) else product(*xs)
