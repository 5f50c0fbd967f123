"""com.microsoft's attention operators in ONNX's words: projections and masks are taken apart, ONNX's Attention remains.

Heads stand apart from here on: [batch, heads, sequence, size], B, N, S and D; T is the length of past and present keys.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from zoo.converters.expansions import Builder, Unknown, expands, given, is_read, rank
from zoo.converters.expansions.microsoft import MS
from zoo.errors import HubError

MASKED = -10000.0  # the default of mask_filter_value, which is added and not put in


def heads_apart(op: Builder, x: ir.Value | None, heads: int) -> ir.Value:
    """[B, S, N * D] as [B, N, S, D]."""
    made: ir.Value = op.Transpose(op.Reshape(x, op.const([0, 0, heads, -1])), perm=[0, 2, 1, 3])
    return made


def heads_together(op: Builder, x: ir.Value) -> ir.Value:
    """[B, N, S, D] as [B, S, N * D]."""
    made: ir.Value = op.Reshape(op.Transpose(x, perm=[0, 2, 1, 3]), op.const([0, 0, -1]))
    return made


def _size(op: Builder, x: ir.Value | None, axis: int) -> ir.Value:
    """One size of a value, a vector of one int64."""
    made: ir.Value = op.Shape(x, start=axis, end=axis + 1)
    return made


def _places(op: Builder, count: ir.Value, axis: int) -> ir.Value:
    """0, 1, ... below `count`, along one of four axes."""
    places = op.Range(op.const(0), op.Reshape(count, op.const([])), op.const(1))
    made: ir.Value = op.Unsqueeze(places, op.const([a for a in range(4) if a != axis]))
    return made


def _causal(op: Builder, queries: ir.Value, keys: ir.Value) -> ir.Value:
    """Whether a query sees a key [1, 1, S, T]; the last query stands where the last key does."""
    behind = op.Sub(_size(op, keys, 2), _size(op, queries, 2))
    rows = op.Add(_places(op, _size(op, queries, 2), 2), behind)
    made: ir.Value = op.LessOrEqual(_places(op, _size(op, keys, 2), 3), rows)
    return made


def _seen(op: Builder, mask: ir.Value, q: ir.Value, k: ir.Value, batch: ir.Value | None) -> ir.Value:
    """Whether a key is seen: [B, 1, 1, T] or [B, 1, S, T], out of any of the forms that a mask may have.

    [B, T] and [B, S, T] are 1 for seen; [B, 1, M, M] is cut to the queries and keys that there are;
    [B] is how many keys are seen, and [2 * B] where those end and then where they start.
    """
    n = rank(mask)
    if n == 1:
        mask = op.Cast(mask, to=ir.DataType.INT64)
        size = _size(op, batch, 0)
        ends, rest = op.Slice(mask, op.const([0]), size), op.Slice(mask, size, op.const([2**31 - 1]))
        padded = op.Pad(rest, op.Concat(op.const([0]), size, axis=0))  # starts where there are none: at 0
        starts = op.Slice(padded, op.const([0]), size)
        places = _places(op, _size(op, k, 2), 3)
        before, behind = (op.Unsqueeze(v, op.const([1, 2, 3])) for v in (starts, ends))
        return op.And(op.GreaterOrEqual(places, before), op.Less(places, behind))  # type: ignore[no-any-return]
    if n == 4:
        past = op.Sub(_size(op, k, 2), _size(op, q, 2))
        ends = op.Concat(_size(op, k, 2), _size(op, k, 2), axis=0)
        mask = op.Slice(mask, op.Concat(past, op.const([0]), axis=0), ends, op.const([2, 3]))
    else:
        mask = op.Unsqueeze(mask, op.const([1, 2] if n == 2 else [1]))
    return op.Greater(mask, op.CastLike(op.const(0), mask))  # type: ignore[no-any-return]


def _bias(
    op: Builder, seen: ir.Value | None, added: ir.Value | None, like: ir.Value | None, masked: float
) -> ir.Value | None:
    """What is added to the scores: a number where a key is not seen, and a bias that is given."""
    if seen is None:
        return added
    term = op.Where(seen, op.scalar(0.0, like), op.scalar(masked, like))
    return term if added is None else op.Add(added, term)  # type: ignore[no-any-return]


def _attended(
    op: Builder,
    node: ir.Node,
    x: ir.Value | None,
    q: ir.Value,
    k: ir.Value,
    mask: ir.Value | None,
    added: ir.Value | None,
    has_past: bool,
    like: ir.Value | None,
) -> tuple[ir.Value | None, int]:
    """The bias of the scores, and whether attention is to be causal besides.

    A query whose every key is masked still sees none behind it: what is masked gets a number, what is behind nothing.
    """
    seen = None if mask is None else _seen(op, mask, q, k, x)
    bias = _bias(op, seen, added, like, node.attributes.get_float("mask_filter_value", MASKED))
    if not node.attributes.get_int("unidirectional", 0):
        return bias, 0
    if bias is None and not has_past:
        return None, 1
    otherwise = op.scalar(0.0, like) if bias is None else bias
    return op.Where(_causal(op, q, k), otherwise, op.scalar(float(np.finfo(np.float32).min), like)), 0


def _refuse(node: ir.Node, attributes: tuple[str, ...], inputs: dict[int, str]) -> None:
    """What is only in kernels for GPUs, with layouts of their own."""
    for name in attributes:
        if node.attributes.get_int(name, 0):
            raise HubError(f"{node.op_type} {node.name!r} with {name}")
    for i, name in inputs.items():
        if given(node, i) is not None:
            raise HubError(f"{node.op_type} {node.name!r} with the input {name}")


def _split_sizes(node: ir.Node, bias_or_weight: ir.Value | None) -> list[int]:
    """The widths of Q, K and V in what is merged."""
    if sizes := list(node.attributes.get_ints("qkv_hidden_sizes", [])):
        return sizes
    if bias_or_weight is None or bias_or_weight.shape is None or not isinstance(bias_or_weight.shape[-1], int):
        raise Unknown
    return [bias_or_weight.shape[-1] // 3] * 3


@expands("Attention", MS)
def attention(op: Builder, node: ir.Node) -> list[ir.Value | None]:
    """Self-attention of X [B, S, I] with merged weights [I, 3 * H]; the second output is the cache [2, B, N, T, D]."""
    x, weights, bias, mask, past, added = (given(node, i) for i in range(6))
    _refuse(node, ("do_rotary", "past_present_share_buffer"), {6: "past_sequence_length"})
    merged = op.MatMul(x, weights)
    merged = merged if bias is None else op.Add(merged, bias)
    return attention_of_merged(op, node, x, merged, _split_sizes(node, weights), mask, past, added)


def attention_of_merged(
    op: Builder,
    node: ir.Node,
    x: ir.Value | None,
    merged: ir.Value,
    sizes: list[int],
    mask: ir.Value | None,
    past: ir.Value | None,
    added: ir.Value | None,
    like: ir.Value | None = None,
) -> list[ir.Value | None]:
    """Attention of projections Q, K and V of x that stand side by side [B, S, sum of sizes], in the dtype of `like`."""
    heads = node.attributes["num_heads"].as_int()
    q, k, v = (heads_apart(op, part, heads) for part in op.Split(merged, op.const(sizes), axis=-1, outputs=3))
    present = None
    if past is not None:
        before = op.Split(past, axis=0, num_outputs=2, outputs=2)
        k, v = (op.Concat(op.Squeeze(b, op.const([0])), now, axis=2) for b, now in zip(before, (k, v), strict=True))
    if is_read(node, 1):
        present = op.Concat(op.Unsqueeze(k, op.const([0])), op.Unsqueeze(v, op.const([0])), axis=0)
    bias, causal = _attended(op, node, x, q, k, mask, added, past is not None, like or x)
    y = op.Attention(q, k, v, bias, is_causal=causal, scale=_scale(node))
    return [heads_together(op, y), present]


def _scale(node: ir.Node) -> float | None:
    """The author's scale; None (and 0, which means the same) for one over the root of the head's size."""
    return node.attributes.get_float("scale", 0.0) or None


@expands("MultiHeadAttention", MS)
def multi_head_attention(op: Builder, node: ir.Node) -> list[ir.Value | None]:
    """Attention of projections [B, S, H], packed ones [B, S, N, 2 or 3, D], or keys and values [B, N, L, D]."""
    query, key, value, bias, mask, added, past_key, past_value = (given(node, i) for i in range(8))
    _refuse(node, (), {8: "past_sequence_length", 9: "cache_indirection"})
    heads = node.attributes["num_heads"].as_int()
    parts = _biases(op, bias, query, value)
    if key is None:  # packed: [B, S, N, 3, D]
        q, k, v = (op.Squeeze(p, op.const([3])) for p in op.Split(query, axis=3, num_outputs=3, outputs=3))
        q, k, v = (
            _with_bias(op, op.Reshape(p, op.const([0, 0, -1])), b) for p, b in zip((q, k, v), parts, strict=True)
        )
        q, k, v = (heads_apart(op, p, heads) for p in (q, k, v))
    else:
        q = heads_apart(op, _with_bias(op, query, parts[0]), heads)
        if value is None:  # packed: [B, L, N, 2, D]
            packed = op.Split(key, axis=3, num_outputs=2, outputs=2)
            k, v = (op.Reshape(op.Squeeze(p, op.const([3])), op.const([0, 0, -1])) for p in packed)
            k, v = (heads_apart(op, _with_bias(op, p, b), heads) for p, b in zip((k, v), parts[1:], strict=True))
        elif rank(key) == 4:
            k, v = key, value
        else:
            k, v = (heads_apart(op, _with_bias(op, p, b), heads) for p, b in zip((key, value), parts[1:], strict=True))
    if past_key is not None:
        k, v = op.Concat(past_key, k, axis=2), op.Concat(past_value, v, axis=2)
    bias, causal = _attended(op, node, query, q, k, mask, added, past_key is not None, query)
    attributes = {"is_causal": causal, "scale": _scale(node)}
    if not is_read(node, 3):
        return [heads_together(op, op.Attention(q, k, v, bias, **attributes)), k, v, None]
    y, _, _, scores = op.Attention(q, k, v, bias, **attributes, qk_matmul_output_mode=3, outputs=4)
    return [heads_together(op, y), k, v, scores]


def _biases(
    op: Builder, bias: ir.Value | None, query: ir.Value | None, value: ir.Value | None
) -> list[ir.Value | None]:
    """The biases of Q, K and V in what is merged; that of V is as wide as V."""
    if bias is None:
        return [None, None, None]
    if value is not None and rank(value) == 3:
        width = _size(op, query, 2)
        both = op.Add(width, width)
        bounds = [(op.const([0]), width), (width, both), (both, op.const([2**31 - 1]))]
        return [op.Slice(bias, start, end) for start, end in bounds]
    return list(op.Split(bias, axis=0, num_outputs=3, outputs=3))


def _with_bias(op: Builder, x: ir.Value | None, bias: ir.Value | None) -> ir.Value | None:
    return x if bias is None else op.Add(x, bias)  # type: ignore[no-any-return]


@expands("RotaryEmbedding", MS)
def rotary_embedding(op: Builder, node: ir.Node) -> list[ir.Value]:
    """ONNX's RotaryEmbedding; the place of the first token [1] counts on for the others."""
    x, places, cos, sin = node.inputs
    get = node.attributes.get_int
    if get("is_packed_batching", 0) or node.attributes.get_float("scale", 1.0) != 1.0:
        raise HubError(f"RotaryEmbedding {node.name!r} with packed batches or a scale")
    size, heads = get("rotary_embedding_dim", 0), get("num_heads", 0)
    if rank(places) == 1:
        axis = 1 if rank(x) == 3 else 2
        steps = op.Range(op.const(0), op.Reshape(_size(op, x, axis), op.const([])), op.const(1))
        row = op.Unsqueeze(op.Add(places, steps), op.const([0]))
        places = op.Expand(row, op.Concat(_size(op, x, 0), op.const([1]), axis=0))
    interleaved = get("interleaved", 0)
    if rank(x) == 4:
        return [op.RotaryEmbedding(x, cos, sin, places, interleaved=interleaved, rotary_embedding_dim=size)]
    if heads == 0:
        if cos is None or cos.shape is None or not isinstance(cos.shape[-1], int):
            raise Unknown
        apart = op.Transpose(op.Reshape(x, op.const([0, 0, -1, 2 * cos.shape[-1]])), perm=[0, 2, 1, 3])
        return [heads_together(op, op.RotaryEmbedding(apart, cos, sin, places, interleaved=interleaved))]
    y = op.RotaryEmbedding(x, cos, sin, places, interleaved=interleaved, rotary_embedding_dim=size, num_heads=heads)
    return [y]


