"""Normalisations with the author's scales."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from typing import Any

import keras

from zoo.converters.graph import CHANNELS_LAST
from zoo.converters.writers.keras import lowers
from zoo.converters.writers.keras.layers.values import is_all, is_float, is_parameter
from zoo.converters.writers.keras.saved import RMSNormalization

Value = Any


def _affine(scale: Value, bias: Value, rank: int = 1) -> dict[str, bool] | None:
    """Whether a layer scales and shifts; None where by something that is no weight."""
    known = is_parameter(scale, rank) or is_all(scale, 1.0) or scale is None
    if not known or not (is_parameter(bias, rank) or is_all(bias, 0.0) or bias is None):
        return None
    return {"scale": is_parameter(scale), "center": is_parameter(bias)}


def _weights(scale: Value, bias: Value) -> dict[str, Value]:
    return {
        "gamma_initializer": scale if is_parameter(scale) else None,
        "beta_initializer": bias if is_parameter(bias) else None,
    }


def _batch_norm(w: Any, axis: int, args: tuple[Value, ...], epsilon: float, momentum: float, training: int) -> Value:
    X, scale, B, mean, var = args
    affine = _affine(scale, B)
    statistics = is_parameter(mean, 1) and is_parameter(var, 1)
    if training or affine is None or not statistics or not is_float(X) or not isinstance(X.shape[axis], int):
        return None
    config = {"axis": axis, "momentum": momentum, "epsilon": epsilon, **affine}
    moving = {"moving_mean_initializer": mean, "moving_variance_initializer": var}
    return w.layer(keras.layers.BatchNormalization, X, config, **_weights(scale, B), **moving)


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
    """(X [N, C, ...] - mean) / sqrt(var + epsilon) * scale + B, each [C]."""
    return _batch_norm(w, 1, (X, scale, B, input_mean, input_var), epsilon, momentum, training_mode)


@lowers("BatchNormalization", CHANNELS_LAST)
def batch_normalization_last(
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
    """The same of X [N, ..., C]."""
    return _batch_norm(w, -1, (X, scale, B, input_mean, input_var), epsilon, momentum, training_mode)


@lowers("LayerNormalization")
def layer_normalization(
    w: Any, X: Value, Scale: Value, B: Value = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """X normalised over the axes from `axis` on, of which Scale and B have all."""
    if not is_float(X) or w.is_read(1) or w.is_read(2):
        return None
    rank = len(X.shape)
    axes = list(range(axis % rank, rank))
    affine = _affine(Scale, B, len(axes))
    if affine is None or any(not isinstance(X.shape[a], int) for a in axes) or stash_type != 1:
        return None
    if any(is_parameter(p) and p.shape != tuple(X.shape[a] for a in axes) for p in (Scale, B)):
        return None
    config = {"axis": -1 if len(axes) == 1 else axes, "epsilon": epsilon, **affine}
    return w.layer(keras.layers.LayerNormalization, X, config, **_weights(Scale, B))


@lowers("RMSNormalization")
def rms_normalization(
    w: Any, X: Value, scale: Value, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """X over the root of the mean of its squares along the last axis, times scale."""
    if not is_float(X) or axis % len(X.shape) != len(X.shape) - 1 or stash_type != 1:
        return None
    if not is_parameter(scale, 1) or scale.shape != X.shape[-1:]:
        return None
    return w.layer(RMSNormalization, X, {"axis": -1, "epsilon": epsilon}, scale_initializer=scale)


@lowers("GroupNormalization", CHANNELS_LAST)
def group_normalization(
    w: Any, X: Value, scale: Value, bias: Value, *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1
) -> Value:
    """X [N, ..., C] normalised over the places and the channels of a group."""
    return _groups(w, X, scale, bias, num_groups, epsilon) if stash_type == 1 else None


@lowers("InstanceNormalization", CHANNELS_LAST)
def instance_normalization(w: Any, input: Value, scale: Value, B: Value, *, epsilon: float = 1e-5) -> Value:  # noqa: A002
    """X [N, ..., C] normalised over the places of each channel: a group for each."""
    return _groups(w, input, scale, B, -1, epsilon)


def _groups(w: Any, X: Value, scale: Value, bias: Value, groups: int, epsilon: float) -> Value:
    affine = _affine(scale, bias)
    if affine is None or not is_float(X) or not isinstance(X.shape[-1], int):
        return None
    if any(d is None for d in X.shape[1:]) or math.prod(X.shape[1:]) == 0:
        return None  # Keras' layer reshapes to sizes that it has to know
    config = {"groups": groups, "axis": -1, "epsilon": epsilon, **affine}
    return w.layer(keras.layers.GroupNormalization, X, config, **_weights(scale, bias))
