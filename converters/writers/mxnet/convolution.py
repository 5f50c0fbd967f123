"""ONNX's convolutions: MXNet's Convolution and Deconvolution, of kernels that lie alike ([M, C / group, ...])."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.converters.writers.mxnet import lowers
from zoo.converters.writers.mxnet.linear import widened
from zoo.converters.writers.mxnet.windows import padded, windows_of

Value = Any
MOST_AXES = 3  # MXNet convolves over one to three


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
    filters, _, *kernel = w.whole(1)
    at = windows_of(w, kernel, auto_pad, pads, strides, dilations)
    (x, weight, bias), own = widened(w, X, W, B)
    pad = at.begins
    if not at.is_even:
        x, pad = padded(w, x, at.padding), (0,) * len(kernel)
    options: dict[str, Any] = {"kernel": tuple(kernel), "stride": tuple(at.stride), "dilate": tuple(at.dilation)}
    options |= {"pad": pad, "num_filter": filters, "num_group": group}
    if bias is None:
        y = w.F.Convolution(x, weight, no_bias=True, **options)
    else:
        y = w.F.Convolution(x, weight, bias, **options)
    return y if own is None else w.cast(y, own)


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

    MXNet's is whole, and what ONNX pads is cut off: Deconvolution takes neither uneven pads nor an extra beyond a step.
    """
    _, filters, *kernel = w.whole(1)
    n = len(kernel)
    stride, dilation = list(strides or [1] * n), list(dilations or [1] * n)
    extra = list(output_padding or [0] * n)
    both = [0] * 2 * n if auto_pad != "NOTSET" else list(pads or [0] * 2 * n)
    cuts = list(zip(both[:n], both[n:], strict=True))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if output_shape is not None or auto_pad.startswith("SAME"):
        have = w.whole(0)[2:]
        wanted = list(output_shape or [])[-n:] or [size * s for size, s in zip(have, stride, strict=True)]
        cuts = []
        for size, s, span, more, want in zip(have, stride, spans, extra, wanted, strict=True):
            total = s * (size - 1) + more + span - want
            half = max(total, 0) // 2
            begin = half if auto_pad == "SAME_UPPER" else max(total, 0) - half
            cuts.append((begin, total - begin))
    options: dict[str, Any] = {"kernel": tuple(kernel), "stride": tuple(stride), "dilate": tuple(dilation)}
    options |= {"num_filter": filters * group, "num_group": group}
    is_plain = all(begin == end for begin, end in cuts) and all(m < s for m, s in zip(extra, stride, strict=True))
    if is_plain:
        options |= {"pad": tuple(begin for begin, _ in cuts), "adj": tuple(extra)}
    if n == 1:  # Deconvolution over one axis has no kernel on a processor
        y = _over_two_axes(w, X, W, options)
    else:
        y = w.F.Deconvolution(X, W, no_bias=True, **options)
    if not is_plain:
        y = padded(w, y, [(-begin, more - end) for (begin, end), more in zip(cuts, extra, strict=True)])
    return y if B is None else w.F.broadcast_add(y, w.reshape(B, (1, -1, *[1] * n)))


def _over_two_axes(w: Any, x: Value, weight: Value, options: dict[str, Any]) -> Value:
    neutral = {"kernel": 1, "stride": 1, "dilate": 1, "pad": 0, "adj": 0}
    wide = {k: (neutral[k], *v) if k in neutral else v for k, v in options.items()}
    made = w.F.Deconvolution(w.F.expand_dims(x, axis=2), w.F.expand_dims(weight, axis=2), no_bias=True, **wide)
    return w.F.squeeze(made, axis=2)
