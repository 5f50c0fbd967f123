"""What of ONNX's Attention has a plain form."""

from __future__ import annotations

from typing import Any

from zoo.converters.writers.source.unwritable import Unwritable

Value = Any


def attention_arguments(
    w: Any, q: Value, k: Value, rare: tuple[Value, ...], scale: float | None, softcap: float, window: int
) -> dict[str, Any]:
    """The arguments that have another value than they have by themselves. Raises Unwritable for what has no form."""
    if any(x is not None for x in rare) or softcap or window >= 0 or any(w.is_read(i) for i in (1, 2, 3)):
        raise Unwritable("with caches, counts of keys, windows or caps it has no plain form")
    if w.rank(q) != 4 or w.shape(q)[1] != w.shape(k)[1]:
        raise Unwritable("with heads that stand in one axis, or are shared, it has no plain form")
    size = w.shape(q)[-1]
    is_usual = scale is None or (size is not None and abs(scale - size**-0.5) < 1e-6 * scale)
    return {} if is_usual else {"scale": scale}
