"""ai.onnx.preview's FlexAttention in ONNX's words: the graphs that change its scores and weights become part of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from zoo.converters.expansions import Builder, Unknown, dtype, expands

FLOAT, DOUBLE = ir.DataType.FLOAT, ir.DataType.DOUBLE


@expands("FlexAttention", "ai.onnx.preview")
def flex_attention(op: Builder, node: ir.Node) -> Sequence[ir.Value | None]:
    """prob_mod(softmax(score_mod(Q K^T * scale))) V over [batch, heads, sequence, size]; Attention without the two."""
    q, k, v = node.inputs[:3]
    scale, kind = node.attributes.get("scale"), dtype(q)
    given = None if scale is None else scale.as_float()
    precision = node.attributes.get_int("softmax_precision", (DOUBLE if kind == DOUBLE else FLOAT).value)
    if "score_mod" not in node.attributes and "prob_mod" not in node.attributes:
        return (op.Attention(q, k, v, scale=given, softmax_precision=precision),)
    k, v = _for_each_query_head(op, q, k), _for_each_query_head(op, q, v)
    if given is None:
        size = op.CastLike(op.Shape(q, start=3), op.const(0, "float32"))
        factor = op.CastLike(op.Pow(size, op.const(-0.25, "float32")), q)
    else:
        factor = op.scalar(math.sqrt(given), q)
    scores = op.MatMul(op.Mul(q, factor), op.Transpose(op.Mul(k, factor), perm=[0, 1, 3, 2]))
    scores = _changed(op, node, "score_mod", op.Cast(scores, to=precision))
    weights = _changed(op, node, "prob_mod", op.Softmax(scores, axis=-1))
    return (op.CastLike(op.MatMul(weights, op.Cast(v, to=precision)), v),)


def _for_each_query_head(op: Builder, q: ir.Value | None, x: ir.Value | None) -> ir.Value | None:
    """Keys or values with a head for each of the queries', neighbouring ones sharing one."""
    heads = [None if value is None or value.shape is None else value.shape[1] for value in (q, x)]
    queries, keys = heads
    if not isinstance(queries, int) or not isinstance(keys, int):
        raise Unknown
    if queries == keys:
        return x
    made: ir.Value = op.Gather(x, op.const([head // (queries // keys) for head in range(queries)]), axis=1)
    return made


def _changed(op: Builder, node: ir.Node, name: str, value: ir.Value) -> ir.Value:
    """What the graph of that name makes of a value; its nodes leave it."""
    if name not in node.attributes:
        return value
    graph = node.attributes[name].as_graph()
    (entering,), (leaving,) = graph.inputs, graph.outputs
    graph.outputs.clear()
    ir.convenience.replace_all_uses_with(entering, value)
    nodes = list(graph)
    graph.remove(nodes)
    op.nodes.extend(nodes)
    return value if leaving is entering else leaving
