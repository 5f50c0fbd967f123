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
    """An input or output: its name, numpy's (or ml_dtypes') name of its dtype, and its shape; a free size is a str."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


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
