"""Convolutions with the author's kernels."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from zoo.converters.graph import CHANNELS_LAST
from zoo.converters.writers.keras import lowers
from zoo.converters.writers.keras.layers.values import is_float, is_parameter
from zoo.converters.writers.keras.layers.windows import LAST, Windows, cropped, one, padded, windows_of
from zoo.converters.writers.keras.parameters import Parameter

Value = Any
CONV = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D, 3: keras.layers.Conv3D}
DEPTHWISE = {1: keras.layers.DepthwiseConv1D, 2: keras.layers.DepthwiseConv2D}
TRANSPOSE = {1: keras.layers.Conv1DTranspose, 2: keras.layers.Conv2DTranspose, 3: keras.layers.Conv3DTranspose}


def _fits(X: Value, W: Value, B: Value) -> bool:
    """Whether the layers can hold the weights, and know the channels."""
    n = len(W.shape) - 2 if is_parameter(W) else 0
    has_bias = B is None or is_parameter(B, 1)
    return is_float(X) and n in CONV and len(X.shape) == n + 2 and isinstance(X.shape[-1], int) and has_bias


@lowers("Conv", CHANNELS_LAST)
def conv(
    w: Any,
    X: Value,
    W: Value,
    B: Value = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:
    """X [N, ..., C] * W [M, C / group, ...] + B [M]: a kernel [..., C / group, M], of depth [..., C, M / C]."""
    if not _fits(X, W, B):
        return None
    at = windows_of(W.shape[2:], X.shape[1:-1], auto_pad, pads, strides, dilations)
    if (at.pairs is None and not at.is_same) or (set(at.stride) != {1} and set(at.dilation) != {1}):
        return None  # Keras has no dilated convolution in steps
    config: dict[str, Any] = {"kernel_size": one(at.kernel), "strides": one(at.stride), "padding": "valid", **LAST}
    config |= {"dilation_rate": one(at.dilation), "use_bias": B is not None}
    if at.is_same and not at.is_valid:
        config["padding"] = "same"
    elif at.pairs is not None and not at.is_valid:
        if any(n < 0 for pair in at.pairs for n in pair):
            return None
        X = padded(w, X, at.pairs)
    n, channels = len(at.kernel), X.shape[-1]
    if group == channels > 1 and n in DEPTHWISE and isinstance(config["strides"], int):
        kernel = W.reshaped(group, W.shape[0] // group, *W.shape[2:]).transposed(*range(2, n + 2), 0, 1)
        config |= {"depth_multiplier": W.shape[0] // group}
        return w.layer(DEPTHWISE[n], X, config, depthwise_initializer=kernel, bias_initializer=B)
    config |= {"filters": W.shape[0], "groups": group}
    return w.layer(CONV[n], X, config, kernel_initializer=_last(W), bias_initializer=B)


@lowers("ConvTranspose", CHANNELS_LAST)
def conv_transpose(
    w: Any,
    X: Value,
    W: Value,
    B: Value = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:
    """The gradient of a convolution: X [N, ..., C], W [C, M, ...], B [M]; what pads say is cut off afterwards."""
    if not _fits(X, W, B) or group != 1 or output_shape or auto_pad not in ("NOTSET", "VALID", ""):
        return None
    at = windows_of(W.shape[2:], X.shape[1:-1], auto_pad, pads, strides, dilations)
    if at.pairs is None or (set(at.stride) != {1} and set(at.dilation) != {1}):
        return None
    cut = _cut(at, output_padding or [0] * len(at.kernel))
    if any(n < 0 for pair in cut for n in pair):
        return None
    config = {"filters": W.shape[1], "kernel_size": one(at.kernel), "strides": one(at.stride), "padding": "valid"}
    config |= {"dilation_rate": one(at.dilation), "use_bias": B is not None, **LAST}
    y = w.layer(TRANSPOSE[len(at.kernel)], X, config, kernel_initializer=_last(W), bias_initializer=B)
    return cropped(w, y, cut) if y is not None and any(map(any, cut)) else y


def _cut(at: Windows, extra: Sequence[int]) -> list[tuple[int, int]]:
    """What is more in Keras' result, which has a whole step of each element."""
    rows = zip(at.pairs or (), at.spans, at.stride, extra, strict=True)
    return [(begin, end - more + max(step - span, 0)) for (begin, end), span, step, more in rows]


def _last(W: Parameter) -> Parameter:
    """A kernel [M, C, ...] as [..., C, M]."""
    return W.transposed(*range(2, len(W.shape)), 1, 0)
