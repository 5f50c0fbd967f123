"""Adaptive pooling, which torch and MXNet have and ONNX has not: as many regions as asked for, of any input size."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from zoo.converters.readers.scribe import Fault, Scribe

MAX_REGIONS = 256  # along one axis


def adaptive(op: Scribe, x: ir.Value, sizes: Sequence[int | None], kind: str) -> ir.Value:
    """X [N, C, spatial] with its spatial axes pooled to `sizes` (None keeps one); `kind` is ReduceMean or ReduceMax.

    Region i of n over an axis of L goes from floor(i L / n) to ceil((i + 1) L / n). Where n divides every L, that is an
    ordinary pooling; else axis by axis, since the mean (or maximum) of a box is that of its rows' means.
    """
    op.learn(x, len(sizes) + 2)
    spatial = op.sizes_of(x)[2:]
    if len(spatial) != len(sizes) or any(n is not None and not 0 < n <= MAX_REGIONS for n in sizes):
        raise Fault(f"adaptive pooling of {len(spatial)} spatial axes to {list(sizes)}")
    if all(n == 1 for n in sizes):
        return op.GlobalMaxPool(x) if kind == "ReduceMax" else op.GlobalAveragePool(x)  # type: ignore[no-any-return]
    kernel = [
        length // (n or length) if length and length % (n or length) == 0 else 0
        for length, n in zip(spatial, sizes, strict=True)
    ]
    if all(kernel):
        pool = op.MaxPool if kind == "ReduceMax" else op.AveragePool
        return pool(x, kernel_shape=kernel, strides=kernel)  # type: ignore[no-any-return]
    for axis, (length, n) in enumerate(zip(spatial, sizes, strict=True), 2):
        if n is not None and n != length:
            parts = [_region(op, x, axis, length, i, n, kind) for i in range(n)]
            x = op.Concat(*parts, axis=axis) if n > 1 else parts[0]
    return x


def _region(op: Scribe, x: ir.Value, axis: int, length: int | None, i: int, n: int, kind: str) -> ir.Value:
    """The mean or maximum of one region along one axis, which it keeps."""
    if length is not None:
        begin, end = op.const([i * length // n]), op.const([-(-(i + 1) * length // n)])
    else:
        whole = op.size(x, axis)
        begin = op.Div(op.Mul(whole, op.const([i])), op.const([n]))
        end = op.Div(op.Add(op.Mul(whole, op.const([i + 1])), op.const([n - 1])), op.const([n]))
    part = op.Slice(x, begin, end, op.const([axis]))
    return getattr(op, kind)(part, op.const([axis]), keepdims=1)  # type: ignore[no-any-return]
