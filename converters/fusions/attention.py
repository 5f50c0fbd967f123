"""Scaled dot-product attention: softmax(Q K^T * scale + mask) V is Attention(Q, K, V, mask).

Q [B, H, L, D], K [B, H, S, D], V [B, H, S, E]; three axes are heads and batch in one, and become [B * H, 1, ...].
A mask is added (float), or hides (bool: Where(mask, scores, -inf)). Where a row of scores would be -inf throughout,
Attention gives zeros and Softmax NaN: the mask must rule that out (masks.py), or the graph put zeros there itself.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.fusions.masks import first_key, is_lower_triangle, is_never_minus_infinity
from zoo.converters.fusions.matching import is_close, powers_of, scalar
from zoo.converters.fusions.rewriting import Fusion, Place, Rule
from zoo.converters.fusions.shapes import Size, broadcast, is_known, is_reshaped_to, made, may_differ, sizes_of

PRODUCT = "SCALE * MatMul(q, k)"
SCORES = (
    PRODUCT,
    f"{PRODUCT} + bias",
    f"{PRODUCT} + bias + bias2",
    f"Where(mask, {PRODUCT}, FILL)",
    f"Where(hidden, FILL, {PRODUCT})",
    f"Where(mask, {PRODUCT} + bias, FILL)",
    f"Where(hidden, FILL, {PRODUCT} + bias)",
)
WEIGHTS = (
    "MatMul(Softmax({s}, axis=AXIS), v)",
    "p = Softmax({s}, axis=AXIS)\nMatMul(Where(IsNaN(p), ZERO, p), v)",
    "MatMul(Cast(Softmax(Cast({s}, to=1), axis=AXIS), to=TO), v)",
    "MatMul(Dropout(Softmax({s}, axis=AXIS), RATIO), v)",
)
HIDDEN = -1e30  # and below: in float32 a score that is added leaves it as it is, so that rows of it stay even
NEARLY_HIDDEN = -1e9  # and below: beside any score that is seen, the exponential is zero


def _attention(fusion: Fusion) -> ir.Value:
    q, k_t, v = fusion["q"], fusion["k"], fusion["v"]
    sizes = [sizes_of(x) for x in (q, k_t, v)]
    rank = len(sizes[0])
    if rank not in (3, 4) or any(len(s) != rank for s in sizes):
        fusion.refuse("the query, key and value are not of three or four axes each")
    if fusion["AXIS"] not in (-1, rank - 1):
        fusion.refuse("the softmax is not over the keys")
    if any(x.dtype != q.dtype for x in (k_t, v)) or fusion.bound.get("TO", q.dtype.value) != q.dtype.value:
        fusion.refuse("the query, key and value are not of one dtype")
    if fusion.bound.get("ZERO", 0.0) != 0 or fusion.bound.get("RATIO", 0.0) != 0:
        fusion.refuse("weights are dropped, or something else than zero stands for NaN")
    for i in range(rank - 2):
        if any(may_differ(s[i], t[i]) for s in sizes for t in sizes):
            fusion.refuse("the query, key and value are not of one batch and one number of heads")
    options: dict[str, Any] = {"softmax_precision": 1} if "TO" in fusion.bound and q.dtype.value != 1 else {}
    q, by = _unscaled(q)
    k, k_by = _key(fusion, k_t)
    scale = fusion["SCALE"] * by * k_by
    if not 0 < scale < math.inf:
        fusion.refuse(f"the scale is {scale:g}")
    size = sizes_of(q)[-1]
    if not (isinstance(size, int) and is_close(scale, 1 / math.sqrt(size))):
        options["scale"] = scale
    if rank == 4:
        k, v = _ungrouped(fusion, k, v)
    mask = _mask(fusion, sizes_of(q)[-2], sizes_of(k)[-2])
    if mask is not None and is_causal(mask, sizes_of(q)[-2], sizes_of(k)[-2]):
        mask, options["is_causal"] = None, 1
    if mask is not None:
        mask = _over_all_keys(fusion, mask, q, k)
    if rank == 3:
        q, k, v = (_with_axis(fusion, x) for x in (q, k, v))
        mask = _with_axis(fusion, mask) if mask is not None and len(sizes_of(mask)) == 3 else mask
    y: ir.Value = fusion.op.Attention(q, k, v, *([] if mask is None else [mask]), **options)
    if rank == 3:
        made(y, q, [*sizes_of(q)[:3], sizes_of(v)[3]])
        y = fusion.op.Squeeze(y, fusion.constant(np.array([1], dtype=np.int64), "axes_1"))
    return y


def _unscaled(value: ir.Value) -> tuple[ir.Value, float]:
    """What a constant scalar is multiplied with, and the scalar."""
    node = value.producer()
    product = powers_of(value, None if node is None else node.graph)
    if len(product.powers) == 1 and product.powers[0][1] == 1 and product.number > 0 and product.nodes:
        return product.powers[0][0], product.number
    return value, 1.0


def _key(fusion: Fusion, k_t: ir.Value) -> tuple[ir.Value, float]:
    """K [..., S, D] and a scale, of K^T [..., D, S]: what it was transposed from, or it transposed once more."""
    k_t, by = _unscaled(k_t)
    node, sizes = k_t.producer(), sizes_of(k_t)
    swapped = [*range(len(sizes) - 2), len(sizes) - 1, len(sizes) - 2]
    if node is not None and node.op_type == "Transpose" and not node.domain and node.inputs[0] is not None:
        perm = list(node.attributes.get_ints("perm", range(len(sizes))[::-1]))
        x, x_by = _unscaled(node.inputs[0])
        order = [perm[i] for i in swapped]
        if order == sorted(order):
            return x, by * x_by
        return made(fusion.op.Transpose(x, perm=order), k_t, [sizes[i] for i in swapped]), by * x_by
    if (whole := _of_three_axes(fusion, k_t)) is not None:
        x, x_by = _unscaled(whole)
        return x, by * x_by
    return made(fusion.op.Transpose(k_t, perm=swapped), k_t, [sizes[i] for i in swapped]), by


def _of_three_axes(fusion: Fusion, k_t: ir.Value) -> ir.Value | None:
    """K of Reshape(Transpose(Reshape(K, [-1, S, D]), [0, 2, 1]), [B, H, D, S]), as torch's exporter writes K^T."""
    nodes = _chain(k_t, "Reshape", "Transpose", "Reshape")
    k = nodes[2].inputs[0] if nodes else None
    if not nodes or k is None or list(nodes[1].attributes.get_ints("perm", [])) != [0, 2, 1]:
        return None
    b, h, s, d = sizes if len(sizes := sizes_of(k)) == 4 else (0, 0, 0, 0)
    flat, back = fusion.sizes_in(nodes[2].inputs[1]), fusion.sizes_in(nodes[0].inputs[1])
    is_flat = flat is not None and len(flat) == 3 and flat[1:] == (s, d)
    return k if is_flat and is_reshaped_to(back, sizes_of(nodes[1].outputs[0]), (b, h, d, s)) else None


