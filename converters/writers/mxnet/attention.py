"""ONNX's attention, as products and a softmax."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from typing import Any

from zoo.converters.writers.mxnet import lowers
from zoo.converters.writers.mxnet.sizes import Size

Value = Any
FAR = -1e30  # what is left out of a softmax: minus infinity in a whole row has no softmax


def _heads(w: Any, x: Value, count: int | None) -> Value:
    """[batch, sequence, heads * size] -> [batch, heads, sequence, size]."""
    return w.F.transpose(w.F.reshape(x, shape=(0, 0, count, -1)), axes=(0, 2, 1, 3))


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

    The cached keys and values, with the new ones behind, and the products of queries and keys are outputs as well. As
    in the standard queries and keys are each scaled by the root of the scale. A query that attends no key gives zeros.
    """
    is_flat = w.rank(0) == 3
    q, k, v = (_heads(w, x, n) if is_flat else x for x, n in ((Q, q_num_heads), (K, kv_num_heads), (V, kv_num_heads)))
    heads, kv_heads = (q_num_heads or 1, kv_num_heads or 1) if is_flat else (w.dims(0)[1], w.dims(1)[1])
    size = w.dims(0)[-1] // heads if is_flat else w.dims(0)[-1]
    past: Any = None
    if past_key is not None:
        past = past_key
        k, v = w.F.concat(past_key, k, dim=2), w.F.concat(past_value, v, dim=2)
    all_k, all_v = k, v
    if heads != kv_heads:
        k, v = (w.F.repeat(x, repeats=heads // kv_heads, axis=1) for x in (k, v))
    factor = math.sqrt(size**-0.5 if scale is None else scale)
    scores = _product(w, q * factor, k * factor, heads, transpose_b=True)
    capped = w.F.tanh(scores / softcap) * softcap if softcap else scores
    masked, attends = capped, None
    allowed = _allowed(w, q, k, past, nonpad_kv_seqlen, is_causal, left_window_size, right_window_size)
    if attn_mask is not None:
        masked, attends = _with_mask(w, capped, attn_mask, k)
    if allowed is not None:
        masked = _left_out(w, masked, allowed)
        attends = allowed if attends is None else w.F.broadcast_mul(attends, allowed)
    weights = w.F.softmax(masked, axis=-1)
    if attends is not None:
        weights = w.F.broadcast_mul(weights, w.F.max(attends, axis=-1, keepdims=True))
    y = _product(w, weights, v, heads)
    if is_flat:
        y = w.F.reshape(w.F.transpose(y, axes=(0, 2, 1, 3)), shape=(0, 0, -1))
    shown = (scores, capped, masked, weights)[qk_matmul_output_mode]
    if qk_matmul_output_mode == 2 and attends is not None and w.is_read(3):
        shown = w.np.where(masked <= FAR, w.F.zeros_like(masked) - math.inf, masked)
    return y, all_k, all_v, shown


def _product(w: Any, a: Value, b: Value, heads: int, *, transpose_b: bool = False) -> Value:
    """The product of matrices in [batch, heads, ...], batch and heads as the one axis that batch_dot has."""
    flat = (w.F.reshape(x, shape=(-3, 0, 0)) for x in (a, b))
    return w.F.reshape(w.F.batch_dot(*flat, transpose_b=transpose_b), shape=(-4, -1, heads, 0, 0))


def _left_out(w: Any, scores: Value, allowed: Value) -> Value:
    """Scores with FAR where a factor of 0 or 1 that broadcasts is 0."""
    kept = w.F.broadcast_mul(w.F.ones_like(scores), allowed)
    return w.F.where(kept > 0, scores, w.F.zeros_like(scores) + FAR)


def _with_mask(w: Any, scores: Value, mask: Value, k: Value) -> tuple[Value, Value]:
    """Scores with a mask of truth values or of what is added; and 1 where a key is attended.

    A mask that ends before the keys leaves out the rest.
    """
    rank, have, keys = w.rank(3), w.dims(3)[-1], w.dims(1)[-2]
    is_bool = w.type_in(3).name == "BOOL"
    mask = w.cast(mask, w.computed_in(0)) if is_bool else mask
    attended = mask if is_bool else w.F.broadcast_greater(mask, w.F.zeros_like(mask) + FAR)
    added = w.F.zeros_like(mask) if is_bool else w.F.broadcast_maximum(mask, w.F.zeros_like(mask) + FAR)
    if not isinstance(have, Size) and not isinstance(keys, Size):
        past = 0 if len(w.converted) < 5 or w.converted[4] is None else w.whole(4)[2]
        short = keys + past - have
        if short > 0:
            widths = [(0, 0)] * (rank - 1) + [(0, short)]
            attended, added = (w.pad(x, widths) for x in (attended, added))
    return _left_out(w, w.F.broadcast_add(scores, added), attended), attended


def _allowed(
    w: Any, q: Value, k: Value, past: Value, lengths: Value, is_causal: int, left: int, right: int
) -> Value | None:
    """1 where a query may attend a key by its place, else 0; None where it may attend all.

    A query's place is behind the cached keys, or among the last of each sample's `lengths` [batch] of keys.
    """
    if not is_causal and lengths is None and max(left, right) < 0:
        return None
    line = {"dtype": "float32"}
    keys = w.F.reshape(w.F.contrib.arange_like(k, axis=2), shape=(1, 1, 1, -1))
    places = w.F.reshape(w.F.contrib.arange_like(q, axis=2), shape=(1, 1, -1, 1))
    tests = []
    if lengths is not None:
        ends = w.F.reshape(w.cast(lengths, line["dtype"]), shape=(-1, 1, 1, 1))
        count = w.F.slice_axis(places, axis=2, begin=-1, end=None) + 1
        places = w.F.broadcast_add(places, w.F.broadcast_sub(ends, count))
        tests.append(w.F.broadcast_lesser(keys, ends))
    elif past is not None:
        behind = w.F.slice_axis(
            w.F.reshape(w.F.contrib.arange_like(past, axis=2), shape=(1, 1, 1, -1)), axis=3, begin=-1, end=None
        )
        places = w.F.broadcast_add(places, behind + 1)
    if is_causal:
        tests.append(w.F.broadcast_lesser_equal(keys, places))
    if left >= 0:
        tests.append(w.F.broadcast_greater_equal(keys, places - left))
    if right >= 0:
        tests.append(w.F.broadcast_lesser_equal(keys, places + right))
    made = tests[0]
    for test in tests[1:]:
        made = w.F.broadcast_mul(made, test)
    return w.cast(made, w.computed_in(0))


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
        cos, sin = (w.F.take(x, position_ids) for x in (cos, sin))
    is_flat = w.rank(0) == 3
    x = _heads(w, X, num_heads) if is_flat else X
    half = w.whole(1)[-1]
    cos, sin = (w.F.expand_dims(v, axis=1) for v in (cos, sin))
    turned, rest = w.F.slice_axis(x, axis=3, begin=0, end=2 * half), None
    width = w.dims(0)[-1] // (num_heads or 1) if is_flat else w.dims(0)[-1]
    if width != 2 * half:
        rest = w.F.slice_axis(x, axis=3, begin=2 * half, end=None)
    if interleaved:
        pairs = w.F.reshape(turned, shape=(0, 0, 0, half, 2))
        a, b = (w.F.squeeze(w.F.slice_axis(pairs, axis=4, begin=i, end=i + 1), axis=4) for i in (0, 1))
    else:
        a, b = (w.F.slice_axis(turned, axis=3, begin=i * half, end=(i + 1) * half) for i in (0, 1))
    first = w.F.broadcast_sub(w.F.broadcast_mul(a, cos), w.F.broadcast_mul(b, sin))
    second = w.F.broadcast_add(w.F.broadcast_mul(b, cos), w.F.broadcast_mul(a, sin))
    if interleaved:
        y = w.F.reshape(w.F.stack(first, second, axis=4), shape=(0, 0, 0, -3))
    else:
        y = w.F.concat(first, second, dim=3)
    y = y if rest is None else w.F.concat(y, rest, dim=3)
    return w.F.reshape(w.F.transpose(y, axes=(0, 2, 1, 3)), shape=(0, 0, -1)) if is_flat else y
