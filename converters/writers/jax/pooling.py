"""ONNX's pools, by lax.reduce_window."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from zoo.converters.writers.jax import lowers
from zoo.converters.writers.jax.indexing import grid
from zoo.converters.writers.jax.reduction import lowest
from zoo.converters.writers.jax.windows import Windows, reduce_windows, spatial, spatial_axes, windows, windows_of

Value = Any


@lowers("MaxPool")
def max_pool(
    w: Any,
    X: Value,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
    _last: bool = False,
) -> Value:
    """The largest of each window, and where it stands in the whole tensor; what is padded counts as minus infinity."""
    at = windows_of(spatial(X, _last), kernel_shape, auto_pad, pads, strides, dilations, ceil_mode=ceil_mode)
    start = lowest(X.dtype)
    if not w.is_read(1):
        return reduce_windows(X, at, start, lax.max, _last)
    read, places = windows(X, at, start)
    read = jnp.where(places >= 0, read, start)
    largest = jnp.max(read, -1)
    wins = (read == largest[..., None]) | jnp.isnan(read)
    which = jnp.argmax(wins & (places >= 0), -1)  # the padding never does
    place = jnp.take_along_axis(jnp.broadcast_to(places, read.shape), which[..., None], -1)[..., 0]
    if storage_order:
        place = _column_major(place, X.shape[2:])
    planes = np.arange(X.shape[0] * X.shape[1]).reshape(*X.shape[:2], *[1] * (X.ndim - 2))
    return largest, planes * math.prod(X.shape[2:]) + place


def _column_major(place: Value, sizes: Sequence[int]) -> Value:
    """A place that counts the last axis first, counted with the first axis first."""
    at = jnp.unravel_index(place, sizes)
    return sum(along * math.prod(sizes[:i]) for i, along in enumerate(at))


@lowers("AveragePool")
def average_pool(
    w: Any,
    X: Value,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    _last: bool = False,
) -> Value:
    """The mean of each window, with or without what is padded."""
    have = spatial(X, _last)
    asked = windows_of(have, kernel_shape, auto_pad, pads, strides, dilations)
    at = windows_of(have, kernel_shape, auto_pad, pads, strides, dilations, ceil_mode=ceil_mode)
    counts = _counted(have, at, asked if count_include_pad else None).astype(X.dtype)
    return reduce_windows(X, at, 0, lax.add, _last) / (counts[..., None] if _last else counts)


def _counted(sizes: Sequence[int], at: Windows, asked: Windows | None) -> Any:
    """How many elements of each window [*counts] lie in the image; with `asked`, in its padding too."""
    if at == asked or not any(n for pair in at.padding for n in pair):
        return np.array(math.prod(at.kernel))
    counts = np.ones((), np.int64)
    for i, (size, count) in enumerate(zip(sizes, at.counts(sizes), strict=True)):
        before, behind = (0, 0) if asked is None else asked.padding[i]
        places = np.arange(count)[:, None] * at.stride[i] + np.arange(at.kernel[i]) * at.dilation[i] - at.padding[i][0]
        along = ((places >= -before) & (places < size + behind)).sum(1)
        counts = counts[..., None] * along
    return counts


@lowers("LpPool")
def lp_pool(
    w: Any,
    X: Value,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    p: int = 2,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    _last: bool = False,
) -> Value:
    """The p-norm of each window."""
    at = windows_of(spatial(X, _last), kernel_shape, auto_pad, pads, strides, dilations, ceil_mode=ceil_mode)
    return _root(reduce_windows(jnp.abs(X) ** p, at, 0, lax.add, _last), p)


def _root(x: Value, p: int) -> Value:
    return jnp.sqrt(x) if p == 2 else x ** (1 / p)


@lowers("GlobalAveragePool")
def global_average_pool(w: Any, X: Value, *, _last: bool = False) -> Value:
    """The mean over all spatial axes, which stay as 1."""
    return jnp.mean(X, spatial_axes(X, _last), keepdims=True)


@lowers("GlobalMaxPool")
def global_max_pool(w: Any, X: Value, *, _last: bool = False) -> Value:
    """The largest over all spatial axes, which stay as 1."""
    return jnp.max(X, spatial_axes(X, _last), keepdims=True)


@lowers("GlobalLpPool")
def global_lp_pool(w: Any, X: Value, *, p: int = 2, _last: bool = False) -> Value:
    """The p-norm over all spatial axes, which stay as 1."""
    return _root(jnp.sum(jnp.abs(X) ** p, spatial_axes(X, _last), keepdims=True), p)


@lowers("MaxUnpool")
def max_unpool(
    w: Any,
    X: Value,
    I: Value,  # noqa: E741
    output_shape: Value = None,
    *,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:
    """Each maximum back in its place, which counts in the whole tensor; zeros elsewhere.

    The places count in the tensor that kernel, strides and pads make; a larger `output_shape` has zeros behind it.
    """
    n = len(kernel_shape)
    padding, stride = list(pads or [0] * 2 * n), list(strides or [1] * n)
    sizes = [
        (size - 1) * s + k - padding[i] - padding[n + i]
        for i, (size, s, k) in enumerate(zip(X.shape[2:], stride, kernel_shape, strict=True))
    ]
    shape = (*X.shape[:2], *sizes)
    y = jnp.zeros(math.prod(shape), X.dtype).at[I.reshape(-1)].set(X.reshape(-1)).reshape(shape)
    if output_shape is None:
        return y
    wanted = w.ints(output_shape)
    return jnp.zeros(wanted, X.dtype).at[tuple(grid(shape))].set(y)
