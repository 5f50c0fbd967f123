"""ONNX's normalisations: MXNet's BatchNorm, LayerNorm and InstanceNorm where they fit, else formulas."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import mxnet as mx

from zoo.converters.graph import is_parameter
from zoo.converters.writers.mxnet import lowers

Value = Any


def _normalised(w: Any, x: Value, axes: Sequence[int], epsilon: float) -> tuple[Value, Value, Value]:
    """X over its deviation along axes around its mean; the mean; and 1 / the deviation."""
    options = {"axis": tuple(axes), "keepdims": True}
    mean = w.F.mean(x, **options)
    centred = w.F.broadcast_sub(x, mean)
    inverse = w.F.rsqrt(w.F.mean(w.F.square(centred), **options) + epsilon)
    return w.F.broadcast_mul(centred, inverse), mean, inverse


def _along_channels(w: Any, v: Value, rank: int) -> Value:
    return w.reshape(v, (1, -1, *[1] * (rank - 2)))


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
    """(X - mean) / sqrt(var + epsilon) * scale + B, a channel at a time.

    Where the running statistics are the author's tensors it is MXNet's BatchNorm, which updates them as it trains: they
    are auxiliary states. In training mode by the batch's own mean and variance, and the running ones are outputs too.
    """
    rank = w.rank(0)
    if not training_mode and _are_statistics(w):
        options = {"eps": epsilon, "momentum": momentum, "fix_gamma": False, "axis": 1}
        return w.F.BatchNorm(X, scale, B, input_mean, input_var, **options)
    if not training_mode:
        factor = w.F.broadcast_mul(scale, w.F.rsqrt(input_var + epsilon))
        shift = w.F.broadcast_sub(B, w.F.broadcast_mul(input_mean, factor))
        y = w.F.broadcast_mul(X, _along_channels(w, factor, rank))
        return w.F.broadcast_add(y, _along_channels(w, shift, rank))
    axes = (0, *range(2, rank))
    y, mean, _ = _normalised(w, X, axes, epsilon)
    variance = w.F.mean(w.F.square(w.F.broadcast_sub(X, mean)), axis=axes)
    y = w.F.broadcast_mul(y, _along_channels(w, scale, rank))
    y = w.F.broadcast_add(y, _along_channels(w, B, rank))
    running = [
        was * momentum + now * (1 - momentum)
        for was, now in ((input_mean, w.reshape(mean, (-1,))), (input_var, variance))
    ]
    return y, *running


def _are_statistics(w: Any) -> bool:
    """Whether mean and variance are tensors of the author's, each in one place, which training updates."""
    values = w.node.inputs[3:5]
    is_classic = w.F is mx.nd or all(x.get_children() is None for x in w.converted[3:5])
    return is_classic and all(v is not None and is_parameter(v) for v in values)


@lowers("LayerNormalization")
def layer_normalization(
    w: Any, X: Value, Scale: Value, B: Value = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """Normalised over the axes from `axis` on, then times Scale plus B; besides the mean and 1 / the deviation."""
    rank = w.rank(0)
    if B is not None and axis % rank == rank - 1 and not w.is_read(1) and not w.is_read(2) and w.rank(1) == 1:
        return w.F.LayerNorm(X, Scale, B, axis=-1, eps=epsilon)
    y, mean, inverse = _normalised(w, X, range(axis % rank, rank), epsilon)
    y = w.F.broadcast_mul(y, Scale)
    return (y if B is None else w.F.broadcast_add(y, B)), mean, inverse


@lowers("RMSNormalization")
def rms_normalization(
    w: Any, X: Value, scale: Value, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """X over the root of its mean square over the axes from `axis` on, times scale."""
    rank = w.rank(0)
    total = w.F.mean(w.F.square(X), axis=tuple(range(axis % rank, rank)), keepdims=True)
    return w.F.broadcast_mul(w.F.broadcast_mul(X, w.F.rsqrt(total + epsilon)), scale)


@lowers("GroupNormalization")
def group_normalization(
    w: Any,
    X: Value,
    scale: Value,
    bias: Value,
    *,
    epsilon: float = 1e-5,
    num_groups: int,
    stash_type: int = 1,
) -> Value:
    """Normalised over groups of channels; scale [C] and bias [C].

    MXNet 1.9's own GroupNorm has a scale for each group.
    """
    rank = w.rank(0)
    groups = w.F.reshape(X, shape=(0, num_groups, -1))
    y = w.F.reshape_like(_normalised(w, groups, [2], epsilon)[0], X)
    y = w.F.broadcast_mul(y, _along_channels(w, scale, rank))
    return w.F.broadcast_add(y, _along_channels(w, bias, rank))


@lowers("InstanceNormalization")
def instance_normalization(
    w: Any,
    input: Value,  # noqa: A002
    scale: Value,
    B: Value,
    *,
    epsilon: float = 1e-5,
) -> Value:
    """Normalised over each channel of each sample; scale [C] and B [C]."""
    rank = w.rank(0)
    y = _normalised(w, input, range(2, rank), epsilon)[0]
    y = w.F.broadcast_mul(y, _along_channels(w, scale, rank))
    return w.F.broadcast_add(y, _along_channels(w, B, rank))


@lowers("LRN")
def lrn(w: Any, X: Value, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int) -> Value:
    """X / (bias + alpha / size * the sum of squares over `size` channels around) ** beta."""
    if size % 2 and w.rank(0) == 4:
        return w.F.LRN(X, alpha=alpha, beta=beta, knorm=bias, nsize=size)
    before, channels = (size - 1) // 2, w.whole(0)[1]
    widths = [(before, size - 1 - before) if axis == 1 else (0, 0) for axis in range(w.rank(0))]
    squares = w.pad(w.F.square(X), widths)
    parts = (w.F.slice_axis(squares, axis=1, begin=i, end=i + channels) for i in range(size))
    return X / (reduce(w.F.broadcast_add, parts) * (alpha / size) + bias) ** beta


@lowers("LpNormalization")
def lp_normalization(w: Any, input: Value, *, axis: int = -1, p: int = 2) -> Value:  # noqa: A002
    """Each vector along an axis over its p-norm; zeros where that is zero."""
    total = w.F.sum(w.F.abs(input) if p == 1 else w.F.square(input), axis=axis, keepdims=True)
    is_zero = total == 0
    norm = total + is_zero  # so that the root has a gradient
    return w.F.broadcast_div(input, norm if p == 1 else w.F.sqrt(norm))


@lowers("MeanVarianceNormalization")
def mean_variance_normalization(w: Any, X: Value, *, axes: Sequence[int] = (0, 2, 3)) -> Value:
    """(X - mean) / deviation over the axes; 1e-9 is the standard's own."""
    options = {"axis": tuple(axes), "keepdims": True}
    centred = w.F.broadcast_sub(X, w.F.mean(X, **options))
    return w.F.broadcast_div(centred, w.F.sqrt(w.F.mean(w.F.square(centred), **options)) + 1e-9)
