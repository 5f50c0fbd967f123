"""ONNX's logical operators: comparisons and truth values."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import operator
from typing import Any

import torch

from zoo.converters.writers.torch import lowers

BINARY = {
    "Equal": operator.eq,
    "Greater": operator.gt,
    "GreaterOrEqual": operator.ge,
    "Less": operator.lt,
    "LessOrEqual": operator.le,
    "And": operator.and_,
    "Or": operator.or_,
    "Xor": operator.xor,
}

for _op, _f in BINARY.items():

    @lowers(_op)
    def _lowered(w: Any, A: Any, B: Any, *, _f: Any = _f) -> Any:
        return _f(A, B)


@lowers("Not")
def not_(w: Any, X: Any) -> Any:
    """The opposite of each truth value."""
    return torch.logical_not(X)
