"""ONNX's stateful sequence operators: attention that is linear in the sequence, and the convolution before it."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from zoo.converters.writers.torch import lowers

Value = Any


@lowers("LinearAttention")
def linear_attention(
    w: Any,
    query: Value,
    key: Value,
    value: Value,
    past_state: Value = None,
    decay: Value = None,
    beta: Value = None,
    *,
    chunk_size: int = 64,
    kv_num_heads: int,
    q_num_heads: int,
    scale: float = 0.0,
    update_rule: str = "gated_delta",
) -> Value:
    """Attention by a state [batch, heads, key size, value size] that each place changes; see `attended_in_turn`.

    Query, key and value are [batch, sequence, heads * size], decay [batch, sequence, heads or heads * key size],
    beta [batch, sequence, heads or 1]. The state is computed in float32, and an output in its own dtype.
    """
    q = query.unflatten(2, (q_num_heads, -1))
    k, v = (x.unflatten(2, (kv_num_heads, -1)) for x in (key, value))
    decay = None if decay is None else decay.unflatten(2, (kv_num_heads, -1))
    beta = None if beta is None else beta.unsqueeze(-1)
    found = w.function(attended_in_turn, q, k, v, past_state, decay, beta, scale=scale or None)
    return found[0].flatten(2), found[1]


def attended_in_turn(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    state: torch.Tensor | None = None,
    decay: torch.Tensor | None = None,
    beta: torch.Tensor | None = None,
    *,
    scale: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What each query [batch, sequence, heads, size] reads of a state, and the last state; one place after the other.

    A place lets the state fade by exp(decay), then writes its value under its key: with beta, of the value only what
    the state does not give for that key yet, times beta (the delta rule of Yang et al., arXiv:2406.06484).
    Several heads of queries may share one of keys and values.
    """
    dtype, groups = q.dtype, q.shape[2] // k.shape[2]
    kept = dtype if state is None else state.dtype
    q, k, v = q.float() * (scale or q.shape[-1] ** -0.5), k.float(), v.float()
    if state is None:
        state = q.new_zeros(k.shape[0], k.shape[2], k.shape[3], v.shape[3])
    state = state.float()
    read = []
    for i in range(q.shape[1]):
        key, value = k[:, i].unsqueeze(-1), v[:, i].unsqueeze(-2)
        if decay is not None:
            state = state * torch.exp(decay[:, i].float()).unsqueeze(-1)
        if beta is not None:
            value = beta[:, i].float().unsqueeze(-1) * (value - (state * key).sum(-2, keepdim=True))
        state = state + key * value
        shared = state.repeat_interleave(groups, 1) if groups > 1 else state
        read.append((q[:, i].unsqueeze(-2) @ shared).squeeze(-2))
    return torch.stack(read, 1).to(dtype), state.to(kept)


@lowers("CausalConvWithState")
def causal_conv_with_state(
    w: Any,
    input: Value,
    weight: Value,
    bias: Value = None,
    past_state: Value = None,
    *,
    activation: str = "none",  # noqa: A002
) -> Value:
    """A convolution of each channel of [N, C, L] with its own kernel, weight [C, 1, K], over places that have been.

    In front stand the K - 1 places of past_state, or zeros; the last K - 1 are the second output.
    """
    channels, _, size = w.shape_in(1)
    x = F.pad(input, (size - 1, 0)) if past_state is None else torch.cat([past_state, input], dim=2)
    arguments = {"in_channels": channels, "out_channels": channels, "kernel_size": size, "groups": channels}
    y = w.layer(nn.Conv1d, x, {**arguments, "bias": bias is not None}, weight=weight, bias=bias)
    y = F.conv1d(x, weight, bias, groups=channels) if y is None else y
    y = F.silu(y) if activation in ("silu", "swish") else y
    return y, x.narrow(2, x.shape[2] - (size - 1), size - 1)
