"""Stochastic depth (Huang et al., arXiv:1603.09382), which torch itself has no module for."""

from __future__ import annotations

import torch
from torch import nn


class StochasticDepth(nn.Module):
    """While training, drops samples (`row`) or the whole batch (`batch`) with probability p, and scales up the rest."""

    def __init__(self, p: float, mode: str) -> None:
        super().__init__()
        self.p, self.mode = p, mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """X [N, ...], of any dtype that can be scaled."""
        if not self.training or self.p == 0.0:
            return x
        size = [x.shape[0] if self.mode == "row" else 1] + [1] * (x.ndim - 1)
        kept = torch.empty(size, dtype=x.dtype, device=x.device).bernoulli_(1.0 - self.p)
        return x * (kept / (1.0 - self.p) if self.p < 1.0 else kept)

    def extra_repr(self) -> str:
        """The two numbers, as torchvision prints them."""
        return f"p={self.p}, mode={self.mode}"