def _chain(value: ir.Value, *op_types: str) -> list[ir.Node] | None:
    """The nodes that compute a value one from the other, the last one first, if they are these operators."""
    nodes: list[ir.Node] = []
    at: ir.Value | None = value
    for op_type in op_types:
        node = at.producer() if at is not None else None
        if node is None or node.op_type != op_type or node.domain:
            return None
        nodes.append(node)
        at = node.inputs[0]
    return nodes


def _ungrouped(fusion: Fusion, k: ir.Value, v: ir.Value) -> tuple[ir.Value, ir.Value]:
    """K and V before each head was repeated for a group of queries, as Attention does it itself."""
    before = [_before_repeat(fusion.place, x) for x in (k, v)]
    if before[0] is None or before[1] is None or sizes_of(before[0])[1] != sizes_of(before[1])[1]:
        return k, v
    return before[0], before[1]


def ungroup(model: ir.Model, graph: ir.Graph) -> bool:
    """Attention(q, k, v) whose keys and values were repeated for groups of queries, by them as they were; any was."""
    place, changed = Place(model, graph), False
    for node in graph:
        if node.op_type != "Attention" or node.domain or any(v is not None for v in node.inputs[4:]):
            continue
        k, v = node.inputs[1:3]
        before = [None if x is None or len(sizes_of(x)) != 4 else _before_repeat(place, x) for x in (k, v)]
        if before[0] is not None and before[1] is not None and sizes_of(before[0])[1] == sizes_of(before[1])[1]:
            node.replace_input_with(1, before[0])
            node.replace_input_with(2, before[1])
            changed = True
    return changed


