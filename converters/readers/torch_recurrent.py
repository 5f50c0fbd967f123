"""aten's recurrent layers and attention.

An LSTM's gates stand as input, forget, cell, output, a GRU's as reset, update, new; ONNX has them in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers.scribe import Fault, Scribe
from zoo.converters.readers.torch_aten import TABLE, Emit, lowers, own, scalar, size
from zoo.converters.readers.torch_nn import layer_norm, linear
from zoo.converters.readers.torch_shapes import reshaped

ORDERS = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}


def _in_order(op: Scribe, weight: ir.Value, kind: str) -> ir.Value:
    """A weight [G * H, ...] with its gates as ONNX has them."""
    order = ORDERS[kind]
    if len(order) == 1:
        return weight
    parts = op.Split(weight, axis=0, num_outputs=len(order), outputs=len(order))
    return op.Concat(*(parts[i] for i in order), axis=0)  # type: ignore[no-any-return]


def _layered(op: Scribe, parts: Sequence[ir.Value]) -> ir.Value:
    """One tensor a direction, as one."""
    wide = [op.Unsqueeze(part, op.const([0])) for part in parts]
    return wide[0] if len(wide) == 1 else op.Concat(*wide, axis=0)  # type: ignore[no-any-return]


def recurrent(
    op: Scribe,
    kind: str,
    x: ir.Value,
    states: Sequence[ir.Value],
    params: Sequence[ir.Value],
    has_biases: bool,
    layers: int,
    is_both: bool,
    batch_first: bool,
    activation: str | None = None,
) -> list[ir.Value]:
    """[output, last states ...] of all layers: output [T, N, D * H], states [L * D, N, H]."""
    directions, fields = 1 + is_both, 4 if has_biases else 2
    if len(params) != layers * directions * fields:
        what = "projected states" if len(params) == layers * directions * (fields + 1) else f"{len(params)} weights"
        raise Fault(f"an {kind} of {layers} layers with {what}", is_refusal=True)
    was_flat = op.rank(x, 3) == 2
    if was_flat:
        axis = op.const([1])
        x, states = op.Unsqueeze(x, axis), [op.Unsqueeze(state, axis) for state in states]
    elif batch_first:
        x = op.Transpose(x, perm=[1, 0, 2])
    hidden = op.sizes_of(params[1])[1]
    ends: list[Sequence[ir.Value]] = []
    for layer in range(layers):
        own_params = params[layer * directions * fields : (layer + 1) * directions * fields]
        by_field = [list(own_params[i::fields]) for i in range(fields)]
        weights = [_layered(op, [_in_order(op, w, kind) for w in by_field[i]]) for i in range(2)]
        bias = None
        if has_biases:
            pairs = zip(by_field[2], by_field[3], strict=True)
            bias = _layered(op, [op.Concat(*(_in_order(op, b, kind) for b in pair), axis=0) for pair in pairs])
        begin = [
            op.Slice(s, op.const([layer * directions]), op.const([(layer + 1) * directions]), op.const([0]))
            for s in states
        ]
        y, *last = getattr(op, kind)(
            x,
            *weights,
            bias,
            None,
            *begin,
            outputs=1 + len(states),
            hidden_size=hidden,
            direction="bidirectional" if is_both else "forward",
            activations=[activation] * directions if activation else None,
            linear_before_reset=1 if kind == "GRU" else None,
        )
        ends.append(last)
        x = op.reshape(op.Transpose(y, perm=[0, 2, 1, 3]), [0, 0, directions * (hidden or 0)])
    if batch_first and not was_flat:
        x = op.Transpose(x, perm=[1, 0, 2])
    found = [x, *(op.Concat(*of, axis=0) if layers > 1 else of[0] for of in zip(*ends, strict=True))]
    return [op.Squeeze(value, op.const([1])) for value in found] if was_flat else found


def _check(has_biases: Any, train: Any, dropout: Any) -> None:
    if not isinstance(has_biases, bool):
        raise Fault("a packed sequence", is_refusal=True)
    if train is True and dropout:
        raise Fault(
            "dropout in training mode, whose answers are random; save the model after model.eval()", is_refusal=True
        )


@lowers("lstm", "_thnn_fused_lstm")
def lstm(op: Scribe, input: ir.Value, hx: Any, params: Any, has_biases: Any, num_layers: int, dropout: float,  # noqa: A002
         train: bool, bidirectional: bool, batch_first: bool = False) -> Any:  # fmt: skip
    """(output, last state, last cell)."""
    _check(has_biases, train, dropout)
    return tuple(recurrent(op, "LSTM", input, hx, params, has_biases, num_layers, bidirectional, batch_first))


def _with_one_state(kind: str, activation: str | None) -> Emit:
    def emit(op: Scribe, input: ir.Value, hx: ir.Value, params: Any, has_biases: Any, num_layers: int, dropout: float,  # noqa: A002
             train: bool, bidirectional: bool, batch_first: bool = False) -> Any:  # fmt: skip
        _check(has_biases, train, dropout)
        args = (input, [hx], params, has_biases, num_layers, bidirectional, batch_first, activation)
        return tuple(recurrent(op, kind, *args))

    return emit


TABLE |= {"gru": _with_one_state("GRU", None), "rnn_tanh": _with_one_state("RNN", "Tanh")}
TABLE["rnn_relu"] = _with_one_state("RNN", "Relu")


def _gates(op: Scribe, x: ir.Value, weight: ir.Value, bias: ir.Value | None, n: int) -> list[ir.Value]:
    made = linear(op, x, weight, bias)
    return list(op.Split(made, axis=-1, num_outputs=n, outputs=n))


@lowers("lstm_cell")
def lstm_cell(
    op: Scribe, input: ir.Value, hx: Any, w_ih: ir.Value, w_hh: ir.Value, b_ih: Any = None, b_hh: Any = None
) -> Any:  # noqa: A002
    """(next state, next cell)."""
    both = zip(_gates(op, input, w_ih, b_ih, 4), _gates(op, hx[0], w_hh, b_hh, 4), strict=True)
    i, f, g, o = (op.Add(a, b) for a, b in both)
    cell = op.Add(op.Mul(op.Sigmoid(f), hx[1]), op.Mul(op.Sigmoid(i), op.Tanh(g)))
    return op.Mul(op.Sigmoid(o), op.Tanh(cell)), cell


@lowers("gru_cell")
def gru_cell(
    op: Scribe, input: ir.Value, hx: ir.Value, w_ih: ir.Value, w_hh: ir.Value, b_ih: Any = None, b_hh: Any = None
) -> Any:  # noqa: A002
    """The next state."""
    (r, z, n), (hr, hz, hn) = _gates(op, input, w_ih, b_ih, 3), _gates(op, hx, w_hh, b_hh, 3)
    reset, update = op.Sigmoid(op.Add(r, hr)), op.Sigmoid(op.Add(z, hz))
    new = op.Tanh(op.Add(n, op.Mul(reset, hn)))
    return op.Add(new, op.Mul(update, op.Sub(hx, new)))


def _rnn_cell(activation: str) -> Emit:
    def emit(
        op: Scribe, input: ir.Value, hx: ir.Value, w_ih: ir.Value, w_hh: ir.Value, b_ih: Any = None, b_hh: Any = None
    ) -> Any:  # noqa: A002
        return getattr(op, activation)(op.Add(linear(op, input, w_ih, b_ih), linear(op, hx, w_hh, b_hh)))

    return emit


TABLE |= {"rnn_tanh_cell": _rnn_cell("Tanh"), "rnn_relu_cell": _rnn_cell("Relu")}


# ---- attention


def attended(
    op: Scribe,
    query: ir.Value,
    key: ir.Value,
    value: ir.Value,
    mask: ir.Value | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> tuple[ir.Value, ir.Value]:
    """(softmax(query @ key' * scale + mask) @ value, the softmax). A mask of truths says where to look."""
    rank = op.rank(key, 4)
    if scale is None:
        depth = op.sizes_of(query)[-1]
        width = op.const(depth, own(query).numpy()) if depth else op.Squeeze(op.cast(op.size(query, -1), own(query)))
        query = op.Div(query, op.Sqrt(width))
    else:
        query = op.Mul(query, scalar(op, scale, own(query)))
    scores = op.MatMul(query, op.Transpose(key, perm=[*range(rank - 2), rank - 1, rank - 2]))
    if is_causal:
        square = op.Concat(op.size(query, -2), op.size(key, -2), axis=0)
        mask = op.Trilu(op.Expand(op.const(True, np.bool_), square), None, upper=0)
    if mask is not None:
        low = op.const(-np.inf, own(scores).numpy())
        added = (
            op.Where(mask, op.scalar(0, scores), low) if own(mask) == ir.DataType.BOOL else op.cast(mask, own(scores))
        )
        scores = op.Add(scores, added)
    weights = op.Softmax(scores, axis=-1)
    return op.MatMul(weights, value), weights


def _shared(op: Scribe, x: ir.Value, heads: Any, own_heads: Any) -> ir.Value:
    """Heads of keys that several of queries share, each as often as it is needed."""
    if not isinstance(heads, int) or not isinstance(own_heads, int) or heads == own_heads:
        return x
    return TABLE["repeat_interleave"](op, x, heads // own_heads, -3)  # type: ignore[no-any-return]


@lowers("scaled_dot_product_attention")
def attention(op: Scribe, query: ir.Value, key: ir.Value, value: ir.Value, attn_mask: Any = None, dropout_p: float = 0,
              is_causal: bool = False, scale: Any = None, enable_gqa: bool = False) -> Any:  # fmt: skip
    """[..., L, E], [..., S, E], [..., S, V] -> [..., L, V]."""
    if dropout_p:
        raise Fault(
            "dropout in training mode, whose answers are random; save the model after model.eval()", is_refusal=True
        )
    if enable_gqa:
        heads = size(op, query, -3)
        key, value = (_shared(op, x, heads, size(op, x, -3)) for x in (key, value))
    return attended(op, query, key, value, attn_mask, is_causal, scale)[0]


@lowers("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_attention_math")
def flash_attention(op: Scribe, query: ir.Value, key: ir.Value, value: ir.Value, *args: Any, attn_mask: Any = None,
                    is_causal: bool = False, scale: Any = None, dropout_p: float = 0.0, **_: Any) -> Any:  # fmt: skip
    """The same, and what its gradient needs. Without names come (dropout, causal), or the mask first."""
    for arg in args:
        if isinstance(arg, ir.Value):
            attn_mask = arg
        elif isinstance(arg, bool):
            is_causal = arg
    return attended(op, query, key, value, attn_mask, is_causal, scale)


def _masked(op: Scribe, mask: ir.Value | None, mask_type: Any) -> ir.Value | None:
    """A mask of torch's fast path, in which true is where not to look, so that it broadcasts with [N, heads, L, S]."""
    if mask is None:
        return None
    looks = op.Not(mask) if own(mask) == ir.DataType.BOOL else mask
    if mask_type == 1:  # [N, S], of keys
        return op.Unsqueeze(looks, op.const([1, 2]))  # type: ignore[no-any-return]
    return looks


@lowers("_native_multi_head_attention")
def multi_head_attention(
    op: Scribe, query: ir.Value, key: ir.Value, value: ir.Value, embed_dim: int, num_head: int, qkv_weight: ir.Value,
    qkv_bias: ir.Value, proj_weight: ir.Value, proj_bias: ir.Value, mask: Any = None, need_weights: bool = True,
    average_attn_weights: bool = True, mask_type: Any = None,
) -> Any:  # fmt: skip
    """Self-attention with its projections; (output [N, L, E], weights)."""
    parts = _gates(op, query, qkv_weight, qkv_bias, 3)
    lead = [size(op, query, 0), size(op, query, 1)]
    heads = [op.Transpose(reshaped(op, p, [*lead, num_head, embed_dim // num_head]), perm=[0, 2, 1, 3]) for p in parts]
    made, weights = attended(op, heads[0], heads[1], heads[2], _masked(op, mask, mask_type))
    joined = reshaped(op, op.Transpose(made, perm=[0, 2, 1, 3]), [*lead, embed_dim])
    seen = op.ReduceMean(weights, op.const([1]), keepdims=0) if average_attn_weights else weights
    return linear(op, joined, proj_weight, proj_bias), seen


@lowers("_transformer_encoder_layer_fwd")
def encoder_layer(
    op: Scribe, src: ir.Value, embed_dim: int, num_heads: int, qkv_weight: ir.Value, qkv_bias: ir.Value,
    proj_weight: ir.Value, proj_bias: ir.Value, use_gelu: bool, norm_first: bool, eps: float, norm_weight_1: ir.Value,
    norm_bias_1: ir.Value, norm_weight_2: ir.Value, norm_bias_2: ir.Value, ffn_weight_1: ir.Value,
    ffn_bias_1: ir.Value, ffn_weight_2: ir.Value, ffn_bias_2: ir.Value, mask: Any = None, mask_type: Any = None,
) -> Any:  # fmt: skip
    """torch.nn.TransformerEncoderLayer as a whole."""

    def norm(x: ir.Value, i: int) -> Any:
        weight, bias = ((norm_weight_1, norm_bias_1), (norm_weight_2, norm_bias_2))[i]
        return layer_norm(op, x, [embed_dim], weight, bias, eps)

    def attend(x: ir.Value) -> Any:
        args = (x, x, x, embed_dim, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias, mask)
        return multi_head_attention(op, *args, mask_type=mask_type)[0]

    def feed(x: ir.Value) -> Any:
        inner = linear(op, x, ffn_weight_1, ffn_bias_1)
        return linear(op, op.Gelu(inner) if use_gelu else op.Relu(inner), ffn_weight_2, ffn_bias_2)

    if norm_first:
        x = op.Add(src, attend(norm(src, 0)))
        return op.Add(x, feed(norm(x, 1)))
    x = norm(op.Add(src, attend(src)), 0)
    return norm(op.Add(x, feed(x)), 1)
