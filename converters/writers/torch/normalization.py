"""ONNX's normalisations: torch's layers where the author has them, else their functions."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import nn

from zoo.converters.expansions import is_read
from zoo.converters.writers.torch import lowers

Value = Any
BATCH_NORM = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
INSTANCE_NORM = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}


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
    """(X - mean) / sqrt(var + epsilon) * scale + B, a channel at a time. ONNX's momentum is what torch's leaves.

    In training mode by the batch's own mean and variance, and the running ones are outputs as well.
    """
    shape, rank, dtype = w.shape(scale), w.rank_in(0), w.dtype_in(0)
    if training_mode:
        return _batch_statistics(w, X, scale, B, input_mean, input_var, epsilon, momentum)
    tensors = {"weight": scale, "bias": B, "running_mean": input_mean, "running_var": input_var}
    if shape is not None and rank in BATCH_NORM:
        arguments = {"num_features": shape[0], "eps": epsilon, "momentum": round(1 - momentum, 6)}
        if (y := w.layer(BATCH_NORM[rank], X, arguments, **tensors)) is not None:
            return y
    if any(w.dtype_in(i) != dtype for i in range(1, 5)):
        wide = max((w.dtype_in(i) for i in range(5)), key=lambda d: d.itemsize)
        X, scale, B, input_mean, input_var = (x.to(wide) for x in (X, scale, B, input_mean, input_var))
        return F.batch_norm(X, input_mean, input_var, weight=scale, bias=B, eps=epsilon).to(dtype)
    return F.batch_norm(X, input_mean, input_var, weight=scale, bias=B, eps=epsilon)


def _batch_statistics(
    w: Any, x: Value, scale: Value, bias: Value, mean: Value, variance: Value, epsilon: float, momentum: float
) -> tuple[Value, ...]:
    """ONNX's running variance is of the batch's own variance, torch's of the one that divides by n - 1."""
    dtype, kept = w.dtype_in(0), w.dtype_in(3)
    wide = {w.dtype_in(i) for i in range(1, 3)} | {dtype}
    exact = max(wide, key=lambda d: d.itemsize)
    x, scale, bias = (v if len(wide) == 1 else v.to(exact) for v in (x, scale, bias))
    y = F.batch_norm(x, None, None, weight=scale, bias=bias, training=True, eps=epsilon)
    axes = [axis for axis in range(w.rank_in(0)) if axis != 1]
    found = torch.var_mean(x, axes, correction=0)
    running_mean = momentum * mean + (1 - momentum) * found[1].to(kept)
    running_var = momentum * variance + (1 - momentum) * found[0].to(kept)
    return y if len(wide) == 1 else y.to(dtype), running_mean, running_var


def _normalised(w: Any, x: Value, axis: int) -> Any:
    """The sizes of the axes from `axis` on: a list, or read from the tensor where some are free."""
    rank = w.rank_in(0)
    shape = (w.shape_in(0) or ())[axis % rank :]
    return list(shape) if all(isinstance(s, int) for s in shape) else x.shape[axis % rank - rank :]


