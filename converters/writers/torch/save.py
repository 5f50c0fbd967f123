"""A native module as files of torch's: a state_dict (.pth, .pt, .bin) or an ExportedProgram (.pt2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from zoo.converters.runner import TensorSpec
from zoo.converters.writers.torch.runner import from_numpy, to_numpy


def save(module: torch.nn.Module, path: Path, inputs: Sequence[TensorSpec], feeds: Mapping[str, Any]) -> None:
    """Write the module; what kind of file is said by its name. `feeds` are example arrays, for the export."""
    if path.suffix.lower() != ".pt2":
        torch.save(module.state_dict(), path)
        return
    args = tuple(from_numpy(feeds[spec.name]) for spec in inputs)
    free = tuple(
        {i: torch.export.Dim.AUTO for i, size in enumerate(spec.shape) if isinstance(size, str)} for spec in inputs
    )
    torch.export.save(torch.export.export(module, args, dynamic_shapes=free), path)


def run_saved(path: Path, inputs: Sequence[TensorSpec], feeds: Mapping[str, Any]) -> list[Any]:
    """The outputs of an ExportedProgram, loaded from its file."""
    program = torch.export.load(path)
    with torch.inference_mode():
        made = program.module()(*(from_numpy(feeds[spec.name]) for spec in inputs))
    values = list(made.values()) if isinstance(made, dict) else [made]
    return [to_numpy(value) for value in values]
