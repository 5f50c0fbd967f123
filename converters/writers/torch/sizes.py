"""Shape arithmetic in a torch forward is Python's: `x.shape[0]`, lists and integers, never tensors of sizes.

What ONNX computes by Shape, Gather, Concat and arithmetic on small int64 vectors is carried as Sizes through the
lowerings of this file, and becomes a tensor only where an operator wants one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

from torch import fx


@dataclass(frozen=True, slots=True)
class Sizes:
    """A scalar (rank 0) or vector (rank 1) of Python integers, some of them symbolic."""

    items: tuple[Any, ...]
    rank: int


def listed(w: Any, x: Any) -> Any:
    """A vector of numbers as a list, or, where it is computed, as what gives one when the module runs."""
    if (sizes := w.sizes(x)) is not None:
        return list(sizes.items)
    known = w.known(x)
    return x.tolist() if known is None else known.reshape(-1).tolist()


def is_computed(x: Any) -> bool:
    """Whether `listed` gave a list that is there only when the module runs."""
    return isinstance(x, fx.Proxy)


def is_left_out(w: Any, i: int, x: Any) -> bool:
    """Whether the i-th input is not given: absent, or, as older opsets had it, empty."""
    shape = w.shape_in(i)
    return x is None or (shape is not None and 0 in shape)


def is_size_of(x: Any, axis: int) -> bool:
    """Whether a symbolic size was read as `tensor.shape[axis]`."""
    return isinstance(x, fx.Proxy) and _is_size(x.node) and x.node.args[1:] == (axis,)


def _is_size(x: Any) -> bool:
    """Whether an argument in the forward is `tensor.shape[...]` or `tensor.numel()`."""
    if not isinstance(x, fx.Node) or x.target == "numel":
        return isinstance(x, fx.Node)
    read = x.args[0] if x.target is operator.getitem else None
    return isinstance(read, fx.Node) and read.target is getattr and read.args[1] == "shape"


def _vector(x: Any) -> Sizes | None:
    return x if isinstance(x, Sizes) and x.rank == 1 else None


def gather(w: Any, data: Any, indices: Any, *, axis: int = 0) -> Any:
    """Members of a vector by known indices."""
    at = w.known(indices)
    if (v := _vector(data)) is None or at is None:
        return None
    return Sizes(tuple(v.items[int(i)] for i in at.reshape(-1)), at.ndim)


def slice_(w: Any, data: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    """A part of a vector by known bounds."""
    bounds = [w.known(b) for b in (starts, ends)]
    step = 1 if steps is None else w.known(steps)
    if (v := _vector(data)) is None or any(b is None for b in bounds) or step is None:
        return None
    start, end = (int(b.reshape(-1)[0]) for b in bounds)
    return Sizes(v.items[start : end : int(step if isinstance(step, int) else step.reshape(-1)[0])], 1)


def concat(w: Any, *inputs: Any, axis: int) -> Any:
    """Vectors, one behind the other."""
    parts = [w.sizes(i) for i in inputs]
    if any(p is None or p.rank != 1 for p in parts):
        return None
    return Sizes(tuple(i for p in parts for i in p.items), 1)


def reranked(w: Any, data: Any, *_: Any, **__: Any) -> Any:
    """Squeeze, Unsqueeze and Reshape between a scalar and a vector of one; the rank is known from the graph."""
    rank = w.rank_out()
    if not isinstance(data, Sizes) or rank not in (0, 1) or (rank == 0 and len(data.items) != 1):
        return None
    return Sizes(data.items, rank)


def cast(w: Any, input: Any, *, to: int, **_: Any) -> Any:  # noqa: A002 - ONNX's name
    """To int64 or int32: Python's integers have no width."""
    return input if isinstance(input, Sizes) and to in (6, 7) else None


def _pairs(a: Sizes, b: Sizes) -> list[tuple[Any, Any]] | None:
    """Members of two vectors side by side, a single one repeated; None where the lengths don't fit."""
    n = max(len(a.items), len(b.items)) if a.items and b.items else 0
    if {len(a.items), len(b.items)} - {1, n}:
        return None
    return [(a.items[i % len(a.items)], b.items[i % len(b.items)]) for i in range(n)]


