"""Products of matrices: MatMul, Gemm, Einsum, and linear layers. MXNet multiplies floats alone: integers as float64."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

from zoo.converters.graph import DOMAIN
from zoo.converters.writers.mxnet import lowers
from zoo.converters.writers.mxnet.math import FLOATS

Value = Any


def widened(w: Any, *values: Value) -> tuple[tuple[Value, ...], str | None]:
    """Matrices in float64 if they are integers, and the dtype that the product is cast back to."""
    own = w.computed_in(0)
    return (values, None) if own in FLOATS else (tuple(v if v is None else w.cast(v, "float64") for v in values), own)


@lowers("MatMul")
def matmul(w: Any, A: Value, B: Value) -> Value:
    """The matrix product as numpy's matmul."""
    ranks = w.rank(0), w.rank(1)
    (a, b), own = widened(w, A, B)
    if ranks[1] == 2 and ranks[0] >= 2:
        y = w.F.dot(a, b)
    elif ranks == (3, 3) and w.dims(0)[0] == w.dims(1)[0]:
        y = w.F.batch_dot(a, b)
    else:
        y = w.np.matmul(a, b)
    return y if own is None else w.cast(y, own)


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
    """Y [M, N] = alpha * A @ B + beta * C; FullyConnected is the case transB=1 with C of shape [N]."""
    (a, b, c), own = widened(w, A, B, C)
    if transB and not transA and alpha == beta == 1.0 and (C is None or w.dims(2) == w.dims(1)[:1]):
        y = fully_connected(w, a, b, c)
    else:
        y = w.F.dot(a, b, transpose_a=bool(transA), transpose_b=bool(transB))
        y = y if alpha == 1.0 else y * alpha
        y = y if c is None else w.F.broadcast_add(y, c if beta == 1.0 else c * beta)
    return y if own is None else w.cast(y, own)


def fully_connected(w: Any, x: Value, weight: Value, bias: Value) -> Value:
    """X [..., K] @ W.T + B, W [N, K], B [N], both inputs 1 and 2 of the node at hand."""
    units = w.whole(1)[0]
    options = {"num_hidden": units, "flatten": False}
    if bias is None:
        return w.F.FullyConnected(x, weight, no_bias=True, **options)
    return w.F.FullyConnected(x, weight, bias, **options)


@lowers("Linear", DOMAIN)
@lowers("LinearNoBias", DOMAIN)
def linear(w: Any, X: Value, W: Value, B: Value = None) -> Value:
    """Y [..., N] = X [..., K] @ W.T + B, W [N, K], B [N]."""
    return fully_connected(w, X, W, B)


@lowers("Einsum")
def einsum(w: Any, *Inputs: Value, equation: str) -> Value:
    """Einstein's summation; the equation is numpy's too."""
    values, own = widened(w, *Inputs)
    y = w.np.einsum(equation.replace(" ", ""), *values)
    return y if own is None else w.cast(y, own)
