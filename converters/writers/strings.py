"""What ONNX computes of strings, in numpy alone: for frameworks that have no strings of their own.

A tensor of strings is numpy's array of objects. torch's own (writers/torch/strings.py) gives its tensors, and goes into
the sources that it writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
SPELLED = {"nan": "NaN", "inf": "INF", "-inf": "-INF", "True": "1", "False": "0"}


def strings(items: Sequence[str], shape: Sequence[int]) -> Array:
    """Items in row-major order as an array."""
    made = np.empty(len(items), dtype=object)
    made[:] = items
    return made.reshape(tuple(shape))


def decoded(x: Array) -> Array:
    """An array as it is; of bytes, which is how ONNX keeps strings, as strings."""
    if x.dtype.kind not in "OSU":
        return x
    return strings([word.decode() if isinstance(word, bytes) else str(word) for word in x.reshape(-1)], x.shape)


def unique(x: Array, axis: int | None = None, ordered: bool = True) -> tuple[Array, Array, Array, Array]:
    """The strings (or slices along an axis) that differ, where each stands first, where each of x went, how many.

    Sorted, or in the order in which they first appear.
    """
    parts = x.reshape(-1, 1) if axis is None else np.moveaxis(x, axis, 0)
    rows = [tuple(part.reshape(-1)) for part in parts]
    first: dict[tuple[str, ...], int] = {}
    for i, row in enumerate(rows):
        first.setdefault(row, i)
    keys = sorted(first) if ordered else list(first)
    place = {row: i for i, row in enumerate(keys)}
    went = np.array([place[row] for row in rows], dtype=np.int64)
    at = np.array([first[row] for row in keys], dtype=np.int64)
    counts = np.bincount(went, minlength=len(at)).astype(np.int64)
    return np.take(x.reshape(-1) if axis is None else x, at, axis=axis or 0), at, went, counts


def split(x: Array, delimiter: str = "", maxsplit: int | None = None) -> tuple[Array, Array]:
    """The parts of each string [..., most], filled up with empty ones, and how many there are; "" is whitespace."""
    parts = [word.split(delimiter or None, -1 if maxsplit is None else maxsplit) for word in x.reshape(-1)]
    most = max(map(len, parts), default=0)
    padded = [part for row in parts for part in (*row, *[""] * (most - len(row)))]
    counts = np.array([len(row) for row in parts], dtype=np.int64)
    return strings(padded, (*x.shape, most)), counts.reshape(x.shape)


def normalize(x: Array, case: str = "NONE", is_case_sensitive: bool = False, stopwords: Sequence[str] = ()) -> Array:
    """Strings [C] or [1, C] in one case, without the stopwords; a single empty string where none is left."""
    change = {"LOWER": str.lower, "UPPER": str.upper}.get(case, str)
    known = str if is_case_sensitive else str.lower
    stops = {known(word) for word in stopwords}
    kept = [change(word) for word in x.reshape(-1) if known(word) not in stops] or [""]
    return strings(kept, (len(kept),) if x.ndim == 1 else (1, len(kept)))


def full_match(x: Array, pattern: str) -> Array:
    """Whether the whole of each string matches; Python's `re` has all of RE2's syntax that people write."""
    return np.array([re.fullmatch(pattern, word) is not None for word in x.reshape(-1)], dtype=bool).reshape(x.shape)


def ids(x: Array, vocabulary: Sequence[str]) -> Array:
    """The place of each string in a vocabulary, -1 for one that is not in it."""
    place = {word: i for i, word in enumerate(vocabulary)}
    return np.array([place.get(word, -1) for word in x.reshape(-1)], dtype=np.int64).reshape(x.shape)


def of_numbers(x: Array) -> Array:
    """Numbers as text: the shortest decimal that is the same number; NaN, INF and -INF for those."""
    if x.dtype.kind == "V" or x.dtype == np.float16:  # half precision and narrower, as float32 shows them
        x = x.astype(np.float32)
    words = [_written(number) if x.dtype.kind == "f" else str(number) for number in x.reshape(-1)]
    return strings([SPELLED.get(word, word) for word in words], x.shape)


def _written(number: Any) -> str:
    """As numpy 1 and Python write it: numpy 2 shows a power of ten of float32 from a million on."""
    if not np.isfinite(number):
        return str(number)
    if number == 0 or 1e-4 <= abs(float(number)) < 1e16:
        return np.format_float_positional(number, trim="0")
    return np.format_float_scientific(number, trim="-")


def to_numbers(x: Array, dtype: np.dtype[Any]) -> Array:
    """Text as numbers: decimals, 1e-5, NaN, INF; integers are cut towards zero. ValueError for other text."""
    read: Callable[[str], Any] = _integer if dtype.kind in "iub" else float
    return np.array([read(word) for word in x.reshape(-1)]).astype(dtype).reshape(x.shape)


def _integer(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        return int(float(word))


def n_gram_counts(
    x: Array,
    grams: Sequence[tuple[int, ...]],
    columns: Sequence[int],
    lengths: Sequence[int],
    max_skip: int,
) -> Array:
    """How often each n-gram of a pool occurs in rows of tokens [N, C], up to `max_skip` tokens between two: [N, size].

    An n-gram is counted in its column, those of `lengths` alone; single tokens are counted once, whatever is skipped.
    """
    size, column_of = max(columns, default=-1) + 1, dict(zip(grams, columns, strict=True))
    counts = np.zeros((x.shape[0], size), dtype=np.float32)
    for n in lengths:
        for gap in range(1, max_skip + 2 if n > 1 else 2):
            for i, row in enumerate(x.tolist()):
                for start in range(len(row) - (n - 1) * gap):
                    column = column_of.get(tuple(row[start : start + (n - 1) * gap + 1 : gap]))
                    if column is not None:
                        counts[i, column] += 1
    return counts
