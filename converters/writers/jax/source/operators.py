"""What ONNX's operators are called in a JAX source, where numpy's words are not enough."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.converters.writers.driver import Lowerings
from zoo.converters.writers.jax.source import layers
from zoo.converters.writers.source.operators import activation, math, reduction, tensor  # noqa: F401 - each fills a table
from zoo.converters.writers.source.operators import lowers as shared
from zoo.converters.writers.source.operators.attention import attention_arguments
from zoo.converters.writers.source.steps import Name
from zoo.converters.writers.source.unwritable import Unwritable
from zoo.converters.writers.source.windows import Windows, is_same, short, windows_of

Value = Any
CTX = Name("ctx")
lowers = Lowerings("jax-source", parent=shared)


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
    at = windows_of(w.shape(W)[2:], w.shape(X)[2:], auto_pad, pads, strides, dilations)
    how = {"stride": short(at.stride), "padding": short(at.padding), "dilation": short(at.dilation)}
    if how["padding"] != 0 and w.prefers_same and is_same(at, w.shape(X)[2:]):
        how["padding"] = "SAME"
    return w.layer_of(layers.conv, X, {"weight": W, "bias": B}, **how)


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
    if output_shape is not None or auto_pad not in ("NOTSET", "VALID", ""):
        raise Unwritable("its pads follow from a shape that is asked for")
    at = windows_of(w.shape(W)[2:], w.shape(X)[2:], auto_pad, pads, strides, dilations)
    how = {"stride": short(at.stride), "padding": short(at.padding), "dilation": short(at.dilation), "groups": group}
    how |= {"output_padding": short(list(output_padding or [0] * len(at.stride)))}
    return w.layer_of(layers.conv_transpose, X, {"weight": W, "bias": B}, **how)


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
    """(X - mean) / sqrt(var + epsilon) * scale + B, a channel at a time."""
    if training_mode:
        raise Unwritable("a graph that trains is no model for inference")
    held = {"weight": scale, "bias": B, "running_mean": input_mean, "running_var": input_var}
    return w.layer_of(layers.batch_norm, X, held, eps=epsilon, momentum=round(1 - momentum, 6))


@lowers("LayerNormalization")
def layer_normalization(
    w: Any, X: Value, Scale: Value, B: Value = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """Normalised over the axes from `axis` on, then times Scale plus B."""
    if w.is_read(1) or w.is_read(2):
        raise Unwritable("its mean and deviation are read as well")
    axes = -axis if axis < 0 else w.rank(X) - axis
    held = {"weight": None if w.is_all(Scale, 1) else Scale, "bias": None if w.is_all(B, 0) else B}
    return w.layer_of(layers.layer_norm, X, held, axes=axes, eps=epsilon)


@lowers("RMSNormalization")
def rms_normalization(
    w: Any, X: Value, scale: Value, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """X over the root of its mean square over the axes from `axis` on, times scale."""
    axes = -axis if axis < 0 else w.rank(X) - axis
    return w.layer_of(layers.rms_norm, X, {"weight": scale}, axes=axes, eps=epsilon)


@lowers("GroupNormalization")
def group_normalization(
    w: Any, X: Value, scale: Value, bias: Value, *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1
) -> Value:
    """Normalised over groups of channels; scale [C] and bias [C]."""
    return w.layer_of(layers.group_norm, X, {"weight": scale, "bias": bias}, groups=num_groups, eps=epsilon)


@lowers("InstanceNormalization")
def instance_normalization(w: Any, input: Value, scale: Value, B: Value, *, epsilon: float = 1e-5) -> Value:  # noqa: A002
    """Normalised over each channel of each sample; scale [C] and B [C]."""
    return w.layer_of(layers.instance_norm, input, {"weight": scale, "bias": B}, eps=epsilon)


@lowers("LRN")
def lrn(w: Any, X: Value, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int) -> Value:
    """X / (bias + alpha / size * the sum of squares over `size` channels around) ** beta."""
    return w.ours(layers.local_response_norm, X, size, alpha=alpha, beta=beta, k=bias)


@lowers("Dropout")
def dropout(w: Any, data: Value, ratio: Value = None, training_mode: Value = None, *, seed: int | None = None) -> Value:
    """Drops elements while the model trains."""
    if w.is_read(1):
        raise Unwritable("its mask is read as well")
    rate = 0.5 if ratio is None else float(w.known(ratio, "ratio").reshape(()))
    return w.ours(layers.dropout, data, round(rate, 6), CTX) if rate else data


@lowers("StochasticDepth", "zoo")
def stochastic_depth(w: Any, X: Value, *, p: float, mode: str) -> Value:
    """Drops samples, or the whole batch, while the model trains."""
    return w.ours(layers.stochastic_depth, X, round(p, 6), CTX, mode=mode)


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
    """The largest of each window."""
    if w.is_read(1):
        raise Unwritable("where the largest stand is read as well")
    at = windows_of(kernel_shape, w.shape(X)[2:], auto_pad, pads, strides, dilations, ceil_mode=bool(ceil_mode))
    return w.ours(layers.max_pool, X, short(at.kernel), **_pooling(at), dilation=short(at.dilation))


def _pooling(at: Windows) -> dict[str, Any]:
    return {"stride": short(at.stride), "padding": short(at.padding)}


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
    """The mean of each window."""
    at = windows_of(kernel_shape, w.shape(X)[2:], auto_pad, pads, strides, dilations, ceil_mode=bool(ceil_mode))
    if set(at.dilation) != {1} or ceil_mode and count_include_pad and short(at.padding) != 0:
        raise Unwritable("with its dilations or its ceil_mode it has no plain form")
    counts = bool(count_include_pad) or short(at.padding) == 0
    return w.ours(layers.avg_pool, X, short(at.kernel), **_pooling(at), count_include_pad=counts)


@lowers("GlobalAveragePool")
def global_average_pool(w: Any, X: Value) -> Value:
    """The mean over all spatial axes, which stay as 1."""
    return w.f("mean", X, axis=tuple(range(2, w.rank(X))), keepdims=True)


@lowers("GlobalMaxPool")
def global_max_pool(w: Any, X: Value) -> Value:
    """The largest over all spatial axes, which stay as 1."""
    return w.f("max", X, axis=tuple(range(2, w.rank(X))), keepdims=True)


@lowers("Gather")
def gather(w: Any, data: Value, indices: Value, *, axis: int = 0) -> Value:
    """What stands at places along an axis; rows of a table are an embedding."""
    if axis == 0 and w.rank(data) == 2 and w.rank(indices) and (y := w.embedding(data, indices)) is not None:
        return y
    return tensor.gather(w, data, indices, axis=axis)


@lowers("GatherND")
def gather_nd(w: Any, data: Value, indices: Value, *, batch_dims: int = 0) -> Value:
    """What stands at places whose coordinates stand along the last axis."""
    if batch_dims:
        raise Unwritable("with axes of batches it has no plain form")
    return w.ours(layers.gather_nd, data, indices)


@lowers("Attention")
def attention(
    w: Any,
    Q: Value,
    K: Value,
    V: Value,
    attn_mask: Value = None,
    past_key: Value = None,
    past_value: Value = None,
    nonpad_kv_seqlen: Value = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
) -> Value:
    """softmax(Q K^T * scale + mask) V over [batch, heads, sequence, size]."""
    rare = (past_key, past_value, nonpad_kv_seqlen)
    how = attention_arguments(w, Q, K, rare, scale, softcap, max(left_window_size, right_window_size))
    how |= {"mask": attn_mask} if attn_mask is not None else {}
    return w.ours(layers.attention, Q, K, V, **how, is_causal=bool(is_causal))


@lowers("Resize")
def resize(
    w: Any,
    X: Value,
    roi: Value = None,
    scales: Value = None,
    sizes: Value = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Value:
    """A picture of another size, by its nearest neighbours or between them."""
    ways = {
        ("nearest", "asymmetric", "floor"): {"method": "nearest"},
        ("linear", "half_pixel", ""): {},
        ("linear", "pytorch_half_pixel", ""): {},
        ("linear", "align_corners", ""): {"align_corners": True},
    }
    how: Any = ways.get((mode, coordinate_transformation_mode, nearest_mode if mode == "nearest" else ""))
    if how is None or antialias or axes or keep_aspect_ratio_policy != "stretch" or w.rank(X) != 4:
        raise Unwritable(f"by {mode!r} at {coordinate_transformation_mode!r} places it has no plain form")
    have = w.shape(X)
    if sizes is not None:
        wanted = tensor.items_of(w, sizes, "sizes")
    else:
        factors = [float(s) for s in w.known(scales, "scales").reshape(-1)]
        if None in have[2:]:
            raise Unwritable("by a scale of sizes that are free it has no plain form")
        wanted = [int(np.floor(n * s)) if n is not None else 0 for n, s in zip(have, factors, strict=True)]
        if any(n is not None and abs(n * s - m) > 1e-4 for n, s, m in zip(have, factors, wanted, strict=True)):
            raise Unwritable("its scales give no whole sizes")
    return w.ours(layers.resize, X, tuple(w.given(wanted[2:])), **how)
