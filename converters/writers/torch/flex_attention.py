"""ONNX's FlexAttention: attention whose scores and weights a graph of the author's changes."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import nn

from zoo.converters.writers.driver import Body
from zoo.converters.writers.torch import lowers

Value = Any


class FlexAttention(nn.Module):
    """softmax(score_mod(Q K^T * scale)) V over [batch, heads, sequence, size], the weights changed by prob_mod.

    Each of the two takes a tensor [batch, heads, m, n] with whatever else it reads, and gives a tuple of one.
    Torch's own flex_attention changes one score at a time, given its place; these see all of them.
    """

    def __init__(
        self, score_mod: nn.Module | None, prob_mod: nn.Module | None, scale: float | None, precision: torch.dtype
    ) -> None:
        super().__init__()
        self.score_mod, self.prob_mod, self.scale, self.precision = score_mod, prob_mod, scale, precision

    def forward(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, score_args: Sequence[Any], prob_args: Sequence[Any]
    ) -> torch.Tensor:
        """Heads of queries may share those of keys and values; scores and weights are of the dtype `precision`."""
        factor = math.sqrt(q.shape[-1] ** -0.5 if self.scale is None else self.scale)
        groups = q.shape[1] // k.shape[1]
        k, v = (k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)) if groups > 1 else (k, v)
        scores = ((q * factor) @ (k * factor).transpose(-2, -1)).to(self.precision)
        if self.score_mod is not None:
            (scores,) = self.score_mod(scores, *score_args)
        weights = torch.softmax(scores, dim=-1)
        if self.prob_mod is not None:
            (weights,) = self.prob_mod(weights, *prob_args)
        return (weights @ v.to(self.precision)).to(v.dtype)


@lowers("FlexAttention", "ai.onnx.preview")
def flex_attention(
    w: Any,
    Q: Value,
    K: Value,
    V: Value,
    *,
    prob_mod: Body | None = None,
    scale: float | None = None,
    score_mod: Body | None = None,
    softmax_precision: int | None = None,
) -> Value:
    """softmax(Q K^T * scale) V: F.scaled_dot_product_attention where no graph changes scores or weights."""
    dtype = w.dtype_in(0)
    precision = torch.float64 if dtype == torch.float64 else torch.float32
    if softmax_precision is not None:
        precision = w.dtype_of(ir.DataType(softmax_precision))
    if score_mod is None and prob_mod is None and precision == torch.promote_types(dtype, torch.float32):
        options: dict[str, Any] = {} if scale is None else {"scale": scale}
        heads = [(w.shape_in(i) or (None, None))[1] for i in (0, 1)]
        if heads[0] != heads[1]:
            options["enable_gqa"] = True
        return F.scaled_dot_product_attention(Q, K, V, **options)
    (scores, score_args), (weights, prob_args) = (
        (None, ()) if body is None else w.body(body) for body in (score_mod, prob_mod)
    )
    return w.call_held(FlexAttention(scores, weights, scale, precision), Q, K, V, score_args, prob_args)