@expands("GroupQueryAttention", MS)
def group_query_attention(op: Builder, node: ir.Node) -> list[ir.Value | None]:
    """Causal attention with a cache of keys and values, each sequence of the batch with its own length.

    `seqlens_k` [B] is the number of keys less one. The new ones follow those that a sequence has; what a query stands
    at is counted from them. The cache has room for the longest: [B, kv heads, T, D].
    """
    query, key, value, past_key, past_value, lengths, total, cos, sin, places, added, sink = (
        given(node, i) for i in range(12)
    )
    get = node.attributes
    _refuse(node, ("qk_output", "sliding_window_cache"), {12: "k_scale", 13: "v_scale", 16: "query_seqlens"})
    heads, kv_heads = get["num_heads"].as_int(), get["kv_num_heads"].as_int()
    if key is None:
        both = op.Reshape(query, op.const([0, 0, heads + 2 * kv_heads, -1]))
        q, k, v = (
            op.Transpose(part, perm=[0, 2, 1, 3])
            for part in op.Split(both, op.const([heads, kv_heads, kv_heads]), axis=2, outputs=3)
        )
    else:
        q, k, v = heads_apart(op, query, heads), heads_apart(op, key, kv_heads), heads_apart(op, value, kv_heads)
    for i, weight in ((0, given(node, 14)), (1, given(node, 15))):
        if weight is not None:
            epsilon = get.get_float("qk_norm_epsilon", 1e-6)
            epsilon = get.get_float("k_norm_epsilon" if i else "q_norm_epsilon", epsilon)
            normed = op.RMSNormalization(k if i else q, weight, axis=-1, epsilon=epsilon)
            q, k = (q, normed) if i else (normed, k)
    count = _size(op, q, 2)
    ends = op.Unsqueeze(
        op.Add(op.Cast(lengths, to=ir.DataType.INT64), op.const(1)), op.const([1, 2, 3])
    )  # [B, 1, 1, 1]
    is_first = op.Equal(op.Cast(op.Reshape(total, op.const([1])), to=ir.DataType.INT64), count)
    # in a first call shorter sequences are padded on the right, and nothing is cached of any
    cached = op.Where(is_first, op.const([0]), op.Sub(ends, count))
    if get.get_int("do_rotary", 0):
        if places is None:
            steps = op.Squeeze(op.Add(_places(op, count, 3), cached), op.const([1, 2]))  # [B, S]
            places = op.Expand(steps, op.Concat(_size(op, q, 0), op.const([1]), axis=0))
            limit = op.Sub(_size(op, cos, 0), op.const([1]))
            places = op.Min(op.Max(places, op.const([0])), limit)  # where a padded query stands does not matter
        interleaved = get.get_int("rotary_interleaved", 0)
        if cos is None or cos.shape is None:
            raise Unknown
        size = _rotary_size(cos, past_key)
        q, k = (
            op.RotaryEmbedding(x, cos, sin, places, interleaved=interleaved, rotary_embedding_dim=size) for x in (q, k)
        )
    if past_key is not None:
        k = _appended(op, past_key, k, cached, ends, total)
        v = _appended(op, past_value, v, cached, ends, total)
    columns = _places(op, _size(op, k, 2), 3)
    rows = op.Add(_places(op, count, 2), cached)  # [B, 1, S, 1]
    seen = op.Less(columns, ends)
    if get.get_int("causal", 1):
        seen = op.And(seen, op.LessOrEqual(columns, rows))
    if (window := get.get_int("local_window_size", -1)) >= 0:
        seen = op.And(seen, op.Greater(columns, op.Sub(rows, op.const(window))))
    if added is not None:  # as wide as the keys that there are, which a cache may have more room than
        wide = op.Sub(_size(op, k, 2), op.Shape(added, start=3, end=4))
        more = op.Concat(op.const([0] * 7), op.Max(wide, op.const([0])), axis=0)
        added = op.Slice(op.Pad(added, more), op.const([0]), _size(op, k, 2), op.const([3]))
    bias = _bias(op, seen, added, query, float(np.finfo(np.float16).min))
    softcap = get.get_float("softcap", 0.0)
    if sink is None and get.get_int("smooth_softmax", -1) <= 0:
        y = op.Attention(q, k, v, bias, scale=_scale(node), softcap=softcap)
    else:
        y = _with_sink(op, q, k, v, bias, sink, (_scale(node), softcap, heads, kv_heads))
    return [heads_together(op, y), k, v]


