"""Counts of n-grams (ONNX's TfIdfVectorizer) as a module: tensor code without a loop over data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class TfIdf(nn.Module):
    """How often each n-gram of a pool occurs in rows of tokens, where up to `max_skip` tokens may stand between two.

    The pool is a tree of tokens: a state is a beginning of some n-gram, `codes_n` are the states of n tokens as
    (state of n - 1 tokens) * (number of tokens) + token, sorted, and `columns_n` where such a state is counted, or
    `size` for one that is no n-gram of the pool by itself. mode TF counts, IDF gives the weight of what occurs, TFIDF
    the count times the weight.
    """

    def __init__(
        self,
        grams: Sequence[tuple[int, ...]],
        columns: Sequence[int],
        lengths: Sequence[int],
        max_skip: int,
        mode: str,
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if mode not in ("TF", "IDF", "TFIDF"):
            raise ValueError(f"TfIdfVectorizer has no mode {mode!r}")
        if len(grams) != len(columns) or (weights and len(weights) != len(columns)):
            raise ValueError(f"{len(grams)} n-grams, {len(columns)} indexes and {len(weights or columns)} weights")
        self.size, self.lengths, self.max_skip, self.mode = max(columns, default=-1) + 1, list(lengths), max_skip, mode
        tokens = sorted({token for gram in grams for token in gram})
        rank = {token: i for i, token in enumerate(tokens)}
        self.register_buffer("tokens", torch.tensor(tokens, dtype=torch.int64), persistent=False)
        column_of = dict(zip(grams, columns, strict=True))
        states: dict[tuple[int, ...], int] = {(): 0}
        for n in range(1, max(self.lengths, default=0) + 1):
            heads = {
                gram[:n]: states[gram[: n - 1]] * len(tokens) + rank[gram[n - 1]] for gram in grams if len(gram) >= n
            }
            in_order = sorted(heads, key=heads.__getitem__)
            states = {head: i for i, head in enumerate(in_order)}
            codes = torch.tensor([heads[head] for head in in_order], dtype=torch.int64)
            counted = torch.tensor([column_of.get(head, self.size) for head in in_order], dtype=torch.int64)
            self.register_buffer(f"codes_{n}", codes, persistent=False)
            self.register_buffer(f"columns_{n}", counted, persistent=False)
        weight = torch.ones(self.size)
        if weights:
            weight[torch.tensor(columns, dtype=torch.int64)] = torch.tensor(weights)
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens [C] or [N, C], of any integer dtype -> float32 [size] or [N, size]."""
        rows = x.to(torch.int64) if x.dim() == 2 else x.to(torch.int64).unsqueeze(0)
        counts = torch.zeros(rows.shape[0], self.size + 1, dtype=torch.int64, device=x.device)
        token, is_known = find(rows, self.tokens)
        longest = max(self.lengths, default=0)
        for gap in range(1, self.max_skip + 2) if longest > 1 else [1]:
            state, found = torch.zeros_like(token), is_known
            for n in range(1, longest + 1):
                starts = token.shape[1] - (n - 1) * gap
                if starts <= 0:
                    break
                last = (n - 1) * gap
                code = state[:, :starts] * self.tokens.shape[0] + token[:, last:]
                state, hit = find(code, self.get_buffer(f"codes_{n}"))
                found = found[:, :starts] & is_known[:, last:] & hit
                if n in self.lengths and (n > 1 or gap == 1):
                    counted = self.get_buffer(f"columns_{n}")
                    if counted.shape[0]:
                        column = torch.where(found, counted[state], self.size)
                        counts = counts.scatter_add(1, column, torch.ones_like(column))
        made = counts[:, : self.size].to(torch.float32)
        if self.mode != "TF":
            made = (made if self.mode == "TFIDF" else (made > 0).to(torch.float32)) * self.weight
        return made if x.dim() == 2 else made[0]


def find(values: torch.Tensor, table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The place of each value in a sorted table [n], and whether it is there; any place where it is not."""
    if table.shape[0] == 0:
        return torch.zeros_like(values), torch.zeros_like(values, dtype=torch.bool)
    place = torch.searchsorted(table, values.contiguous()).clamp(max=table.shape[0] - 1)
    return place, table[place] == values
