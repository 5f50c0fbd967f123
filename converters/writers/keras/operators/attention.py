"""ONNX's attention operators: Keras' dot_product_attention, and what of them it does not compute."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir
from keras import ops

from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.dtypes import available, held
from zoo.converters.writers.keras.operators.activation import normalised_exp
from zoo.converters.writers.keras.operators.indexing import from_front
from zoo.converters.writers.keras.operators.precision import dtype_of, is_bool, like, number
from zoo.converters.writers.keras.operators.sizes import Size, places, rank, sizes
from zoo.converters.writers.keras.operators.windows import padded_all

Tensor = Any


def heads(x: Tensor, count: int | None) -> Tensor:
    """[batch, sequence, heads * size] -> [batch, heads, sequence, size]."""
    batch, length, width = sizes(x)
    return ops.swapaxes(ops.reshape(x, [batch, length, count, width // (count or 1)]), 1, 2)


def flat(x: Tensor) -> Tensor:
    """The reverse of `heads`."""
    batch, count, length, size = sizes(x)
    return ops.reshape(ops.swapaxes(x, 1, 2), [batch, length, count * size])


@lowers("Attention")
def attention(
    w: Any,
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    attn_mask: Tensor = None,
    past_key: Tensor = None,
    past_value: Tensor = None,
    nonpad_kv_seqlen: Tensor = None,
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
) -> Tensor:
    """softmax(Q K^T * scale + mask) V over [batch, heads, sequence, size], or [batch, sequence, heads * size].

    The cached keys and values, with the new ones behind, and the products of queries and keys are outputs as well.
    """
    is_flat = rank(Q) == 3
    q, k, v = (heads(Q, q_num_heads), heads(K, kv_num_heads), heads(V, kv_num_heads)) if is_flat else (Q, K, V)
    past: Size = 0
    if past_key is not None:
        past = sizes(past_key)[2]
        k, v = ops.concatenate([past_key, k], 2), ops.concatenate([past_value, v], 2)
    windows = {"left": left_window_size, "right": right_window_size}
    mask = attn_mask
    if mask is not None or nonpad_kv_seqlen is not None or is_causal or max(windows.values()) >= 0:
        mask = attention_mask(q, k, mask, nonpad_kv_seqlen, past, is_causal=bool(is_causal), **windows)
    precision = dtype_of(Q) if softmax_precision is None else available(held(ir.DataType(softmax_precision)))
    y, scores = attended(q, k, v, mask, scale=scale, softcap=softcap, mode=qk_matmul_output_mode, precision=precision)
    return (flat(y) if is_flat else y), k, v, scores


def attention_mask(
    q: Tensor, k: Tensor, mask: Tensor, lengths: Tensor, past: Size, *, is_causal: bool, left: int, right: int
) -> Tensor:
    """Which of the keys [..., n, size] each query [..., m, size] attends: truth values, or what a float mask adds.

    A query's place is behind the `past` keys, or among the last of each sample's `lengths` [batch] of keys; it attends
    no later key if is_causal, and only so many on its left and right. A mask that ends too early leaves out the rest.
    """
    count, of = sizes(q)[2], sizes(k)[2]
    keys, at = places(of, 1, 2), places(count, 0, 2)
    if lengths is None:
        at = at + past
        allowed = ops.ones([count, of], dtype="bool")
    else:
        lengths = ops.reshape(ops.cast(lengths, "int32"), [-1, 1, 1, 1])
        at = at + (lengths - count)
        allowed = keys < lengths
    if is_causal:
        allowed = ops.logical_and(allowed, keys <= at)
    if left >= 0:
        allowed = ops.logical_and(allowed, keys >= at - left)
    if right >= 0:
        allowed = ops.logical_and(allowed, keys <= at + right)
    if mask is None:
        return allowed
    behind = [(0, 0)] * (rank(mask) - 1) + [(0, of - sizes(mask)[-1])]
    if is_bool(mask):
        short = padded_all(ops.cast(mask, "int32"), behind)
        return ops.logical_and(ops.cast(short, "bool"), allowed)
    mask = padded_all(mask, behind, -math.inf)
    return ops.where(allowed, mask, number(-math.inf, mask))


def attended(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor, *, scale: float | None, softcap: float, mode: int, precision: str
) -> tuple[Tensor, Tensor]:
    """Attention, and the scores [batch, heads, m, n]: as they are (mode 0), capped (1), masked (2), or as weights (3).

    As in the standard queries and keys are each scaled by the root of the scale, so that half precision does not
    overflow. A query that attends no key gives zeros.
    """
    factor = math.sqrt(q.shape[-1] ** -0.5 if scale is None else scale)
    groups = q.shape[1] // k.shape[1]
    k, v = (ops.repeat(k, groups, 1), ops.repeat(v, groups, 1)) if groups > 1 else (k, v)
    scores = ops.matmul(q * factor, ops.swapaxes(k * factor, -1, -2))
    capped = softcap * ops.tanh(scores / softcap) if softcap else scores
    masked = capped
    if mask is None:
        weights = normalised_exp(ops.cast(masked, precision), -1)
    else:
        attends = mask if is_bool(mask) else ops.not_equal(mask, number(-math.inf, mask))
        attends = ops.any(attends, -1, keepdims=True)
        if is_bool(mask):
            masked = ops.where(mask, capped, number(-math.inf, capped))
        else:
            masked = capped + like(mask, capped)
        wanted = ops.cast(masked, precision)
        weights = normalised_exp(ops.where(attends, wanted, ops.zeros_like(wanted)), -1)
        weights = ops.where(attends, weights, ops.zeros_like(weights))
    weights = like(weights, q)
    return ops.matmul(weights, v), (scores, capped, masked, weights)[mode]


@lowers("RotaryEmbedding")
def rotary_embedding(
    w: Any,
    X: Tensor,
    cos_cache: Tensor,
    sin_cache: Tensor,
    position_ids: Tensor = None,
    *,
    interleaved: int = 0,
    num_heads: int | None = None,
    rotary_embedding_dim: int = 0,
) -> Tensor:
    """Pairs of numbers turned by angles that grow with the place (Su et al., arXiv:2104.09864).

    X is [batch, heads, sequence, size] or [batch, sequence, heads * size]; the caches are [places, angles] where
    position_ids [batch, sequence] choose the places, else [batch, sequence, angles]. A pair are two neighbours
    (interleaved), or one of the first half and one of the second.
    """
    cos, sin = cos_cache, sin_cache
    if position_ids is not None:
        at = from_front(position_ids, sizes(cos)[0])
        cos, sin = ops.take(cos, at, axis=0), ops.take(sin, at, axis=0)
    x = heads(X, num_heads) if rank(X) == 3 else X
    size = 2 * cos.shape[-1]
    cos, sin = ops.expand_dims(cos, 1), ops.expand_dims(sin, 1)
    if interleaved:
        a, b = x[..., 0:size:2], x[..., 1:size:2]
        pairs = ops.stack([a * cos - b * sin, b * cos + a * sin], -1)
        turned = ops.reshape(pairs, [*sizes(x)[:-1], size])
    else:
        a, b = x[..., : size // 2], x[..., size // 2 : size]
        turned = ops.concatenate([a * cos - b * sin, b * cos + a * sin], -1)
    y = turned if size == x.shape[-1] else ops.concatenate([turned, x[..., size:]], -1)
    return flat(y) if rank(X) == 3 else y
