"""Keras' layers of several inputs as ONNX nodes: sums and their kin, concatenation, dot products, attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import onnx_ir as ir

from zoo.converters.readers.keras_config import Fault, Layer
from zoo.converters.readers.keras_graph import Builder, Emit, Laid
from zoo.converters.readers.keras_layers import Table, number

TABLE = layer = Table()


def _aligned(b: Builder, inputs: Sequence[Laid]) -> tuple[list[ir.Value], bool, tuple[int | None, ...]]:
    """The values in one layout, whether it is the moved one, and the shape that they broadcast to.

    Tensors of fewer axes get them behind the batch, as Keras does (layers/merging, _Merge.call).
    """
    rank = max(x.rank for x in inputs)
    is_moved = all(x.rank == rank and x.rank > 2 for x in inputs) and any(x.moved is not None for x in inputs)
    values = []
    for x in inputs:
        value = b.moved(x) if is_moved else b.author(x)
        missing = rank - x.rank
        values.append(b.op("Unsqueeze", value, b.ints(*range(1, 1 + missing))) if missing else value)
    shapes = [(x.shape[0], *[1] * (rank - x.rank), *x.shape[1:]) for x in inputs]
    merged: list[int | None] = []
    for sizes in zip(*shapes, strict=True):
        known = {n for n in sizes if n not in (1, None)}
        if len(known) > 1:
            raise Fault(f"tensors of shapes {', '.join(map(str, shapes))[:200]} are merged")
        merged.append(None if None in sizes and not known else max(known, default=1))
    return values, is_moved, (None, *merged[1:])


def _merge(emit: Callable[[Builder, list[ir.Value]], ir.Value]) -> Emit:
    def merge(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
        if len(inputs) < 2:
            raise Fault(f"layer {layer.name!r} ({layer.kind}) is called on {len(inputs)} tensors")
        values, is_moved, shape = _aligned(b, inputs)
        y = emit(b, values)
        return Laid(shape, moved=y) if is_moved else Laid(shape, author=y)

    return merge


def _chain(kind: str) -> Callable[[Builder, list[ir.Value]], ir.Value]:
    def emit(b: Builder, values: list[ir.Value]) -> ir.Value:
        y = values[0]
        for value in values[1:]:
            y = b.op(kind, y, value)
        return y

    return emit


add = layer("Add")(_merge(_chain("Add")))
subtract = layer("Subtract")(_merge(_chain("Sub")))
multiply = layer("Multiply")(_merge(_chain("Mul")))
average = layer("Average")(_merge(lambda b, values: b.op("Mean", *values)))
maximum = layer("Maximum")(_merge(lambda b, values: b.op("Max", *values)))
minimum = layer("Minimum")(_merge(lambda b, values: b.op("Min", *values)))


@layer("Concatenate")
def concatenate(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Tensors side by side along `axis`."""
    rank, axis = inputs[0].rank, layer.get("axis", -1)
    if any(x.rank != rank for x in inputs) or not isinstance(axis, int) or not -rank <= axis < rank:
        raise Fault(f"layer {layer.name!r}: tensors of {[x.rank for x in inputs]} axes along {str(axis)[:20]}")
    axis %= rank
    sizes = [x.shape[axis] for x in inputs]
    shape = list(inputs[0].shape)
    shape[axis] = None if None in sizes else sum(n or 0 for n in sizes)
    if rank > 2 and any(x.moved is not None for x in inputs):
        place = {0: 0, rank - 1: 1}.get(axis, axis + 1)
        return Laid(tuple(shape), moved=b.op("Concat", *(b.moved(x) for x in inputs), axis=place))
    return Laid(tuple(shape), author=b.op("Concat", *(b.author(x) for x in inputs), axis=axis), dtype=inputs[0].dtype)


