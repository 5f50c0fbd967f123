"""com.microsoft's layers around a normalization in ONNX's words."""

from __future__ import annotations

import onnx_ir as ir

from zoo.converters.expansions import Builder, expands, given, is_read, rank
from zoo.converters.expansions.microsoft import MS, first_channels, last_channels
from zoo.errors import HubError

EPSILON = 1e-12  # the default of the layer normalizations here; ONNX's is 1e-5


def _normalized(
    op: Builder, node: ir.Node, x: ir.Value, gamma: ir.Value | None, beta: ir.Value | None
) -> list[ir.Value | None]:
    """LayerNormalization over the last axis, and mean and inverse deviation where they are read."""
    epsilon = node.attributes.get_float("epsilon", EPSILON)
    if is_read(node, 1) or is_read(node, 2):
        return list(op.LayerNormalization(x, gamma, beta, axis=-1, epsilon=epsilon, outputs=3))
    return [op.LayerNormalization(x, gamma, beta, axis=-1, epsilon=epsilon), None, None]


def _sum(op: Builder, *terms: ir.Value | None) -> ir.Value:
    first, *rest = [term for term in terms if term is not None]
    total: ir.Value = first
    for term in rest:
        total = op.Add(total, term)
    return total


@expands("SkipLayerNormalization", MS)
def skip_layer_normalization(op: Builder, node: ir.Node) -> list[ir.Value | None]:
    """LayerNormalization(input + skip + bias); the sum is the fourth output."""
    x, skip, gamma, beta, bias = (given(node, i) for i in range(5))
    total = _sum(op, x, skip, bias)
    return [*_normalized(op, node, total, gamma, beta), total]


@expands("SkipSimplifiedLayerNormalization", MS)
def skip_rms_normalization(op: Builder, node: ir.Node) -> list[ir.Value | None]:
    """RMSNormalization(input + skip + bias); the sum is the fourth output."""
    x, skip, gamma, bias = (given(node, i) for i in range(4))
    if is_read(node, 1) or is_read(node, 2):
        raise HubError(f"{node.op_type} {node.name!r} whose mean or deviation is read, which is for training")
    total = _sum(op, x, skip, bias)
    epsilon = node.attributes.get_float("epsilon", EPSILON)
    return [op.RMSNormalization(total, gamma, axis=-1, epsilon=epsilon), None, None, total]


@expands("SimplifiedLayerNormalization", MS)
def rms_normalization(op: Builder, node: ir.Node) -> list[ir.Value | None]:
    """RMSNormalization(X, scale), which ONNX Runtime has in ONNX's own domain."""
    x, scale = node.inputs[:2]
    axis, epsilon = node.attributes.get_int("axis", -1), node.attributes.get_float("epsilon", 1e-5)
    y = op.RMSNormalization(x, scale, axis=axis, epsilon=epsilon)
    if not is_read(node, 1):
        return [y, None]
    x32 = op.Cast(x, to=ir.DataType.FLOAT)
    axes = op.const(list(range(axis % rank(x), rank(x))))
    mean = op.ReduceMean(op.Mul(x32, x32), axes, keepdims=1)
    return [y, op.Reciprocal(op.Sqrt(op.Add(mean, op.scalar(epsilon, mean))))]


@expands("LayerNormalization", MS)
def layer_normalization(op: Builder, node: ir.Node) -> list[ir.Value | None]:
    """ONNX's, which ONNX Runtime has in ONNX's own domain in older opsets too."""
    made = op.LayerNormalization(*node.inputs, outputs=len(node.outputs), **dict(node.attributes))
    return list(made) if isinstance(made, tuple) else [made]


@expands("EmbedLayerNormalization", MS)
def embed_layer_normalization(op: Builder, node: ir.Node) -> list[ir.Value | None]:
    """LayerNormalization of the sum of a word's, its position's and its segment's embedding [B, S, H].

    The second output is the number of words [B] where the mask is 1, or zeros without a mask; the third the sum.
    """
    return embedded(op, node, tuple(given(node, i) for i in range(9)))


def embedded(op: Builder, node: ir.Node, inputs: tuple[ir.Value | None, ...]) -> list[ir.Value | None]:
    """The outputs of an EmbedLayerNormalization, of inputs as it has them."""
    ids, segments, words, positions, kinds, gamma, beta, mask, places = inputs
    word = op.Gather(words, ids)
    if places is None:
        length = op.Shape(ids, start=1, end=2)
        place = op.Slice(positions, op.const([0]), length, op.const([0]))
    else:
        place = op.Gather(positions, places)
    kind = None if segments is None or kinds is None else op.Gather(kinds, segments)
    total = _sum(op, op.Add(word, place), kind)
    epsilon = node.attributes.get_float("epsilon", EPSILON)
    y = op.LayerNormalization(total, gamma, beta, axis=-1, epsilon=epsilon)
    counted = ids if mask is None else mask
    count = op.ReduceSum(op.Cast(counted, to=ir.DataType.INT32), op.const([1]), keepdims=0)
    return [y, op.Sub(count, count) if mask is None else count, total]


@expands("GroupNorm", MS)
@expands("SkipGroupNorm", MS)
def group_norm(op: Builder, node: ir.Node) -> list[ir.Value | None]:
    """GroupNormalization of X (+ skip + bias) [N, H, W, C], in float32, and SiLU where it is asked for."""
    x, gamma, beta = node.inputs[:3]
    last = node.attributes.get_int("channels_last", 1)
    total = x
    if node.op_type == "SkipGroupNorm":
        if not last:
            raise HubError(f"SkipGroupNorm {node.name!r} with its channels first")
        skip = given(node, 3)
        if rank(skip) == 2:
            skip = op.Unsqueeze(skip, op.const([1, 2]))
        total = _sum(op, x, skip, given(node, 4))
    y = op.Cast(total, to=ir.DataType.FLOAT)
    if last:
        y = first_channels(op, y, like=x)
    scale, shift = (op.Cast(v, to=ir.DataType.FLOAT) for v in (gamma, beta))
    groups, epsilon = node.attributes["groups"].as_int(), node.attributes.get_float("epsilon", 1e-5)
    y = op.GroupNormalization(y, scale, shift, num_groups=groups, epsilon=epsilon)
    if node.attributes.get_int("activation", 0):
        y = op.Swish(y)
    if last:
        y = last_channels(op, y, like=x)
    return [op.CastLike(y, x), total]
