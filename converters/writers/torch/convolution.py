"""ONNX's convolutions as torch's layers, and as functions where the author has no such layer."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import nn

from zoo.converters.writers.torch import lowers, windows
from zoo.errors import HubError

Value = Any
Pairs = list[tuple[int, int]]  # (begin, end) for each spatial axis
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
CONV_F = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
CONV_TRANSPOSE_F = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
SAME = {"SAME_UPPER": "same_upper", "SAME_LOWER": "same_lower"}


def one(numbers: Sequence[int]) -> int | tuple[int, ...]:
    """(2, 2) as 2, the way people write it."""
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


DEFAULTS = {"padding": 0, "output_padding": 0, "dilation": 1, "groups": 1, "ceil_mode": False}


def said(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that a person would write: those that are not the default (a pool's stride is its kernel)."""
    defaults = {**DEFAULTS, "stride": arguments.get("kernel_size", 1)}
    return {name: value for name, value in arguments.items() if name not in defaults or value != defaults[name]}


class Windows(NamedTuple):
    """Where a kernel is laid; a number for each spatial axis."""

    kernel: list[int]
    stride: list[int]
    dilation: list[int]
    padding: Pairs | str  # as windows.py takes it: a str where it depends on the size of the image

    def fixed(self, sizes: Sequence[Any], ceil_mode: bool = False) -> Pairs | None:
        """The padding in numbers, the end as far as ceil_mode reaches; None where it takes the size of a free image."""
        if not isinstance(self.padding, str) and not ceil_mode:
            return self.padding
        if not all(isinstance(s, int) for s in sizes):
            if set(self.stride) != {1}:
                return None
            sizes = [1 << 20] * len(self.kernel)  # with stride 1 neither depends on the size
        return windows.window_padding(sizes, *self, ceil_mode)

    @property
    def spans(self) -> list[int]:
        """How far the kernel reaches along each axis."""
        return [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]


def windows_of(
    kernel: Sequence[int],
    auto_pad: str,
    pads: Sequence[int] | None,
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
) -> Windows:
    """ONNX's attributes, which have defaults and leave out. Raises HubError where they don't fit each other."""
    n = len(kernel)
    stride, dilation, both = list(strides or [1] * n), list(dilations or [1] * n), list(pads or [0] * 2 * n)
    if (len(stride), len(dilation), len(both)) != (n, n, 2 * n):
        raise HubError(f"a kernel of {n} axes with strides {stride}, dilations {dilation} and pads {both}")
    if auto_pad in SAME:
        return Windows(list(kernel), stride, dilation, SAME[auto_pad])
    if auto_pad == "VALID":
        both = [0] * 2 * n
    elif auto_pad not in ("NOTSET", ""):
        raise HubError(f"unknown auto_pad {auto_pad!r}")
    return Windows(list(kernel), stride, dilation, list(zip(both[:n], both[n:], strict=True)))


def padded(w: Any, x: Value, padding: Pairs, value: float = 0.0) -> Value:
    """The input padded as F.pad wants it: last axis first, begin and end alternating."""
    flat = [n for pair in reversed(padding) for n in pair]
    return w.function(F.pad, x, flat, **({} if value == 0.0 else {"value": value}))


