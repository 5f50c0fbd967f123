"""Attention with its projections."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

import keras

from zoo.converters.writers.keras import lowers
from zoo.converters.writers.keras.heads import Projection
from zoo.converters.writers.keras.parameters import Parameter

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
    """MultiHeadAttention where heads.py says so: Q, K and V are then what its projections are given."""
    heads = w.heads.get(w.node)
    if heads is None:
        return None
    kernels, biases = {}, {}
    for name, part in heads.parts.items():
        size = heads.value_size if name in ("value", "attention_output") else heads.size
        kernels[name] = _kernel(part, heads.number, size, is_last=name == "attention_output")
        if part.product.bias is not None:
            bias = Parameter(part.product.bias.name or "", part.product.bias)
            split = bias.sliced(0, part.start, heads.number * size).reshaped(heads.number, size)
            biases[name] = bias if name == "attention_output" else split
    config = {"num_heads": heads.number, "key_dim": heads.size, "value_dim": heads.value_size}
    config |= {"output_shape": kernels["attention_output"].shape[-1], "use_bias": bool(biases)}
    how = {"value": V, "key": None if K is V else K, "attention_mask": attn_mask, "use_causal_mask": bool(is_causal)}
    given = {"kernel_initializer": kernels, "bias_initializer": biases or None}
    return w.layer(keras.layers.MultiHeadAttention, Q, config, {k: v for k, v in how.items() if v is not None}, **given)


def _kernel(part: Projection, number: int, size: int, *, is_last: bool) -> Parameter:
    """[inputs, H, D]; of the last one [H, D, outputs]."""
    weight = Parameter(part.product.weight.name or "", part.product.weight)
    if not is_last:
        weight = weight.sliced(0 if part.product.is_transposed else 1, part.start, number * size)
    rows = weight.transposed(1, 0) if part.product.is_transposed else weight
    return rows.reshaped(number, size, rows.shape[1]) if is_last else rows.reshaped(rows.shape[0], number, size)
