"""Tensors of strings, for which torch has nothing: numpy's arrays of objects, as they go in and out of the module.

These are the functions that a forward calls on them. Numbers come and go as torch tensors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch


def strings(items: Sequence[str], shape: Sequence[int]) -> np.ndarray[Any, Any]:
    """A constant: its items in row-major order."""
    made = np.empty(len(items), dtype=object)
    made[:] = items
    return made.reshape(tuple(shape))


def string_concat(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The strings of x and y, one behind the other, broadcast as numpy does."""
    return np.asarray(x + y, dtype=object)


def string_equal(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], device: torch.device | None = None) -> torch.Tensor:
    """Whether each is the other's, broadcast as numpy does."""
    return torch.tensor(np.equal(x, y).astype(bool), device=device)


def string_where(condition: torch.Tensor, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The strings of x where the condition holds, y elsewhere, broadcast as numpy does."""
    return np.asarray(np.where(condition.numpy(force=True), x, y), dtype=object)


def string_take(x: np.ndarray[Any, Any], indices: Any, axis: int = 0) -> np.ndarray[Any, Any]:
    """The strings x[..., indices, ...] along an axis; negative indices count from the end."""
    at = indices.numpy(force=True) if isinstance(indices, torch.Tensor) else indices
    return np.asarray(np.take(x, at, axis=axis), dtype=object)


def string_take_along(x: np.ndarray[Any, Any], indices: torch.Tensor, axis: int = 0) -> np.ndarray[Any, Any]:
    """One string for each of indices, along an axis (GatherElements)."""
    return np.take_along_axis(x, indices.numpy(force=True), axis)


def string_points(x: np.ndarray[Any, Any], indices: torch.Tensor, batch_dims: int = 0) -> np.ndarray[Any, Any]:
    """Strings at points: the last axis of indices [..., k] counts the axes that a point names (GatherND)."""
    at = indices.numpy(force=True)
    batch = at.shape[:batch_dims]
    rows = [x[place][tuple(np.moveaxis(at[place], -1, 0))] for place in np.ndindex(batch)]
    shape = (*batch, *at.shape[batch_dims:-1], *x.shape[batch_dims + at.shape[-1] :])
    return strings([word for row in rows for word in np.asarray(row, dtype=object).reshape(-1)], shape)


def string_join(parts: Sequence[np.ndarray[Any, Any]], axis: int = 0) -> np.ndarray[Any, Any]:
    """Arrays, one behind the other along an axis."""
    return np.concatenate(list(parts), axis=axis)


def string_stack(parts: Sequence[np.ndarray[Any, Any]], axis: int = 0) -> np.ndarray[Any, Any]:
    """Arrays of one shape, along a new axis."""
    return np.stack(list(parts), axis=axis)


def string_expand(x: np.ndarray[Any, Any], shape: Sequence[int]) -> np.ndarray[Any, Any]:
    """Broadcast with a shape, in both directions."""
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape))).copy()


def string_squeeze(x: np.ndarray[Any, Any], axes: Sequence[int] | None = None) -> np.ndarray[Any, Any]:
    """Without axes of size one."""
    return np.squeeze(x, None if axes is None else tuple(axes))


def string_unsqueeze(x: np.ndarray[Any, Any], axes: Sequence[int]) -> np.ndarray[Any, Any]:
    """With new axes of size one, counted in the output."""
    return np.expand_dims(x, tuple(axes))


def string_split_axis(x: np.ndarray[Any, Any], sizes: Sequence[int], axis: int = 0) -> list[np.ndarray[Any, Any]]:
    """Parts of given sizes along an axis."""
    return np.split(x, np.cumsum(list(sizes))[:-1], axis=axis)


def string_compress(x: np.ndarray[Any, Any], condition: torch.Tensor, axis: int | None = None) -> np.ndarray[Any, Any]:
    """What the condition holds for, along an axis; of all strings in a row without one."""
    return np.compress(condition.numpy(force=True), x, axis)


def string_unique(
    x: np.ndarray[Any, Any], axis: int | None = None, ordered: bool = True, device: torch.device | None = None
) -> tuple[np.ndarray[Any, Any], torch.Tensor, torch.Tensor, torch.Tensor]:
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
    went = [place[row] for row in rows]
    at = [first[row] for row in keys]
    counts = np.bincount(went, minlength=len(at))
    kept = np.take(x.reshape(-1) if axis is None else x, at, axis=axis or 0)
    first_at, went_to, how_many = (torch.tensor(n, dtype=torch.int64, device=device) for n in (at, went, counts))
    return kept, first_at, went_to, how_many


def string_split(
    x: np.ndarray[Any, Any], delimiter: str = "", maxsplit: int | None = None, device: torch.device | None = None
) -> tuple[np.ndarray[Any, Any], torch.Tensor]:
    """The parts of each string [..., most], filled up with empty ones, and how many there are; "" is whitespace."""
    parts = [word.split(delimiter or None, -1 if maxsplit is None else maxsplit) for word in x.reshape(-1)]
    most = max(map(len, parts), default=0)
    padded = [part for row in parts for part in (*row, *[""] * (most - len(row)))]
    counts = torch.tensor([len(row) for row in parts], dtype=torch.int64, device=device)
    return strings(padded, (*x.shape, most)), counts.reshape(x.shape)


def string_normalize(
    x: np.ndarray[Any, Any], case: str = "NONE", is_case_sensitive: bool = False, stopwords: Sequence[str] = ()
) -> np.ndarray[Any, Any]:
    """Strings [C] or [1, C] in one case, without the stopwords; a single empty string where none is left."""
    change = {"LOWER": str.lower, "UPPER": str.upper}.get(case, str)
    known = str if is_case_sensitive else str.lower
    stops = {known(word) for word in stopwords}
    kept = [change(word) for word in x.reshape(-1) if known(word) not in stops] or [""]
    return strings(kept, (len(kept),) if x.ndim == 1 else (1, len(kept)))


def regex_full_match(x: np.ndarray[Any, Any], pattern: str, device: torch.device | None = None) -> torch.Tensor:
    """Whether the whole of each string matches; Python's `re` has all of RE2's syntax that people write."""
    found = [re.fullmatch(pattern, word) is not None for word in x.reshape(-1)]
    return torch.tensor(found, dtype=torch.bool, device=device).reshape(x.shape)


def string_ids(x: np.ndarray[Any, Any], vocabulary: Sequence[str], device: torch.device | None = None) -> torch.Tensor:
    """The place of each string in a vocabulary, -1 for one that is not in it."""
    place = {word: i for i, word in enumerate(vocabulary)}
    found = [place.get(word, -1) for word in x.reshape(-1)]
    return torch.tensor(found, dtype=torch.int64, device=device).reshape(x.shape)


def to_strings(x: torch.Tensor) -> np.ndarray[Any, Any]:
    """Numbers as text: the shortest decimal that is the same number; NaN, INF and -INF for those."""
    if x.dtype in (torch.float16, torch.bfloat16) or x.element_size() == 1 and x.is_floating_point():
        x = x.float()
    names = {"nan": "NaN", "inf": "INF", "-inf": "-INF", "True": "1", "False": "0"}
    words = [str(number) for number in x.numpy(force=True).reshape(-1)]
    return strings([names.get(word, word) for word in words], x.shape)


def from_strings(x: np.ndarray[Any, Any], dtype: torch.dtype, device: torch.device | None = None) -> torch.Tensor:
    """Text as numbers: decimals, 1e-5, NaN, INF; integers are cut towards zero. ValueError for other text."""
    read: Callable[[str], Any] = float if dtype.is_floating_point else _integer
    return torch.tensor([read(word) for word in x.reshape(-1)], device=device).to(dtype).reshape(x.shape)


def _integer(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        return int(float(word))


def string_tile(x: np.ndarray[Any, Any], repeats: Sequence[int]) -> np.ndarray[Any, Any]:
    """Repeated along each axis."""
    return np.tile(x, tuple(repeats))
