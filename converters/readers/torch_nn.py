"""aten's layers: convolution, pooling, normalisation, activations, embedding, padding, resizing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers.adaptive import adaptive
from zoo.converters.readers.scribe import Fault, Scribe
from zoo.converters.readers.torch_aten import (
    TABLE,
    Emit,
    Sym,
    Untold,
    axis_of,
    entry,
    floating,
    in_dtype,
    lowers,
    own,
    per_axis,
    scalar,
    size,
    vector,
)
from zoo.converters.readers.torch_math import is_known
from zoo.converters.readers.torch_shapes import FAR, places, reshaped, sliced

MAX_KERNEL = 1 << 20
STATISTICS = "the statistics of a normalisation are"


def _batched(op: Scribe, x: ir.Value, rank: int) -> tuple[ir.Value, bool]:
    """The input with its batch axis, which torch lets be missing; and whether it was."""
    if op.rank(x, rank) == rank - 1:
        return op.Unsqueeze(x, op.const([0])), True
    return x, False


def _unbatched(op: Scribe, y: ir.Value, was_missing: bool) -> ir.Value:
    return op.Squeeze(y, op.const([0])) if was_missing else y  # type: ignore[no-any-return]


# ---- linear and convolution


@lowers("linear")
def linear(op: Scribe, input: ir.Value, weight: ir.Value, bias: ir.Value | None = None) -> Any:  # noqa: A002
    """The weight is [O, I]; the input [..., I]."""
    if input.shape is not None and len(input.shape) == 2:
        return op.Gemm(input, weight, bias, transB=1)
    made = op.MatMul(input, op.Transpose(weight, perm=[1, 0]) if op.rank(weight) == 2 else weight)
    return made if bias is None else op.Add(made, bias)


def convolved(
    op: Scribe,
    x: ir.Value,
    weight: ir.Value,
    bias: ir.Value | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    transposed: bool = False,
    output_padding: Any = 0,
) -> ir.Value:
    """The weight is [O, I / groups, kernel], or transposed [I, O / groups, kernel]."""
    n = op.rank(weight) - 2
    kernel = [k or 0 for k in op.sizes_of(weight)[2:]]
    x, was_missing = _batched(op, x, n + 2)
    strides, dilations = per_axis(stride, n, 1), per_axis(dilation, n, 1)
    how: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "group": groups}
    if isinstance(padding, str):
        reach = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        begin = [r // 2 if padding == "same" else 0 for r in reach]
        pads = [*begin, *(r - b if padding == "same" else 0 for r, b in zip(reach, begin, strict=True))]
    else:
        pads = per_axis(padding, n, 0) * 2
    if transposed:
        made = op.ConvTranspose(x, weight, bias, **how, pads=pads, output_padding=per_axis(output_padding, n, 0))
    else:
        made = op.Conv(x, weight, bias, **how, pads=pads)
    return _unbatched(op, made, was_missing)


@lowers("conv1d", "conv2d", "conv3d")
def conv(op: Scribe, input: ir.Value, weight: ir.Value, bias: ir.Value | None = None, stride: Any = 1, padding: Any = 0,  # noqa: A002
         dilation: Any = 1, groups: int = 1) -> Any:  # fmt: skip
    """A convolution; padding may be "same" or "valid"."""
    return convolved(op, input, weight, bias, stride, padding, dilation, groups)


@lowers("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def conv_transpose(op: Scribe, input: ir.Value, weight: ir.Value, bias: ir.Value | None = None, stride: Any = 1,  # noqa: A002
                   padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Any:  # fmt: skip
    """A transposed convolution."""
    return convolved(op, input, weight, bias, stride, padding, dilation, groups, True, output_padding)


@lowers("_convolution", "convolution", "_convolution_mode", "cudnn_convolution", "mkldnn_convolution", "thnn_conv2d")
def convolution(op: Scribe, input: ir.Value, weight: ir.Value, bias: ir.Value | None, stride: Any, padding: Any,  # noqa: A002
                dilation: Any, transposed: Any = False, output_padding: Any = 0, groups: int = 1,
                *_: Any) -> Any:  # fmt: skip
    """Either; _convolution_mode gives the groups where others say whether it is transposed."""
    if type(transposed) is int:
        transposed, groups = False, transposed
    return convolved(op, input, weight, bias, stride, padding, dilation, groups, transposed, output_padding)


# ---- pooling


def _pool_shape(kernel_size: Any, stride: Any, n: int) -> tuple[list[int], list[int]]:
    kernel = per_axis(kernel_size, n)
    if prod(kernel) > MAX_KERNEL:
        raise Fault(f"a window of {kernel}", is_refusal=True)
    return kernel, kernel if stride in (None, [], ()) else per_axis(stride, n)


def _max_pool(n: int, *, with_places: bool) -> Emit:
    def emit(op: Scribe, self: ir.Value, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
             ceil_mode: bool = False) -> Any:  # fmt: skip
        kernel, strides = _pool_shape(kernel_size, stride, n)
        x, was_missing = _batched(op, self, n + 2)
        how: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "dilations": per_axis(dilation, n, 1)}
        how |= {"pads": per_axis(padding, n, 0) * 2, "ceil_mode": int(ceil_mode)}
        made = _unbatched(op, op.MaxPool(x, **how), was_missing)
        if not with_places:
            return made
        # a node of its own, so that most often it falls away; ONNX counts through all channels, torch through one
        found = op.MaxPool(x, **how, outputs=2)[1]
        plane = op.ReduceProd(op.Shape(x, start=2), None, keepdims=0)
        return made, _unbatched(op, op.Mod(found, plane), was_missing)

    return emit


def _avg_pool(n: int) -> Emit:
    def emit(op: Scribe, self: ir.Value, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: Any = False,
             count_include_pad: bool = True, divisor_override: Any = None) -> Any:  # fmt: skip
        kernel, strides = _pool_shape(kernel_size, stride, n)
        x, was_missing = _batched(op, self, n + 2)
        counted = int(count_include_pad or divisor_override is not None)
        how: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "pads": per_axis(padding, n, 0) * 2}
        made = op.AveragePool(x, **how, ceil_mode=int(ceil_mode), count_include_pad=counted)
        if divisor_override is not None:
            made = op.Mul(made, op.scalar(prod(kernel) / divisor_override, made))
        return _unbatched(op, made, was_missing)

    return emit


def _adaptive(n: int, kind: str) -> Emit:
    def emit(op: Scribe, self: ir.Value, output_size: Any) -> Any:
        x, was_missing = _batched(op, self, n + 2)
        sizes = list(output_size) if isinstance(output_size, list | tuple) else [output_size] * n
        lengths = op.sizes_of(x)[2:]
        known = [
            length if isinstance(s, Sym) else s for s, length in zip(sizes * (n // len(sizes)), lengths, strict=True)
        ]
        made = _unbatched(op, adaptive(op, x, known, kind), was_missing)
        return made if kind == "ReduceMean" else (made, Untold("the places of the largest numbers are"))

    return emit


for _n in (1, 2, 3):
    TABLE[f"max_pool{_n}d"] = TABLE[f"mkldnn_max_pool{_n}d"] = _max_pool(_n, with_places=False)
    TABLE[f"max_pool{_n}d_with_indices"] = _max_pool(_n, with_places=True)
    TABLE[f"avg_pool{_n}d"] = _avg_pool(_n)
    TABLE[f"adaptive_avg_pool{_n}d"] = TABLE[f"_adaptive_avg_pool{_n}d"] = _adaptive(_n, "ReduceMean")
    TABLE[f"adaptive_max_pool{_n}d"] = _adaptive(_n, "ReduceMax")


@lowers("max_unpool2d", "max_unpool3d")
def max_unpool(
    op: Scribe, self: ir.Value, indices: ir.Value, output_size: Any, stride: Any = None, padding: Any = None
) -> Any:
    """Each number at its place in a plane of zeros."""
    n = len(output_size)
    x, was_missing = _batched(op, self, n + 2)
    found, _ = _batched(op, indices, n + 2)
    lead = [size(op, x, 0), size(op, x, 1)]
    area = TABLE["mul"](op, output_size[0], output_size[1])
    area = TABLE["mul"](op, area, output_size[2]) if n == 3 else area
    flat = op.Expand(op.scalar(0, x), vector(op, [*lead, area]))
    made = op.ScatterElements(flat, reshaped(op, found, [*lead, -1]), reshaped(op, x, [*lead, -1]), axis=2)
    return _unbatched(op, reshaped(op, made, [*lead, *output_size]), was_missing)


# ---- normalisation


def _channels(op: Scribe, x: ir.Value, *held: ir.Value | None) -> int:
    """How many channels there are, by a weight or by the input. Raises Fault."""
    for value in held:
        if value is not None and (n := op.sizes_of(value)[0]) is not None:
            return n
    n = op.sizes_of(x)[1]
    if n is None:
        raise Fault("a layer without weights on a free number of channels", is_refusal=True)
    return n


def _or_full(op: Scribe, value: ir.Value | None, number: float, n: int, like: ir.Value) -> ir.Value:
    return value if value is not None else op.const(np.full(n, number), own(like).numpy())


def _by_own_statistics(op: Scribe, x: ir.Value, axes: Sequence[int], eps: float) -> ir.Value:
    mean = op.ReduceMean(x, op.const(list(axes)), keepdims=1)
    away = op.Sub(x, mean)
    variance = op.ReduceMean(op.Mul(away, away), op.const(list(axes)), keepdims=1)
    return op.Div(away, op.Sqrt(op.Add(variance, op.scalar(eps, x))))  # type: ignore[no-any-return]


def _affine(op: Scribe, x: ir.Value, weight: ir.Value | None, bias: ir.Value | None) -> ir.Value:
    """Times a weight [C], plus a bias [C], both along the second axis."""
    shape = op.const([-1] + [1] * (op.rank(x) - 2))
    x = x if weight is None else op.Mul(x, op.Reshape(weight, shape))
    return x if bias is None else op.Add(x, op.Reshape(bias, shape))  # type: ignore[no-any-return]


@lowers("batch_norm")
def batch_norm(op: Scribe, input: ir.Value, weight: ir.Value | None = None, bias: ir.Value | None = None,  # noqa: A002
               running_mean: ir.Value | None = None, running_var: ir.Value | None = None, training: bool = False,
               momentum: float = 0.1, eps: float = 1e-5, cudnn_enabled: bool = True) -> Any:  # fmt: skip
    """By the running statistics, or where there are none (or it is trained) by those of the batch."""
    if training or running_mean is None or running_var is None:
        rank = op.rank(input, likely=4)
        return _affine(op, _by_own_statistics(op, input, [0, *range(2, rank)], eps), weight, bias)
    n = _channels(op, input, weight, running_mean)
    scale, shift = _or_full(op, weight, 1, n, running_mean), _or_full(op, bias, 0, n, running_mean)
    return op.BatchNormalization(input, scale, shift, running_mean, running_var, epsilon=eps)


@lowers("_native_batch_norm_legit_no_training")
def batch_norm_no_training(op: Scribe, input: ir.Value, weight: Any, bias: Any, running_mean: Any, running_var: Any,  # noqa: A002
                           momentum: float, eps: float) -> Any:  # fmt: skip
    """The same, and the batch's statistics, which there are none of."""
    made = batch_norm(op, input, weight, bias, running_mean, running_var, False, momentum, eps)
    return made, Untold(STATISTICS), Untold(STATISTICS)


