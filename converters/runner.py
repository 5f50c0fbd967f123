"""The one shape that every framework's model takes for tools: named numpy arrays in, named numpy arrays out.

Imports numpy alone: `zoo run` of something already built comes through here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output: its name, numpy's (or ml_dtypes') name of its dtype, and its shape; a free size is a str.

    Strings are `str`. A list of tensors is `seq(float32)`, what may be None `optional(float32)` or
    `optional(seq(float32))`; the shape is then each tensor's. What is known to be none of these is `map`.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


def misfit(spec: TensorSpec, value: Any) -> str:
    """Why a value is not what the spec says (`is float64, the model wants float32`); an empty string if it is."""
    if spec.dtype.startswith("optional("):
        inner = spec.dtype.removeprefix("optional(").removesuffix(")")
        return "" if value is None else misfit(TensorSpec(spec.name, inner, spec.shape), value)
    if spec.dtype.startswith("seq("):
        inner = spec.dtype.removeprefix("seq(").removesuffix(")")
        if not isinstance(value, (list, tuple)):
            return f"is {_called(value)}, the model wants a list of arrays of {inner}"
        reasons = (misfit(TensorSpec(spec.name, inner, spec.shape), item) for item in value)
        return next((f"has an item {i} that {why}" for i, why in enumerate(reasons) if why), "")
    if not isinstance(value, (np.ndarray, np.generic)):
        return f"is {_called(value)}, the model wants an array of {spec.dtype}"
    if value.dtype.name != spec.dtype and not (spec.dtype == "str" and value.dtype.kind in "OSU"):
        return f"is {value.dtype.name}, the model wants {spec.dtype}"
    fits = len(value.shape) == len(spec.shape) and all(
        isinstance(want, str) or want == have for want, have in zip(spec.shape, value.shape, strict=True)
    )
    if spec.shape and not fits:
        return f"has shape {list(value.shape)}, the model wants {list(spec.shape)}"
    return ""


def _called(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


class Runner(Protocol):
    """Speaks the graph's names and layout always, whatever its framework's habit is."""

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        """What `run` wants."""

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        """What `run` gives."""

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One pass. Raises BadInput naming the input when a name, dtype or shape doesn't fit."""
