"""aten's operators, all groups of them: importing this fills torch_aten.TABLE."""

from __future__ import annotations

from zoo.converters.readers import torch_losses, torch_math, torch_nn, torch_recurrent, torch_shapes, torch_vision
from zoo.converters.readers.torch_aten import TABLE

GROUPS = (torch_losses, torch_math, torch_nn, torch_recurrent, torch_shapes, torch_vision)
__all__ = ["GROUPS", "TABLE"]