@lowers("native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm", "_batch_norm_impl_index")
def native_batch_norm(op: Scribe, input: ir.Value, *args: Any, **kwargs: Any) -> Any:  # noqa: A002
    """The same with the statistics it took."""
    made = batch_norm(op, input, *args[:8], **kwargs)
    return made, Untold(STATISTICS), Untold(STATISTICS)


@lowers("instance_norm")
def instance_norm(op: Scribe, input: ir.Value, weight: ir.Value | None = None, bias: ir.Value | None = None,  # noqa: A002
                  running_mean: Any = None, running_var: Any = None, use_input_stats: bool = True,
                  momentum: float = 0.1, eps: float = 1e-5, cudnn_enabled: bool = True) -> Any:  # fmt: skip
    """Each channel of each sample by its own statistics, or by running ones."""
    if not use_input_stats and running_mean is not None:
        return batch_norm(op, input, weight, bias, running_mean, running_var, False, momentum, eps)
    if weight is not None and bias is not None:
        return op.InstanceNormalization(input, weight, bias, epsilon=eps)
    return _affine(op, _by_own_statistics(op, input, range(2, op.rank(input, likely=4)), eps), weight, bias)


@lowers("layer_norm")
def layer_norm(op: Scribe, input: ir.Value, normalized_shape: Any, weight: ir.Value | None = None,  # noqa: A002
               bias: ir.Value | None = None, eps: float = 1e-5, cudnn_enable: bool = True) -> Any:  # fmt: skip
    """Over the last axes, as many as `normalized_shape` has."""
    if weight is None:
        if not is_known(*normalized_shape):
            raise Fault("a layer norm over free sizes", is_refusal=True)
        weight = op.const(np.ones(normalized_shape), own(input).numpy())
    return op.LayerNormalization(input, weight, bias, axis=-len(normalized_shape), epsilon=eps)


