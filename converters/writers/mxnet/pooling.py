"""ONNX's pools: MXNet's Pooling where it pads and counts alike, else elementwise over what lies under each window."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from zoo.converters.writers.mxnet import lowers
from zoo.converters.writers.mxnet.math import FLOATS
from zoo.converters.writers.mxnet.windows import Windows, padded, taps, windows_of

Value = Any
MOST_AXES = 3  # MXNet pools over one to three
LOWEST = {"int8": -128, "uint8": 0, "int32": -(2**31), "int64": -(2**53)}  # what is padded never is the largest


def _is_native(w: Any, at: Windows) -> bool:
    fits = all(begin < k for (begin, _), k in zip(at.padding, at.kernel, strict=True))
    is_small = len(at.kernel) <= MOST_AXES and set(at.dilation) == {1}
    return is_small and at.is_even and fits and w.computed_in(0) in FLOATS


def _pooled(w: Any, x: Value, at: Windows, kind: str, pad: Sequence[int], **options: Any) -> Value:
    return w.F.Pooling(x, kernel=tuple(at.kernel), stride=tuple(at.stride), pad=tuple(pad), pool_type=kind, **options)


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
) -> Value:
    """The largest of each window, and where it stands in the whole tensor; what is padded counts as minus infinity."""
    at = windows_of(w, kernel_shape, auto_pad, pads, strides, dilations, ceil_mode=ceil_mode)
    if not w.is_read(1) and _is_native(w, at):
        return _pooled(w, X, at, "max", at.begins)
    own = w.computed_in(0)
    x = padded(w, X, at.padding, -math.inf if own in FLOATS else LOWEST[own])
    if not w.is_read(1) and set(at.dilation) == {1} and own in FLOATS:
        return _pooled(w, x, at, "max", (0,) * len(at.kernel))
    places, read = zip(*taps(w, x, at), strict=True)
    largest = reduce(w.F.broadcast_maximum, read)
    if not w.is_read(1):
        return largest
    return largest, _places(w, read, places, at, storage_order)


def _places(w: Any, read: Sequence[Value], places: Sequence[Sequence[int]], at: Windows, column_major: int) -> Value:
    """Where the first of the largest stands: in the whole tensor, its planes counted with the last axis first."""
    batch, channels, *sizes = w.whole(0)
    counts = at.counts(sizes)
    order = range(len(sizes)) if column_major else reversed(range(len(sizes)))
    steps, step = [0] * len(sizes), 1
    for axis in order:
        steps[axis], step = step, step * sizes[axis]
    origin: Any = np.zeros([1] * len(sizes), np.int64)
    for axis, count in enumerate(counts):
        along = (np.arange(count) * at.stride[axis] - at.padding[axis][0]) * steps[axis]
        origin = origin + along.reshape([-1 if a == axis else 1 for a in range(len(sizes))])
    planes = np.arange(batch * channels).reshape(batch, channels, *[1] * len(sizes)) * math.prod(sizes)
    shifts = np.array([sum(p * d * s for p, d, s in zip(place, at.dilation, steps, strict=True)) for place in places])
    which = w.cast(w.F.argmax(w.F.stack(*read, axis=0), axis=0), "int64")
    shift = w.F.take(w.array(shifts.astype(np.int64)), which)
    return w.F.broadcast_add(shift, w.array((planes + origin[None, None]).astype(np.int64)))


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
) -> Value:
    """The mean of each window, with or without what is padded."""
    asked = windows_of(w, kernel_shape, auto_pad, pads, strides, dilations)
    at = windows_of(w, kernel_shape, auto_pad, pads, strides, dilations, ceil_mode=ceil_mode)
    if _is_native(w, at) and at == asked:
        return _pooled(w, X, at, "avg", at.begins, count_include_pad=bool(count_include_pad))
    sizes = w.whole(0)[2:]
    counts = _counted(sizes, at, asked if count_include_pad else None)
    total = reduce(w.F.broadcast_add, (x for _, x in taps(w, padded(w, X, at.padding), at)))
    return w.F.broadcast_div(total, w.array(np.asarray(counts[None, None], w.computed_in(0))))


def _counted(sizes: Sequence[int], at: Windows, asked: Windows | None) -> Any:
    """How many elements of each window [*counts] lie in the image; with `asked`, in its padding too."""
    counts = np.ones((), np.int64)
    for i, (size, count) in enumerate(zip(sizes, at.counts(sizes), strict=True)):
        before, behind = (0, 0) if asked is None else asked.padding[i]
        places = np.arange(count)[:, None] * at.stride[i] + np.arange(at.kernel[i]) * at.dilation[i] - at.padding[i][0]
        counts = counts[..., None] * ((places >= -before) & (places < size + behind)).sum(1)
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
) -> Value:
    """The p-norm of each window."""
    at = windows_of(w, kernel_shape, auto_pad, pads, strides, dilations, ceil_mode=ceil_mode)
    powers = padded(w, w.F.abs(X) ** p, at.padding)
    return reduce(w.F.broadcast_add, (x for _, x in taps(w, powers, at))) ** (1 / p)


@lowers("GlobalAveragePool")
def global_average_pool(w: Any, X: Value) -> Value:
    """The mean over all spatial axes, which stay as 1."""
    return _global(w, X, "avg")


@lowers("GlobalMaxPool")
def global_max_pool(w: Any, X: Value) -> Value:
    """The largest over all spatial axes, which stay as 1."""
    return _global(w, X, "max")


def _global(w: Any, x: Value, kind: str) -> Value:
    rank = w.rank(0)
    if 2 < rank <= MOST_AXES + 2:
        return w.F.Pooling(x, kernel=(1,) * (rank - 2), global_pool=True, pool_type=kind)
    return (w.F.mean if kind == "avg" else w.F.max)(x, axis=tuple(range(2, rank)), keepdims=True)


@lowers("GlobalLpPool")
def global_lp_pool(w: Any, X: Value, *, p: int = 2) -> Value:
    """The p-norm over all spatial axes, which stay as 1."""
    return w.F.sum(w.F.abs(X) ** p, axis=tuple(range(2, w.rank(0))), keepdims=True) ** (1 / p)


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
    n, have = len(kernel_shape), w.whole(0)
    padding, stride = list(pads or [0] * 2 * n), list(strides or [1] * n)
    shape = have[:2] + [
        (size - 1) * s + k - padding[i] - padding[n + i]
        for i, (size, s, k) in enumerate(zip(have[2:], stride, kernel_shape, strict=True))
    ]
    flat = w.F.scatter_nd(w.reshape(X, (-1,)), w.reshape(I, (1, -1)), shape=(math.prod(shape),))
    y = w.reshape(flat, shape)
    if output_shape is None:
        return y
    more = [want - size for want, size in zip(w.ints(output_shape)[2:], shape[2:], strict=True)]
    return padded(w, y, [(0, m) for m in more])
