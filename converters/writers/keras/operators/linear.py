"""Products of matrices: MatMul, Gemm, Einsum, and linear layers."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

from keras import ops

from zoo.converters.graph import DOMAIN
from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.operators.precision import is_float, to
from zoo.converters.writers.keras.operators.sizes import rank

Tensor = Any


def product(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product as numpy's matmul; of integers without loss, which no backend's own has of 64 bits."""
    if is_float(a):
        return ops.matmul(a, b)
    a, b = to(a, "int64"), to(b, "int64")
    rows = a if rank(a) > 1 else ops.expand_dims(a, 0)
    columns = b if rank(b) > 1 else ops.expand_dims(b, 1)
    y = ops.sum(ops.expand_dims(rows, -1) * ops.expand_dims(columns, -3), -2)
    y = y if rank(a) > 1 else ops.squeeze(y, -2)
    return y if rank(b) > 1 else ops.squeeze(y, -1)


@lowers("MatMul")
def matmul(w: Any, A: Tensor, B: Tensor) -> Tensor:
    """The matrix product as numpy's matmul."""
    return product(A, B)


@lowers("Gemm")
def gemm(
    w: Any,
    A: Tensor,
    B: Tensor,
    C: Tensor = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    """Y [M, N] = alpha * A @ B + beta * C, A [M, K], B [K, N] after their transposes."""
    y = product(ops.transpose(A) if transA else A, ops.transpose(B) if transB else B)
    y = _times(alpha, y)
    return y if C is None else y + ops.cast(_times(beta, C), y.dtype)


def _times(factor: float, x: Tensor) -> Tensor:
    """A whole factor keeps integers exact."""
    if factor == 1:
        return x
    return x * factor if is_float(x) else x * int(factor) if factor.is_integer() else to(x, "float64") * factor


@lowers("Linear", DOMAIN)
@lowers("LinearNoBias", DOMAIN)
def linear(w: Any, X: Tensor, W: Tensor, B: Tensor = None) -> Tensor:
    """Y [..., N] = X [..., K] @ W.T + B, W [N, K], B [N]."""
    y = ops.matmul(X, ops.transpose(W))
    return y if B is None else y + B


@lowers("Einsum")
def einsum(w: Any, *Inputs: Tensor, equation: str) -> Tensor:
    """Einstein's summation; the equation is numpy's too."""
    return ops.einsum(equation.replace(" ", ""), *Inputs)
