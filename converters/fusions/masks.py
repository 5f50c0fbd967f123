"""What can be said of an attention mask without running the graph: whether a query is ever left without a key.

Softmax over a row of minus infinity is NaN, and Attention's result for it is zero (ONNX, Attention 25). So a mask may
only go into Attention if no row is minus infinity throughout: no element ever is, or every query sees the first key.

Two things are taken for granted. Integers that come from outside (token masks, positions) are not negative. What the
file holds, and what layers compute from it, leaves every query a key: a model of which that is not true gives NaN for
every input. Its numbers count as finite, below LARGE, which added to the lowest float32 leaves it as it is.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from zoo.converters.graph import is_parameter

LARGE = 1e30
LARGE_HALF = 1e3  # the same in float16
MAX_DEPTH = 64
Bounds = tuple[float, float]
UNKNOWN = (-math.inf, math.inf)
MOVES = {  # operators that give back elements of their first input
    *("Identity", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Transpose", "Expand", "Tile", "Slice", "Split"),
    *("Gather", "GatherElements", "GatherND"),
}
LAYERS = {*("MatMul", "Gemm", "Conv", "LayerNormalization", "Linear", "LinearNoBias", "Einsum", "Gelu", "Swish")}
WITHIN = {"Sigmoid": (0.0, 1.0), "Softmax": (0.0, 1.0), "Tanh": (-1.0, 1.0), "Erf": (-1.0, 1.0), "Shape": (0.0, LARGE)}
CORNERS: dict[str, Callable[[float, float], float]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Min": min,
    "Max": max,
}


def is_never_minus_infinity(value: ir.Value) -> bool:
    """Whether no element of a float tensor can be minus infinity."""
    return _bounds(value, {}, 0)[0] > -math.inf


def _bounds(value: ir.Value, known: dict[ir.Value, Bounds], depth: int) -> Bounds:
    """The least and the largest that an element can be."""
    if value not in known:
        known[value] = UNKNOWN  # until it is found, and for what is too deep
        if depth < MAX_DEPTH:
            known[value] = _rounded(_of_node(value, known, depth), value.dtype)
    return known[value]


def _rounded(bounds: Bounds, dtype: ir.DataType | None) -> Bounds:
    """Bounds as the dtype holds them: what it can't hold is infinite."""
    if dtype is None or not dtype.is_floating_point() or any(math.isnan(b) for b in bounds):
        return UNKNOWN if dtype is None or any(math.isnan(b) for b in bounds) else bounds
    with np.errstate(over="ignore"):
        low, high = (float(np.asarray(b).astype(dtype.numpy())) for b in bounds)
    return low, high


