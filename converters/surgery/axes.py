"""The axes of a value whose sizes change: what each is made of, and what a Reshape makes of them.

An axis is known by its sizes before and after the change, a Pair. `Structures` remembers of which other axes it was
merged (196 -> 576 is 14 -> 24 times 14 -> 24) or joined (197 -> 577 is 1 and 196 -> 576), so that it can be taken apart
again: a position embedding into its grid, a class token from its patches. What can't be told is Underivable.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Pair = tuple[int, int]  # the size of an axis before and after
ONE: Pair = (1, 1)


class Underivable(Exception):
    """A new size that can't be told from the graph; the message says why, and has no name in it."""


class Structures:
    """What changed axes are made of, by their sizes before and after."""

    def __init__(self) -> None:
        self._products: dict[Pair, set[tuple[Pair, ...]]] = {}
        self._sums: dict[Pair, set[tuple[Pair, ...]]] = {}

    def merged(self, axes: Sequence[Pair]) -> Pair:
        """The axis that a row-major merge of `axes` makes. Raises Underivable where only its inner order changes."""
        factors = tuple(f for axis in axes for f in self.factors(axis) if f != ONE)
        made = (math.prod(b for b, _ in factors), math.prod(a for _, a in factors))
        if len(factors) > 1:
            self._note(self._products, made, factors)
        return made

    def joined(self, axes: Sequence[Pair]) -> Pair:
        """The axis that a concatenation of `axes` makes."""
        parts = tuple(part for axis in axes for part in self.parts(axis))
        made = (sum(b for b, _ in parts), sum(a for _, a in parts))
        if len(parts) > 1:
            self._note(self._sums, made, parts)
        return made

    def _note(self, table: dict[Pair, set[tuple[Pair, ...]]], made: Pair, of: tuple[Pair, ...]) -> None:
        changed = any(before != after for before, after in of)
        if changed and made[0] == made[1]:
            sizes = " and ".join(f"{before} -> {after}" for before, after in of)
            raise Underivable(f"{sizes} give {made[0]} as before, so that the two can't be told apart")
        if changed:
            table.setdefault(made, set()).add(of)

    def factors(self, axis: Pair) -> tuple[Pair, ...]:
        """The axes that were merged into this one; itself if none were. Raises Underivable if that isn't certain."""
        return _only(self._products, axis)

    def parts(self, axis: Pair) -> tuple[Pair, ...]:
        """The axes that were joined to this one, in order; itself if none were."""
        return _only(self._sums, axis)

    def fixed_ends(self, axis: Pair) -> Pair:
        """How many places at its beginning and at its end are those from before (class tokens stand there)."""
        if axis[0] == axis[1]:
            return axis[0], axis[0]
        parts = self.parts(axis)
        return _leading(parts), _leading(reversed(parts))


def _only(table: dict[Pair, set[tuple[Pair, ...]]], axis: Pair) -> tuple[Pair, ...]:
    found = table.get(axis, set())
    if len(found) > 1:
        raise Underivable(f"an axis of {axis[0]} -> {axis[1]} is made in more than one way")
    return next(iter(found), (axis,))


def _leading(parts: Iterable[Pair]) -> int:
    total = 0
    for before, after in parts:
        if before != after:
            break
        total += before
    return total


def reshaped(x: Sequence[Pair], y: Sequence[int], structures: Structures) -> list[Pair]:
    """The axes that a Reshape to sizes `y` (of before) gives of the axes `x`. Raises Underivable.

    Axes that are merged multiply; a merged one is split where it was merged; axes of size 1 come and go.
    """
    out: list[Pair] = [ONE] * len(y)
    inserted = []
    for ins, outs in _aligned([before for before, _ in x], y):
        if not ins:
            inserted += outs
        factors = [f for i in ins for f in structures.factors(x[i])]
        if all(before == after for before, after in factors):
            for j in outs:
                out[j] = (y[j], y[j])
            continue
        for j in outs:
            out[j] = structures.merged(_taken(factors, y[j]))
        if any(f != ONE for f in factors):
            raise Underivable(f"axes of {[x[i] for i in ins]} become {[y[j] for j in outs]}")
    changed = [j for j, (before, after) in enumerate(out) if before != after]
    if any(min(changed, default=0) < j < max(changed, default=0) for j in inserted):
        raise Underivable("it makes one window of the whole picture, and a larger one would have more")
    return out


def _taken(factors: list[Pair], size: int) -> list[Pair]:
    """Take from the front of `factors` those that make an axis of `size`."""
    taken: list[Pair] = []
    while math.prod(before for before, _ in taken) < size and factors:
        taken.append(factors.pop(0))
    if (got := math.prod(before for before, _ in taken)) != size:
        before, after = taken[-1]
        raise Underivable(f"it splits an axis of {before}, which becomes {after}, at {size} of {got}")
    return taken


def _aligned(x: Sequence[int], y: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Places of `x` and of `y` whose products are the same, as small as they can be."""
    if math.prod(x) != math.prod(y) or 0 in x:
        raise Underivable(f"{list(x)} can't become {list(y)}")
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(x) or j < len(y):
        if j < len(y) and y[j] == 1 and (i == len(x) or x[i] != 1):
            groups.append(([], [j]))
            j += 1
            continue
        if i < len(x) and x[i] == 1 and (j == len(y) or y[j] != 1):
            groups.append(([i], []))
            i += 1
            continue
        first, second, left, right = i, j, x[i], y[j]
        while left != right:
            if left < right:
                i += 1
                left *= x[i]
            else:
                j += 1
                right *= y[j]
        i, j = i + 1, j + 1
        groups.append((list(range(first, i)), list(range(second, j))))
    return groups
