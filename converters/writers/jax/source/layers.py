"""The layers that a JAX source may use: their code goes into the file, and needs jax and numpy alone.

A layer is a function of its params, which are the author's tensors as he names and lays them out, and of x [N, C, ...].
`ctx` is there where a layer does something else in training.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Params = dict[str, Any]


class Context:
    """What one pass knows: whether it trains, where its random numbers come from, and new running statistics."""

    def __init__(self, train: bool, rngs: jax.Array | None) -> None:
        self.train, self.rngs = train, rngs
        self.statistics: dict[int, Params] = {}  # by the id of the params that they are to take the place in

    def key(self) -> jax.Array:
        """The next key."""
        if self.rngs is None:
            raise ValueError("a pass that trains and drops at random takes rngs=jax.random.key(seed)")
        self.rngs, key = jax.random.split(self.rngs)
        return key

    def updated(self, params: Params) -> Params:
        """The params with the new running statistics."""
        new = {k: self.updated(v) if isinstance(v, dict) else v for k, v in params.items()}
        return new | self.statistics.get(id(params), {})


def conv(
    params: Params,
    x: jax.Array,
    stride: int | tuple[int, ...] = 1,
    padding: str | int | tuple[int | tuple[int, int], ...] = 0,
    dilation: int | tuple[int, ...] = 1,
) -> jax.Array:
    """A convolution with weight [M, C / groups, ...]; a padding is "SAME", one for both ends, or (begin, end)."""
    weight, n = params["weight"], x.ndim - 2
    y = lax.conv_general_dilated(
        x,
        weight,
        per_axis(stride, n),
        padding if isinstance(padding, str) else pairs(padding, n),
        rhs_dilation=per_axis(dilation, n),
        feature_group_count=x.shape[1] // weight.shape[1],
    )
    return y + channels(params["bias"], y) if "bias" in params else y


def conv_transpose(
    params: Params,
    x: jax.Array,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int | tuple[int, int], ...] = 0,
    output_padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> jax.Array:
    """The gradient of a convolution: weight [C, M / groups, ...], its elements a stride apart and turned around."""
    weight, n = params["weight"], x.ndim - 2
    strides, dilations = per_axis(stride, n), per_axis(dilation, n)
    spans = [(k - 1) * d for k, d in zip(weight.shape[2:], dilations, strict=True)]
    extra = per_axis(output_padding, n)
    kernel = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
    kernel = jnp.flip(kernel.reshape(-1, *kernel.shape[2:]), range(2, n + 2))
    y = lax.conv_general_dilated(
        x,
        kernel,
        (1,) * n,
        [
            (span - begin, span - end + more)
            for span, (begin, end), more in zip(spans, pairs(padding, n), extra, strict=True)
        ],
        lhs_dilation=strides,
        rhs_dilation=dilations,
        feature_group_count=groups,
    )
    return y + channels(params["bias"], y) if "bias" in params else y


def pairs(padding: Any, n: int) -> list[tuple[int, int]]:
    """(begin, end) for each of n axes."""
    return [(p, p) if isinstance(p, int) else p for p in per_axis(padding, n)]


def per_axis(value: Any, n: int) -> tuple[Any, ...]:
    """One value for each of n axes."""
    return value if isinstance(value, tuple) else (value,) * n


def channels(vector: jax.Array, x: jax.Array) -> jax.Array:
    """A number for each channel of x [N, C, ...], so that it broadcasts."""
    return vector.reshape(-1, *[1] * (x.ndim - 2))


def linear(params: Params, x: jax.Array) -> jax.Array:
    """The product x @ weight.T, plus the bias."""
    y = x @ params["weight"].T
    return y + params["bias"] if "bias" in params else y


def embedding(params: Params, indices: jax.Array) -> jax.Array:
    """The rows at `indices`."""
    return params["weight"][indices]


def batch_norm(params: Params, x: jax.Array, ctx: Context, eps: float = 1e-5, momentum: float = 0.1) -> jax.Array:
    """By running statistics; in training by the batch's own, of which the running ones take up a share."""
    mean, var = lax.stop_gradient((params["running_mean"], params["running_var"]))
    if ctx.train:
        axes = (0, *range(2, x.ndim))
        running, count = (mean, var), x.size // x.shape[1]
        mean, var = jnp.mean(x, axes), jnp.var(x, axes)
        new = lax.stop_gradient((mean, var * count / max(count - 1, 1)))
        mixed = [(1 - momentum) * old + momentum * now for old, now in zip(running, new, strict=True)]
        ctx.statistics[id(params)] = {"running_mean": mixed[0], "running_var": mixed[1]}
    scale = params["weight"] * lax.rsqrt(var + eps)
    return x * channels(scale, x) + channels(params["bias"] - mean * scale, x)


def layer_norm(params: Params, x: jax.Array, axes: int = 1, eps: float = 1e-5) -> jax.Array:
    """Normalised over the last axes, as many as `axes` says."""
    along = tuple(range(-axes, 0))
    centred = x - jnp.mean(x, along, keepdims=True)
    y = centred * lax.rsqrt(jnp.mean(jnp.square(centred), along, keepdims=True) + eps)
    y = y * params["weight"] if "weight" in params else y
    return y + params["bias"] if "bias" in params else y


