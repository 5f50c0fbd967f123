"""ONNX's neural-network operators as torch's layers, and as functions where the author has no such layer."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from zoo.converters.graph import DOMAIN
from zoo.converters.writers.torch import lowers
from zoo.converters.writers.torch.stochastic_depth import StochasticDepth
from zoo.errors import HubError

Value = Any
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
CONV_TRANSPOSE = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
CONV_F = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE_F = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
BATCH_NORM = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
MAX_POOL = {1: (nn.MaxPool1d, F.max_pool1d), 2: (nn.MaxPool2d, F.max_pool2d), 3: (nn.MaxPool3d, F.max_pool3d)}
AVG_POOL = {1: (nn.AvgPool1d, F.avg_pool1d), 2: (nn.AvgPool2d, F.avg_pool2d), 3: (nn.AvgPool3d, F.avg_pool3d)}


def _one(numbers: Sequence[int]) -> int | tuple[int, ...]:
    """(2, 2) as 2, the way people write it."""
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


def _pads(
    w: Any,
    auto_pad: str,
    pads: Sequence[int] | None,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[list[int], list[int]]:
    """ONNX's padding as (begins, ends), one number a spatial axis. SAME_* needs a known image size."""
    n = len(kernel)
    if auto_pad in ("NOTSET", ""):
        both = list(pads or [0] * 2 * n)
        return both[:n], both[n:]
    if auto_pad == "VALID":
        return [0] * n, [0] * n
    sizes = (w.shape_in(0) or ())[2:]
    if len(sizes) != n or not all(isinstance(s, int) for s in sizes):
        if set(strides) != {1}:
            raise HubError(f"auto_pad {auto_pad} with a stride wants a fixed image size, and this graph's is free")
        sizes = [0] * n  # with stride 1 the padding does not depend on the size
    begins, ends = [], []
    for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        total = max(((-(-size // s) if size else 1) - 1) * s + (k - 1) * d + 1 - (size or 1), 0)
        small, large = total // 2, total - total // 2
        begins.append(small if auto_pad == "SAME_UPPER" else large)
        ends.append(large if auto_pad == "SAME_UPPER" else small)
    return begins, ends


def _explicit(x: Value, begins: Sequence[int], ends: Sequence[int], value: float = 0.0) -> Value:
    """The input padded as F.pad wants it: last axis first, begin and end alternating."""
    flat = [p for pair in reversed(list(zip(begins, ends, strict=True))) for p in pair]
    return F.pad(x, flat) if value == 0.0 else F.pad(x, flat, value=value)


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
    shape = w.shape(W)
    if shape is None or not all(isinstance(d, int) for d in shape):
        raise HubError("a convolution whose weight has no fixed shape")
    n = len(shape) - 2
    strides, dilations = list(strides or [1] * n), list(dilations or [1] * n)
    begins, ends = _pads(w, auto_pad, pads, shape[2:], strides, dilations)
    if begins != ends:
        X, begins = _explicit(X, begins, ends), [0] * n
    arguments = {
        "in_channels": shape[1] * group,
        "out_channels": shape[0],
        "kernel_size": _one(shape[2:]),
        "stride": _one(strides),
        "padding": _one(begins),
        "dilation": _one(dilations),
        "groups": group,
        "bias": B is not None,
    }
    if n in CONV and (y := w.layer(CONV[n], X, arguments, weight=W, bias=B)) is not None:
        return y
    return CONV_F[n](X, W, B, stride=_one(strides), padding=_one(begins), dilation=_one(dilations), groups=group)


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
    """The gradient of a convolution: X [N, C, ...], W [C, M / group, ...], B [M]."""
    shape = w.shape(W)
    n = len(shape) - 2
    strides, dilations = list(strides or [1] * n), list(dilations or [1] * n)
    extra = list(output_padding or [0] * n)
    begins, ends = _transposed_pads(w, auto_pad, pads, output_shape, shape[2:], strides, dilations, extra)
    # torch cuts the same from both sides: what ONNX cuts more at the end is cut afterwards, what less is put back
    common = begins if all(e >= b for b, e in zip(begins, ends, strict=True)) else [0] * n
    arguments = {"stride": _one(strides), "padding": _one(common), "dilation": _one(dilations), "groups": group}
    arguments["output_padding"] = _one(extra)
    y = None
    if begins == ends and n in CONV_TRANSPOSE:
        layer = {"in_channels": shape[0], "out_channels": shape[1] * group, "kernel_size": _one(shape[2:])}
        y = w.layer(CONV_TRANSPOSE[n], X, {**layer, **arguments, "bias": B is not None}, weight=W, bias=B)
    if y is None:
        y = CONV_TRANSPOSE_F[n](X, W, B, **arguments)
    if begins == ends:
        return y
    cut = tuple(slice(b - c or None, -(e - c) or None) for b, e, c in zip(begins, ends, common, strict=True))
    return y[(slice(None), slice(None), *cut)]


def _transposed_pads(
    w: Any,
    auto_pad: str,
    pads: Sequence[int] | None,
    output_shape: Sequence[int] | None,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    extra: Sequence[int],
) -> tuple[list[int], list[int]]:
    n = len(kernel)
    if auto_pad in ("NOTSET", "") and output_shape is None:
        both = list(pads or [0] * 2 * n)
        return both[:n], both[n:]
    if auto_pad == "VALID" and output_shape is None:
        return [0] * n, [0] * n
    sizes = (w.shape_in(0) or ())[2:]
    if output_shape is not None and not all(isinstance(s, int) for s in sizes):
        raise HubError("ConvTranspose with output_shape wants a fixed image size, and this graph's is free")
    begins, ends = [], []
    for i, (k, s, d) in enumerate(zip(kernel, strides, dilations, strict=True)):
        if output_shape is None:
            total = max((k - 1) * d + 1 + extra[i] - s, 0)  # so that the output is the input times the stride
        else:
            total = max(s * (sizes[i] - 1) + extra[i] + (k - 1) * d + 1 - output_shape[i], 0)
        small, large = total // 2, total - total // 2
        begins.append(small if auto_pad == "SAME_UPPER" else large)
        ends.append(large if auto_pad == "SAME_UPPER" else small)
    return begins, ends


@lowers("BatchNormalization")
def batch_normalization(
    w: Any,
    X: Value,
    scale: Value,
    B: Value,
    input_mean: Value,
    input_var: Value,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Value:
    """(X - mean) / sqrt(var + epsilon) * scale + B, a channel at a time. ONNX's momentum is what torch's leaves."""
    shape, rank = w.shape(scale), w.rank_in(0)
    if training_mode:
        raise HubError("BatchNormalization in training mode: export the model for inference, and train what comes out")
    tensors = {"weight": scale, "bias": B, "running_mean": input_mean, "running_var": input_var}
    if shape is not None and rank in BATCH_NORM:
        arguments = {"num_features": shape[0], "eps": epsilon, "momentum": round(1 - momentum, 6)}
        if (y := w.layer(BATCH_NORM[rank], X, arguments, **tensors)) is not None:
            return y
    return F.batch_norm(X, input_mean, input_var, weight=scale, bias=B, eps=epsilon)


@lowers("LayerNormalization")
def layer_normalization(
    w: Any, X: Value, Scale: Value, B: Value = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """Normalised over the axes from `axis` on; Scale and B have the shape of those axes."""
    if len([o for o in w.node.outputs if o.uses()]) > 1:
        raise HubError("LayerNormalization whose mean or deviation is read: torch's gives neither")
    shape = w.shape(Scale)
    rank = w.rank_in(0)
    axes = rank - axis if axis >= 0 else -axis
    if shape is None or len(shape) != axes:
        raise HubError(f"LayerNormalization over {axes} axes with a scale of shape {shape}")
    size = _one_tuple(shape)
    arguments = {"normalized_shape": size, "eps": epsilon, "bias": B is not None}
    if (y := w.layer(nn.LayerNorm, X, arguments, weight=Scale, bias=B)) is not None:
        return y
    return F.layer_norm(X, list(shape), Scale, B, eps=epsilon)


def _one_tuple(shape: Sequence[int]) -> int | tuple[int, ...]:
    return shape[0] if len(shape) == 1 else tuple(shape)


@lowers("GroupNormalization")
def group_normalization(
    w: Any, X: Value, scale: Value, bias: Value, *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1
) -> Value:
    """Normalised over groups of channels; scale [C] and bias [C]."""
    shape = w.shape(scale)
    arguments = {"num_groups": num_groups, "num_channels": shape[0] if shape else 0, "eps": epsilon}
    if shape and (y := w.layer(nn.GroupNorm, X, arguments, weight=scale, bias=bias)) is not None:
        return y
    return F.group_norm(X, num_groups, scale, bias, eps=epsilon)


@lowers("InstanceNormalization")
def instance_normalization(w: Any, input: Value, scale: Value, B: Value, *, epsilon: float = 1e-5) -> Value:  # noqa: A002
    """Normalised over each channel of each sample."""
    return F.instance_norm(input, weight=scale, bias=B, eps=epsilon)


@lowers("Dropout")
def dropout(w: Any, data: Value, ratio: Value = None, training_mode: Value = None, *, seed: int | None = None) -> Value:
    """nn.Dropout: it drops when the module trains, whatever mode the graph was exported in."""
    p = 0.5 if ratio is None else w.known(ratio)
    if p is None or any(o.uses() for o in w.node.outputs[1:]):
        raise HubError("Dropout whose ratio is computed, or whose mask is read")
    p = round(float(p), 6)
    y = w.module(nn.Dropout, data, p=p)
    return w.anonymous(nn.Dropout(p=p), data) if y is None else y


@lowers("StochasticDepth", DOMAIN)
def stochastic_depth(w: Any, X: Value, *, p: float, mode: str) -> Value:
    """Whole samples dropped when the module trains."""
    return w.replaced(StochasticDepth(p=p, mode=mode), X)


def _pool(
    w: Any,
    kind: tuple[type[nn.Module], Any],
    x: Value,
    arguments: dict[str, Any],
) -> Value:
    y = w.module(kind[0], x, **arguments)
    return kind[1](x, **arguments) if y is None else y


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
    """The largest of each window; what is padded counts as minus infinity."""
    n = len(kernel_shape)
    if any(o.uses() for o in w.node.outputs[1:]):
        raise HubError(
            "MaxPool whose indices are read: torch counts them a plane at a time, ONNX over the whole tensor"
        )
    strides, dilations = list(strides or [1] * n), list(dilations or [1] * n)
    begins, ends = _pads(w, auto_pad, pads, kernel_shape, strides, dilations)
    # torch pads at most half a window, the same on both sides
    if begins != ends or any(2 * b > k for b, k in zip(begins, kernel_shape, strict=True)):
        X, begins = _explicit(X, begins, ends, value=float("-inf")), [0] * n
    arguments = {"kernel_size": _one(kernel_shape), "stride": _one(strides), "padding": _one(begins)}
    if set(dilations) != {1}:
        arguments["dilation"] = _one(dilations)
    if ceil_mode:
        arguments["ceil_mode"] = True
    return _pool(w, MAX_POOL[n], X, arguments)


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
    n = len(kernel_shape)
    strides, dilations = list(strides or [1] * n), list(dilations or [1] * n)
    begins, ends = _pads(w, auto_pad, pads, kernel_shape, strides, dilations)
    if set(dilations) != {1}:
        raise HubError("AveragePool with dilations: torch has none")
    if begins != ends or any(2 * b > k for b, k in zip(begins, kernel_shape, strict=True)):
        if not count_include_pad:
            raise HubError("AveragePool with different padding on the two sides that does not count in the mean")
        X, begins = _explicit(X, begins, ends), [0] * n
    arguments: dict[str, Any] = {"kernel_size": _one(kernel_shape), "stride": _one(strides), "padding": _one(begins)}
    if any(begins):
        arguments["count_include_pad"] = bool(count_include_pad)
    if ceil_mode:
        arguments["ceil_mode"] = True
    return _pool(w, AVG_POOL[n], X, arguments)


@lowers("GlobalAveragePool")
def global_average_pool(w: Any, X: Value) -> Value:
    """The mean over all spatial axes, which stay as 1."""
    return torch.mean(X, tuple(range(2, w.rank_in(0))), keepdim=True)


@lowers("GlobalMaxPool")
def global_max_pool(w: Any, X: Value) -> Value:
    """The largest over all spatial axes, which stay as 1."""
    return torch.amax(X, tuple(range(2, w.rank_in(0))), keepdim=True)


@lowers("Flatten")
def flatten(w: Any, input: Value, *, axis: int = 1) -> Value:  # noqa: A002
    """A matrix: the axes before `axis`, and the rest."""
    rank = w.rank_in(0)
    axis = axis + rank if axis < 0 else axis
    if axis == 1:
        return torch.flatten(input, 1)
    shape = w.shape_in(0)
    if axis == 0:
        return input.reshape(1, -1)
    rows = 1
    for i in range(axis):
        rows = rows * (shape[i] if isinstance(shape[i], int) else input.shape[i])
    return input.reshape(rows, -1)


@lowers("Attention")
def attention(
    w: Any,
    Q: Value,
    K: Value,
    V: Value,
    attn_mask: Value = None,
    past_key: Value = None,
    past_value: Value = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
) -> Value:
    """softmax(Q K^T * scale + mask) V over [batch, heads, sequence, size]: F.scaled_dot_product_attention."""
    if past_key is not None or softcap or any(o.uses() for o in w.node.outputs[1:]):
        raise HubError("Attention with a cache, a soft cap or its products read is not lowered to torch yet")
    if w.rank_in(0) == 3:
        q, k, v = (
            x.unflatten(2, (heads, -1)).transpose(1, 2)
            for x, heads in ((Q, q_num_heads), (K, kv_num_heads), (V, kv_num_heads))
        )
        grouped = q_num_heads != kv_num_heads
    else:
        q, k, v = Q, K, V
        grouped = (w.shape_in(0) or ())[1:2] != (w.shape_in(1) or ())[1:2]
    options: dict[str, Any] = {}
    if attn_mask is not None:
        options["attn_mask"] = attn_mask
    if is_causal:
        options["is_causal"] = True
    if scale is not None:
        options["scale"] = scale
    if grouped:
        options["enable_gqa"] = True
    y = F.scaled_dot_product_attention(q, k, v, **options)
    return y.transpose(1, 2).flatten(2) if w.rank_in(0) == 3 else y
