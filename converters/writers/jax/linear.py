"""Products of matrices: MatMul, Gemm, Einsum, and linear layers."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from zoo.converters.graph import DOMAIN
from zoo.converters.writers.jax import lowers

Value = Any


@lowers("MatMul")
def matmul(w: Any, A: Value, B: Value) -> Value:
    """The matrix product as numpy's matmul."""
    return jnp.matmul(A, B)


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
    """Y [M, N] = alpha * A @ B + beta * C, A [M, K], B [K, N] after their transposes."""
    if not jnp.issubdtype(A.dtype, jnp.floating):  # an integral factor keeps integers exact
        alpha, beta = (int(f) if f.is_integer() else f for f in (alpha, beta))
    y = jnp.matmul(A.mT if transA else A, B.mT if transB else B)
    y = y if alpha == 1 else alpha * y
    if C is None:
        return y
    return y + (C if beta == 1 else beta * C)


@lowers("Linear", DOMAIN)
@lowers("LinearNoBias", DOMAIN)
def linear(w: Any, X: Value, W: Value, B: Value = None) -> Value:
    """Y [..., N] = X [..., K] @ W.T + B, W [N, K], B [N]."""
    y = jnp.matmul(X, W.T)
    return y if B is None else y + B


@lowers("Einsum")
def einsum(w: Any, *Inputs: Value, equation: str) -> Value:
    """Einstein's summation; the equation is numpy's too."""
    return jnp.einsum(equation.replace(" ", ""), *Inputs)
