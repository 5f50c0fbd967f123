"""Sizes that a symbol leaves free: ONNX's arithmetic on shapes, and how MXNet says the result.

A symbol knows no shape before it is bound. A free size is then the product of axes of symbols (`Size`), and a vector of
sizes a numpy array of objects (`Sizes`); MXNet has `reshape` codes, `broadcast_like` and `slice_like` for them. Where
arrays are at hand every size is an integer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoo.converters.writers.mxnet.types import Array

Value = Any


@dataclass(frozen=True, slots=True)
class Size:
    """A free size: a number times sizes of the graph, by their names, of which each is an axis of a symbol."""

    factor: int
    names: tuple[str, ...]
    axes: tuple[tuple[Any, int], ...] = field(compare=False)

    def __mul__(self, other: Any) -> Any:
        """The product with a number or another size."""
        if not isinstance(other, Size):
            return Size(self.factor * int(other), self.names, self.axes) if int(other) else 0
        pairs = sorted(
            [*zip(self.names, self.axes, strict=True), *zip(other.names, other.axes, strict=True)],
            key=lambda pair: pair[0],
        )
        return Size(self.factor * other.factor, tuple(n for n, _ in pairs), tuple(a for _, a in pairs))

    __rmul__ = __mul__

    def over(self, other: Any) -> Any:
        """The quotient, where it is whole for every size; None where that can't be told."""
        factor, names = (other.factor, other.names) if isinstance(other, Size) else (int(other), ())
        left = list(zip(self.names, self.axes, strict=True))
        for name in names:
            at = next((i for i, (n, _) in enumerate(left) if n == name), None)
            if at is None:
                return None
            del left[at]
        if not factor or self.factor % factor:
            return None
        whole = self.factor // factor
        return Size(whole, tuple(n for n, _ in left), tuple(a for _, a in left)) if left else whole


@dataclass(frozen=True, slots=True)
class Sizes:
    """A numpy array of objects, of Python's integers and free sizes."""

    items: Array


def sizes(items: Sequence[Any], shape: Sequence[int] | None = None) -> Array | Sizes:
    """Sizes in row-major order as an int64 array, or as Sizes if one of them is free."""
    flat = list(items)
    made = np.empty(len(flat), dtype=object)
    made[:] = flat
    made = made.reshape([len(flat)] if shape is None else tuple(shape))
    return Sizes(made) if any(isinstance(n, Size) for n in flat) else made.astype(np.int64)


def evaluated(op: str, args: Sequence[Value], attributes: dict[str, Any]) -> Array | Sizes | None:
    """What an operator makes of sizes; None where it is not one of arithmetic on sizes."""
    if op not in TABLE or not all(x is None or isinstance(x, (Sizes, np.ndarray)) for x in args):
        return None
    made = TABLE[op](*(x.items if isinstance(x, Sizes) else x for x in args), **attributes)
    if made is None or any(n is None for n in np.asarray(made, dtype=object).reshape(-1)):
        return None
    return sizes(np.asarray(made, dtype=object).reshape(-1).tolist(), np.shape(made))


def _slice(x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None) -> Array | None:
    bounds = [starts, ends, np.ones(1, int) if steps is None else steps]
    return None if any(b.dtype == object for b in bounds) else x[slice(*(int(b[0]) for b in bounds))]


def _each(f: Callable[[Any, Any], Any]) -> Callable[..., Array]:
    return lambda a, b, **_: np.asarray(np.frompyfunc(f, 2, 1)(_plain(a), _plain(b)), dtype=object)


def _plain(x: Array) -> Array:
    return x if x.dtype == object else x.astype(object)


def _product(a: Any, b: Any) -> Any:
    return b * a if isinstance(b, Size) else a * b


def _quotient(a: Any, b: Any) -> Any:
    if isinstance(a, Size):
        return a.over(b)
    return None if isinstance(b, Size) else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _sum(a: Any, b: Any) -> Any:
    if isinstance(a, Size) or isinstance(b, Size):
        return a if not isinstance(b, Size) and b == 0 else b if not isinstance(a, Size) and a == 0 else None
    return a + b


def _equal(a: Any, b: Any) -> Any:
    if isinstance(a, Size) and isinstance(b, Size):
        return True if a == b else None
    if isinstance(a, Size) or isinstance(b, Size):
        number = b if isinstance(a, Size) else a
        return False if number < 0 else None
    return bool(a == b)


TABLE: dict[str, Callable[..., Any]] = {
    "Gather": lambda x, at, axis=0: np.take(x, at.astype(int), axis),
    "Slice": _slice,
    "Concat": lambda *xs, axis: np.concatenate([_plain(x) for x in xs], axis),
    "Squeeze": lambda x, axes=None: np.squeeze(x, None if axes is None else tuple(axes.astype(int))),
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes.astype(int))),
    "Reshape": lambda x, shape, allowzero=0: np.reshape(x, tuple(shape.astype(int))),
    "Cast": lambda x, to, **_: x if to in (6, 7) else None,  # to an integer: sizes have no width
    "Add": _each(_sum),
    "Mul": _each(_product),
    "Div": _each(_quotient),
    "ReduceProd": lambda x, axes=None, keepdims=1, **_: np.multiply.reduce(
        _plain(x), axis=None, keepdims=bool(keepdims)
    ),
    "Equal": _each(_equal),
    "Where": lambda holds, x, y: np.where(holds.astype(bool), _plain(x), _plain(y)),
}


def reshape_codes(have: Sequence[Any], want: Sequence[Any]) -> list[int] | None:
    """MXNet's `shape` that brings sizes `have` to sizes `want`, both integers and free ones; None if it has none.

    0 copies the size of the input at the same place, one -1 is what is left over, -3 is the product of two, and -4
    makes the next two of one.

    >>> n, s = Size(1, ("N",), (None,)), Size(1, ("S",), (None,))
    >>> reshape_codes([n, 6], [n, 2, 3]), reshape_codes([n, 6], [2, n, 3]), reshape_codes([n, s, 6], [n * s, 3, 2])
    ([0, 2, 3], [2, -1, 3], [-1, 3, 2])
    >>> reshape_codes([n, 2, s, 6], [n, 2 * s, 2, 3])
    [0, -1, 2, 3]
    >>> reshape_codes([n, 6, s], [2 * n, 3 * s])
    >>> reshape_codes([n, 6, s, 2], [6 * n, 2 * s])
    [-3, -3]
    """
    codes: list[int] = []
    for i, size in enumerate(want):
        if i < len(have) and size == have[i]:
            codes.append(size if isinstance(size, int) and size > 0 else 0)
        elif isinstance(size, Size):
            codes.append(-1)
        else:
            codes.append(int(size))
    return codes if codes.count(-1) <= 1 else _joined(have, want)


def _joined(have: Sequence[Any], want: Sequence[Any]) -> list[int] | None:
    """Codes where every size is one of the input's, the product of two, or one of two that it comes apart in."""
    codes: list[int] = []
    i = j = 0
    while i < len(have) and j < len(want):
        if have[i] == want[j]:
            codes, i, j = [*codes, 0], i + 1, j + 1
        elif i + 1 < len(have) and _product(have[i], have[i + 1]) == want[j]:
            codes, i, j = [*codes, -3], i + 2, j + 1
        elif j + 1 < len(want) and _product(want[j], want[j + 1]) == have[i]:
            both = [n if isinstance(n, int) else -1 for n in want[j : j + 2]]
            if both == [-1, -1]:
                return None
            codes, i, j = [*codes, -4, *both], i + 1, j + 2
        else:
            return None
    return codes if i == len(have) and j == len(want) else None