def _before_repeat(place: Place, x: ir.Value) -> ir.Value | None:
    """[B, H, S, D] of Reshape(Expand([B, H, 1, S, D], [B, H, n, S, D]), [B, H * n, S, D])."""
    nodes = _chain(x, "Reshape", "Expand", "Unsqueeze")
    heads = nodes[2].inputs[0] if nodes else None
    if not nodes or heads is None or len(sizes_of(heads)) != 4:
        return None
    b, h, *rest = sizes_of(heads)
    wide = place.sizes_in(nodes[1].inputs[1])
    n = wide[2] if wide is not None and len(wide) == 5 else None
    if not isinstance(h, int) or not isinstance(n, int) or sizes_of(nodes[2].outputs[0]) != (b, h, 1, *rest):
        return None
    if not all(w in (1, s) for w, s in zip(wide or (), (b, h, n, *rest), strict=True)):
        return None
    return heads if is_reshaped_to(place.sizes_in(nodes[0].inputs[1]), (b, h, n, *rest), (b, h * n, *rest)) else None


def _with_axis(fusion: Fusion, x: ir.Value) -> ir.Value:
    """[N, L, D] as [N, 1, L, D]."""
    first, *rest = sizes_of(x)
    axes = fusion.constant(np.array([1], dtype=np.int64), "axes_1")
    return made(fusion.op.Unsqueeze(x, axes), x, [first, 1, *rest])


def _mask(fusion: Fusion, queries: Size, keys: Size) -> ir.Value | None:
    """What Attention takes as its mask: None, what is added to the scores, or what is true for what is seen."""
    bound, q = fusion.bound, fusion["q"]
    is_guarded = "ZERO" in bound
    bias: ir.Value | None = bound.get("bias")
    if bias is not None and "bias2" in bound:
        bias = made(fusion.op.Add(bias, bound["bias2"]), bias, broadcast(sizes_of(bias), sizes_of(bound["bias2"])))
    if bias is not None and bias.dtype != q.dtype:
        fusion.refuse(f"what is added to the scores is {bias.dtype}, and the query {q.dtype}")
    if "FILL" not in bound:
        return None if bias is None else _added(fusion, bias, is_guarded=is_guarded)
    seen: ir.Value = bound["mask"] if "mask" in bound else _not(fusion, bound["hidden"])
    fill = bound["FILL"]
    if bias is None and fill <= NEARLY_HIDDEN and (is_guarded and fill == -math.inf or _sees_first(fusion)):
        return seen
    if fill > HIDDEN or (fill == -math.inf and not (is_guarded or _sees_first(fusion))):
        fusion.refuse(f"a query that sees no key gets NaN or even weights: its scores are {fill:g} and not masked")
    if bias is not None and not (is_guarded or is_never_minus_infinity(bias)):
        fusion.refuse("what is added to the scores can be minus infinity for a whole query")
    if q.dtype == ir.DataType.FLOAT16 and fill > -math.inf:
        fusion.refuse(f"in float16 a score that is added to {fill:g} changes it")
    low = fusion.constant(np.array(fill, dtype=q.dtype.numpy()), f"hidden_{q.dtype.name}")
    if bias is None:
        zero = fusion.constant(np.array(0, dtype=q.dtype.numpy()), f"zero_{q.dtype.name}")
        return made(fusion.once("Where", seen, zero, low), q, sizes_of(seen))
    return made(fusion.op.Where(seen, bias, low), q, broadcast(sizes_of(seen), sizes_of(bias)))


