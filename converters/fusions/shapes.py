"""What is known of shapes: a size is a number, the name of a free one, or `?...` where nothing is known."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from zoo.converters.fold import dims

Size = int | str


def sizes_of(value: ir.Value) -> tuple[Size, ...]:
    """The shape of a value; empty, as a scalar's, where the rank is not known."""
    return dims(value) or ()


def is_known(size: Size) -> bool:
    """Whether a size has a number or a name."""
    return isinstance(size, int) or not size.startswith("?")


def may_differ(a: Size, b: Size) -> bool:
    """Whether two sizes are known to be different, or one of them to be 1, which is broadcast."""
    return a != b and (1 in (a, b) or (isinstance(a, int) and isinstance(b, int)))


def broadcast(a: Sequence[Size], b: Sequence[Size]) -> tuple[Size, ...]:
    """The shape of two that are combined; a size that is not known is left open."""
    rank = max(len(a), len(b))
    pairs = zip((1,) * (rank - len(a)) + tuple(a), (1,) * (rank - len(b)) + tuple(b), strict=True)
    return tuple(_either(x, y) for x, y in pairs)


def _either(x: Size, y: Size) -> Size:
    if x == y or x == 1:
        return y
    if y == 1 or isinstance(x, int):
        return x
    return y if isinstance(y, int) else "?"


def is_reshaped_to(target: Sequence[Size] | None, source: Sequence[Size], shape: Sequence[Size]) -> bool:
    """Whether a Reshape of `source` to `target` gives `shape`, which has as many elements.

    Every size but one, which is -1, has to be the same; 0 stands for the source's size at its place.
    """
    if target is None or len(target) != len(shape) or 0 in shape:
        return False
    given = [source[i] if t == 0 and i < len(source) else t for i, t in enumerate(target)]
    return [t for t, n in zip(given, shape, strict=True) if t != n] in ([], [-1])


def made(value: ir.Value, like: ir.Value, sizes: Sequence[Size]) -> ir.Value:
    """A new value, told that it is of a shape, and of another's dtype."""
    value.type, value.shape = like.type, ir.Shape([n if is_known(n) else None for n in sizes])
    return value
