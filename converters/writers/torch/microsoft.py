"""What com.microsoft has and ONNX has no words for."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

import torch

from zoo.converters.writers.torch import lowers

MS = "com.microsoft"


@lowers("Inverse", MS)
def inverse(w: Any, X: Any) -> Any:
    """The inverse of each matrix."""
    return w.function(torch.linalg.inv, X)