def _sees_first(fusion: Fusion) -> bool:
    """Whether a boolean mask shows every query the first key."""
    name, seen = ("mask", 1.0) if "mask" in fusion.bound else ("hidden", 0.0)
    return first_key(fusion[name]) == frozenset({seen})


def _added(fusion: Fusion, bias: ir.Value, *, is_guarded: bool) -> ir.Value:
    """A mask that is added: as the boolean one that it was made from, if that was all, or as it is."""
    node, array = bias.producer(), None if bias.const_value is None else bias.const_value
    if array is not None and array.size <= 1 << 22 and (numbers := array.numpy().astype(np.float64)).ndim >= 2:
        if not (is_guarded or (numbers > -math.inf).any(-1).all()):
            fusion.refuse("the mask is minus infinity for a whole query")
        if np.all((numbers == 0) | (numbers <= NEARLY_HIDDEN)) and (numbers == 0).any(-1).all():
            return fusion.constant(numbers == 0, f"{bias.name}_seen")
        return bias
    if node is not None and node.op_type == "Where" and not node.domain:
        condition, *ends = node.inputs
        at = [None if (number := scalar(end)) is None else number[0] for end in ends]
        if condition is not None and sorted(map(str, at)) == ["-inf", "0.0"]:
            sees = first_key(condition) == frozenset({1.0 if at[0] == 0 else 0.0})
            if not (is_guarded or sees):
                fusion.refuse("a query that sees no key gets NaN: its scores are minus infinity and not masked")
            return condition if at[0] == 0 else _not(fusion, condition)
    if not (is_guarded or is_never_minus_infinity(bias)):
        fusion.refuse("what is added to the scores can be minus infinity for a whole query")
    return bias


def _not(fusion: Fusion, mask: ir.Value) -> ir.Value:
    node = mask.producer()
    if node is not None and node.op_type == "Not" and not node.domain and node.inputs[0] is not None:
        return node.inputs[0]
    return made(fusion.once("Not", mask), mask, sizes_of(mask))


def is_causal(mask: ir.Value, queries: Size, keys: Size) -> bool:
    """Whether a boolean mask is the triangle that Attention makes itself: query i sees the keys up to i."""
    if mask.dtype != ir.DataType.BOOL or sizes_of(mask)[-2:] != (queries, keys):
        return False
    return all(is_known(n) for n in (queries, keys)) and is_lower_triangle(mask)


def _over_all_keys(fusion: Fusion, mask: ir.Value, q: ir.Value, k: ir.Value) -> ir.Value:
    """The mask with one element a key: Attention takes a shorter one as hiding the rest, where a sum broadcasts it."""
    sizes, scores = sizes_of(mask), (*sizes_of(q)[:-1], sizes_of(k)[-2])
    if mask.shape is None or len(sizes) > len(scores):
        fusion.refuse("the mask has more axes than the scores, or how many is not known")
    for have, want in zip(sizes[::-1][1:], scores[::-1][1:], strict=False):
        if have != 1 and may_differ(have, want):
            fusion.refuse(f"the mask is of shape {list(sizes)}, and the scores of {list(scores)}")
    if sizes and sizes[-1] == scores[-1] and is_known(sizes[-1]):
        return mask
    n = fusion.op.Shape(k, start=len(scores) - 2, end=len(scores) - 1)
    n.dtype, n.shape = ir.DataType.INT64, ir.Shape([1])
    return made(fusion.op.Expand(mask, n), mask, [*sizes[:-1], scores[-1]])


RULES = (Rule([w.format(s=s) for w in WEIGHTS for s in SCORES], _attention),)
