"""ONNX's convolutions with channels last; weights are as ONNX has them, [M, C / group, spatial...]."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from zoo.converters.writers.keras.operators.layouts import pictures
from zoo.converters.writers.keras.operators.sizes import cut, larger, rank, sizes
from zoo.converters.writers.keras.operators.windows import SAME, Windows, padded, padded_all, spatial, windows_of

Tensor = Any


@pictures("Conv")
def conv(
    w: Any,
    X: Tensor,
    W: Tensor,
    B: Tensor = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """X [N, ..., C] * W [M, C / group, ...] + B [M]."""
    y = convolved(X, W, windows_of(spatial(X), W.shape[2:], auto_pad, pads, strides, dilations))
    return y if B is None else y + B


def convolved(x: Tensor, weight: Tensor, at: Windows) -> Tensor:
    """The convolution of x [N, ..., C] with weight [M, C / groups, ...]: the groups follow from the channels."""
    kernel = ops.transpose(weight, (*range(2, rank(weight)), 1, 0))
    dilation = at.dilation
    if max(at.stride) > 1 and max(dilation) > 1:  # which TensorFlow has not together
        kernel, dilation = dilated(kernel, dilation), [1] * len(dilation)
    return ops.conv(
        padded(x, at.padding),
        kernel,
        strides=tuple(at.stride),
        padding="valid",
        data_format="channels_last",
        dilation_rate=tuple(dilation),
    )


def dilated(x: Tensor, steps: Sequence[int]) -> Tensor:
    """A tensor whose first axes have zeros between their elements, which are `steps` apart then."""
    for axis, step in enumerate(steps):
        if step > 1:
            have = sizes(x)
            widths = [(0, 0)] * (rank(x) + 1)
            widths[axis + 1] = (0, step - 1)
            x = ops.reshape(padded_all(ops.expand_dims(x, axis + 1), widths), [*have[:axis], -1, *have[axis + 1 :]])
            x = cut(x, axis, 0, (have[axis] - 1) * step + 1)
    return x


@pictures("ConvTranspose")
def conv_transpose(
    w: Any,
    X: Tensor,
    W: Tensor,
    B: Tensor = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The gradient of a convolution: X [N, ..., C], W [C, M / group, ...], B [M].

    All that the kernel reaches is computed, and then cut to the padding that is asked for.
    """
    n, have = rank(W) - 2, spatial(X)
    plain = "NOTSET" if auto_pad in SAME else auto_pad
    at = windows_of(have, W.shape[2:], plain, pads, strides, dilations)
    extra = list(output_padding or [0] * n)
    cuts = at.padding
    if output_shape is not None or auto_pad in SAME:
        wanted = list(output_shape or [])[-n:] or [size * s for size, s in zip(have, at.stride, strict=True)]
        cuts = []
        for size, s, span, more, want in zip(have, at.stride, at.spans, extra, wanted, strict=True):
            total = s * (size - 1) + more + span - want
            half = larger(total, 0) // 2
            begin = half if auto_pad == "SAME_UPPER" else larger(total, 0) - half
            cuts.append((begin, total - begin))
    kernel = dilated(ops.transpose(W, (*range(2, n + 2), 1, 0)), at.dilation)  # [..., M / group, C]
    pictures_, channels = X, W.shape[0] // group
    made = [
        ops.conv_transpose(
            cut(pictures_, -1, g * channels, (g + 1) * channels),
            cut(kernel, -1, g * channels, (g + 1) * channels),
            strides=tuple(at.stride),
            padding="valid",
            data_format="channels_last",
        )
        for g in range(group)
    ]
    y = made[0] if group == 1 else ops.concatenate(made, -1)
    reach = [(size - 1) * s + span for size, s, span in zip(have, at.stride, at.spans, strict=True)]
    behind = [full - whole for full, whole in zip(reach, spatial(y), strict=True)]  # Keras pads short kernels
    widths = [(-begin, m - end + more) for (begin, end), m, more in zip(cuts, behind, extra, strict=True)]
    y = padded(y, widths)
    return y if B is None else y + B