@layer("Dot")
def dot(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """The sum over one axis of each of two tensors, batch by batch (keras.backend.batch_dot)."""
    axes = layer["axes"]
    axes = [axes, axes] if isinstance(axes, int) else list(axes)
    if len(inputs) != 2 or len(axes) != 2 or any(x.rank not in (2, 3) for x in inputs):
        raise Fault(f"layer {layer.name!r}: a dot product of {[x.rank for x in inputs]} axes", is_refusal=True)
    places = [a % x.rank for a, x in zip(axes, inputs, strict=True)]
    if 0 in places:
        raise Fault(f"layer {layer.name!r}: a dot product over the batch", is_refusal=True)
    values = [b.author(x) for x in inputs]
    if layer.get("normalize", False):
        values = [_unit(b, value, place) for value, place in zip(values, places, strict=True)]
    left, right = inputs
    # as [N, rows, sum] and [N, sum, columns]
    values[0] = _matrix(b, values[0], left.rank, places[0], 2)
    values[1] = _matrix(b, values[1], right.rank, places[1], 1)
    y = b.op("MatMul", values[0], values[1])
    kept = [n for x, place in zip(inputs, places, strict=True) for i, n in enumerate(x.shape[1:], 1) if i != place]
    if left.rank == right.rank == 2:
        return Laid((left.shape[0], 1), author=b.op("Squeeze", y, b.ints(2)))
    gone = [1] if left.rank == 2 else [2] if right.rank == 2 else []
    return Laid((left.shape[0], *kept), author=b.op("Squeeze", y, b.ints(*gone)) if gone else y)


def cosine(b: Builder, inputs: Sequence[Laid]) -> Laid:
    """Keras 1's merge by cosine of [N, D] tensors: [N, 1, 1]."""
    if len(inputs) != 2 or any(x.rank != 2 for x in inputs):
        raise Fault(f"a cosine of {[x.rank for x in inputs]} axes", is_refusal=True)
    left, right = (b.author(x) for x in inputs)
    over = b.op("Mul", *(b.op("ReduceSumSquare", v, b.ints(1), keepdims=1) for v in (left, right)))
    inner = b.op("ReduceSum", b.op("Mul", left, right), b.ints(1), keepdims=1)
    y = b.op("Div", inner, b.op("Sqrt", b.op("Max", over, b.number(1e-7))))
    return Laid((inputs[0].shape[0], 1, 1), author=b.op("Unsqueeze", y, b.ints(1)))


def _unit(b: Builder, value: ir.Value, axis: int) -> ir.Value:
    """A value over its length along an axis, as tf.nn.l2_normalize has it."""
    square = b.op("ReduceSumSquare", value, b.ints(axis), keepdims=1)
    return b.op("Div", value, b.op("Sqrt", b.op("Max", square, b.number(1e-12))))


def _matrix(b: Builder, value: ir.Value, rank: int, place: int, wanted: int) -> ir.Value:
    if rank == 2:  # its only axis is the one that is summed
        return b.op("Unsqueeze", value, b.ints(3 - wanted))
    return value if place == wanted else b.op("Transpose", value, perm=[0, 2, 1])


@layer("Attention")
def attention(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """softmax(Q K^T * scale) V of [N, T, D] tensors given as (query, value) or (query, value, key)."""
    if len(inputs) not in (2, 3) or any(x.rank != 3 for x in inputs):
        raise Fault(f"layer {layer.name!r}: attention over {[x.rank for x in inputs]} axes", is_refusal=True)
    if layer.get("score_mode", "dot") != "dot":
        raise Fault(f"layer {layer.name!r}: attention by {str(layer['score_mode'])[:40]!r}", is_refusal=True)
    _check_given(b, layer)
    query, value = inputs[0], inputs[1]
    key = inputs[-1]
    scores = b.op("MatMul", b.author(query), b.op("Transpose", b.author(key), perm=[0, 2, 1]))
    if layer.get("use_scale", False):
        scores = b.op("Mul", scores, b.weight("scale"))
    is_causal = bool(layer.get("causal", False) or b.given.get("use_causal_mask", False))
    allowed = None if value.mask is None else b.op("Unsqueeze", value.mask, b.ints(1))
    scores = _kept(b, scores, _both(b, allowed, _causal(b, scores) if is_causal else None))
    y = b.op("MatMul", b.op("Softmax", scores, axis=-1), b.author(value))
    if query.mask is not None:
        y = b.op("Mul", y, b.op("Unsqueeze", b.op("Cast", query.mask, to=ir.DataType.FLOAT), b.ints(2)))
    return Laid((query.shape[0], query.shape[1], value.shape[2]), author=y)


GIVEN = (
    "value",
    "key",
    "mask",
    "training",
    "use_causal_mask",
    "attention_mask",
    "query_mask",
    "value_mask",
    "key_mask",
)


def _check_given(b: Builder, layer: Layer) -> None:
    """Raise Fault for what attention is called with and isn't done here."""
    unknown = [key for key in b.given if key not in GIVEN]
    if unknown or layer.kind != "MultiHeadAttention" and b.given.get("attention_mask") is not None:
        what = unknown[0] if unknown else "attention_mask"
        raise Fault(f"layer {layer.name!r} ({layer.kind}) is called with {what!r}", is_refusal=True)


def _causal(b: Builder, scores: ir.Value) -> ir.Value:
    """[T, S] of bool: no step sees what comes behind it."""
    ones = b.op("Expand", b.full(1), b.op("Shape", scores, start=-2))
    return b.op("Cast", b.op("Trilu", ones, upper=0), to=ir.DataType.BOOL)


def _both(b: Builder, left: ir.Value | None, right: ir.Value | None) -> ir.Value | None:
    return left if right is None else right if left is None else b.op("And", left, right)


def _kept(b: Builder, scores: ir.Value, allowed: ir.Value | None) -> ir.Value:
    """Scores that count as they are, and the others so low that the softmax gives them nothing."""
    return scores if allowed is None else b.op("Where", allowed, scores, b.number(-1e9))


@layer("MultiHeadAttention")
def multi_head_attention(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Query, value and key (the value where it isn't given), [N, T, D] each, through H heads: [N, T, output].

    Kernels are [D, H, K] for the three and [H, V, output] for what comes out.
    """
    if len(inputs) not in (2, 3) or any(x.rank != 3 for x in inputs):
        raise Fault(f"layer {layer.name!r}: attention over {[x.rank for x in inputs]} axes", is_refusal=True)
    if layer.get("attention_axes", [1]) not in ([1], 1, (1,)):
        raise Fault(f"layer {layer.name!r}: attention over axes {str(layer['attention_axes'])[:40]}", is_refusal=True)
    _check_given(b, layer)
    query, value = inputs[0], inputs[1]
    key = inputs[2] if len(inputs) == 3 else value
    q, k, v = (_heads(b, layer, x, part) for x, part in ((query, "query"), (key, "key"), (value, "value")))
    q = b.op("Mul", q, b.number(1 / sqrt(number(layer["key_dim"]))))
    scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 1, 3, 2]))
    weights = b.op("Softmax", _kept(b, scores, _attended(b, query, value, key, scores)), axis=-1)
    y = b.op("Transpose", b.op("MatMul", weights, v), perm=[0, 2, 1, 3])
    out, (heads, width, *sizes) = "attention_output", b.weight_shape("attention_output", "kernel")
    if len(sizes) != 1:
        raise Fault(f"layer {layer.name!r}: attention that gives {len(sizes)} axes", is_refusal=True)
    y = b.op("Reshape", y, b.ints(0, 0, heads * width))
    y = b.op("MatMul", y, b.op("Reshape", b.weight(out, "kernel"), b.ints(heads * width, *sizes)))
    y = b.op("Add", y, b.weight(out, "bias")) if layer.get("use_bias", True) else y
    return Laid((*query.shape[:2], *sizes), author=y)


def _attended(b: Builder, query: Laid, value: Laid, key: Laid, scores: ir.Value) -> ir.Value | None:
    """[N, 1, T, S] of bool: what may be seen, by masks that came with tensors (since Keras 2.10) and those given."""
    masks = {"query_mask": query.mask, "value_mask": value.mask, "key_mask": key.mask if key is not value else None}
    allowed: ir.Value | None = None
    for name, axes in (("query_mask", (1, 3)), ("value_mask", (1, 2)), ("key_mask", (1, 2))):
        given = b.given.get(name)
        mask = given.author if isinstance(given, Laid) else masks[name] if b.origin.version >= (2, 10) else None
        if mask is not None:
            allowed = _both(b, allowed, b.op("Unsqueeze", mask, b.ints(*axes)))
    given = b.given.get("attention_mask")
    if isinstance(given, Laid):
        mask = b.op("Cast", b.author(given), to=ir.DataType.BOOL)
        allowed = _both(b, allowed, b.op("Unsqueeze", mask, b.ints(1)) if given.rank == 3 else mask)
    return _both(b, allowed, _causal(b, scores) if b.given.get("use_causal_mask", False) else None)


def _heads(b: Builder, layer: Layer, x: Laid, part: str) -> ir.Value:
    """[N, T, D] x kernel [D, H, K] + bias [H, K] as [N, H, T, K]."""
    width, heads, size = b.weight_shape(part, "kernel", rank=3)
    y = b.op("MatMul", b.author(x), b.op("Reshape", b.weight(part, "kernel"), b.ints(width, heads * size)))
    y = b.op("Reshape", y, b.ints(0, 0, heads, size))
    y = b.op("Add", y, b.weight(part, "bias", rank=2)) if layer.get("use_bias", True) else y
    return b.op("Transpose", y, perm=[0, 2, 1, 3])