def _elementwise(f: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def lowered(w: Any, A: Any, B: Any, **_: Any) -> Any:
        a, b = w.sizes(A), w.sizes(B)
        if a is None or b is None or (pairs := _pairs(a, b)) is None:
            return None
        items = [f(x, y) for x, y in pairs]
        return None if any(i is None for i in items) else Sizes(tuple(items), max(a.rank, b.rank))

    return lowered


def _quotient(x: Any, y: Any) -> Any:
    """ONNX divides towards zero, Python's // downwards: the same where nothing is negative, as sizes are."""
    if isinstance(x, int) and isinstance(y, int) and y:
        return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
    is_size = not _may_be_negative(x) and isinstance(y, int) and y > 0
    return x // y if is_size or not (_may_be_negative(x) or _may_be_negative(y)) else None


def _may_be_negative(x: Any) -> bool:
    """Whether a symbolic number comes from a difference, or from something else than sizes."""
    x = x.node if isinstance(x, fx.Proxy) else x
    if isinstance(x, (int, float)):
        return x < 0
    if x.target in (operator.add, operator.mul, operator.floordiv, operator.mod, min, max):
        signs = [_may_be_negative(a) for a in x.args]
        return all(signs) if x.target is max else any(signs)
    return not _is_size(x)


def _modulo(x: Any, y: Any) -> Any:
    return x % y if not isinstance(y, int) or y else None  # with the divisor's sign, in both


def _extreme(f: Callable[..., Any]) -> Callable[..., Any]:
    def lowered(w: Any, *inputs: Any) -> Any:
        made = w.sizes(inputs[0])
        for other in inputs[1:]:
            b = w.sizes(other)
            if made is None or b is None or (pairs := _pairs(made, b)) is None:
                return None
            known = all(isinstance(n, int) for pair in pairs for n in pair)
            made = Sizes(tuple(f(*p) if known else w.function(f, *p) for p in pairs), max(made.rank, b.rank))
        return made

    return lowered


def product(w: Any, data: Any, axes: Any = None, *, keepdims: int = 1, **_: Any) -> Any:
    """All members of a vector multiplied."""
    if (v := _vector(data)) is None or not v.items or (axes is not None and w.known(axes) is None):
        return None
    return Sizes((reduce(operator.mul, v.items),), 1 if keepdims else 0)


def equal(w: Any, A: Any, B: Any) -> Any:
    """Which members are equal, where it can be told: a size is never negative (Equal(Shape(x), -1))."""

    def is_equal(x: Any, y: Any) -> bool | None:
        if isinstance(x, int) and isinstance(y, int):
            return x == y
        number, other = (x, y) if isinstance(x, int) else (y, x)
        return False if isinstance(number, int) and number < 0 and not _may_be_negative(other) else None

    return _elementwise(is_equal)(w, A, B)


def where(w: Any, condition: Any, X: Any, Y: Any) -> Any:
    """Members of one vector or another, by a known condition."""
    known, x, y = w.known(condition), w.sizes(X), w.sizes(Y)
    if known is None or known.ndim > 1 or x is None or y is None:
        return None
    holds = Sizes(tuple(known.reshape(-1).tolist()), known.ndim)
    n = max(len(s.items) for s in (holds, x, y))
    if any(len(s.items) not in (1, n) for s in (holds, x, y)):
        return None
    columns = [[s.items[i % len(s.items)] for i in range(n)] for s in (holds, x, y)]
    return Sizes(tuple(a if h else b for h, a, b in zip(*columns, strict=True)), max(s.rank for s in (holds, x, y)))


SIZES: dict[str, Callable[..., Any]] = {
    "Gather": gather,
    "Slice": slice_,
    "Concat": concat,
    "Squeeze": reranked,
    "Unsqueeze": reranked,
    "Reshape": reranked,
    "Cast": cast,
    "Identity": lambda w, x: x,
    "Add": _elementwise(operator.add),
    "Sub": _elementwise(operator.sub),
    "Mul": _elementwise(operator.mul),
    "Div": _elementwise(_quotient),
    "Mod": _elementwise(_modulo),
    "Max": _extreme(max),
    "Min": _extreme(min),
    "ReduceProd": product,
    "Equal": equal,
    "Where": where,
}
# operators whose lowerings take Sizes as they are
TAKES_SIZES = {
    *("Reshape", "Expand", "ConstantOfShape", "Range", "Slice", "Tile", "Pad", "Resize", "Split", "Cast", "Concat"),
    *("Unsqueeze", "Squeeze", "Gather", "GatherND", "TopK", "Flatten", "Trilu", "OneHot", "CenterCropPad"),
    *("AffineGrid", "Col2Im", "MaxUnpool", "NonMaxSuppression"),
}
