"""ONNX's normalisations. Half precision is normalised in float32."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from zoo.converters.graph import PARAMETER
from zoo.converters.writers.jax import lowers
from zoo.converters.writers.jax.windows import along_channels, spatial_axes
from zoo.errors import HubError

Value = Any


def _wide(x: Value) -> Value:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _normalised(x: Value, axes: Sequence[int], epsilon: float) -> tuple[Value, Value, Value]:
    """X over its deviation along axes around its mean; the mean; and 1 / the deviation."""
    mean = jnp.mean(x, tuple(axes), keepdims=True)
    centred = x - mean
    inverse = lax.rsqrt(jnp.mean(jnp.square(centred), tuple(axes), keepdims=True) + epsilon)
    return centred * inverse, mean, inverse


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
    _last: bool = False,
) -> Value:
    """(X - mean) / sqrt(var + epsilon) * scale + B, a channel at a time.

    In training mode by the batch's own mean and variance, and the running ones are outputs as well. A graph for
    inference is trained as its author's layer is: its running statistics, where they are tensors of his, are updated,
    the variance by the one that divides by n - 1.
    """
    trains = w.train and not training_mode and _are_statistics(w)
    if not training_mode and not trains:
        x = _wide(X)
        factor = _wide(scale) * lax.rsqrt(_wide(input_var) + epsilon)
        y = (x - along_channels(input_mean, x, _last)) * along_channels(factor, x, _last)
        return (y + along_channels(B, x, _last)).astype(X.dtype)
    x = _wide(X)
    axes = [0, *spatial_axes(X, _last)]
    y, mean, inverse = _normalised(x, axes, epsilon)
    y = (y * along_channels(scale, x, _last) + along_channels(B, x, _last)).astype(X.dtype)
    mean, variance = mean.reshape(-1), jnp.mean(jnp.square(x - mean), axes)
    count = math.prod(X.shape[axis] for axis in axes)
    kept = variance * (count / (count - 1)) if trains and count > 1 else variance
    running = [
        lax.stop_gradient((momentum * _wide(was) + (1 - momentum) * now).astype(was.dtype))
        for was, now in ((input_mean, mean), (input_var, kept))
    ]
    if trains:
        for i, new in zip((3, 4), running, strict=True):
            w.updates[w.node.inputs[i]] = new
        return y
    return y, *running


def _are_statistics(w: Any) -> bool:
    """Whether mean and variance are tensors of the author's, which training updates."""
    are_parameters = all(v is not None and PARAMETER in v.metadata_props for v in w.node.inputs[3:5])
    if are_parameters and w.is_body:
        raise HubError(f"{w.name} stands in the body of another operator, where its statistics can't be updated")
    return are_parameters


@lowers("LayerNormalization")
def layer_normalization(
    w: Any, X: Value, Scale: Value, B: Value = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """Normalised over the axes from `axis` on, then times Scale plus B; besides the mean and 1 / the deviation."""
    axes = range(axis % X.ndim, X.ndim)
    y, mean, inverse = _normalised(X.astype(jnp.promote_types(X.dtype, w.dtype_of(stash_type))), axes, epsilon)
    y = y.astype(X.dtype) * Scale
    return (y if B is None else y + B), mean, inverse


@lowers("RMSNormalization")
def rms_normalization(
    w: Any, X: Value, scale: Value, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """X over the root of its mean square over the axes from `axis` on, times scale; in the dtype of scale."""
    axes = tuple(range(axis % X.ndim, X.ndim))
    x = X.astype(jnp.promote_types(X.dtype, w.dtype_of(stash_type)))
    y = x * lax.rsqrt(jnp.mean(jnp.square(x), axes, keepdims=True) + epsilon)
    return y.astype(scale.dtype) * scale


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
    _last: bool = False,
) -> Value:
    """Normalised over groups of channels; scale [C] and bias [C]."""
    x = X.astype(jnp.promote_types(X.dtype, w.dtype_of(stash_type)))
    if _last:
        groups, axes = x.reshape(*X.shape[:-1], num_groups, -1), [*spatial_axes(X, _last), X.ndim]
    else:
        groups, axes = x.reshape(X.shape[0], num_groups, -1), [2]
    y = _normalised(groups, axes, epsilon)[0].reshape(X.shape).astype(X.dtype)
    return y * along_channels(scale, X, _last) + along_channels(bias, X, _last)


@lowers("InstanceNormalization")
def instance_normalization(
    w: Any,
    input: Value,  # noqa: A002
    scale: Value,
    B: Value,
    *,
    epsilon: float = 1e-5,
    _last: bool = False,
) -> Value:
    """Normalised over each channel of each sample; scale [C] and B [C]."""
    y = _normalised(_wide(input), spatial_axes(input, _last), epsilon)[0].astype(input.dtype)
    return y * along_channels(scale, input, _last) + along_channels(B, input, _last)


@lowers("LRN")
def lrn(
    w: Any,
    X: Value,
    *,
    alpha: float = 1e-4,
    beta: float = 0.75,
    bias: float = 1.0,
    size: int,
    _last: bool = False,
) -> Value:
    """X / (bias + alpha / size * the sum of squares over `size` channels around) ** beta."""
    x = _wide(X)
    before = (size - 1) // 2
    channels = X.ndim - 1 if _last else 1
    padding = [(before, size - 1 - before) if axis == channels else (0, 0) for axis in range(X.ndim)]
    window = tuple(size if axis == channels else 1 for axis in range(X.ndim))
    total = lax.reduce_window(jnp.square(x), x.dtype.type(0), lax.add, window, (1,) * X.ndim, padding)
    return (x / (bias + alpha / size * total) ** beta).astype(X.dtype)


@lowers("LpNormalization")
def lp_normalization(w: Any, input: Value, *, axis: int = -1, p: int = 2) -> Value:  # noqa: A002
    """Each vector along an axis over its p-norm; zeros where that is zero."""
    x = jnp.abs(input)
    total = jnp.sum(x if p == 1 else jnp.square(x), axis, keepdims=True)
    is_zero = total == 0
    norm = jnp.where(is_zero, 1, total)  # so that the root has a gradient
    return jnp.where(is_zero, 0, input / (norm if p == 1 else jnp.sqrt(norm)))


@lowers("MeanVarianceNormalization")
def mean_variance_normalization(w: Any, X: Value, *, axes: Sequence[int] = (0, 2, 3)) -> Value:
    """(X - mean) / deviation over the axes; 1e-9 is the standard's own."""
    x = _wide(X)
    centred = x - jnp.mean(x, tuple(axes), keepdims=True)
    return centred / (jnp.std(x, tuple(axes), keepdims=True) + 1e-9)
