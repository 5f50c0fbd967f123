"""ONNX's pools with channels last: Keras' own where they take the windows, else an operation for each kernel place."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from keras import ops

from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.operators.indexing import put
from zoo.converters.writers.keras.operators.layouts import either, pictures, spatial_axes
from zoo.converters.writers.keras.operators.precision import dtype_of, is_float, lowest, to
from zoo.converters.writers.keras.operators.reduction import largest
from zoo.converters.writers.keras.operators.sizes import grid, is_known, places, product, sized, sizes
from zoo.converters.writers.keras.operators.windows import (
    Windows,
    is_plain,
    padded,
    reduced,
    shifted,
    spatial,
    volume,
    windows_of,
)

Tensor = Any


@pictures("MaxPool")
def max_pool(
    w: Any,
    X: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The largest of each window, and where it stands in the whole tensor; what is padded counts as minus infinity.

    Places count with channels first, as ONNX has them.
    """
    at = windows_of(spatial(X), kernel_shape, auto_pad, pads, strides, dilations, ceil_mode=ceil_mode)
    x = padded(X, at.padding, lowest(dtype_of(X)).item())
    if not w.is_read(1):
        if is_plain(at, X) and dtype_of(X) == "float32":
            return ops.max_pool(x, tuple(at.kernel), tuple(at.stride), padding="valid", data_format="channels_last")
        return reduced(x, at, ops.maximum)
    read = ops.stack(shifted(x, at), -1)
    which = ops.argmax(read if is_float(read) else to(read, "int64"), -1)
    return ops.max(read, -1), _places(which, at, sizes(X), bool(storage_order))


def _places(which: Tensor, at: Windows, shape: Sequence[Any], column_major: bool) -> Tensor:
    """The place of each window's element [N, counts..., C] in a tensor [N, C, spatial...]."""
    have, counts = list(shape[1:-1]), sizes(which)
    n = len(have)
    inside = to(which, "int64")
    along: list[Tensor] = []
    for i in reversed(range(n)):
        step = inside % at.kernel[i]
        inside = inside // at.kernel[i]
        corner = places(counts[1 + i], 1 + i, n + 2, "int64") * at.stride[i] - sized(at.padding[i][0], "int64")
        along.insert(0, corner + step * at.dilation[i])
    order = list(reversed(range(n))) if column_major else list(range(n))
    place = along[order[0]]
    for i in order[1:]:
        place = place * sized(have[i], "int64") + along[i]
    plane = places(counts[0], 0, n + 2, "int64") * sized(shape[-1], "int64") + places(counts[-1], n + 1, n + 2, "int64")
    return plane * sized(product(have), "int64") + place


@pictures("AveragePool")
def average_pool(
    w: Any,
    X: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The mean of each window, with or without what is padded."""
    have = spatial(X)
    asked = windows_of(have, kernel_shape, auto_pad, pads, strides, dilations)
    at = windows_of(have, kernel_shape, auto_pad, pads, strides, dilations, ceil_mode=ceil_mode)
    x = padded(X, at.padding)
    is_whole = all(is_known(*pair) and pair == (0, 0) for pair in at.padding)
    if is_whole or (count_include_pad and not ceil_mode):
        return _mean(x, at)
    if not count_include_pad:
        inside = ops.ones([1, *have, 1], dtype=dtype_of(X))
        return _mean(x, at) / _mean(padded(inside, at.padding), at)
    inside = padded(ops.ones([1, *have, 1], dtype=dtype_of(X)), asked.padding, 1)
    behind = [(0, end - was) for (_, end), (_, was) in zip(at.padding, asked.padding, strict=True)]
    return _mean(x, at) / _mean(padded(inside, behind), at)


def _mean(x: Tensor, at: Windows) -> Tensor:
    """The mean of each window of a padded picture."""
    if is_plain(at, x) and dtype_of(x) == "float32":
        return ops.average_pool(x, tuple(at.kernel), tuple(at.stride), padding="valid", data_format="channels_last")
    return reduced(x, at, operator.add) / volume(at)


@pictures("LpPool")
def lp_pool(
    w: Any,
    X: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    p: int = 2,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The p-norm of each window."""
    at = windows_of(spatial(X), kernel_shape, auto_pad, pads, strides, dilations, ceil_mode=ceil_mode)
    return _root(reduced(padded(_power(X, p), at.padding), at, operator.add), p)


def _power(x: Tensor, p: int) -> Tensor:
    return ops.square(x) if p == 2 else ops.power(ops.abs(x), p)


def _root(x: Tensor, p: int) -> Tensor:
    return ops.sqrt(x) if p == 2 else ops.power(x, 1 / p)


@either("GlobalAveragePool")
def global_average_pool(w: Any, X: Tensor) -> Tensor:
    """The mean over all spatial axes, which stay as 1."""
    return ops.mean(X, spatial_axes(w, X), keepdims=True)


@either("GlobalMaxPool")
def global_max_pool(w: Any, X: Tensor) -> Tensor:
    """The largest over all spatial axes, which stay as 1."""
    return largest(X, axis=spatial_axes(w, X), keepdims=True)


@either("GlobalLpPool")
def global_lp_pool(w: Any, X: Tensor, *, p: int = 2) -> Tensor:
    """The p-norm over all spatial axes, which stay as 1."""
    return _root(ops.sum(_power(X, p), spatial_axes(w, X), keepdims=True), p)


@lowers("MaxUnpool")
def max_unpool(
    w: Any,
    X: Tensor,
    I: Tensor,  # noqa: E741
    output_shape: Tensor = None,
    *,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Each maximum back in its place, which counts in the whole tensor; zeros elsewhere.

    The places count in the tensor that kernel, strides and pads make; a larger `output_shape` has zeros behind it.
    """
    n, have = len(kernel_shape), sizes(X)
    padding, stride = list(pads or [0] * 2 * n), list(strides or [1] * n)
    made = [
        (size - 1) * s + k - padding[i] - padding[n + i]
        for i, (size, s, k) in enumerate(zip(have[2:], stride, kernel_shape, strict=True))
    ]
    shape = [*have[:2], *made]
    flat = ops.zeros([product(shape)], dtype=dtype_of(X))
    y = ops.reshape(put(w, flat, [ops.reshape(I, [-1])], ops.reshape(X, [-1])), shape)
    if output_shape is None:
        return y
    return put(w, ops.zeros(w.ints(output_shape), dtype=dtype_of(X)), grid(shape, "int64"), y)