@lowers("native_layer_norm")
def native_layer_norm(op: Scribe, input: ir.Value, normalized_shape: Any, weight: Any, bias: Any, eps: float) -> Any:  # noqa: A002
    """The same with the statistics it took."""
    made = layer_norm(op, input, normalized_shape, weight, bias, eps)
    return made, Untold(STATISTICS), Untold(STATISTICS)


@lowers("group_norm")
def group_norm(op: Scribe, input: ir.Value, num_groups: int, weight: ir.Value | None = None,  # noqa: A002
               bias: ir.Value | None = None, eps: float = 1e-5, cudnn_enabled: bool = True) -> Any:  # fmt: skip
    """Each group of channels of each sample by its own statistics."""
    if weight is not None and bias is not None and op.rank(input, likely=4) > 2:
        return op.GroupNormalization(input, weight, bias, num_groups=num_groups, epsilon=eps)
    grouped = op.reshape(input, [0, num_groups, -1])
    made = op.Reshape(_by_own_statistics(op, grouped, [2], eps), op.Shape(input))
    return _affine(op, made, weight, bias)


@lowers("native_group_norm")
def native_group_norm(op: Scribe, input: ir.Value, weight: Any, bias: Any, N: Any, C: Any, HxW: Any, group: int,  # noqa: A002, N803
                      eps: float) -> Any:  # fmt: skip
    """The same with the statistics it took."""
    made = group_norm(op, input, group, weight, bias, eps)
    return made, Untold(STATISTICS), Untold(STATISTICS)


