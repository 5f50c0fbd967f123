"""ONNX's operators on pictures, with channels first and with channels last [N, spatial..., C] (graph.CHANNELS_LAST).

Keras computes them with channels last; with channels first they stand between two transposes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from keras import ops

from zoo.converters.graph import CHANNELS_LAST
from zoo.converters.layout.bound import DATA
from zoo.converters.writers.driver import Lowerings
from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.operators.sizes import along, rank

Tensor = Any
F = TypeVar("F", bound=Callable[..., Any])


def pictures(op: str, table: Lowerings = lowers) -> Callable[[F], F]:
    """Register a lowering on pictures with channels last for both layouts."""

    def register(f: F) -> F:
        table(op, CHANNELS_LAST)(f)

        @table(op)
        @functools.wraps(f)
        def channels_first(w: Any, *inputs: Tensor, **attributes: Any) -> Tensor:
            given = [to_last(x) if i in DATA[op] else x for i, x in enumerate(inputs)]
            made = f(w, *given, **attributes)
            if not isinstance(made, tuple):
                return to_first(made)
            n = rank(made[0])
            return tuple(to_first(y) if y is not None and rank(y) == n else y for y in made)

        return f

    return register


def either(op: str, table: Lowerings = lowers) -> Callable[[F], F]:
    """Register a lowering for both layouts, which asks `channel_axis` for the one of its node."""

    def register(f: F) -> F:
        table(op)(f)
        table(op, CHANNELS_LAST)(f)
        return f

    return register


def to_last(x: Tensor) -> Tensor:
    """[N, C, spatial...] -> [N, spatial..., C]."""
    return x if x is None or rank(x) < 3 else ops.moveaxis(x, 1, -1)


def to_first(x: Tensor) -> Tensor:
    """[N, spatial..., C] -> [N, C, spatial...]."""
    return x if rank(x) < 3 else ops.moveaxis(x, -1, 1)


def channel_axis(w: Any, x: Tensor) -> int:
    """Where the node at hand has the channels of its picture."""
    return rank(x) - 1 if w.step.domain == CHANNELS_LAST else min(1, rank(x) - 1)


def spatial_axes(w: Any, x: Tensor) -> tuple[int, ...]:
    """All axes of a picture but that of the batch and that of the channels."""
    return tuple(i for i in range(1, rank(x)) if i != channel_axis(w, x))


def along_channels(w: Any, v: Tensor, x: Tensor) -> Tensor:
    """A vector of one number for each channel of the node's picture, so that it broadcasts."""
    return along(v, channel_axis(w, x), rank(x))
