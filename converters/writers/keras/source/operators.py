"""What ONNX's operators are called in a Keras source, where keras.ops' words are not enough."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math as numbers
import operator
from collections.abc import Sequence
from typing import Any

from zoo.converters.graph import CHANNELS_LAST
from zoo.converters.writers.driver import Lowerings
from zoo.converters.writers.keras.source import layers
from zoo.converters.writers.keras.source.tracer import callee
from zoo.converters.writers.source.operators import activation, math, reduction, tensor  # noqa: F401 - each fills a table
from zoo.converters.writers.source.operators import lowers as shared
from zoo.converters.writers.source.operators.attention import attention_arguments
from zoo.converters.writers.source.terms import REQUIRED
from zoo.converters.writers.source.unwritable import Unwritable
from zoo.converters.writers.source.windows import Windows, is_same, short, windows_of

Value = Any
lowers = Lowerings("keras-source", parent=shared)


# ---- windows


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
    """X [N, ..., C] * W [M, C / group, ...] + B [M]."""
    shape, sizes = w.shape(W), w.shape(X)[1:-1]
    at = windows_of(shape[2:], sizes, auto_pad, pads, strides, dilations)
    if max(at.stride) > 1 and max(at.dilation) > 1:
        raise Unwritable("Keras has no dilated convolution in steps")
    n, channels = len(at.kernel), w.shape(X)[-1]
    space, padding = place(w, at, sizes)
    how = {"kernel_size": short(at.kernel), "strides": short(at.stride), "padding": padding}
    how |= {"dilation_rate": short(at.dilation), "use_bias": B is not None}
    fixed = {"strides": 1, "padding": "valid" if space else 0, "dilation_rate": 1, "use_bias": True}
    if group == channels > 1 and n < 3 and len(set(at.stride)) == 1:
        made = callee(f"{space}DepthwiseConv{n}D", 1, kernel_size=REQUIRED, depth_multiplier=1, **fixed)
        return w.layer_of(made, X, {"weight": W, "bias": B}, **how, depth_multiplier=shape[0] // group)
    made = callee(f"{space}Conv{n}D", 2, filters=REQUIRED, kernel_size=REQUIRED, groups=1, **fixed)
    return w.layer_of(made, X, {"weight": W, "bias": B}, **how, filters=shape[0], groups=group)


def place(w: Any, at: Windows, sizes: Sequence[int | None]) -> tuple[str, Any]:
    """Where the layer is from (Keras' own, or layers.py for padding in pixels), and its padding."""
    padding = short(at.padding)
    if w.prefers_same and padding != 0 and is_same(at, sizes):
        return ("layers.", "same") if not w.pads_pixels else ("", "same")
    if w.pads_pixels:
        return "", padding
    return "layers.", "valid"


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
    at = windows_of(w.shape(W)[2:], w.shape(X)[1:-1], auto_pad, pads, strides, dilations)
    if output_shape or auto_pad not in ("NOTSET", "VALID", "") or group != 1 or any(output_padding or ()):
        raise Unwritable("with groups, or a shape that is asked for, it has no layer")
    if max(at.dilation) > 1 or any(s > k for s, k in zip(at.stride, at.kernel, strict=True)):
        raise Unwritable("with gaps it has no layer")
    made = callee(
        f"layers.Conv{len(at.kernel)}DTranspose", 2, filters=REQUIRED, kernel_size=REQUIRED, strides=1, use_bias=True
    )
    how = {"kernel_size": short(at.kernel), "strides": short(at.stride), "use_bias": B is not None}
    y = w.layer_of(made, X, {"weight": W, "bias": B}, filters=w.shape(W)[1], **how)
    pairs = [(p, p) if isinstance(p, int) else p for p in at.padding]
    if not any(map(any, pairs)):
        return y
    return w.index(y, [slice(None), *(slice(a or None, -b if b else None) for a, b in pairs)])


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
    """The largest of each window."""
    at = windows_of(kernel_shape, w.shape(X)[1:-1], auto_pad, pads, strides, dilations, ceil_mode=bool(ceil_mode))
    if w.is_read(1) or max(at.dilation) > 1:
        raise Unwritable("with dilations, or places that are read as well, it has no layer")
    return _pool(w, "MaxPooling", X, at, short(at.padding))


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
    """The mean of each window."""
    sizes = w.shape(X)[1:-1]
    at = windows_of(kernel_shape, sizes, auto_pad, pads, strides, dilations, ceil_mode=bool(ceil_mode))
    padding = short(at.padding)
    if max(at.dilation) > 1 or ceil_mode and padding != 0:
        raise Unwritable("with dilations, or windows that reach over the end, it has no layer")
    if padding != 0 and not count_include_pad:
        if not is_same(at, sizes):
            raise Unwritable("without what is padded, of other windows than those of 'same', it has no layer")
        padding = "same"
    elif padding != 0 and max(at.stride) == 1:
        return _padded_mean(w, X, at)
    return _pool(w, "AveragePooling", X, at, padding)


def _padded_mean(w: Any, X: Value, at: Windows) -> Value:
    """The mean of windows over a picture with zeros around: Keras' own would leave them out."""
    pairs = tuple((p, p) if isinstance(p, int) else p for p in at.padding)
    return w.f("average_pool", w.f("pad", X, ((0, 0), *pairs, (0, 0))), short(at.kernel), strides=1)


def _pool(w: Any, name: str, X: Value, at: Windows, padding: Any) -> Value:
    space = "layers." if padding in (0, "same") else ""
    made = callee(
        f"{space}{name}{len(at.kernel)}D", 1, pool_size=REQUIRED, strides=None, padding="valid" if space else 0
    )
    kernel, strides = short(at.kernel), short(at.stride)
    padding = "valid" if space and padding == 0 else padding
    return w.module(made, X, pool_size=kernel, strides=None if strides == kernel else strides, padding=padding)


@lowers("GlobalAveragePool", CHANNELS_LAST)
def global_average_pool(w: Any, X: Value) -> Value:
    """The mean over all spatial axes, which stay as 1."""
    return w.f("mean", X, axis=tuple(range(1, w.rank(X) - 1)), keepdims=True)


@lowers("GlobalMaxPool", CHANNELS_LAST)
def global_max_pool(w: Any, X: Value) -> Value:
    """The largest over all spatial axes, which stay as 1."""
    return w.f("max", X, axis=tuple(range(1, w.rank(X) - 1)), keepdims=True)


@lowers("GlobalAveragePool")
def global_average_pool_first(w: Any, X: Value) -> Value:
    """The same of X [N, C, ...]."""
    return w.f("mean", X, axis=tuple(range(2, w.rank(X))), keepdims=True)


@lowers("GlobalMaxPool")
def global_max_pool_first(w: Any, X: Value) -> Value:
    """The same of X [N, C, ...]."""
    return w.f("max", X, axis=tuple(range(2, w.rank(X))), keepdims=True)


def _only_last(op: str) -> None:
    @lowers(op)
    def lowering(w: Any, *args: Value, **attributes: Any) -> Value:
        raise Unwritable("its channels could not be brought behind")


for _op in ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LRN"):
    _only_last(_op)


# ---- normalisations


def _batch_norm(w: Any, args: tuple[Value, ...], epsilon: float, momentum: float, training: int, axis: int) -> Value:
    X, scale, B, mean, var = args
    if training:
        raise Unwritable("a graph that trains is no model for inference")
    made = callee("layers.BatchNormalization", 0, axis=-1, momentum=0.99, epsilon=1e-3)
    held = {"weight": scale, "bias": B, "running_mean": mean, "running_var": var}
    return w.layer_of(made, X, held, axis=axis, momentum=round(momentum, 6), epsilon=epsilon)


@lowers("BatchNormalization", CHANNELS_LAST)
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
    """(X [N, ..., C] - mean) / sqrt(var + epsilon) * scale + B, a channel at a time."""
    return _batch_norm(w, (X, scale, B, input_mean, input_var), epsilon, momentum, training_mode, -1)


@lowers("BatchNormalization")
def batch_normalization_first(
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
    """The same of X [N, C, ...]."""
    axis = -1 if w.rank(X) == 2 else 1
    return _batch_norm(w, (X, scale, B, input_mean, input_var), epsilon, momentum, training_mode, axis)


@lowers("LayerNormalization")
def layer_normalization(
    w: Any, X: Value, Scale: Value, B: Value = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """Normalised over the axes from `axis` on, then times Scale plus B."""
    if w.is_read(1) or w.is_read(2):
        raise Unwritable("its mean and deviation are read as well")
    count = -axis if axis < 0 else w.rank(X) - axis
    made = callee("layers.LayerNormalization", 0, axis=-1, epsilon=1e-3, center=True, scale=True)
    scale, bias = (None if w.is_all(v, n) else v for v, n in ((Scale, 1), (B, 0)))
    how = {"axis": -1 if count == 1 else tuple(range(-count, 0)), "epsilon": epsilon}
    how |= {"center": bias is not None, "scale": scale is not None}
    if scale is None and bias is None:
        return w.module(made, X, **how)
    return w.layer_of(made, X, {"weight": scale, "bias": bias}, **how)


@lowers("RMSNormalization")
def rms_normalization(
    w: Any, X: Value, scale: Value, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """X over the root of its mean square over the axes from `axis` on, times scale."""
    along = tuple(range(axis if axis < 0 else axis - w.rank(X), 0))
    square = w.f("mean", w.f("square", X), axis=along[0] if len(along) == 1 else along, keepdims=True)
    y = w.infix(operator.mul, X, w.f("rsqrt", w.infix(operator.add, square, epsilon)))
    return w.infix(operator.mul, y, scale)


def _group_norm(w: Any, args: tuple[Value, ...], groups: int, epsilon: float, axis: int) -> Value:
    X, scale, bias = args
    made = callee("layers.GroupNormalization", 1, groups=REQUIRED, axis=-1, epsilon=1e-3)
    return w.layer_of(made, X, {"weight": scale, "bias": bias}, groups=groups, axis=axis, epsilon=epsilon)


@lowers("GroupNormalization", CHANNELS_LAST)
def group_normalization(
    w: Any, X: Value, scale: Value, bias: Value, *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1
) -> Value:
    """Normalised over groups of channels of X [N, ..., C]; scale [C] and bias [C]."""
    return _group_norm(w, (X, scale, bias), num_groups, epsilon, -1)


@lowers("GroupNormalization")
def group_normalization_first(
    w: Any, X: Value, scale: Value, bias: Value, *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1
) -> Value:
    """The same of X [N, C, ...]."""
    return _group_norm(w, (X, scale, bias), num_groups, epsilon, 1)


@lowers("InstanceNormalization", CHANNELS_LAST)
def instance_normalization(w: Any, input: Value, scale: Value, B: Value, *, epsilon: float = 1e-5) -> Value:  # noqa: A002
    """Normalised over each channel of each sample: as many groups as channels."""
    return _group_norm(w, (input, scale, B), -1, epsilon, -1)


@lowers("InstanceNormalization")
def instance_normalization_first(w: Any, input: Value, scale: Value, B: Value, *, epsilon: float = 1e-5) -> Value:  # noqa: A002
    """The same of X [N, C, ...]."""
    return _group_norm(w, (input, scale, B), -1, epsilon, 1)


@lowers("LRN", CHANNELS_LAST)
def lrn(w: Any, X: Value, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int) -> Value:
    """X / (bias + alpha / size * the sum of squares over `size` channels around) ** beta."""
    made = callee("LocalResponseNormalization", 1, size=REQUIRED, alpha=1e-4, beta=0.75, k=1.0)
    return w.module(made, X, size=size, alpha=alpha, beta=beta, k=bias)


# ---- what trains otherwise


@lowers("Dropout")
def dropout(w: Any, data: Value, ratio: Value = None, training_mode: Value = None, *, seed: int | None = None) -> Value:
    """Drops elements while the model trains."""
    if w.is_read(1):
        raise Unwritable("its mask is read as well")
    rate = 0.5 if ratio is None else float(w.known(ratio, "ratio").reshape(()))
    return w.module(callee("layers.Dropout", 1, rate=REQUIRED), data, rate=round(rate, 6))


@lowers("StochasticDepth", "zoo")
def stochastic_depth(w: Any, X: Value, *, p: float, mode: str) -> Value:
    """Drops samples, or the whole batch, while the model trains."""
    return w.module(callee("StochasticDepth", 1, rate=REQUIRED, mode="row"), X, rate=round(p, 6), mode=mode)


# ---- activations, as layers where the author has such modules


@lowers("Relu")
def relu(w: Any, X: Value) -> Value:
    """The author's ReLU, or the function."""
    return w.leaf(callee("layers.ReLU", 0, max_value=None), X) or w.neural("relu", X)


@lowers("Clip")
def clip(w: Any, input: Value, min: Value = None, max: Value = None) -> Value:  # noqa: A002
    """The author's ReLU6, or the function."""
    low, high = (x if x is None else w.operand(x, 0) for x in (min, max))
    made = w.leaf(callee("layers.ReLU", 0, max_value=None), input, max_value=6.0) if (low, high) == (0, 6) else None
    return made or math.clip(w, input, min, max)


@lowers("LeakyRelu")
def leaky_relu(w: Any, X: Value, *, alpha: float = 0.01) -> Value:
    """The author's LeakyReLU, or the function."""
    made = w.leaf(callee("layers.LeakyReLU", 1, negative_slope=REQUIRED), X, negative_slope=alpha)
    return made or activation.leaky_relu(w, X, alpha=alpha)


@lowers("Softmax")
def softmax(w: Any, input: Value, *, axis: int = -1) -> Value:  # noqa: A002
    """The author's Softmax, or the function."""
    behind = -1 if axis in (-1, w.rank(input) - 1) else axis
    return w.leaf(callee("layers.Softmax", 0, axis=-1), input, axis=behind) or w.neural("softmax", input, axis=behind)


def _named(op: str, name: str) -> None:
    found = shared["", op]

    @lowers(op)
    def lowering(w: Any, X: Value) -> Value:
        return w.leaf(callee("layers.Activation", 1, activation=REQUIRED), X, activation=name) or found(w, X)


for _op, _name in {"Sigmoid": "sigmoid", "Tanh": "tanh", "HardSwish": "hard_silu", "Softplus": "softplus"}.items():
    _named(_op, _name)


@lowers("Gelu")
def gelu(w: Any, X: Value, *, approximate: str = "none") -> Value:
    """The author's GELU, or the function."""
    made = (
        w.leaf(callee("layers.Activation", 1, activation=REQUIRED), X, activation="gelu")
        if approximate == "none"
        else None
    )
    return made or activation.gelu(w, X, approximate=approximate)


@lowers("Swish")
def swish(w: Any, X: Value, *, alpha: float = 1.0) -> Value:
    """The author's SiLU, or the function."""
    made = w.leaf(callee("layers.Activation", 1, activation=REQUIRED), X, activation="silu") if alpha == 1 else None
    return made or activation.swish(w, X, alpha=alpha)


@lowers("HardSigmoid")
def hard_sigmoid(w: Any, X: Value, *, alpha: float = 0.2, beta: float = 0.5) -> Value:
    """The author's Hardsigmoid, or what it computes."""
    is_usual = numbers.isclose(alpha, 1 / 6, abs_tol=1e-6) and beta == 0.5
    if not is_usual:
        return activation.hard_sigmoid(w, X, alpha=alpha, beta=beta)
    made = w.leaf(callee("layers.Activation", 1, activation=REQUIRED), X, activation="hard_sigmoid")
    return made or w.neural("hard_sigmoid", X)


# ---- the rest


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


@lowers("Resize", CHANNELS_LAST)
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
    """A picture [N, H, W, C] of another size, by its nearest neighbours or between them."""
    way = (mode, coordinate_transformation_mode, nearest_mode if mode == "nearest" else "")
    known = {("nearest", "asymmetric", "floor"): "nearest", ("linear", "half_pixel", ""): "bilinear"}
    known[("linear", "pytorch_half_pixel", "")] = "bilinear"
    have, out = w.shape(X), w.output_shape(0)
    if way not in known or antialias or axes or w.rank(X) != 4 or out is None:
        raise Unwritable(f"by {mode!r} at {coordinate_transformation_mode!r} places it has no plain form")
    is_last = have[-1] is not None and have[-1] == out[-1]
    size = out[1:3] if is_last else out[2:]
    if None in size or not is_last and have[1] != out[1]:
        raise Unwritable("to a size that is free, or of channels too, it has no plain form")
    how = {"method": "nearest"} if mode == "nearest" else {}
    if is_last:
        return w.ours(layers.resize, X, tuple(size), **how)
    return w.transpose(w.ours(layers.resize, w.transpose(X, (0, 2, 3, 1)), tuple(size), **how), (0, 3, 1, 2))
