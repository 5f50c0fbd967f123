"""ONNX's stateful sequence operators: attention that is linear in the sequence, and the convolution before it."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from zoo.converters.writers.jax import lowers
from zoo.converters.writers.jax.activation import swish
from zoo.converters.writers.jax.windows import along_channels

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
    """Attention by a state [batch, heads, key size, value size] that each place changes, one after the other.

    A place lets the state fade by exp(decay), then writes its value under its key: with beta, of the value only what
    the state does not give for that key yet, times beta (the delta rule of Yang et al., arXiv:2406.06484). Query, key
    and value are [batch, sequence, heads * size], decay [batch, sequence, heads or heads * key size], beta [batch,
    sequence, heads or 1]. The state is computed in float32; several heads of queries may share one of keys and values.
    """

    def heads(x: Value, count: int) -> Value:
        """[batch, sequence, heads * size] -> [sequence, batch, heads, size] in float32."""
        return x.reshape(*x.shape[:2], count, -1).swapaxes(0, 1).astype(jnp.float32)

    q, k, v = heads(query, q_num_heads), heads(key, kv_num_heads), heads(value, kv_num_heads)
    q = q * (scale or q.shape[-1] ** -0.5)
    groups = q_num_heads // kv_num_heads
    fades = None if decay is None else jnp.exp(heads(decay, kv_num_heads))
    share = None if beta is None else heads(beta, beta.shape[-1])
    state = jnp.zeros((q.shape[1], kv_num_heads, k.shape[-1], v.shape[-1]), jnp.float32)
    state = state if past_state is None else past_state.astype(jnp.float32)

    def step(state: Value, at: tuple[Value, ...]) -> tuple[Value, Value]:
        q, k, v, fade, share = at
        state = state if fade is None else state * fade[..., None]
        if share is not None:
            v = share * (v - jnp.einsum("bhkv,bhk->bhv", state, k))
        state = state + k[..., None] * v[..., None, :]
        shared = jnp.repeat(state, groups, 1) if groups > 1 else state
        return state, jnp.einsum("bhk,bhkv->bhv", q, shared)

    state, read = lax.scan(step, state, (q, k, v, fades, share))
    kept = query.dtype if past_state is None else past_state.dtype
    y = read.swapaxes(0, 1)
    return y.reshape(*y.shape[:2], -1).astype(query.dtype), state.astype(kept)


@lowers("CausalConvWithState")
def causal_conv_with_state(
    w: Any,
    input: Value,  # noqa: A002
    weight: Value,
    bias: Value = None,
    past_state: Value = None,
    *,
    activation: str = "none",
) -> Value:
    """A convolution of each channel of [N, C, L] with its own kernel, weight [C, 1, K], over places that have been.

    In front stand the K - 1 places of past_state, or zeros; the last K - 1 are the second output.
    """
    size = weight.shape[-1]
    before = jnp.zeros((*input.shape[:2], size - 1), input.dtype) if past_state is None else past_state
    x = jnp.concatenate([before, input], 2)
    y = lax.conv_general_dilated(x, weight, [1], [(0, 0)], feature_group_count=weight.shape[0])
    y = y if bias is None else y + along_channels(bias, y)
    y = swish(w, y) if activation in ("silu", "swish") else y
    return y, x[..., x.shape[2] - (size - 1) :]
