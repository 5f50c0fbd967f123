"""ONNX's convolutions, by lax.conv_general_dilated; XLA chooses the layout in memory."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from zoo.converters.writers.jax import lowers
from zoo.converters.writers.jax.windows import Windows, windows_of

Value = Any


@lowers("Conv")
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
    """X [N, C, ...] * W [M, C / group, ...] + B [M]."""
    at = windows_of(X.shape[2:], W.shape[2:], auto_pad, pads, strides, dilations)
    y = convolved(X, W, at, group)
    return y if B is None else y + along_channels(B, y)


def convolved(x: Value, weight: Value, at: Windows, groups: int, dtype: Any = None) -> Value:
    """The convolution of x [N, C, ...] with weight [M, C / groups, ...], added up in `dtype`."""
    return lax.conv_general_dilated(
        x,
        weight,
        at.stride,
        at.padding,
        rhs_dilation=at.dilation,
        feature_group_count=groups,
        preferred_element_type=dtype,
    )


def along_channels(v: Value, x: Value) -> Value:
    """A vector of one number for each channel of x [N, C, ...], so that it broadcasts."""
    return v.reshape([-1] + [1] * (x.ndim - 2))


@lowers("ConvTranspose")
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
    """The gradient of a convolution: X [N, C, ...], W [C, M / group, ...], B [M].

    It is the convolution of X, its elements a stride apart, with the kernel turned around.
    """
    n = W.ndim - 2
    at = windows_of(
        X.shape[2:], W.shape[2:], "NOTSET" if auto_pad.startswith("SAME") else auto_pad, pads, strides, dilations
    )
    extra = list(output_padding or [0] * n)
    cuts = at.padding
    if output_shape is not None or auto_pad.startswith("SAME"):
        wanted = list(output_shape or [])[-n:] or [size * s for size, s in zip(X.shape[2:], at.stride, strict=True)]
        cuts = []
        for size, s, span, more, want in zip(X.shape[2:], at.stride, at.spans, extra, wanted, strict=True):
            total = s * (size - 1) + more + span - want
            half = max(total, 0) // 2
            begin = half if auto_pad == "SAME_UPPER" else max(total, 0) - half
            cuts.append((begin, total - begin))
    padding = [
        (span - 1 - begin, span - 1 - end + more)
        for span, (begin, end), more in zip(at.spans, cuts, extra, strict=True)
    ]
    kernel = W.reshape(group, W.shape[0] // group, *W.shape[1:]).swapaxes(1, 2)
    kernel = kernel.reshape(-1, W.shape[0] // group, *W.shape[2:])
    y = lax.conv_general_dilated(
        X,
        jnp.flip(kernel, tuple(range(2, n + 2))),
        [1] * n,
        padding,
        lhs_dilation=at.stride,
        rhs_dilation=at.dilation,
        feature_group_count=group,
    )
    return y if B is None else y + along_channels(B, y)
