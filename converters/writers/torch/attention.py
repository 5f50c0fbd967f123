"""ONNX's attention operators: F.scaled_dot_product_attention, and what of them torch has no function for."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir
import torch
import torch.nn.functional as F

from zoo.converters.writers.torch import lowers

Value = Any


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
    torch's own function has no soft cap, gives no products, and takes either a mask or is_causal.
    """
    q, k, v = Q, K, V
    if w.rank_in(0) == 3:
        q = Q.unflatten(2, (q_num_heads, -1)).transpose(1, 2)
        k, v = (x.unflatten(2, (kv_num_heads, -1)).transpose(1, 2) for x in (K, V))
    if past_key is not None:
        k, v = torch.cat([past_key, k], dim=2), torch.cat([past_value, v], dim=2)
    dtype = w.dtype_in(0)
    mask = attn_mask
    if mask is not None and w.dtype_in(3) not in (torch.bool, dtype):
        mask = mask.to(dtype)
    if mask is not None and w.rank_in(3) == 1:
        mask = mask.unsqueeze(0)
    past = past_key.shape[2] if past_key is not None else 0
    restricts = past_key is not None or nonpad_kv_seqlen is not None or mask is not None
    windows = {"left": left_window_size, "right": right_window_size}
    composed = (is_causal and restricts) or max(windows.values()) >= 0 or nonpad_kv_seqlen is not None
    if composed or (mask is not None and _may_be_short(w)):
        mask = w.function(attention_mask, q, k, mask, nonpad_kv_seqlen, past, is_causal=bool(is_causal), **windows)
        is_causal = 0
    precision = w.dtype_of(ir.DataType(softmax_precision)) if softmax_precision else dtype
    is_widened = precision.itemsize > max(dtype.itemsize, 4)  # torch's own softmax is in float32 at least
    products = len(w.node.outputs) > 3
    if softcap or products or is_widened:
        if is_causal:
            mask = w.function(attention_mask, q, k, None, None, 0, is_causal=True)
        options = {"scale": scale, "softcap": softcap, "mode": qk_matmul_output_mode, "precision": precision}
        found = w.function(attention_with_scores, q, k, v, mask, **options)
        y, scores = found[0], found[1]
    else:
        y, scores = _native(w, q, k, v, mask, is_causal, scale), None
    y = y.transpose(1, 2).flatten(2) if w.rank_in(0) == 3 else y
    return y, k, v, scores


def _may_be_short(w: Any) -> bool:
    """Whether a mask may end before the keys do."""
    mask, keys, past = w.shape_in(3), w.shape_in(1), w.shape_in(4)
    length = keys[-2] if w.rank_in(1) == 4 else keys[1]
    if past is not None:
        length = length + past[2] if isinstance(length, int) and isinstance(past[2], int) else None
    return isinstance(length, int) and isinstance(mask[-1], int) and mask[-1] != length


def _native(w: Any, q: Value, k: Value, v: Value, mask: Value, is_causal: int, scale: float | None) -> Value:
    options: dict[str, Any] = {}
    if mask is not None:
        options["attn_mask"] = mask
    if is_causal:
        options["is_causal"] = True
    size = (w.shape_in(0) or (None,))[-1] if w.rank_in(0) == 4 else None
    if scale is not None and not (isinstance(size, int) and abs(scale - size**-0.5) < 1e-7):
        options["scale"] = scale
    heads = [w.node.attributes.get_int(name, 0) for name in ("q_num_heads", "kv_num_heads")]
    if w.rank_in(0) == 4:
        heads = [(w.shape_in(i) or (None, None))[1] for i in (0, 1)]
    if heads[0] != heads[1]:
        options["enable_gqa"] = True
    return F.scaled_dot_product_attention(q, k, v, **options)


