"""ONNX's attention operators, as products and a softmax, which XLA fuses.

jax.nn.dot_product_attention is that very composition too (save on request, by cuDNN), with the axes in another order,
values of the keys' size alone, and (jaxlib 0.7.1) no half precision on a CPU.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from zoo.converters.writers.jax import lowers
from zoo.converters.writers.jax.sizes import places

Value = Any


def _heads(x: Value, count: int | None) -> Value:
    """[batch, sequence, heads * size] -> [batch, heads, sequence, size]."""
    return x.reshape(*x.shape[:2], count, -1).swapaxes(1, 2)


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
    """softmax(Q K^T * scale + mask) V over [batch, heads, sequence, size], or [batch, sequence, heads * size].

    The cached keys and values, with the new ones behind, and the products of queries and keys are outputs as well.
    """
    is_flat = Q.ndim == 3
    q, k, v = (_heads(Q, q_num_heads), _heads(K, kv_num_heads), _heads(V, kv_num_heads)) if is_flat else (Q, K, V)
    past = 0
    if past_key is not None:
        past = past_key.shape[2]
        k, v = jnp.concatenate([past_key, k], 2), jnp.concatenate([past_value, v], 2)
    windows = {"left": left_window_size, "right": right_window_size}
    mask, precision = attn_mask, jnp.promote_types(Q.dtype, jnp.float32)
    if softmax_precision:
        precision = jnp.promote_types(precision, w.dtype_of(softmax_precision))
    if is_causal or mask is not None or nonpad_kv_seqlen is not None or max(windows.values()) >= 0:
        mask = attention_mask(q, k, mask, nonpad_kv_seqlen, past, is_causal=bool(is_causal), **windows)
    y, scores = attended(q, k, v, mask, scale=scale, softcap=softcap, mode=qk_matmul_output_mode, precision=precision)
    y = y.swapaxes(1, 2).reshape(y.shape[0], y.shape[2], -1) if is_flat else y
    return y, k, v, scores


def attention_mask(
    q: Value,
    k: Value,
    mask: Value,
    lengths: Value,
    past: int,
    *,
    is_causal: bool,
    left: int,
    right: int,
) -> Value:
    """Which of the keys [..., n, size] each query [..., m, size] attends: truth values, or what a float mask adds.

    A query's place is behind the `past` keys, or among the last of each sample's `lengths` [batch] of keys; it attends
    no later key if is_causal, and only so many on its left and right. A mask that ends too early leaves out the rest.
    """
    keys, queries = places(k.shape[2]), places(q.shape[2])[:, None]
    if lengths is None:
        allowed = (keys >= 0) & (queries >= 0)  # all
        queries = queries + past
    else:
        lengths = lengths.reshape(-1, 1, 1, 1)
        queries = queries + (lengths - q.shape[2])
        allowed = keys < lengths
    if is_causal:
        allowed = allowed & (keys <= queries)
    if left >= 0:
        allowed = allowed & (keys >= queries - left)
    if right >= 0:
        allowed = allowed & (keys <= queries + right)
    if mask is None:
        return allowed
    is_bool = mask.dtype == bool
    if (short := k.shape[2] - mask.shape[-1]) > 0:
        widths = [(0, 0)] * (mask.ndim - 1) + [(0, short)]
        mask = jnp.pad(mask, widths, constant_values=False if is_bool else -math.inf)
    return mask & allowed if is_bool else jnp.where(allowed, mask, -math.inf)


def attended(
    q: Value, k: Value, v: Value, mask: Value, *, scale: float | None, softcap: float, mode: int, precision: Any
) -> tuple[Value, Value]:
    """Attention, and the scores [batch, heads, m, n]: as they are (mode 0), capped (1), masked (2), or as weights (3).

    As in the standard queries and keys are each scaled by the root of the scale, so that half precision does not
    overflow. A query that attends no key gives zeros.
    """
    factor = math.sqrt(q.shape[-1] ** -0.5 if scale is None else scale)
    groups = q.shape[1] // k.shape[1]
    k, v = (jnp.repeat(k, groups, 1), jnp.repeat(v, groups, 1)) if groups > 1 else (k, v)
    scores = jnp.einsum("bhqd,bhkd->bhqk", q * factor, k * factor)
    capped = softcap * jnp.tanh(scores / softcap) if softcap else scores
    masked = capped
    if mask is not None:
        masked = jnp.where(mask, capped, -math.inf) if mask.dtype == bool else capped + mask.astype(capped.dtype)
    if mask is None:
        weights = jax.nn.softmax(masked.astype(precision), axis=-1)
    else:
        attends = jnp.any(mask if mask.dtype == bool else mask != -math.inf, -1, keepdims=True)
        weights = jax.nn.softmax(jnp.where(attends, masked.astype(precision), 0), axis=-1)
        weights = jnp.where(attends, weights, 0)
    weights = weights.astype(q.dtype)
    return jnp.einsum("bhqk,bhkd->bhqd", weights, v), (scores, capped, masked, weights)[mode]


@lowers("RotaryEmbedding")
def rotary_embedding(
    w: Any,
    X: Value,
    cos_cache: Value,
    sin_cache: Value,
    position_ids: Value = None,
    *,
    interleaved: int = 0,
    num_heads: int | None = None,
    rotary_embedding_dim: int = 0,
) -> Value:
    """Pairs of numbers turned by angles that grow with the place (Su et al., arXiv:2104.09864).

    X is [batch, heads, sequence, size] or [batch, sequence, heads * size]; the caches are [places, angles] where
    position_ids [batch, sequence] choose the places, else [batch, sequence, angles]. A pair are two neighbours
    (interleaved), or one of the first half and one of the second.
    """
    cos, sin = cos_cache, sin_cache
    if position_ids is not None:
        cos, sin = cos[position_ids], sin[position_ids]
    x = _heads(X, num_heads) if X.ndim == 3 else X
    size = 2 * cos.shape[-1]
    cos, sin = cos[:, None], sin[:, None]
    if interleaved:
        a, b = x[..., 0:size:2], x[..., 1:size:2]
        turned = jnp.stack([a * cos - b * sin, b * cos + a * sin], -1).reshape(*x.shape[:-1], size)
    else:
        a, b = x[..., : size // 2], x[..., size // 2 : size]
        turned = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)
    y = turned if size == x.shape[-1] else jnp.concatenate([turned, x[..., size:]], -1)
    return y.swapaxes(1, 2).reshape(X.shape) if X.ndim == 3 else y
