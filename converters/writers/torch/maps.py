"""ZipMap of ai.onnx.ml: maps are Python's dictionaries. onnx_ir has no type for them: they are outputs alone."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from zoo.converters.writers.torch import lowers
from zoo.errors import HubError


def zip_map(x: torch.Tensor, keys: Sequence[int] | Sequence[str]) -> list[dict[int | str, torch.Tensor]]:
    """Each row of x [N, C], or x [C] itself, as a dictionary of its elements by keys."""
    return [dict(zip(keys, row.unbind(0), strict=True)) for row in (x if x.dim() == 2 else x.unsqueeze(0))]


@lowers("ZipMap", "ai.onnx.ml")
def zip_map_of(
    w: Any,
    X: Any,
    *,
    classlabels_int64s: Sequence[int] | None = None,
    classlabels_strings: Sequence[str] | None = None,
) -> Any:
    """Scores by their classes' labels."""
    keys = list(classlabels_strings or classlabels_int64s or ())
    if not keys:
        raise HubError("ZipMap without labels")
    return w.function(zip_map, X, keys)
