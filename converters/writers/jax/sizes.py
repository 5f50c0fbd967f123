"""Shapes with free sizes, as jax.export traces them: what ONNX computes of them stays known, in symbols.

Anywhere else a size is an integer. A vector or scalar that holds a symbol is carried as Sizes through the operators of
this file, and becomes a jax array only where another one wants it as a tensor.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import core
from jax.export import is_symbolic_dim

from zoo.converters.writers.jax.types import Array

Value = Any


@dataclass(frozen=True, slots=True)
class Sizes:
    """A numpy array of objects, of Python's integers and jax's symbols."""

    items: Array


def sizes(items: Sequence[Any] | Array, shape: Sequence[int] | None = None) -> Array | Sizes:
    """Sizes in row-major order as an int64 array, or as Sizes if one of them is a symbol."""
    flat = list(items)
    made = np.empty(len(flat), dtype=object)
    made[:] = flat
    made = made.reshape([len(flat)] if shape is None else tuple(shape))
    return Sizes(made) if any(is_symbolic_dim(n) for n in flat) else made.astype(np.int64)


def places(n: Any) -> Any:
    """0, 1, ... below a size: numpy's, or jax's where it is a symbol."""
    return jnp.arange(n) if is_symbolic_dim(n) else np.arange(n)


BOUNDS: ContextVar[list[str] | None] = ContextVar("BOUNDS", default=None)


@contextmanager
def bounds() -> Iterator[list[str]]:
    """Collects what a trace takes for granted of symbols (`sequence <= 512`), as jax.export writes it."""
    found: list[str] = []
    token = BOUNDS.set(found)
    try:
        yield found
    finally:
        BOUNDS.reset(token)


def note_bound(size: Any, most: Any) -> None:
    """Note that as many elements as a symbol says are cut out of no more than `most`: of a table of places, say."""
    found = BOUNDS.get()
    if found is not None and is_symbolic_dim(size) and not is_symbolic_dim(most):
        found.append(f"{size} <= {most}")


def as_array(x: Sizes) -> jax.Array:
    """Sizes as a tensor."""
    flat = [jnp.asarray(n) for n in x.items.reshape(-1)]
    return jnp.stack(flat).astype(int).reshape(x.items.shape)


def evaluated(op: str, args: Sequence[Value], attributes: dict[str, Any]) -> Array | Sizes | None:
    """What an operator makes of sizes; None where it is not one of arithmetic on sizes."""
    if op not in TABLE or not all(x is None or isinstance(x, (Sizes, np.ndarray)) for x in args):
        return None
    items = [x.items if isinstance(x, Sizes) else x for x in args]
    made = TABLE[op](*items, **attributes)
    return None if made is None else sizes(np.asarray(made, dtype=object).reshape(-1), np.shape(made))


def _slice(x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None) -> Array | None:
    bounds = [starts, ends, np.ones(1, int) if steps is None else steps]
    if any(b.dtype == object for b in bounds):
        return None
    return x[slice(*(int(b[0]) for b in bounds))]


def _elementwise(f: Callable[[Any, Any], Any]) -> Callable[..., Array]:
    def made(a: Array, b: Array, **_: Any) -> Array:
        return np.asarray(np.frompyfunc(f, 2, 1)(_plain(a), _plain(b)), dtype=object)

    return made


def _plain(x: Array) -> Array:
    """With Python's integers, which jax's symbols take, for numpy's."""
    return x if x.dtype == object else x.astype(object)


def _quotient(a: Any, b: Any) -> Any:
    """ONNX divides towards zero, Python downwards: the same for sizes, which are not negative."""
    if is_symbolic_dim(a) or is_symbolic_dim(b):
        return a // b
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _equal(a: Array, b: Array) -> Array | None:
    """Which are equal, where it can be told: the same symbol, or none that is as large as a negative number."""

    def told(x: Any, y: Any) -> bool | None:
        number, other = (x, y) if not is_symbolic_dim(x) else (y, x)
        if not is_symbolic_dim(other):
            return bool(number == other)
        if not is_symbolic_dim(number):
            return False if number < 0 else None
        return True if number == other else None

    made = _elementwise(told)(a, b)
    return None if any(x is None for x in np.asarray(made, object).reshape(-1)) else made


TABLE: dict[str, Callable[..., Any]] = {
    "Gather": lambda x, at, axis=0: np.take(x, at.astype(int), axis),
    "Slice": _slice,
    "Concat": lambda *xs, axis: np.concatenate([_plain(x) for x in xs], axis),
    "Squeeze": lambda x, axes=None: np.squeeze(x, None if axes is None else tuple(axes.astype(int))),
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes.astype(int))),
    "Reshape": lambda x, shape, allowzero=0: np.reshape(x, tuple(shape.astype(int))),
    "Cast": lambda x, to, **_: x if to in (6, 7) else None,  # to an integer: sizes have no width
    "Add": _elementwise(operator.add),
    "Sub": _elementwise(operator.sub),
    "Mul": _elementwise(operator.mul),
    "Div": _elementwise(_quotient),
    "Mod": _elementwise(operator.mod),
    "Max": _elementwise(core.max_dim),
    "Min": _elementwise(core.min_dim),
    "ReduceProd": lambda x, axes=None, keepdims=1, **_: np.multiply.reduce(
        _plain(x), axis=None, keepdims=bool(keepdims)
    ),
    "Equal": _equal,
    "Where": lambda holds, x, y: None if holds.dtype == object else np.where(holds, _plain(x), _plain(y)),
}