def _rotary_size(cos: ir.Value, past_key: ir.Value | None) -> int:
    """How much of a head is rotated: 0 for all of it."""
    half = cos.shape[-1] if cos.shape is not None else None
    size = past_key.shape[-1] if past_key is not None and past_key.shape is not None else None
    return 2 * half if isinstance(half, int) and isinstance(size, int) and 2 * half != size else 0


def _appended(
    op: Builder, past: ir.Value | None, new: ir.Value, cached: ir.Value, ends: ir.Value, total: ir.Value | None
) -> ir.Value:
    """Past [B, N, P, D] and new [B, N, S, D] as [B, N, max(P, total), D]: a sequence's new ones behind those it has.

    Room that is not used yet is zero.
    """
    before = _size(op, past, 2)
    room = op.Max(before, op.Cast(op.Reshape(total, op.const([1])), to=ir.DataType.INT64))
    at = _places(op, room, 2)  # [1, 1, T, 1]
    place = op.Where(op.Less(at, cached), at, op.Add(op.Sub(at, cached), before))
    place = op.Min(place, op.Sub(op.Add(before, _size(op, new, 2)), op.const([1])))
    shape = op.Concat(op.Shape(new, start=0, end=2), room, _size(op, new, 3), axis=0)
    gathered = op.GatherElements(op.Concat(past, new, axis=2), op.Expand(place, shape), axis=2)
    made: ir.Value = op.Where(op.Less(at, ends), gathered, op.scalar(0.0, new))
    return made


