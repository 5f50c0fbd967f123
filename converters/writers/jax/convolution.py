"""ONNX's convolutions, by lax.conv_general_dilated."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from zoo.converters.writers.jax import lowers
from zoo.converters.writers.jax.windows import Windows, along_channels, spatial, windows_of

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
    _last: bool = False,
) -> Value:
    """X [N, C, ...] * W [M, C / group, ...] + B [M]."""
    at = windows_of(spatial(X, _last), W.shape[2:], auto_pad, pads, strides, dilations)
    y = convolved(X, W, at, group, last=_last)
    return y if B is None else y + along_channels(B, y, _last)


def convolved(x: Value, weight: Value, at: Windows, groups: int, dtype: Any = None, last: bool = False) -> Value:
    """The convolution of an image with weight [M, C / groups, ...], added up in `dtype`."""
    return lax.conv_general_dilated(
        x,
        as_last(weight) if last else weight,
        at.stride,
        at.padding,
        rhs_dilation=at.dilation,
        dimension_numbers=_last_numbers(x.ndim) if last else None,
        feature_group_count=groups,
        preferred_element_type=dtype,
    )


def as_last(weight: Value) -> Value:
    """A kernel [M, C, ...] as [..., C, M], which is how a convolution of images with their channels last reads it."""
    return weight.transpose(last_perm(weight.ndim))


def last_perm(rank: int) -> tuple[int, ...]:
    """The axes of a kernel in the order of `as_last`."""
    return (*range(2, rank), 1, 0)


def _last_numbers(rank: int) -> lax.ConvDimensionNumbers:
    image, places = (0, rank - 1, *range(1, rank - 1)), range(rank - 2)
    return lax.ConvDimensionNumbers(image, (rank - 1, rank - 2, *places), image)


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
    _last: bool = False,
) -> Value:
    """The gradient of a convolution: X [N, C, ...], W [C, M / group, ...], B [M].

    It is the convolution of X, its elements a stride apart, with the kernel turned around.
    """
    n, have = W.ndim - 2, spatial(X, _last)
    at = windows_of(have, W.shape[2:], "NOTSET" if auto_pad.startswith("SAME") else auto_pad, pads, strides, dilations)
    extra = list(output_padding or [0] * n)
    cuts = at.padding
    if output_shape is not None or auto_pad.startswith("SAME"):
        wanted = list(output_shape or [])[-n:] or [size * s for size, s in zip(have, at.stride, strict=True)]
        cuts = []
        for size, s, span, more, want in zip(have, at.stride, at.spans, extra, wanted, strict=True):
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
    kernel = jnp.flip(kernel, tuple(range(2, n + 2)))
    y = lax.conv_general_dilated(
        X,
        as_last(kernel) if _last else kernel,
        [1] * n,
        padding,
        lhs_dilation=at.stride,
        rhs_dilation=at.dilation,
        dimension_numbers=_last_numbers(X.ndim) if _last else None,
        feature_group_count=group,
    )
    return y if B is None else y + along_channels(B, y, _last)
