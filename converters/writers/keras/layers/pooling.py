"""Windows and whole pictures reduced to a number for each channel."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import onnx_ir as ir

from zoo.converters.graph import CHANNELS_LAST
from zoo.converters.writers.keras import lowers
from zoo.converters.writers.keras.layers.shaping import drops
from zoo.converters.writers.keras.layers.values import is_float, numbers
from zoo.converters.writers.keras.layers.windows import LAST, Windows, one, padded, windows_of

Value = Any
K = keras.layers
MAX = {1: K.MaxPooling1D, 2: K.MaxPooling2D, 3: K.MaxPooling3D}
AVERAGE = {1: K.AveragePooling1D, 2: K.AveragePooling2D, 3: K.AveragePooling3D}
GLOBAL_MAX = {1: K.GlobalMaxPooling1D, 2: K.GlobalMaxPooling2D, 3: K.GlobalMaxPooling3D}
GLOBAL_AVERAGE = {1: K.GlobalAveragePooling1D, 2: K.GlobalAveragePooling2D, 3: K.GlobalAveragePooling3D}
# what gives no negative number, and what hands on what it is given
NOT_NEGATIVE = {"Relu", "Sigmoid", "HardSigmoid", "Softmax", "Softplus", "Abs", "Exp", "ReduceL2", "Sqrt"}
HANDS_ON = {"MaxPool", "AveragePool", "Dropout", "Identity", "Transpose", "Concat"}


@lowers("MaxPool", CHANNELS_LAST)
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
    """The largest in each window. Zeros are as good as nothing around what is not negative."""
    if not is_float(X) or len(kernel_shape) not in MAX:
        return None
    sizes = X.shape[1:-1]
    at = windows_of(kernel_shape, sizes, auto_pad, pads, strides, dilations, ceil_mode=bool(ceil_mode))
    if set(at.dilation) != {1}:
        return None
    if at.is_valid or at.is_same:
        return _pool(w, X, MAX, at, "valid" if at.is_valid else "same")
    if at.pairs is None or not _touch(at, sizes) or not is_not_negative(w.node.inputs[0]):
        return None
    return _pool(w, padded(w, X, at.pairs), MAX, at, "valid")


def _touch(at: Windows, sizes: Sequence[int | None]) -> bool:
    """Whether every window has an element of the picture in it."""
    pairs = at.pairs or []
    ends = [end if size is None else min(end, end) for size, (_, end) in zip(sizes, pairs, strict=True)]
    return all(0 <= b < k and 0 <= e < k for (b, _), e, k in zip(pairs, ends, at.kernel, strict=True))


def is_not_negative(value: ir.Value | None) -> bool:
    """Whether no number of a value is below zero, by the operator that gives it."""
    node = value.producer() if value is not None else None
    if node is None:
        return False
    if node.op_type == "Clip":
        low = node.inputs[1] if len(node.inputs) > 1 else None
        return low is not None and low.const_value is not None and bool((low.const_value.numpy() >= 0).all())
    if node.op_type in HANDS_ON:
        several = node.inputs if node.op_type == "Concat" else node.inputs[:1]
        return all(map(is_not_negative, several))
    return node.op_type in NOT_NEGATIVE


@lowers("AveragePool", CHANNELS_LAST)
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
    """The mean of each window; what `same` pads doesn't count in Keras, zeros put around first do."""
    if not is_float(X) or len(kernel_shape) not in AVERAGE:
        return None
    sizes = X.shape[1:-1]
    at = windows_of(kernel_shape, sizes, auto_pad, pads, strides, dilations)
    if set(at.dilation) != {1}:
        return None
    if ceil_mode:
        up = windows_of(kernel_shape, sizes, auto_pad, pads, strides, dilations, ceil_mode=True)
        if up.pairs is None or up.pairs != at.pairs:
            return None  # a last window counts no zeros beyond the padding
    if at.is_valid:
        return _pool(w, X, AVERAGE, at, "valid")
    if at.is_same and not count_include_pad:
        return _pool(w, X, AVERAGE, at, "same")
    if at.pairs is None or not count_include_pad or any(n < 0 for pair in at.pairs for n in pair):
        return None
    return _pool(w, padded(w, X, at.pairs), AVERAGE, at, "valid")


def _pool(w: Any, x: Value, layers: dict[int, Any], at: Windows, padding: str) -> Value:
    config = {"pool_size": one(at.kernel), "strides": one(at.stride), "padding": padding, **LAST}
    return w.layer(layers[len(at.kernel)], x, config)


@lowers("GlobalAveragePool", CHANNELS_LAST)
def global_average_pool(w: Any, X: Value) -> Value:
    """The mean of each channel of X [N, ..., C]."""
    return _global(w, X, GLOBAL_AVERAGE, keeps=True)


@lowers("GlobalMaxPool", CHANNELS_LAST)
def global_max_pool(w: Any, X: Value) -> Value:
    """The largest of each channel of X [N, ..., C]."""
    return _global(w, X, GLOBAL_MAX, keeps=True)


@lowers("ReduceMean")
def reduce_mean(w: Any, data: Value, axes: Value = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Value:
    """The mean over all axes but the first and the last."""
    return _over_places(w, data, axes, GLOBAL_AVERAGE, bool(keepdims))


@lowers("ReduceMax")
def reduce_max(w: Any, data: Value, axes: Value = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Value:
    """The largest over all axes but the first and the last."""
    return _over_places(w, data, axes, GLOBAL_MAX, bool(keepdims))


def _over_places(w: Any, x: Value, axes: Value, layers: dict[int, Any], keeps: bool) -> Value:
    found = numbers(axes)
    if found is None or not is_float(x):
        return None
    rank = len(x.shape)
    return _global(w, x, layers, keeps) if sorted(a % rank for a in found) == list(range(1, rank - 1)) else None


def _global(w: Any, x: Value, layers: dict[int, Any], keeps: bool) -> Value:
    """A layer without the axes of size one, where the next node drops them."""
    n = len(x.shape) - 2
    if not is_float(x) or n not in layers:
        return None
    if keeps and (node := drops(w.node.outputs[0], list(range(1, n + 1)))) is not None:
        w.absorbed.add(node)
        keeps = False
    return w.layer(layers[n], x, {"keepdims": keeps, **LAST})
