"""ONNX's convolutions with channels last, by tf.nn. Kernels are ONNX's, or TensorFlow's own in the domain KERNELS."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from zoo.converters.writers.keras.operators.convolution import dilated
from zoo.converters.writers.keras.operators.layouts import pictures
from zoo.converters.writers.keras.operators.sizes import cut, is_known, larger, rank
from zoo.converters.writers.keras.operators.windows import SAME, Windows, padded, spatial, windows_of
from zoo.converters.writers.keras.parameters import View
from zoo.converters.writers.tensorflow import KERNELS, lowers
from zoo.converters.writers.tensorflow.held import is_depthwise, kernel_views

Tensor = Any


def seen(x: Tensor, views: Sequence[View]) -> Tensor:
    """A tensor through views."""
    for kind, numbers in views:
        x = tf.transpose(x, numbers) if kind == "transpose" else tf.reshape(x, numbers)
    return x


@pictures("Conv", lowers)
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
    at = windows_of(spatial(X), W.shape[2:], auto_pad, pads, strides, dilations)
    kernel = seen(W, kernel_views(W.shape, group))
    return _biased(_convolved(w, X, kernel, at, is_depthwise(W.shape, group)), B)


@lowers("Conv", KERNELS)
def conv_held(
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
    """X [N, ..., C] * W [..., C / group, M], of a depthwise kernel [H, W, C, M / C]; + B [M]."""
    n = rank(X) - 2
    at = windows_of(spatial(X), W.shape[:n], auto_pad, pads, strides, dilations)
    is_deep = n == 2 and group > 1 and X.shape[-1] == group
    return _biased(_convolved(w, X, W, at, is_deep), B)


def _biased(y: Tensor, bias: Tensor) -> Tensor:
    return y if bias is None else tf.nn.bias_add(y, bias) if y.dtype.is_floating else y + bias


def _convolved(w: Any, x: Tensor, kernel: Tensor, at: Windows, is_deep: bool) -> Tensor:
    n = len(at.kernel)
    if not x.dtype.is_floating:  # a product of integers in float64 is exact up to 53 bits
        return tf.cast(_convolved(w, tf.cast(x, tf.float64), tf.cast(kernel, tf.float64), at, is_deep), x.dtype)
    if n == 1:
        wider = Windows([1, *at.kernel], [1, *at.stride], [1, *at.dilation], [(0, 0), *at.padding])
        return tf.squeeze(_convolved(w, x[:, None], kernel[None], wider, False), 1)
    if n == 2:
        if _corrupts(x, kernel, at) and not w.machine.is_lite:
            x, at = x[:, :: at.stride[0], :: at.stride[1]], at._replace(stride=[1, 1])
        return _in_two(x, kernel, at, is_deep)
    if n != 3:
        raise w.refused(f"a kernel of {n} axes; TensorFlow has convolutions of 1, 2 and 3")
    x, groups = padded(x, at.padding), x.shape[-1] // kernel.shape[-2]
    if max(at.stride) > 1 and max(at.dilation) > 1:  # which TensorFlow has not together
        kernel = dilated(kernel, at.dilation)
        at = at._replace(dilation=[1, 1, 1])
    parts = zip(tf.split(x, groups, -1), tf.split(kernel, groups, -1), strict=True)
    made = [tf.nn.convolution(a, b, strides=at.stride, padding="VALID", dilations=at.dilation) for a, b in parts]
    return made[0] if groups == 1 else tf.concat(made, -1)


def _corrupts(x: Tensor, kernel: Tensor, at: Windows) -> bool:
    """Whether the gradient by the kernel writes beyond it: TensorFlow 2.21 with oneDNN, of a kernel of one place that
    steps over places of fewer than 16 channels. Those that it steps over can be left out before, which is the same.
    """
    plain = is_known(*(n for pair in at.padding for n in pair)) and not any(map(any, at.padding))
    return plain and max(at.kernel) == 1 and max(at.stride) > 1 and kernel.shape[-2] < 16


def _in_two(x: Tensor, kernel: Tensor, at: Windows, is_deep: bool) -> Tensor:
    """A convolution of two axes, which pads by itself."""
    padding: Any = "VALID"
    if all(is_known(*pair) and min(pair) >= 0 for pair in at.padding):
        if _is_same(at):
            padding = "SAME"
        elif any(map(any, at.padding)):
            padding = [[0, 0], *map(list, at.padding), [0, 0]]
    else:
        x = padded(x, at.padding)
    plain = at.stride[0] == at.stride[1] and (max(at.stride) == 1 or max(at.dilation) == 1)
    if is_deep and plain:
        if isinstance(padding, list):  # lost where TensorFlow 2.21 fuses a bias: the process ends at a failed check
            x, padding = padded(x, at.padding), "VALID"
        return tf.nn.depthwise_conv2d(x, kernel, [1, *at.stride, 1], padding, dilations=at.dilation)
    if is_deep:
        kernel = tf.reshape(kernel, [*at.kernel, 1, -1])
    return tf.nn.conv2d(x, kernel, at.stride, padding, dilations=at.dilation)


def _is_same(at: Windows) -> bool:
    """Whether the padding is what TensorFlow calls SAME, whatever the picture's size: only of steps of one."""
    halves = [((span - 1) // 2, span - 1 - (span - 1) // 2) for span in at.spans]
    return max(at.stride) == 1 and list(map(tuple, at.padding)) == halves


@pictures("ConvTranspose", lowers)
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
    """The gradient of a convolution: X [N, ..., C], W [C, M / group, ...], B [M]."""
    kernel = seen(W, kernel_views(W.shape, group, transposed=True))
    at = windows_of(spatial(X), W.shape[2:], _plain(auto_pad), pads, strides, dilations)
    return _biased(_transposed(w, X, kernel, at, group, auto_pad, output_padding, output_shape), B)


@lowers("ConvTranspose", KERNELS)
def conv_transpose_held(
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
    """The gradient of a convolution: X [N, ..., C], W [..., M / group, C], B [M]."""
    at = windows_of(spatial(X), W.shape[: rank(X) - 2], _plain(auto_pad), pads, strides, dilations)
    return _biased(_transposed(w, X, W, at, group, auto_pad, output_padding, output_shape), B)


def _plain(auto_pad: str) -> str:
    return "NOTSET" if auto_pad in SAME else auto_pad


def _transposed(
    w: Any,
    x: Tensor,
    kernel: Tensor,
    at: Windows,
    group: int,
    auto_pad: str,
    output_padding: Sequence[int] | None,
    output_shape: Sequence[int] | None,
) -> Tensor:
    """All that the kernel [..., M / group, C] reaches, cut or widened to the padding that is asked for."""
    n, have = len(at.kernel), spatial(x)
    if n > 3:
        raise w.refused(f"a kernel of {n} axes; TensorFlow has convolutions of 1, 2 and 3")
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
    kernel = dilated(kernel, at.dilation)
    reach = [(size - 1) * s + span for size, s, span in zip(have, at.stride, at.spans, strict=True)]
    channels = x.shape[-1] // group
    made = [
        tf.nn.conv_transpose(
            cut(x, -1, g * channels, (g + 1) * channels),
            cut(kernel, -1, g * channels, (g + 1) * channels),
            output_shape=tf.stack([tf.shape(x)[0], *reach, kernel.shape[-2]]),
            strides=at.stride,
            padding="VALID",
        )
        for g in range(group)
    ]
    y = made[0] if group == 1 else tf.concat(made, -1)
    return padded(y, [(-begin, more - end) for (begin, end), more in zip(cuts, extra, strict=True)])