@lowers("rms_norm", "_fused_rms_norm")
def rms_norm(
    op: Scribe, input: ir.Value, normalized_shape: Any, weight: ir.Value | None = None, eps: Any = None
) -> Any:  # noqa: A002
    """Over the root of the mean of squares of the last axes."""
    eps = float(np.finfo(own(input).numpy()).eps) if eps is None else eps
    if weight is None:
        weight = op.const(np.ones(normalized_shape), own(input).numpy())
    return op.RMSNormalization(input, weight, axis=-len(normalized_shape), epsilon=eps)


# ---- activations


def _plain(kind: str) -> Emit:
    def emit(op: Scribe, self: ir.Value) -> Any:
        return getattr(op, kind)(self)

    return emit


TABLE |= {
    "selu": _plain("Selu"),
    "mish": _plain("Mish"),
    "hardswish": _plain("HardSwish"),
    "softsign": _plain("Softsign"),
}


@lowers("relu6")
def relu6(op: Scribe, self: ir.Value) -> Any:
    """Between 0 and 6."""
    return op.Clip(self, op.scalar(0, self), op.scalar(6, self))


@lowers("hardtanh")
def hardtanh(op: Scribe, self: ir.Value, min_val: Any = -1, max_val: Any = 1) -> Any:
    """Between two bounds."""
    return op.Clip(self, op.scalar(min_val, self), op.scalar(max_val, self))


@lowers("hardsigmoid")
def hardsigmoid(op: Scribe, self: ir.Value) -> Any:
    """X / 6 + 1 / 2, between 0 and 1."""
    return op.HardSigmoid(self, alpha=1 / 6, beta=0.5)


@lowers("leaky_relu")
def leaky_relu(op: Scribe, self: ir.Value, negative_slope: Any = 0.01) -> Any:
    """Below 0 times a slope."""
    return op.LeakyRelu(self, alpha=float(negative_slope))


@lowers("rrelu")
def rrelu(op: Scribe, self: ir.Value, lower: float = 0.125, upper: float = 1 / 3, training: bool = False) -> Any:
    """Below 0 times the mean of the slopes that training draws from."""
    return op.LeakyRelu(self, alpha=(lower + upper) / 2)


@lowers("rrelu_with_noise_functional")
def rrelu_with_noise(op: Scribe, self: ir.Value, noise: ir.Value, lower: float = 0.125, upper: float = 1 / 3,
                     training: bool = False) -> Any:  # fmt: skip
    """The same, taken apart."""
    return rrelu(op, self, lower, upper), noise


