"""The forward of a module of torch's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from zoo.converters.writers.source import forward
from zoo.converters.writers.source.classes import Class
from zoo.converters.writers.source.forward import COMPARISONS, LOGICAL, WORDS
from zoo.converters.writers.source.steps import Step
from zoo.converters.writers.torch.source.expressions import Writer, is_ours


class Forward(forward.Forward):
    """Writes the forward of one class."""

    words = frozenset(WORDS | {"torch", "nn", "F"})

    def __init__(self, cls: Class, module: nn.Module, names: Sequence[str]) -> None:
        self.module = module
        super().__init__(cls, names)

    def make_writer(self) -> Writer:
        """What writes the expressions."""
        return Writer(self.module, self.names.get, self.var)

    def is_mask(self, step: Step) -> bool:
        """Whether the step makes truth values."""
        return is_mask(step)

    def helpers(self) -> set[str]:
        """Ours."""
        return {s.target.__name__ for s in self.steps if is_ours(s.target)}

    def returns(self, step: Step) -> int | None:
        """How many results a child returns."""
        graph = getattr(self.module.get_submodule(step.target), "graph", None)
        out = next((n for n in reversed(graph.nodes) if n.op == "output"), None) if graph is not None else None
        return len(out.args[0]) if out is not None and isinstance(out.args[0], tuple) else None


def is_mask(step: Step) -> bool:
    """Whether the step makes truth values."""
    if step.op == "call_method":
        return step.target == "to" and step.args[1:] == (torch.bool,)
    if step.target in COMPARISONS or step.target in OF_TORCH:
        return True
    return step.target in LOGICAL and any(is_mask(s) for s in step.inputs())


OF_TORCH = {torch.logical_not, torch.logical_and, torch.logical_or, torch.isnan, torch.isinf}
