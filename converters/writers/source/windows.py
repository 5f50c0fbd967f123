"""Where kernels are laid over a picture, in the words of a person: 3, and (3, 5) where the axes differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import onnx_ir as ir

from zoo.converters.writers.source.unwritable import Unwritable

SAME = ("SAME_UPPER", "SAME_LOWER")


class Windows(NamedTuple):
    """A kernel, its steps, and the padding (begin, end) of the picture, or one number where both are the same."""

    kernel: list[int]
    stride: list[int]
    dilation: list[int]
    padding: list[Any]


def windows_of(
    kernel: Sequence[int | None],
    sizes: Sequence[int | None],
    auto_pad: str,
    pads: Sequence[int] | None,
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    *,
    ceil_mode: bool = False,
) -> Windows:
    """ONNX's attributes, which have defaults and leave out. Raises Unwritable where they depend on a free size.

    In ceil_mode the end reaches as far as the last window that starts in the picture or in its first padding.
    """
    n = len(kernel)
    spans = [int(k or 0) for k in kernel]
    stride, dilation, both = list(strides or [1] * n), list(dilations or [1] * n), list(pads or [0] * 2 * n)
    padding: list[Any] = []
    for i, (size, k, s, d) in enumerate(zip(sizes, spans, stride, dilation, strict=True)):
        span = (k - 1) * d + 1
        begin, end = (0, 0) if auto_pad == "VALID" else (both[i], both[n + i])
        if size is None and s != 1 and (auto_pad in SAME or ceil_mode):
            raise Unwritable("its padding follows from a size that is free")
        if auto_pad in SAME:
            total = max((-(-(size or 1) // s) - 1) * s + span - (size or 1), 0)
            begin = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
            end = total - begin
        elif ceil_mode and auto_pad != "VALID" and s != 1 and size is not None:
            count = min(-(-(size + begin + end - span) // s) + 1, (size + begin - 1) // s + 1)
            end = max((count - 1) * s + span - size - begin, end)
        padding.append(begin if begin == end else (begin, end))
    return Windows(spans, stride, dilation, padding)


def is_same(at: Windows, sizes: Sequence[int | None]) -> bool:
    """Whether the padding is what frameworks call "same": as much at the end as at the beginning, or one more."""
    for kernel, stride, dilation, padding, size in zip(*at, sizes, strict=True):
        if stride != 1 and size is None:
            return False
        total = max((-(-(size or 1) // stride) - 1) * stride + (kernel - 1) * dilation + 1 - (size or 1), 0)
        begin, end = padding if isinstance(padding, tuple) else (padding, padding)
        if (begin, end) != (total // 2, total - total // 2):
            return False
    return True


def prefers_same(graph: ir.Graph) -> bool:
    """Whether a model's author pads as "same" does: one of its convolutions has more padding at the ends."""
    for node in graph:
        pads = node.attributes.get("pads")
        if node.op_type == "Conv" and pads is not None:
            both = list(pads.as_ints())
            if any(end == begin + 1 for begin, end in zip(both[: len(both) // 2], both[len(both) // 2 :], strict=True)):
                return True
    return False


def short(values: Sequence[Any]) -> Any:
    """One value where all are the same, else a tuple."""
    first = values[0] if values else 0
    return first if not isinstance(first, tuple) and all(v == first for v in values) else tuple(values)
