"""Layouts as permutations: a value that stands in layout `p` is stored as Transpose(value, perm=p).

Axis i of what is stored is axis p[i] of the value as the graph means it; the identity is the graph's own order.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

Perm = tuple[int, ...]
PRODUCT = re.compile(r"\w+(\*\w+)+")
Size = int | str  # a number, or the name of a free size


def own(rank: int) -> Perm:
    """The graph's own order."""
    return tuple(range(rank))


def channels_last(rank: int) -> Perm:
    """Batch, everything else, channels.

    >>> channels_last(4)
    (0, 2, 3, 1)
    """
    return (0, *range(2, rank), 1)


def inverse(perm: Perm) -> Perm:
    """The permutation that takes `perm` back.

    >>> inverse((0, 2, 3, 1))
    (0, 3, 1, 2)
    """
    return tuple(perm.index(i) for i in range(len(perm)))


def compose(first: Perm, then: Perm) -> Perm:
    """One permutation that does what two do, the first one first.

    >>> compose((0, 2, 3, 1), (0, 3, 1, 2))
    (0, 1, 2, 3)
    """
    return tuple(first[i] for i in then)


def between(have: Perm, want: Perm) -> Perm:
    """What takes a value from the layout that it is stored in to another.

    >>> compose((0, 2, 3, 1), between((0, 2, 3, 1), (0, 1, 3, 2)))
    (0, 1, 3, 2)
    """
    return tuple(have.index(axis) for axis in want)


def without(perm: Perm, axes: Collection[int]) -> Perm:
    """The layout that is left when axes of the value are gone, and the others are numbered anew.

    >>> without((0, 2, 3, 1), {2, 3})
    (0, 1)
    """
    rest = sorted(set(perm).difference(axes))
    return tuple(rest.index(axis) for axis in perm if axis not in axes)


def among(order: Sequence[int], rank: int) -> Perm:
    """A layout of all axes of a value, given the order of some: each of the rest stands where its neighbour does.

    It stands before the next one of those, the last ones after the one before them, and the first ones in front.

    >>> among((0, 3, 4, 1), 5)  # [N, C, 1, H, W] of [N, H, W, C]
    (0, 2, 3, 4, 1)
    >>> among((2, 3, 1), 4)  # [1, C, H, W] of [H, W, C]
    (0, 2, 3, 1)
    """
    given = sorted(order)
    made: list[int] = list(range(given[0] if given else rank))
    for axis in order:
        at = given.index(axis)
        if at:
            made.extend(range(given[at - 1] + 1, axis))
        made.append(axis)
        if axis == given[-1]:
            made.extend(range(axis + 1, rank))
    return tuple(made)


def is_view(perm: Perm, dims: Sequence[Size]) -> bool:
    """Whether a transposition of a value of these sizes moves axes of size 1 alone: a Reshape does the same."""
    moved = [axis for axis in perm if dims[axis] != 1]
    return moved == sorted(moved)


def groups(x: Sequence[Size], y: Sequence[Size]) -> Iterator[tuple[list[int], list[int]]]:
    """The smallest runs of axes, row-major, that a Reshape of sizes `x` to sizes `y` maps to each other.

    Axes of size 1 are in none. Where the products of two beginnings are equal, the Reshape is one of either part.

    >>> list(groups(["n", 8, 4, 4], ["n", 2, 4, 16]))
    [([0], [0]), ([1], [1, 2]), ([2, 3], [3])]
    """
    ours, theirs = ([i for i, size in enumerate(sizes) if size != 1] for sizes in (x, y))
    begins = {product: i for i, product in enumerate(_products(x, ours))}
    i = j = 0
    for end, product in enumerate(_products(y, theirs)):
        at = len(ours) if end == len(theirs) else begins.get(product, -1)
        if at > i and end > j:
            yield ours[i:at], theirs[j:end]
            i, j = at, end
    if i < len(ours) or j < len(theirs):  # an empty value, or sizes that contradict each other
        yield ours[i:], theirs[j:]


def _products(sizes: Sequence[Size], axes: Sequence[int]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The product of the first 0, 1, 2, ... of the axes: a number, and the names of free sizes.

    A name may be a product itself, as torch's exporter has it (`2*batch`).
    """
    number, names = 1, list[str]()
    yield number, ()
    for axis in axes:
        size = sizes[axis]
        factors = size.split("*") if isinstance(size, str) and PRODUCT.fullmatch(size) else [size]
        for factor in factors:
            if isinstance(factor, int) or factor.isdecimal():
                number *= int(factor)
            else:
                names.append(factor)
        yield number, tuple(sorted(names))
