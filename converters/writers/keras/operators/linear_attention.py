"""ONNX's stateful sequence operators: attention that is linear in the sequence, and the convolution before it."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

from keras import ops

from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.operators.convolution import convolved
from zoo.converters.writers.keras.operators.layouts import to_first, to_last
from zoo.converters.writers.keras.operators.precision import like
from zoo.converters.writers.keras.operators.sizes import cut, parts, sizes
from zoo.converters.writers.keras.operators.windows import Windows

Tensor = Any


@lowers("LinearAttention")
def linear_attention(
    w: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    past_state: Tensor = None,
    decay: Tensor = None,
    beta: Tensor = None,
    *,
    chunk_size: int = 64,
    kv_num_heads: int,
    q_num_heads: int,
    scale: float = 0.0,
    update_rule: str = "gated_delta",
) -> Tensor:
    """Attention by a state [batch, heads, key size, value size] that each place changes, one after the other.

    A place lets the state fade by exp(decay), then writes its value under its key: with beta, of the value only what
    the state does not give for that key yet, times beta (the delta rule of Yang et al., arXiv:2406.06484). Query, key
    and value are [batch, sequence, heads * size], decay [batch, sequence, heads or heads * key size], beta [batch,
    sequence, heads or 1]. The state is computed in float32; several heads of queries may share one of keys and values.
    """
    groups, batch = q_num_heads // kv_num_heads, sizes(query)[0]
    given = {"q": (query, q_num_heads), "k": (key, kv_num_heads), "v": (value, kv_num_heads)}
    if decay is not None:
        given["fade"] = ops.exp(ops.cast(decay, "float32")), kv_num_heads
    if beta is not None:
        given["share"] = beta, beta.shape[-1]
    # one tensor of all, as Keras scans one where its length is free: [sequence, batch, widths]
    rows = ops.swapaxes(ops.concatenate([ops.cast(x, "float32") for x, _ in given.values()], -1), 0, 1)
    size = {name: x.shape[-1] // count for name, (x, count) in given.items()}
    factor = scale or size["q"] ** -0.5
    if past_state is None:
        state = ops.zeros([batch, kv_num_heads, size["k"], size["v"]], dtype="float32")
    else:
        state = ops.cast(past_state, "float32")

    def step(carry: tuple[Tensor, Tensor], row: Tensor) -> tuple[Any, Any]:
        found = parts(row, [x.shape[-1] for x, _ in given.values()], -1)
        now = {
            name: ops.reshape(x, [batch, count, size[name]])
            for x, (name, (_, count)) in zip(found, given.items(), strict=True)
        }
        state, v = carry[0], now["v"]
        if decay is not None:
            state = state * now["fade"][..., None]
        if beta is not None:
            v = now["share"] * (v - ops.einsum("bhkv,bhk->bhv", state, now["k"]))
        state = state + now["k"][..., None] * v[..., None, :]
        shared = ops.repeat(state, groups, 1) if groups > 1 else state
        read = ops.einsum("bhk,bhkv->bhv", now["q"] * factor, shared)
        return (state, read), (state, read)  # what is scanned is what is carried, as TensorFlow's scan wants it

    nothing = ops.zeros([batch, q_num_heads, size["v"]], dtype="float32")
    (state, _), (_, read) = ops.scan(step, (state, nothing), rows)
    y = ops.swapaxes(read, 0, 1)
    y = ops.reshape(y, [batch, sizes(y)[1], q_num_heads * size["v"]])
    return like(y, query), like(state, query if past_state is None else past_state)


@lowers("CausalConvWithState")
def causal_conv_with_state(
    w: Any,
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor = None,
    past_state: Tensor = None,
    *,
    activation: str = "none",
) -> Tensor:
    """A convolution of each channel of [N, C, L] with its own kernel, weight [C, 1, K], over places that have been.

    In front stand the K - 1 places of past_state, or zeros; the last K - 1 are the second output.
    """
    size = weight.shape[-1]
    before = ops.zeros_like(input[..., :1]) if past_state is None else past_state
    before = ops.repeat(before, size - 1, -1) if past_state is None else before
    x = ops.concatenate([before, input], 2)
    y = to_first(convolved(to_last(x), weight, Windows([size], [1], [1], [(0, 0)])))
    y = y if bias is None else y + bias[:, None]
    y = ops.silu(y) if activation in ("silu", "swish") else y
    have = sizes(x)[2]
    return y, cut(x, 2, have - (size - 1), have)