def attention_mask(
    q: torch.Tensor,
    k: torch.Tensor,
    mask: torch.Tensor | None = None,
    lengths: torch.Tensor | None = None,
    past: int = 0,
    *,
    is_causal: bool = False,
    left: int = -1,
    right: int = -1,
) -> torch.Tensor:
    """Which of the keys [..., n, size] each query [..., m, size] attends: truth values, or what a float mask adds.

    A query's place is behind the `past` keys, or among the last of each sample's `lengths` [batch] of keys; it attends
    no later key if is_causal, and only so many on its left and right. A mask that ends too early leaves out the rest.
    """
    keys = torch.arange(k.shape[2], device=k.device)
    places = torch.arange(q.shape[2], device=q.device).unsqueeze(1)
    if lengths is None:
        places = places + past
        allowed = torch.ones_like(places + keys, dtype=torch.bool)
    else:
        lengths = lengths.reshape(-1, 1, 1, 1)
        places = places + (lengths - q.shape[2])
        allowed = (keys < lengths).expand(-1, 1, q.shape[2], -1)
    if is_causal:
        allowed = allowed & (keys <= places)
    if left >= 0:
        allowed = allowed & (keys >= places - left)
    if right >= 0:
        allowed = allowed & (keys <= places + right)
    if mask is None:
        return allowed
    is_bool = mask.dtype == torch.bool
    if mask.shape[-1] != k.shape[2]:
        mask = F.pad(mask, (0, k.shape[2] - mask.shape[-1]), value=False if is_bool else -math.inf)
    return mask & allowed if is_bool else torch.where(allowed, mask, -math.inf)


def attention_with_scores(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    scale: float | None = None,
    softcap: float = 0.0,
    mode: int = 0,
    precision: torch.dtype = torch.float32,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention, and the scores [batch, heads, m, n]: as they are (mode 0), capped (1), masked (2), or as weights (3).

    As in the standard queries and keys are each scaled by the root of the scale, so that half precision does not
    overflow. A query that attends no key gives zeros.
    """
    factor = math.sqrt(q.shape[-1] ** -0.5 if scale is None else scale)
    groups = q.shape[1] // k.shape[1]
    k, v = (k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)) if groups > 1 else (k, v)
    scores = (q * factor) @ (k * factor).transpose(-2, -1)
    capped = softcap * torch.tanh(scores / softcap) if softcap else scores
    masked = capped
    if mask is not None:
        masked = torch.where(mask, capped, -math.inf) if mask.dtype == torch.bool else capped + mask
    weights = torch.softmax(masked.to(precision), dim=-1).to(q.dtype)
    if mask is not None:
        is_attended = mask if mask.dtype == torch.bool else mask != -math.inf
        weights = torch.where(is_attended.any(-1, keepdim=True), weights, 0)
    return weights @ v, (scores, capped, masked, weights)[mode]


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
    position_ids [batch, sequence] choose the places, else [batch, sequence, angles].
    """
    cos, sin = cos_cache, sin_cache
    if position_ids is not None:
        cos, sin = cos[position_ids], sin[position_ids]
    x = X.unflatten(2, (num_heads, -1)).transpose(1, 2) if w.rank_in(0) == 3 else X
    y = w.function(rotated, x, cos, sin, **({"interleaved": True} if interleaved else {}))
    return y.transpose(1, 2).flatten(2) if w.rank_in(0) == 3 else y


def rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool = False) -> torch.Tensor:
    """The first numbers of x [batch, heads, sequence, size] turned by the angles [batch, sequence, angles].

    A pair are two neighbours (interleaved), or one of the first half and one of the second. Angles may be of a finer
    dtype than x, as they are where a module in half precision computes them.
    """
    size = 2 * cos.shape[-1]
    cos, sin = (angles.unsqueeze(1).to(x.dtype) for angles in (cos, sin))
    if interleaved:
        a, b = x[..., 0:size:2], x[..., 1:size:2]
        turned = torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)
    else:
        a, b = x[..., : size // 2], x[..., size // 2 : size]
        turned = torch.cat([a * cos - b * sin, b * cos + a * sin], -1)
    return turned if size == x.shape[-1] else torch.cat([turned, x[..., size:]], -1)
