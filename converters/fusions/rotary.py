"""Rotary embedding: x * cos + rotate(x) * sin is RotaryEmbedding(x, cos, sin) (Su et al., arXiv:2104.09864).

x [B, H, L, D]. A pair that is turned are one number of the first half of D and one of the second, or two neighbours
(interleaved); the formula has the angle of each pair twice, [1 or B, 1, L, D], and the operator once, [B, L, D / 2].
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from zoo.converters.fusions.rewriting import Fusion, Rule
from zoo.converters.fusions.shapes import Size, is_known, made, sizes_of
from zoo.converters.graph import is_parameter

HALVES = "x * cos + Concat(-second, first, axis=AXIS) * sin"
NEIGHBOURS = "x * cos + Reshape(Concat(Unsqueeze(-second, axes), Unsqueeze(first, axes), axis=AXIS), shape) * sin"
ELEMENTWISE = {"Cos", "Sin", "Cast", "Identity", "Neg", "Mul", "Add", "Sub", "Div"}
MAX_DEPTH = 16


def _rotary(fusion: Fusion) -> ir.Value:
    x, is_interleaved = fusion["x"], "axes" in fusion.bound
    sizes = sizes_of(x)
    size = sizes[-1] if len(sizes) == 4 else 0
    if not isinstance(size, int) or size == 0 or size % 2 or not all(is_known(n) for n in sizes):
        fusion.refuse()
    batch, _, length, _ = sizes
    halves = [range(i, size, 2) if is_interleaved else range(i * size // 2, (i + 1) * size // 2) for i in (0, 1)]
    if not all(_is_part(fusion[n], x, half) for n, half in zip(("first", "second"), halves, strict=True)):
        fusion.refuse()
    if fusion["AXIS"] not in ((-1, 4) if is_interleaved else (-1, 3)):
        fusion.refuse("what is turned is not put together along the last axis")
    if is_interleaved and (fusion.root.outputs[0].shape != x.shape or not _is_new_last_axis(fusion["axes"])):
        fusion.refuse("the pairs are not put together as neighbours")
    if x.dtype == ir.DataType.DOUBLE:
        fusion.refuse("RotaryEmbedding is not defined for float64")
    for name in ("cos", "sin"):
        angles = fusion[name]
        if angles.dtype != x.dtype or sizes_of(angles) not in ((batch, 1, length, size), (1, 1, length, size)):
            fusion.refuse(f"the {name} is {angles.dtype} {list(sizes_of(angles))}, and the input {list(sizes)}")
        if not _comes_twice(angles, size, is_interleaved, 0):
            fusion.refuse(f"the two numbers of a pair may have different angles in the {name}")
    caches = [_cache(fusion, fusion[name], batch, is_interleaved) for name in ("cos", "sin")]
    options = {"interleaved": 1} if is_interleaved else {}
    y: ir.Value = fusion.op.RotaryEmbedding(x, *caches, **options)
    return y


def _ints(value: ir.Value | None) -> list[int] | None:
    if value is None or value.const_value is None or is_parameter(value):
        return None
    return [int(n) for n in value.const_value.numpy().reshape(-1)]


def _is_new_last_axis(axes: ir.Value) -> bool:
    return _ints(axes) in ([-1], [4])


def _is_part(value: ir.Value, x: ir.Value, wanted: range) -> bool:
    """Whether a value is these numbers of x's last axis, by a Slice or a Split into two."""
    node, size = value.producer(), sizes_of(x)[-1]
    if node is None or node.domain or node.inputs[0] is not x or not isinstance(size, int):
        return False
    rank = len(sizes_of(x))
    if node.op_type == "Split":
        lengths = _ints(node.inputs[1]) if len(node.inputs) > 1 else [size // 2] * 2
        is_last = node.attributes.get_int("axis", 0) in (-1, rank - 1)
        at = range(size)[: size // 2] if value.index() == 0 else range(size)[size // 2 :]
        return is_last and len(node.outputs) == 2 and lengths == [size // 2] * 2 and at == wanted
    if node.op_type != "Slice":
        return False
    given = [_ints(v) for v in node.inputs[1:]]
    starts, ends, axes, steps = (*given, None, None)[:4] if len(given) >= 2 else (None,) * 4
    if starts is None or ends is None or axes is None or axes not in ([-1], [rank - 1]):
        return False
    step = 1 if len(given) < 4 else (steps or [0])[0]
    return step != 0 and range(size)[starts[0] : ends[0] : step] == wanted


def _comes_twice(value: ir.Value, size: int, is_interleaved: bool, depth: int) -> bool:
    """Whether the last axis, of this size, has the same number at both places of a pair."""
    if value.const_value is not None and not is_parameter(value):
        array = value.const_value.numpy()
        if array.ndim == 0 or array.shape[-1] == 1:
            return True
        a, b = (array[..., 0::2], array[..., 1::2]) if is_interleaved else np.split(array, 2, axis=-1)
        return bool(np.array_equal(a, b))
    node = value.producer()
    if node is None or node.domain or depth > MAX_DEPTH:
        return sizes_of(value)[-1:] == (1,)
    inputs = [v for v in node.inputs if v is not None]
    if node.op_type in ELEMENTWISE:
        return all(_comes_twice(v, size, is_interleaved, depth + 1) for v in inputs)
    if node.op_type in ("Unsqueeze", "Expand"):  # of another axis: the last one is as long as before
        return sizes_of(inputs[0])[-1:] == (size,) and _comes_twice(inputs[0], size, is_interleaved, depth + 1)
    rank = len(sizes_of(value))
    if node.op_type == "Concat" and not is_interleaved:
        return len(inputs) == 2 and inputs[0] is inputs[1] and node.attributes.get_int("axis", 0) in (-1, rank - 1)
    if node.op_type == "Reshape" and is_interleaved:  # [..., D / 2, 2] of which both are one number
        return _is_doubled(inputs[0], size) and sizes_of(value)[-1:] == (size,)
    return False


def _is_doubled(value: ir.Value, size: int) -> bool:
    """Whether a value is [..., D / 2, 2], its two last numbers the same: an Expand, or a Concat of one with itself."""
    node, sizes = value.producer(), sizes_of(value)
    if node is None or node.domain or sizes[-2:] != (size // 2, 2):
        return False
    if node.op_type == "Concat":
        is_last = node.attributes.get_int("axis", 0) in (-1, len(sizes) - 1)
        return is_last and len(node.inputs) == 2 and node.inputs[0] is node.inputs[1]
    return node.op_type == "Expand" and node.inputs[0] is not None and sizes_of(node.inputs[0])[-1:] == (1,)


def _cache(fusion: Fusion, angles: ir.Value, batch: Size, is_interleaved: bool) -> ir.Value:
    """[B, L, D / 2] of angles [1 or B, 1, L, D], made once for every query and key that is turned by them."""
    _, _, length, size = sizes_of(angles)
    assert isinstance(size, int)
    numbers = (0, 2**63 - 1, 2, 2) if is_interleaved else (0, size // 2, 2, 1)
    limits = [fusion.constant(np.array([n], dtype=np.int64), f"at_{n}") for n in numbers]
    first = sizes_of(angles)[0]
    node = angles.producer()
    if node is not None and node.op_type == "Unsqueeze" and not node.domain and node.inputs[0] is not None:
        flat = node.inputs[0]
    else:
        axis = fusion.constant(np.array([1], dtype=np.int64), "at_1")
        flat = made(fusion.once("Squeeze", angles, axis), angles, (first, length, size))
    half = made(fusion.once("Slice", flat, *limits), angles, (first, length, size // 2))
    if first == batch:
        return half
    shape = _shape_of_batch(fusion, batch)
    return made(fusion.once("Expand", half, shape), angles, (batch, length, size // 2))


def _shape_of_batch(fusion: Fusion, batch: Size) -> ir.Value:
    """[batch, 1, 1] as a value: a constant, or read from an input of the graph that has this very size."""
    if isinstance(batch, int):
        return fusion.constant(np.array([batch, 1, 1], dtype=np.int64), f"shape_{batch}_1_1")
    found = next(((v, sizes_of(v).index(batch)) for v in fusion.place.graph.inputs if batch in sizes_of(v)), None)
    if found is None:
        fusion.refuse("no input has the batch size, to which the angles would have to be spread")
    source, axis = found
    size = fusion.once("Shape", source, start=axis, end=axis + 1)
    size.dtype, size.shape = ir.DataType.INT64, ir.Shape([1])
    ones = fusion.constant(np.array([1, 1], dtype=np.int64), "shape_1_1")
    shape = fusion.once("Concat", size, ones, axis=0)
    shape.dtype, shape.shape = ir.DataType.INT64, ir.Shape([3])
    return shape


RULES = (Rule([HALVES, NEIGHBOURS], _rotary),)