@lowers("prelu", "_prelu_kernel")
def prelu(op: Scribe, self: ir.Value, weight: ir.Value) -> Any:
    """Below 0 times a slope, one for all or one for each channel."""
    if op.sizes_of(weight) == [1] or op.rank(weight) != 1:
        return op.PRelu(self, weight)
    rank = op.rank(self, likely=4)
    return op.PRelu(self, op.reshape(weight, [-1] + [1] * (rank - 2)) if rank > 2 else weight)


@lowers("elu")
def elu(op: Scribe, self: ir.Value, alpha: Any = 1, scale: Any = 1, input_scale: Any = 1) -> Any:
    """Below 0 alpha * (exp(x) - 1)."""
    if input_scale == 1:
        made = op.Elu(self, alpha=float(alpha))
        return made if scale == 1 else op.Mul(made, op.scalar(scale, made))
    low = op.Mul(op.Sub(op.Exp(op.Mul(self, op.scalar(input_scale, self))), op.scalar(1, self)), op.scalar(alpha, self))
    return op.Mul(op.Where(op.Greater(self, op.scalar(0, self)), self, low), op.scalar(scale, self))


@lowers("celu")
def celu(op: Scribe, self: ir.Value, alpha: Any = 1.0) -> Any:
    """Below 0 alpha * (exp(x / alpha) - 1)."""
    return op.Celu(self, alpha=float(alpha))


@lowers("gelu")
def gelu(op: Scribe, self: ir.Value, approximate: str = "none") -> Any:
    """By erf, or by tanh."""
    return op.Gelu(self, approximate=approximate)


@lowers("silu")
def silu(op: Scribe, self: ir.Value) -> Any:
    """X * sigmoid(x)."""
    return op.Mul(self, op.Sigmoid(self))


@lowers("softplus")
def softplus(op: Scribe, self: ir.Value, beta: Any = 1, threshold: Any = 20) -> Any:
    """ln(1 + exp(beta x)) / beta, and x itself beyond the threshold."""
    scaled = self if beta == 1 else op.Mul(self, op.scalar(beta, self))
    soft = op.Softplus(scaled) if beta == 1 else op.Div(op.Softplus(scaled), op.scalar(beta, self))
    return soft if threshold >= 20 else op.Where(op.Greater(scaled, op.scalar(threshold, self)), self, soft)


@lowers("log_sigmoid")
def log_sigmoid(op: Scribe, self: ir.Value) -> Any:
    """-softplus(-x)."""
    return op.Neg(op.Softplus(op.Neg(self)))


@lowers("log_sigmoid_forward")
def log_sigmoid_forward(op: Scribe, self: ir.Value) -> Any:
    """The same with what its gradient needs."""
    made = log_sigmoid(op, self)
    return made, made


@lowers("softshrink")
def softshrink(op: Scribe, self: ir.Value, lambd: Any = 0.5) -> Any:
    """Nearer to 0 by lambd, 0 within it."""
    return op.Shrink(self, lambd=float(lambd), bias=float(lambd))


@lowers("hardshrink")
def hardshrink(op: Scribe, self: ir.Value, lambd: Any = 0.5) -> Any:
    """0 within lambd."""
    return op.Shrink(self, lambd=float(lambd), bias=0.0)


@lowers("threshold")
def threshold_(op: Scribe, self: ir.Value, threshold: Any, value: Any) -> Any:
    """A value where it is not above the threshold."""
    return op.Where(op.Greater(self, op.scalar(threshold, self)), self, op.scalar(value, self))


@lowers("glu")
def glu(op: Scribe, self: ir.Value, dim: int = -1) -> Any:
    """The first half times the second half's sigmoid."""
    axis = axis_of(op, self, dim)
    a, b = op.Split(self, axis=axis, num_outputs=2, outputs=2)
    return op.Mul(a, op.Sigmoid(b))


@lowers("softmax", "special_softmax", "_safe_softmax")
def softmax(op: Scribe, self: ir.Value, dim: int, dtype: Any = None) -> Any:
    """Over an axis."""
    return op.Softmax(floating(op, in_dtype(op, self, dtype)), axis=dim)


@lowers("_softmax")
def core_softmax(op: Scribe, self: ir.Value, dim: int, half_to_float: bool = False) -> Any:
    """The same, taken apart."""
    return op.Softmax(self, axis=dim)


