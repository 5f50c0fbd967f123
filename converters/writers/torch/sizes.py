"""Shape arithmetic in a torch forward is Python's: `x.shape[0]`, lists and integers, never tensors of sizes.

What ONNX computes by Shape, Gather, Concat and arithmetic on small int64 vectors is carried as Sizes through the
lowerings of this file, and becomes a tensor only where an operator wants one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sizes:
    """A scalar (rank 0) or vector (rank 1) of Python integers, some of them symbolic."""

    items: tuple[Any, ...]
    rank: int


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


def _elementwise(f: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def lowered(w: Any, A: Any, B: Any) -> Any:
        a, b = w.sizes(A), w.sizes(B)
        if a is None or b is None:
            return None
        n = max(len(a.items), len(b.items))
        if {len(a.items), len(b.items)} - {1, n}:
            return None
        pairs = zip(_repeat(a.items, n), _repeat(b.items, n), strict=True)
        return Sizes(tuple(f(x, y) for x, y in pairs), max(a.rank, b.rank))

    return lowered


def _repeat(items: Sequence[Any], n: int) -> Sequence[Any]:
    return items if len(items) == n else [*items] * n


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
    "Div": _elementwise(operator.floordiv),  # sizes are not negative
}
