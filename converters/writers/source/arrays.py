"""Constants as expressions that a person would write: a few numbers, one number throughout, steps of a lattice.

What is none of these stands in constants.safetensors beside the source.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.converters.writers import driver

Array = np.ndarray[Any, np.dtype[Any]]
FEW, SHORT = 16, 72  # numbers that are written out, and how long they may be
PLAIN = ("float32", "int32", "int64", "bool")  # what a framework makes of Python's numbers where nothing is said


def expression(array: Array, space: str) -> str | None:
    """An expression of numpy's functions in `space` ("jnp.") that makes the array; None if none is short.

    >>> expression(np.arange(512), "jnp."), expression(np.zeros((2, 30), np.float32), "jnp.")
    ('jnp.arange(512)', 'jnp.full((2, 30), 0.0)')
    """
    if array.dtype.kind not in "fiub" or array.dtype.name == "float64":
        return None
    flat = array.reshape(-1)
    dtype = "" if array.dtype.name in PLAIN else f", dtype={dtype_name(array.dtype, space)}"
    shape = tuple(int(d) for d in array.shape)
    if flat.size <= FEW and flat.size and not _has_nan(flat) and len(text := numbers(array)) <= SHORT:
        return f"{space}array({text}{dtype})"
    if flat.size and bool((flat == flat[0]).all()) and not _has_nan(flat[:1]):
        if space == "ops." and not dtype and array.dtype != np.float32:  # which Keras makes of whole numbers too
            dtype = f", dtype={dtype_name(array.dtype, space)}"
        return f"{space}full({shape}, {numbers(flat[0])}{dtype})"
    if array.dtype.kind == "i" and (axes := lattice_of(flat.tolist())) is not None and len(axes) == 1:
        size, step = axes[0]
        start = int(flat[0])
        bounds = [size] if (start, step) == (0, 1) else [start, start + size * step] + ([step] if step != 1 else [])
        row = f"{space}arange({', '.join(map(str, bounds))}{dtype})"
        if len(shape) == 1 or shape == (1, size):
            return row if len(shape) == 1 else f"{row}[None]"
        return f"{space}reshape({row}, {shape})"
    return None


def dtype_name(dtype: np.dtype[Any], space: str) -> str:
    """A dtype as a person writes it there: jnp.int32; of keras.ops, whose dtypes are words, "int32"."""
    if space == "jnp.":
        return f"jnp.{dtype.name}"
    return f'"{"int32" if dtype.name == "int64" else dtype.name}"'


def _has_nan(flat: Array) -> bool:
    """Whether the numbers would not survive being written: a NaN may carry bits."""
    return flat.dtype.kind == "f" and bool(np.isnan(flat).any())


def numbers(array: Any) -> str:
    """The numbers as Python writes them, the shortest of each float32."""

    def one(x: Any) -> str:
        if isinstance(x, float):
            if x in (float("inf"), float("-inf")):
                return "-math.inf" if x < 0 else "math.inf"
            return repr(driver.shortest(x))
        return repr(x)

    def nested(x: Any) -> str:
        return f"[{', '.join(map(nested, x))}]" if isinstance(x, list) else one(x)

    return nested(array.tolist())


def lattice_of(values: list[int]) -> list[tuple[int, int]] | None:
    """[(size, step), ...] of a row of integers, the last axis the fastest; None if it is no lattice of a few axes.

    >>> lattice_of([0, 1, 2, 10, 11, 12])
    [(2, 10), (3, 1)]
    """
    axes: list[tuple[int, int]] = []
    while len(values) > 1:
        step, size = values[1] - values[0], 2
        while size < len(values) and values[size] - values[size - 1] == step:
            size += 1
        if len(values) % size or len(axes) == 6:
            return None
        rows = values[::size]
        if any(values[i * size + k] != row + k * step for i, row in enumerate(rows) for k in range(size)):
            return None
        axes.insert(0, (size, step))
        values = rows
    return axes