def rms_norm(params: Params, x: jax.Array, axes: int = 1, eps: float = 1e-5) -> jax.Array:
    """Over the root of the mean square of the last axes, as many as `axes` says."""
    along = tuple(range(-axes, 0))
    return x * lax.rsqrt(jnp.mean(jnp.square(x), along, keepdims=True) + eps) * params["weight"]


def group_norm(params: Params, x: jax.Array, groups: int, eps: float = 1e-5) -> jax.Array:
    """Normalised over groups of channels."""
    parts = x.reshape(x.shape[0], groups, -1)
    centred = parts - jnp.mean(parts, -1, keepdims=True)
    y = (centred * lax.rsqrt(jnp.mean(jnp.square(centred), -1, keepdims=True) + eps)).reshape(x.shape)
    return y * channels(params["weight"], x) + channels(params["bias"], x)


def instance_norm(params: Params, x: jax.Array, eps: float = 1e-5) -> jax.Array:
    """Normalised over each channel of each sample."""
    axes = tuple(range(2, x.ndim))
    centred = x - jnp.mean(x, axes, keepdims=True)
    y = centred * lax.rsqrt(jnp.mean(jnp.square(centred), axes, keepdims=True) + eps)
    return y * channels(params["weight"], x) + channels(params["bias"], x)


def local_response_norm(x: jax.Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> jax.Array:
    """Over the power beta of k + alpha times the mean square of `size` channels around."""
    before = (size - 1) // 2
    pads = [(0, 0), (before, size - 1 - before)] + [(0, 0)] * (x.ndim - 2)
    total = lax.reduce_window(x * x, 0.0, lax.add, (1, size, *[1] * (x.ndim - 2)), (1,) * x.ndim, pads)
    return x / (k + alpha / size * total) ** beta


def dropout(x: jax.Array, rate: float, ctx: Context) -> jax.Array:
    """In training, zeros in the place of a share of the elements."""
    if not ctx.train or rate == 0:
        return x
    return jnp.where(jax.random.bernoulli(ctx.key(), 1 - rate, x.shape), x / (1 - rate), 0)


def stochastic_depth(x: jax.Array, rate: float, ctx: Context, mode: str = "row") -> jax.Array:
    """In training, zeros in the place of a share of the samples, or of the whole batch."""
    if not ctx.train or rate == 0:
        return x
    shape = (x.shape[0] if mode == "row" else 1, *[1] * (x.ndim - 1))
    return jnp.where(jax.random.bernoulli(ctx.key(), 1 - rate, shape), x / (1 - rate), 0)


def max_pool(
    x: jax.Array,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int | tuple[int, int], ...] = 0,
    dilation: int | tuple[int, ...] = 1,
) -> jax.Array:
    """The largest in each window."""
    n = x.ndim - 2
    return lax.reduce_window(
        x,
        -jnp.inf,
        lax.max,
        (1, 1, *per_axis(kernel_size, n)),
        (1, 1, *per_axis(stride, n)),
        [(0, 0), (0, 0), *pairs(padding, n)],
        window_dilation=(1, 1, *per_axis(dilation, n)),
    )


def avg_pool(
    x: jax.Array,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int | tuple[int, int], ...] = 0,
    count_include_pad: bool = True,
) -> jax.Array:
    """The mean of each window; without `count_include_pad` of what lies in the image alone."""
    n = x.ndim - 2
    kernel = per_axis(kernel_size, n)
    window = (1, 1, *kernel), (1, 1, *per_axis(stride, n)), [(0, 0), (0, 0), *pairs(padding, n)]
    total = lax.reduce_window(x, 0.0, lax.add, *window)
    if count_include_pad:
        return total / math.prod(kernel)
    return total / lax.reduce_window(jnp.ones_like(x), 0.0, lax.add, *window)


def attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array | None = None,
    scale: float | None = None,
    is_causal: bool = False,
) -> jax.Array:
    """softmax(query @ key.T * scale + mask) @ value over [N, heads, T, size]; a mask of booleans says what is seen."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = query @ key.mT * scale
    if is_causal:
        scores = jnp.where(jnp.tril(jnp.ones(scores.shape[-2:], bool)), scores, -jnp.inf)
    if mask is not None:
        scores = jnp.where(mask, scores, -jnp.inf) if mask.dtype == bool else scores + mask
    weights = jax.nn.softmax(scores, axis=-1)
    return jnp.where(jnp.isnan(weights), 0, weights) @ value


def gather_nd(x: jax.Array, indices: jax.Array) -> jax.Array:
    """X at places whose coordinates stand along the last axis."""
    return x[tuple(jnp.moveaxis(indices, -1, 0))]


def resize(
    x: jax.Array, size: tuple[int, int], method: str = "bilinear", align_corners: bool = False, scale: Any = None
) -> jax.Array:
    """A picture [N, C, H, W] at another height and width."""
    for axis, (have, want) in enumerate(zip(x.shape[2:], size, strict=True), start=2):
        ratio = want / have if scale is None else scale[axis - 2]
        at = (
            np.arange(want) * ((have - 1) / max(want - 1, 1))
            if align_corners
            else (np.arange(want) + 0.5) / ratio - 0.5
        )
        if method == "nearest":
            x = jnp.take(x, np.floor(np.arange(want) / ratio).astype(int).clip(0, have - 1), axis)
            continue
        low = np.floor(at).astype(int)
        share = jnp.asarray(at - low, x.dtype).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        below, above = (jnp.take(x, (low + i).clip(0, have - 1), axis) for i in (0, 1))
        x = below * (1 - share) + above * share
    return x
