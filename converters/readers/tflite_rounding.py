"""How TFLite's integer kernels round, as float nodes in front of a QuantizeLinear: to the quantum what they give.

A sum of products is multiplied by a fixed-point number and rounded, then shifted to the right and rounded again, halves
away from zero (MultiplyByQuantizedMultiplier, tensorflow/lite/kernels/internal/common.h). Rounding once differs in one
of some hundred numbers, and a deep network carries that on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers.tf_nodes import Nodes

Array = np.ndarray[Any, np.dtype[Any]]
# Operators whose kernels round halves away from zero once, of numbers that are halves often: sums and means
AWAY = frozenset(("ADD", "SUB", "MEAN", "SUM", "DIV"))


def shifted(b: Nodes, y: ir.Value, scale: float, ratio: Array) -> ir.Value:
    """A real result as the multiples of `scale` that an integer kernel makes of it.

    `ratio` is what one unit of the kernel's sums stands for over `scale`, for all channels or for each.
    """
    _, exponents = np.frexp(ratio.astype(np.float64))
    steps = np.exp2(np.maximum(-exponents, 0).astype(np.float64))  # of the second rounding
    if np.all(steps == 1):
        return b.op("Mul", b.op("Round", b.op("Div", y, b.number(scale))), b.number(scale))
    first = b.op("Round", b.op("Mul", y, b.constant((steps / scale).astype(np.float32))))
    return b.op("Mul", away(b, b.op("Mul", first, b.constant((1 / steps).astype(np.float32)))), b.number(scale))


def once(b: Nodes, y: ir.Value, scale: float) -> ir.Value:
    """A real result as multiples of `scale`, halves away from zero."""
    return b.op("Mul", away(b, b.op("Div", y, b.number(scale))), b.number(scale))


def away(b: Nodes, x: ir.Value) -> ir.Value:
    """X to the nearest integer, halves away from zero."""
    return b.op("Mul", b.op("Sign", x), b.op("Floor", b.op("Add", b.op("Abs", x), b.number(0.5))))