def _of_node(value: ir.Value, known: dict[ir.Value, Bounds], depth: int) -> Bounds:
    node, dtype = value.producer(), value.dtype
    large = LARGE_HALF if dtype == ir.DataType.FLOAT16 else LARGE
    if is_parameter(value):
        return -large, large
    if value.const_value is not None:
        array = value.const_value.numpy().astype(np.float64)
        return (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if dtype == ir.DataType.BOOL:
        return 0.0, 1.0
    if node is None or node.domain not in ("", "zoo"):
        return (0.0, 2.0**64) if dtype is not None and dtype.is_integer() else UNKNOWN
    given = [_bounds(v, known, depth + 1) for v in node.inputs if v is not None] if node.op_type not in LAYERS else []
    op = node.op_type
    if op in MOVES or op == "Cast":
        return given[0]
    if op in ("Where", "Concat"):
        parts = given[1:] if op == "Where" else given
        return min(low for low, _ in parts), max(high for _, high in parts)
    if op in CORNERS and len(given) == 2:
        corners = [CORNERS[op](a, b) for a in given[0] for b in given[1]]
        return UNKNOWN if any(math.isnan(c) for c in corners) else (min(corners), max(corners))
    if op == "Neg":
        return -given[0][1], -given[0][0]
    if op == "Clip" and len(given) > 1 and node.inputs[1] is not None:
        return max(given[0][0], given[1][0]), given[0][1]
    if op == "Relu":
        return max(given[0][0], 0.0), given[0][1]
    if op in WITHIN:
        return WITHIN[op]
    if op in LAYERS:
        return -large, large
    return (-(2.0**64), 2.0**64) if dtype is not None and dtype.is_integer() else UNKNOWN


# what elements can be, where they are few: comparisons, masks that are kept as constants, triangles

COMPARE: dict[str, Callable[[float, float], bool]] = {
    "Equal": operator.eq,
    "Less": operator.lt,
    "LessOrEqual": operator.le,
    "Greater": operator.gt,
    "GreaterOrEqual": operator.ge,
    "And": lambda a, b: bool(a and b),
    "Or": lambda a, b: bool(a or b),
}
Few = frozenset[float]
MAX_FEW = 4


def first_key(value: ir.Value) -> Few | None:
    """What the elements at 0 of the last axis can be, if they are few; a mask of {1} lets every query see a key."""
    return _few(value, first=True, depth=0)


def is_lower_triangle(value: ir.Value) -> bool:
    """Whether element [..., i, j] of a boolean mask is true for j <= i, and false elsewhere."""
    if value.const_value is not None:
        array = value.const_value.numpy()
        return array.ndim >= 2 and bool(
            np.all(array.astype(bool) == np.tri(array.shape[-2], array.shape[-1], dtype=bool))
        )
    node = value.producer()
    if node is None or node.domain:
        return False
    x = node.inputs[0]
    if node.op_type == "Cast" or (node.op_type == "Unsqueeze" and _keeps_last_axis(node, 2)):
        return x is not None and is_lower_triangle(x)
    if node.op_type != "Trilu" or x is None or node.attributes.get_int("upper", 1) != 0:
        return False
    return _diagonal(node) == 0 and _few(x, first=False, depth=0) == frozenset({1.0})


def _few(value: ir.Value, *, first: bool, depth: int) -> Few | None:
    if value.const_value is not None and not is_parameter(value):
        array = value.const_value.numpy()
        if array.dtype.kind not in "biuf" or not array.size:
            return None
        found = np.unique(array[..., 0] if first and array.ndim else array)
        return frozenset(float(n) for n in found) if len(found) <= MAX_FEW else None
    node = value.producer()
    if node is None or node.domain or depth > MAX_DEPTH:
        return None

    def of(i: int) -> Few | None:
        given = node.inputs[i] if i < len(node.inputs) else None
        return None if given is None else _few(given, first=first, depth=depth + 1)

    op = node.op_type
    if op in ("Cast", "Not"):
        x, is_bool = of(0), value.dtype == ir.DataType.BOOL
        if x is None:
            return None
        return frozenset(float(not n) if op == "Not" else float(bool(n)) if is_bool else n for n in x)
    if op in ("Identity", "Expand") or (op == "Unsqueeze" and (not first or _keeps_last_axis(node, 1))):
        return of(0)
    if op == "Slice" and (not first or _begins_at_first(node)):
        return of(0)
    if op == "Trilu" and first and node.attributes.get_int("upper", 1) == 0 and (_diagonal(node) or 0) >= 0:
        return of(0) if _diagonal(node) is not None else None
    if op == "ConstantOfShape":
        tensor = node.attributes["value"].as_tensor().numpy() if "value" in node.attributes else np.zeros(1)
        return frozenset({float(tensor.reshape(-1)[0])})
    if op in COMPARE and (a := of(0)) is not None and (b := of(1)) is not None:
        return frozenset(float(COMPARE[op](x, y)) for x, y in itertools.product(a, b))
    if op == "Where" and (condition := of(0)) is not None:
        taken = [of(1) if c else of(2) for c in condition]
        return None if None in taken else frozenset().union(*(t for t in taken if t is not None))
    return None


def _ints(value: ir.Value | None) -> list[int] | None:
    if value is None or value.const_value is None:
        return None
    return [int(i) for i in value.const_value.numpy().reshape(-1)]


def _keeps_last_axis(node: ir.Node, count: int) -> bool:
    """Whether an Unsqueeze leaves the last `count` axes the last ones."""
    axes, out = _ints(node.inputs[1]), node.outputs[0].shape
    return axes is not None and out is not None and all(a % len(out) < len(out) - count for a in axes)


def _begins_at_first(node: ir.Node) -> bool:
    """Whether a Slice keeps the first element of the last axis the first one."""
    starts, x = _ints(node.inputs[1]), node.inputs[0]
    if starts is None or x is None or x.shape is None:
        return False
    axes = _ints(node.inputs[3]) if len(node.inputs) > 3 else list(range(len(starts)))
    steps = _ints(node.inputs[4]) if len(node.inputs) > 4 else [1] * len(starts)
    if axes is None or steps is None:
        return False
    last = len(x.shape) - 1
    return all(
        start == 0 and step > 0 for start, a, step in zip(starts, axes, steps, strict=True) if a % (last + 1) == last
    )


def _diagonal(node: ir.Node) -> int | None:
    """The diagonal of a Trilu, None if it is computed."""
    if len(node.inputs) < 2 or node.inputs[1] is None:
        return 0
    found = _ints(node.inputs[1])
    return found[0] if found else None