def _kernel(w: Any, W: Value, kernel_shape: Sequence[int] | None, layers: dict[int, Any]) -> tuple[int, ...]:
    """The weight's spatial shape. Raises HubError where it is free, or of a rank that torch's convolutions lack."""
    shape = w.shape(W)
    if shape is None and kernel_shape is None:
        raise HubError("a convolution whose weight has no known rank")
    kernel = tuple(kernel_shape) if kernel_shape else shape[2:]
    if len(kernel) not in layers:
        raise HubError(f"a convolution over {len(kernel)} axes: torch's are over 1 to 3")
    if not all(isinstance(k, int) for k in kernel):
        raise HubError(f"a convolution whose kernel has the free shape {kernel}")
    return kernel


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
    """X [N, C, ...] * W [M, C / group, ...] + B [M]. Padding that differs between the two sides is done before."""
    kernel = _kernel(w, W, kernel_shape, CONV)
    at = windows_of(kernel, auto_pad, pads, strides, dilations)
    padding = at.fixed((w.shape_in(0) or ())[2:])
    if padding is None:
        X = w.function(windows.pad_windows, X, *at)
    elif any(begin != end for begin, end in padding):
        X, padding = padded(w, X, padding), None
    begins = [begin for begin, _ in padding] if padding else [0] * len(kernel)
    arguments = {"stride": one(at.stride), "padding": one(begins), "dilation": one(at.dilation), "groups": group}
    shape = w.shape(W)
    if shape is not None and all(isinstance(d, int) for d in shape):
        layer = {"in_channels": shape[1] * group, "out_channels": shape[0], "kernel_size": one(kernel)}
        y = w.layer(CONV[len(kernel)], X, {**layer, **arguments, "bias": B is not None}, weight=W, bias=B)
        if y is not None:
            return y
    return CONV_F[len(kernel)](X, W, *([] if B is None else [B]), **said(arguments))


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

    torch cuts the same from both sides, and puts back less than a step at the end. Everything else is cut
    afterwards, or padded before the bias is added.
    """
    kernel = _kernel(w, W, kernel_shape, CONV_TRANSPOSE)
    at = windows_of(kernel, auto_pad, pads, strides, dilations)
    extra = list(output_padding or [0] * len(kernel))
    cut = _transposed_padding(at, auto_pad, extra, output_shape, (w.shape_in(0) or ())[2:])
    if cut is None:
        y = CONV_TRANSPOSE_F[len(kernel)](X, W, stride=one(at.stride), dilation=one(at.dilation), groups=group)
        y = w.function(
            windows.cut, y, list(output_shape or ())[-len(kernel) :], extra, SAME.get(auto_pad, "same_lower")
        )
        return y if B is None else y + B.view(-1, *[1] * len(kernel))
    back = [e + begin - end for e, (begin, end) in zip(extra, cut, strict=True)]
    fits = all(0 <= b < max(s, d) for b, s, d in zip(back, at.stride, at.dilation, strict=True))
    arguments = {"stride": one(at.stride), "dilation": one(at.dilation), "groups": group}
    shape, function = w.shape(W), CONV_TRANSPOSE_F[len(kernel)]
    if fits:
        arguments |= {"padding": one([begin for begin, _ in cut]), "output_padding": one(back)}
        y = None
        if shape is not None and all(isinstance(d, int) for d in shape):
            layer = {"in_channels": shape[0], "out_channels": shape[1] * group, "kernel_size": one(kernel)}
            y = w.layer(CONV_TRANSPOSE[len(kernel)], X, {**layer, **arguments, "bias": B is not None}, weight=W, bias=B)
        return function(X, W, *([] if B is None else [B]), **said(arguments)) if y is None else y
    ends = [(-begin, e - end) for e, (begin, end) in zip(extra, cut, strict=True)]
    if all(end <= 0 for _, end in ends):
        return padded(w, function(X, W, B, **said(arguments)), ends)
    y = padded(w, function(X, W, **said(arguments)), ends)
    return y if B is None else y + B.view(-1, *[1] * len(kernel))


def _transposed_padding(
    at: Windows, auto_pad: str, extra: Sequence[int], output_shape: Sequence[int] | None, sizes: Sequence[Any]
) -> Pairs | None:
    """What is cut from both ends of a transposed convolution; None where that takes the size of a free image."""
    if output_shape is None and not isinstance(at.padding, str):
        return at.padding
    if output_shape is not None and not all(isinstance(s, int) for s in sizes):
        return None
    pairs = []
    for i, (s, span) in enumerate(zip(at.stride, at.spans, strict=True)):
        if output_shape is None:
            total = span + extra[i] - s  # so that the output is the input times the stride
        else:
            total = s * (sizes[i] - 1) + extra[i] + span - output_shape[-len(at.kernel) :][i]
        small, large = max(total, 0) // 2, max(total, 0) - max(total, 0) // 2
        begin = small if auto_pad == "SAME_UPPER" else large
        pairs.append((begin, total - begin))
    return pairs
