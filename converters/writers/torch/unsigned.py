"""Unsigned integers of 16, 32 and 64 bits, for which torch has few kernels, computed in int64.

Every uint16 and uint32 is an int64 of the same number, and a uint64 an int64 of the same 64 bits: sums, differences and
products wrap around alike, and going back cuts off what is too much. Where the order of uint64s matters, their highest
bit is flipped, which makes int64s of the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
import torch

Value = Any
WIDE = {ir.DataType.UINT16, ir.DataType.UINT32, ir.DataType.UINT64}
HIGHEST = -(2**63)  # the highest bit of 64


def is_wide(w: Any, i: int = 0) -> bool:
    """Whether the i-th input of the node at hand is of a dtype for which torch lacks arithmetic."""
    value = w.value(i)
    return value is not None and value.dtype in WIDE


def operands(w: Any, xs: Sequence[Value]) -> list[Value]:
    """The inputs of the node at hand: one is a tensor at least, and all where a number may be too wide."""
    numbers = [not w.is_tensor(i) for i in range(len(xs))]
    if is_wide(w) or all(numbers):
        return [w.as_tensor(i, x) for i, x in enumerate(xs)]
    return list(xs)


def in_int64(w: Any, f: Callable[..., Value], *xs: Value, back: bool = True) -> Value:
    """`f` of the inputs as int64, for what wraps around alike; its result in their own dtype."""
    y = f(*(x.to(torch.int64) for x in xs))
    return y.to(w.dtype_in(0)) if back else y


def in_order(w: Any, f: Callable[..., Value], *xs: Value, back: bool = True) -> Value:
    """`f` of the inputs as int64s of the same order; its result in their own dtype."""
    y = f(*(ordered(w, x) for x in xs))
    return unordered(w, y) if back else y


def ordered(w: Any, x: Value) -> Value:
    """A tensor of the first input's dtype as int64s of the same order."""
    x = x.to(torch.int64)
    return x ^ HIGHEST if w.value(0).dtype == ir.DataType.UINT64 else x


def unordered(w: Any, x: Value) -> Value:
    """The way back of `ordered`."""
    if w.value(0).dtype == ir.DataType.UINT64:
        x = x ^ HIGHEST
    return x.to(w.dtype_in(0))


def divide_uint64(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The quotient of uint64s, by signed division (Warren, Hacker's Delight, 2nd edition, section 9-3)."""
    highest = -(2**63)
    n, d = a.to(torch.int64), b.to(torch.int64)
    half = torch.div((n >> 1) & ~highest, d, rounding_mode="trunc") << 1
    is_one_more = ((n - half * d) ^ highest) >= (d ^ highest)
    is_large = d < 0  # the divisor is 2^63 or more: it fits once or not at all
    quotient = torch.where(is_large, ((n ^ highest) >= (d ^ highest)).to(torch.int64), half + is_one_more)
    return quotient.to(torch.uint64)


def shift_right_uint64(x: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """The bits of uint64s moved to the right, zeros coming in."""
    bits, by = x.to(torch.int64), by.to(torch.int64)
    return torch.where(by == 0, bits, ((bits >> 1) & ~-(2**63)) >> (by - 1)).to(torch.uint64)