def _with_sink(
    op: Builder,
    q: ir.Value,
    k: ir.Value,
    v: ir.Value,
    bias: ir.Value | None,
    sink: ir.Value | None,
    how: tuple[float | None, float, int, int],
) -> ir.Value:
    """Attention whose softmax has one more term in its sum: a head's own number, or zero."""
    scale, softcap, heads, kv_heads = how
    if kv_heads != heads:
        k, v = (_repeated(op, x, heads // kv_heads) for x in (k, v))
    scores = op.MatMul(q, op.Transpose(k, perm=[0, 1, 3, 2]))
    if scale is None:
        scores = op.Div(scores, op.CastLike(op.Sqrt(op.Cast(_size(op, q, 3), to=ir.DataType.FLOAT)), scores))
    else:
        scores = op.Mul(scores, op.scalar(scale, scores))
    if softcap:
        cap = op.scalar(softcap, scores)
        scores = op.Mul(op.Tanh(op.Div(scores, cap)), cap)
    scores = scores if bias is None else op.Add(scores, bias)
    one = op.scalar(0.0, scores) if sink is None else sink
    column = op.Reshape(one, op.const([1, 1, 1, 1] if sink is None else [1, -1, 1, 1]))
    column = op.Expand(column, op.Concat(op.Shape(scores, start=0, end=3), op.const([1]), axis=0))
    weights = op.Softmax(op.Concat(scores, column, axis=3), axis=-1)
    weights = op.Slice(weights, op.const([0]), op.const([-1]), op.const([3]))
    made: ir.Value = op.MatMul(weights, v)
    return made


def _repeated(op: Builder, x: ir.Value, times: int) -> ir.Value:
    """Each head of [B, N, T, D] that often, side by side."""
    apart = op.Unsqueeze(x, op.const([2]))
    wide = op.Concat(op.Shape(x, start=0, end=2), op.const([times]), op.Shape(x, start=2, end=4), axis=0)
    together = op.Concat(_size(op, x, 0), op.const([-1]), op.Shape(x, start=2, end=4), axis=0)
    made: ir.Value = op.Reshape(op.Expand(apart, wide), together)
    return made
