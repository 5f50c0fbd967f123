"""ONNX's normalisations. Half precision is normalised in float32."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
from keras import ops

from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.operators.layouts import along_channels, channel_axis, either, pictures, spatial_axes
from zoo.converters.writers.keras.operators.precision import like, wide
from zoo.converters.writers.keras.operators.sizes import rank, sizes
from zoo.converters.writers.keras.operators.windows import padded_all

Tensor = Any


def normalised(x: Tensor, axes: Sequence[int], epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """X over its deviation along axes around its mean; the mean; and 1 / the deviation."""
    mean = ops.mean(x, tuple(axes), keepdims=True)
    centred = x - mean
    inverse = ops.rsqrt(ops.mean(ops.square(centred), tuple(axes), keepdims=True) + epsilon)
    return centred * inverse, mean, inverse


def _stashed(x: Tensor, stash_type: int) -> Tensor:
    """What is normalised: in the dtype that is asked for if that is wider."""
    return ops.cast(x, "float64") if stash_type == ir.DataType.DOUBLE else wide(x)


@either("BatchNormalization")
def batch_normalization(
    w: Any,
    X: Tensor,
    scale: Tensor,
    B: Tensor,
    input_mean: Tensor,
    input_var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Tensor:
    """(X - mean) / sqrt(var + epsilon) * scale + B, a channel at a time.

    In the graph's own training mode by the batch's mean and variance, and the running ones are outputs as well. What a
    model trains is Keras' layer, where the statistics are weights.
    """
    x = wide(X)
    if not training_mode:
        factor = wide(scale) * ops.rsqrt(wide(input_var) + epsilon)
        offset = wide(B) - wide(input_mean) * factor
        return like(x * along_channels(w, factor, x) + along_channels(w, offset, x), X)
    axes = tuple(axis for axis in range(rank(X)) if axis != channel_axis(w, X))
    y, mean, _ = normalised(x, axes, epsilon)
    variance = ops.mean(ops.square(x - mean), axes)
    running = [
        wide(was) * momentum + like(now, wide(was)) * (1 - momentum)
        for was, now in ((input_mean, ops.reshape(mean, [-1])), (input_var, variance))
    ]
    return y * along_channels(w, wide(scale), x) + along_channels(w, wide(B), x), *running


@lowers("LayerNormalization")
def layer_normalization(
    w: Any, X: Tensor, Scale: Tensor, B: Tensor = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    """Normalised over the axes from `axis` on, then times Scale plus B; besides the mean and 1 / the deviation."""
    axes = range(axis % rank(X), rank(X))
    y, mean, inverse = normalised(_stashed(X, stash_type), axes, epsilon)
    y = like(y, X) * Scale
    return (y if B is None else y + B), mean, inverse


@lowers("RMSNormalization")
def rms_normalization(
    w: Any, X: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    """X over the root of its mean square over the axes from `axis` on, times scale; in the dtype of scale."""
    x = _stashed(X, stash_type)
    axes = tuple(range(axis % rank(X), rank(X)))
    y = x * ops.rsqrt(ops.mean(ops.square(x), axes, keepdims=True) + epsilon)
    return like(y, scale) * scale


@either("GroupNormalization")
def group_normalization(
    w: Any, X: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1
) -> Tensor:
    """Normalised over groups of channels; scale [C] and bias [C]."""
    x, have, axis = _stashed(X, stash_type), sizes(X), channel_axis(w, X)
    x = ops.reshape(x, [*have[:axis], num_groups, have[axis] // num_groups, *have[axis + 1 :]])
    axes = [i for i in range(1, rank(x)) if i != axis]
    y = like(ops.reshape(normalised(x, axes, epsilon)[0], have), X)
    return y * along_channels(w, scale, X) + along_channels(w, bias, X)


@either("InstanceNormalization")
def instance_normalization(w: Any, input: Tensor, scale: Tensor, B: Tensor, *, epsilon: float = 1e-5) -> Tensor:  # noqa: A002
    """Normalised over each channel of each sample; scale [C] and B [C]."""
    y = like(normalised(wide(input), spatial_axes(w, input), epsilon)[0], input)
    return y * along_channels(w, scale, input) + along_channels(w, B, input)


@pictures("LRN")
def lrn(w: Any, X: Tensor, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int) -> Tensor:
    """X / (bias + alpha / size * the sum of squares over `size` channels around) ** beta."""
    x, channels = wide(X), X.shape[-1]
    before = (size - 1) // 2
    around = padded_all(ops.square(x), [(0, 0)] * (rank(X) - 1) + [(before, size - 1 - before)])
    total = sum(around[..., i : i + channels] for i in range(size))
    return like(x / ops.power(bias + alpha / size * total, beta), X)


@lowers("LpNormalization")
def lp_normalization(w: Any, input: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:  # noqa: A002
    """Each vector along an axis over its p-norm; zeros where that is zero."""
    total = ops.sum(ops.abs(input) if p == 1 else ops.square(input), axis, keepdims=True)
    is_zero = ops.equal(total, 0)
    norm = ops.where(is_zero, ops.ones_like(total), total)  # so that the root has a gradient
    y = input / (norm if p == 1 else ops.sqrt(norm))
    return ops.where(is_zero, ops.zeros_like(y), y)


@lowers("MeanVarianceNormalization")
def mean_variance_normalization(w: Any, X: Tensor, *, axes: Sequence[int] = (0, 2, 3)) -> Tensor:
    """(X - mean) / deviation over the axes; 1e-9 is the standard's own."""
    x = wide(X)
    centred = x - ops.mean(x, tuple(axes), keepdims=True)
    deviation = ops.sqrt(ops.mean(ops.square(centred), tuple(axes), keepdims=True))
    return like(centred / (deviation + 1e-9), X)