@lowers("LayerNormalization")
def layer_normalization(
    w: Any, X: Value, Scale: Value, B: Value = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """Normalised over the axes from `axis` on, then times Scale plus B; besides the mean and 1 / the deviation."""
    size, shape = _normalised(w, X, axis), w.shape_in(1)
    fits = isinstance(size, list) and all(
        w.shape_in(i) == tuple(size) for i, v in ((1, Scale), (2, B)) if v is not None
    )
    y = None
    if fits and shape is not None:
        arguments = {"normalized_shape": size[0] if len(size) == 1 else tuple(size), "eps": epsilon}
        y = w.layer(nn.LayerNorm, X, {**arguments, "bias": B is not None}, weight=Scale, bias=B)
    if y is None and fits:
        y = F.layer_norm(X, size, w.as_tensor(1, Scale), w.as_tensor(2, B), eps=epsilon)
    if y is None:
        y = F.layer_norm(X, size, eps=epsilon) * Scale
        y = y if B is None else y + B
    if not is_read(w.node, 1) and not is_read(w.node, 2):
        return y
    stash = w.dtype_of(ir.DataType(stash_type))
    x = X if w.dtype_in(0) == stash else X.to(stash)
    axes = list(range(axis % w.rank_in(0), w.rank_in(0)))
    found = torch.var_mean(x, axes, correction=0, keepdim=True)
    return y, found[1], torch.rsqrt(found[0] + epsilon)


@lowers("RMSNormalization")
def rms_normalization(
    w: Any, X: Value, scale: Value, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """X over the root of its mean square over the axes from `axis` on, times scale; in the dtype of scale."""
    size, dtype = _normalised(w, X, axis), w.dtype_in(1)
    if w.dtype_in(0) != dtype:
        wide = max(dtype, w.dtype_in(0), key=lambda d: d.itemsize)
        return F.rms_norm(X.to(wide), size, eps=epsilon).to(dtype) * scale
    if isinstance(size, list) and w.shape_in(1) == tuple(size):
        arguments = {"normalized_shape": size[0] if len(size) == 1 else tuple(size), "eps": epsilon}
        if (y := w.layer(nn.RMSNorm, X, arguments, weight=scale)) is not None:
            return y
        return F.rms_norm(X, size, w.as_tensor(1, scale), eps=epsilon)
    return F.rms_norm(X, size, eps=epsilon) * scale


@lowers("GroupNormalization")
def group_normalization(
    w: Any, X: Value, scale: Value, bias: Value, *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1
) -> Value:
    """Normalised over groups of channels; scale [C] and bias [C]."""
    shape = w.shape_in(1)
    if shape and isinstance(shape[0], int):
        arguments = {"num_groups": num_groups, "num_channels": shape[0], "eps": epsilon}
        if (y := w.layer(nn.GroupNorm, X, arguments, weight=scale, bias=bias)) is not None:
            return y
    return F.group_norm(X, num_groups, scale, bias, eps=epsilon)


@lowers("InstanceNormalization")
def instance_normalization(w: Any, input: Value, scale: Value, B: Value, *, epsilon: float = 1e-5) -> Value:  # noqa: A002
    """Normalised over each channel of each sample; scale [C] and B [C]."""
    shape, rank = w.shape_in(1), w.rank_in(0)
    spatial = (w.shape_in(0) or ())[2:]
    if all(size == 1 for size in spatial):  # torch refuses to normalise one number, which gives B
        return torch.group_norm(input, w.shape_in(0)[1], scale, B, epsilon)
    if shape and isinstance(shape[0], int) and rank in INSTANCE_NORM:
        arguments = {"num_features": shape[0], "eps": epsilon}
        y = w.layer(INSTANCE_NORM[rank], input, {**arguments, "affine": True}, weight=scale, bias=B)
        if y is None and _is_everywhere(w, scale, 1) and _is_everywhere(w, B, 0):
            y = w.module(INSTANCE_NORM[rank], input, **arguments)
        if y is not None:
            return y
    return F.instance_norm(input, weight=scale, bias=B, eps=epsilon)


def _is_everywhere(w: Any, x: Value, number: int) -> bool:
    """Whether a value is known to be one number: the scale and bias that an exporter makes up for a layer without."""
    known = w.known(x)
    return known is not None and bool((known == number).all())


@lowers("LRN")
def lrn(w: Any, X: Value, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int) -> Value:
    """X / (bias + alpha / size * the sum of squares over `size` channels around) ** beta.

    Of an even number torch takes one more before the channel, ONNX one more behind: the channels are turned around.
    """
    arguments = {"alpha": alpha, "beta": beta, "k": bias}
    if size % 2 and (y := w.module(nn.LocalResponseNorm, X, size=size, **arguments)) is not None:
        return y
    dtype = w.dtype_in(0)
    x = X.to(torch.float32) if dtype.itemsize < 4 else X  # torch averages no half precision over channels
    if size % 2:
        y = F.local_response_norm(x, size, **arguments)
    else:
        y = F.local_response_norm(x.flip(1), size, **arguments).flip(1)
    return y.to(dtype) if dtype.itemsize < 4 else y


@lowers("LpNormalization")
def lp_normalization(w: Any, input: Value, *, axis: int = -1, p: int = 2) -> Value:  # noqa: A002
    """Each vector along an axis over its p-norm; zeros where that is zero."""
    dtype = w.dtype_in(0)
    # torch's own smallest norm, 1e-12, is zero in half precision
    limit = {"eps": torch.finfo(dtype).tiny} if dtype.itemsize < 4 else {}
    return F.normalize(input, p=p, dim=axis, **limit)


@lowers("MeanVarianceNormalization")
def mean_variance_normalization(w: Any, X: Value, *, axes: Sequence[int] = (0, 2, 3)) -> Value:
    """(X - mean) / deviation over the axes; 1e-9 is the standard's own."""
    along = list(axes)
    deviation = torch.std(X, along, correction=0, keepdim=True)
    return (X - torch.mean(X, along, keepdim=True)) / (deviation + 1e-9)