@lowers("_log_softmax")
def core_log_softmax(op: Scribe, self: ir.Value, dim: int, half_to_float: bool = False) -> Any:
    """Its logarithm, taken apart."""
    return op.LogSoftmax(self, axis=dim)


@lowers("log_softmax", "special_log_softmax")
def log_softmax(op: Scribe, self: ir.Value, dim: int, dtype: Any = None) -> Any:
    """Its logarithm."""
    return op.LogSoftmax(floating(op, in_dtype(op, self, dtype)), axis=dim)


@lowers("normalize")
def normalize(op: Scribe, input: ir.Value, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:  # noqa: A002
    """Over its norm along an axis."""
    length = TABLE["norm"](op, input, p, [dim], True)
    return op.Div(input, op.Max(length, op.scalar(eps, input)))


@lowers("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "dropout1d", "dropout2d", "dropout3d")
def dropout(op: Scribe, input: ir.Value, p: float = 0.5, train: bool = False) -> Any:  # noqa: A002
    """The data, where it is not trained."""
    if train is True:
        raise Fault(
            "dropout in training mode, whose answers are random; save the model after model.eval()", is_refusal=True
        )
    return op.Dropout(input, op.const(p, np.float32))


@lowers("native_dropout")
def native_dropout(op: Scribe, input: ir.Value, p: float, train: Any = False) -> Any:  # noqa: A002
    """The same, and which were kept."""
    return dropout(op, input, p, bool(train)), op.Expand(op.const(True, np.bool_), op.Shape(input))


# ---- embedding


@lowers("embedding")
def embedding(op: Scribe, weight: ir.Value, indices: ir.Value, padding_idx: Any = -1, scale_grad_by_freq: bool = False,
              sparse: bool = False) -> Any:  # fmt: skip
    """Rows of a weight [V, D]."""
    return op.Gather(weight, places(op, indices), axis=0)


@lowers("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(op: Scribe, weight: ir.Value, indices: ir.Value, offsets: ir.Value, scale_grad_by_freq: bool = False,
                  mode: int = 0, sparse: bool = False, per_sample_weights: ir.Value | None = None,
                  include_last_offset: bool = False, padding_idx: Any = None) -> Any:  # fmt: skip
    """Sums, means or maxima of the rows between each two offsets: by a table of which row is in which bag."""
    indices = places(op, indices)
    rows = op.Gather(weight, indices, axis=0)
    if per_sample_weights is not None:
        rows = op.Mul(rows, op.Unsqueeze(per_sample_weights, op.const([1])))
    offsets = op.cast(offsets, ir.DataType.INT64)
    count = op.Shape(indices)
    begin = op.Slice(offsets, op.const([0]), op.const([-1])) if include_last_offset else offsets
    rest = op.Slice(offsets, op.const([1]), op.const([2**62]))
    end = rest if include_last_offset else op.Concat(rest, count, axis=0)
    row = op.Unsqueeze(op.Range(op.const(0), op.Squeeze(count), op.const(1)), op.const([0]))
    begin, end = (op.Unsqueeze(x, op.const([1])) for x in (begin, end))
    inside = op.And(op.GreaterOrEqual(row, begin), op.Less(row, end))
    if padding_idx is not None and padding_idx >= 0:
        inside = op.And(inside, op.Not(op.Equal(op.Unsqueeze(indices, op.const([0])), op.scalar(padding_idx, indices))))
    held = op.cast(inside, own(rows))
    if mode == 2:
        wide = op.Where(op.Unsqueeze(inside, op.const([2])), op.Unsqueeze(rows, op.const([0])), op.scalar(-3e38, rows))
        made = op.ReduceMax(wide, op.const([1]), keepdims=0)
    else:
        made = op.MatMul(held, rows)
        if mode == 1:
            total = op.ReduceSum(held, op.const([1]), keepdims=1)
            made = op.Div(made, op.Max(total, op.scalar(1, total)))
    return made, offsets, offsets, offsets


# ---- padding


def padded(op: Scribe, x: ir.Value, pad: Sequence[Any], mode: str, value: Any = 0.0) -> ir.Value:
    """Pads are (before, after) of the last axis, then of the one before it."""
    n = len(pad) // 2
    axes = op.const([-1 - i for i in range(n)])
    pads = vector(op, [*pad[::2], *pad[1::2]])
    if (
        mode == "constant" and is_known(*pad) and any(p < 0 for p in pad)
    ):  # ONNX Runtime cuts as torch does, others may not
        for i in range(n):
            begin, end = -min(pad[2 * i], 0), min(pad[2 * i + 1], 0)
            x = sliced(op, x, -1 - i, begin, end if end else 2**62) if begin or end else x
        pads = vector(op, [max(p, 0) for p in (*pad[::2], *pad[1::2])])
    filler = scalar(op, value or 0, own(x)) if mode == "constant" else None
    return op.Pad(x, pads, filler, axes, mode=mode)  # type: ignore[no-any-return]


MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@lowers("pad", "_pad_enum")
def pad_(op: Scribe, self: ir.Value, pad: Any, mode: Any = "constant", value: Any = None) -> Any:
    """Of any mode."""
    named = list(MODES)[mode] if type(mode) is int and 0 <= mode < 4 else mode
    if named not in MODES:
        raise Fault(f"padding of mode {str(named)[:40]!r}", is_refusal=True)
    return padded(op, self, pad, MODES[named], value)


def _pad(mode: str) -> Emit:
    def emit(op: Scribe, self: ir.Value, padding: Any) -> Any:
        return padded(op, self, padding, mode)

    return emit


TABLE |= {f"reflection_pad{n}d": _pad("reflect") for n in (1, 2, 3)}
TABLE |= {f"replication_pad{n}d": _pad("edge") for n in (1, 2, 3)}
TABLE["_pad_circular"] = _pad("wrap")


@lowers("constant_pad_nd")
def constant_pad(op: Scribe, self: ir.Value, pad: Any, value: Any = 0) -> Any:
    """By a value."""
    return padded(op, self, pad, "constant", value)


# ---- windows


@lowers("im2col")
def im2col(op: Scribe, self: ir.Value, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """The windows [N, C * kernel, L]: of each place of the kernel the pixels that it meets."""
    x, was_missing = _batched(op, self, 4)
    kernel, steps = per_axis(kernel_size, 2), per_axis(stride, 2)
    (high, wide), (above, beside) = per_axis(dilation, 2), per_axis(padding, 2)
    if prod(kernel) > 1 << 10:
        raise Fault(f"windows of {kernel}", is_refusal=True)
    x = padded(op, x, [beside, beside, above, above], "constant") if above or beside else x
    taken = []
    for i, j in product(*map(range, kernel)):
        rest = [(kernel[0] - 1 - i) * high, (kernel[1] - 1 - j) * wide]
        ends = op.const([-n if n else FAR for n in rest])
        part = op.Slice(x, op.const([i * high, j * wide]), ends, op.const([2, 3]), op.const(steps))
        taken.append(op.reshape(part, [0, 0, 1, -1]))
    stacked = op.Concat(*taken, axis=2) if len(taken) > 1 else taken[0]
    length = op.Shape(stacked, start=3)
    sizes = op.Concat(op.Shape(x, end=1), op.const([-1]), length, axis=0)
    return _unbatched(op, op.Reshape(stacked, sizes), was_missing)


@lowers("col2im")
def col2im(op: Scribe, self: ir.Value, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
           stride: Any = 1) -> Any:  # fmt: skip
    """The windows added up again."""
    x, was_missing = _batched(op, self, 3)
    how = {"dilations": per_axis(dilation, 2), "pads": per_axis(padding, 2) * 2, "strides": per_axis(stride, 2)}
    made = op.Col2Im(x, vector(op, output_size), op.const(per_axis(kernel_size, 2)), **how)
    return _unbatched(op, made, was_missing)


@lowers("unfold")
def unfold(op: Scribe, self: ir.Value, dimension: int, size: int, step: int) -> Any:  # noqa: A002
    """Windows along an axis of known length, as the last axis."""
    axis = axis_of(op, self, dimension)
    length = op.sizes_of(self)[axis]
    if length is None or (length // step) * size > 1 << 22:
        raise Fault("windows over an axis of free size", is_refusal=True)
    starts = np.arange(0, length - size + 1, step)[:, None]
    made = op.Gather(self, op.const(starts + np.arange(size)), axis=axis)
    rank = op.rank(self) + 1
    return op.Transpose(made, perm=[*(i for i in range(rank) if i != axis + 1), axis + 1])


# ---- resizing and sampling


def resized(op: Scribe, x: ir.Value, n: int, sizes: Any, scales: Any, **how: Any) -> ir.Value:
    """To sizes, or by scales, which then also say where each pixel is taken from."""
    op.learn(x, n + 2)
    if scales and all(s is not None for s in scales):
        if all(is_known(s) for s in scales):
            return op.Resize(x, None, op.const([1, 1, *scales], np.float32), **how)  # type: ignore[no-any-return]
        parts = [op.Reshape(scalar(op, s, ir.DataType.FLOAT), op.const([1])) for s in scales]
        return op.Resize(x, None, op.Concat(op.const([1, 1], np.float32), *parts, axis=0), **how)  # type: ignore[no-any-return]
    whole = op.Concat(op.Shape(x, end=2), vector(op, sizes), axis=0)
    made = op.Resize(x, None, None, whole, **how)
    lead = list(made.shape or [None, None])[:2]
    known = [
        d if isinstance(d, int) else None for d in (*lead, *(entry(op, s) if is_known(s) else None for s in sizes))
    ]
    op.state(made, known)
    return made  # type: ignore[no-any-return]


def _nearest(n: int, *, is_exact: bool) -> Emit:
    how: dict[str, Any] = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if is_exact:
        how |= {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"}

    def emit(op: Scribe, input: ir.Value, output_size: Any, *by_axis: Any, scale_factors: Any = None,  # noqa: A002
             scales: Any = None, scales_h: Any = None, scales_w: Any = None, scales_d: Any = None) -> Any:  # fmt: skip
        factors = _scales(by_axis, scale_factors if scales is None else scales, scales_d, scales_h, scales_w)
        return resized(op, input, n, output_size, factors, **how)

    return emit


def _scales(given: Sequence[Any], factors: Any, *by_axis: Any) -> list[Any] | None:
    """The factors, as a list or as arguments of their own."""
    found = factors if factors is not None else given[0] if len(given) == 1 else [*given, *by_axis]
    if isinstance(found, int | float):
        return [found]
    return [s for s in found if s is not None] or None if found is not None else None


def _linear(n: int, mode: str, *, is_smooth: bool = False) -> Emit:
    how: dict[str, Any] = {"mode": mode}
    if is_smooth:
        how |= {"antialias": 1, "exclude_outside": 1}
    if mode == "cubic":
        how["cubic_coeff_a"] = -0.5 if is_smooth else -0.75

    def emit(op: Scribe, input: ir.Value, output_size: Any, align_corners: bool = False, *by_axis: Any,  # noqa: A002
             scale_factors: Any = None, scales: Any = None, scales_h: Any = None, scales_w: Any = None,
             scales_d: Any = None) -> Any:  # fmt: skip
        where = "align_corners" if align_corners else "pytorch_half_pixel"
        factors = _scales(by_axis, scale_factors if scales is None else scales, scales_d, scales_h, scales_w)
        return resized(op, input, n, output_size, factors, coordinate_transformation_mode=where, **how)

    return emit


for _n in (1, 2, 3):
    TABLE[f"upsample_nearest{_n}d"] = _nearest(_n, is_exact=False)
    TABLE[f"_upsample_nearest_exact{_n}d"] = _nearest(_n, is_exact=True)
for _name, _n in {"upsample_linear1d": 1, "upsample_bilinear2d": 2, "upsample_trilinear3d": 3}.items():
    TABLE[_name] = _linear(_n, "linear")
TABLE["upsample_bicubic2d"] = _linear(2, "cubic")
TABLE["_upsample_bilinear2d_aa"] = _linear(2, "linear", is_smooth=True)
TABLE["_upsample_bicubic2d_aa"] = _linear(2, "cubic", is_smooth=True)


@lowers("grid_sampler", "grid_sampler_2d", "grid_sampler_3d")
def grid_sampler(op: Scribe, input: ir.Value, grid: ir.Value, interpolation_mode: int = 0, padding_mode: int = 0,  # noqa: A002
                 align_corners: bool = False) -> Any:  # fmt: skip
    """The picture at the grid's places."""
    mode, beyond = ("linear", "nearest", "cubic")[interpolation_mode], ("zeros", "border", "reflection")[padding_mode]
    return op.GridSample(input, grid, mode=mode, padding_mode=beyond, align_corners=int(align_corners))


@lowers("affine_grid_generator")
def affine_grid(op: Scribe, theta: ir.Value, size: Any, align_corners: bool = False) -> Any:  # noqa: A002
    """Where an affine map takes the pixels of a picture of a size."""
    return op.AffineGrid(theta, vector(op, size), align_corners=int(align_corners))
