"""Products with the author's matrices, which are read as they are: TensorFlow's product transposes by itself."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

import tensorflow as tf

from zoo.converters.graph import DOMAIN
from zoo.converters.writers.keras.operators import linear as keras_linear
from zoo.converters.writers.keras.operators.sizes import rank, sizes
from zoo.converters.writers.tensorflow import lowers

Tensor = Any


@lowers("Linear", DOMAIN)
@lowers("LinearNoBias", DOMAIN)
def linear(w: Any, X: Tensor, W: Tensor, B: Tensor = None) -> Tensor:
    """Y [..., N] = X [..., K] @ W.T + B, W [N, K], B [N]."""
    y = _product(X, W, transposed=True)
    return y if B is None else tf.nn.bias_add(y, B)


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
    """Y [M, N] = alpha * A @ B + beta * C, A [M, K], B [K, N] after their transposes.

    A single row C [1, N] is added as a vector: TensorFlow 2.21 fuses a product and a sum, and refuses such a row then.
    """
    if not A.dtype.is_floating:
        return keras_linear.gemm(w, A, B, C, alpha=alpha, beta=beta, transA=transA, transB=transB)
    y = tf.matmul(A, B, transpose_a=bool(transA), transpose_b=bool(transB))
    y = y if alpha == 1 else y * alpha
    if C is None:
        return y
    C = tf.reshape(C, [-1]) if rank(C) == 2 and C.shape[0] == 1 else C
    return y + (C if beta == 1 else C * beta)


@lowers("MatMul")
def matmul(w: Any, A: Tensor, B: Tensor) -> Tensor:
    """The matrix product as numpy's matmul."""
    if A.dtype.is_floating and rank(B) == 2 and rank(A) > 1:
        return _product(A, B)
    return keras_linear.matmul(w, A, B)


def _product(x: Tensor, weight: Tensor, *, transposed: bool = False) -> Tensor:
    """Rows [..., K] times a matrix, as one product of matrices."""
    if rank(x) == 2:
        return tf.matmul(x, weight, transpose_b=transposed)
    y = tf.matmul(tf.reshape(x, [-1, sizes(x)[-1]]), weight, transpose_b=transposed)
    return tf.reshape(y, [*sizes(x)[:-1], sizes(y)[-1]])
