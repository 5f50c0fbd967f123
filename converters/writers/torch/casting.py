"""ONNX's casts: `x.to(dtype)` where torch's own cast gives the same numbers, elsewhere a function of narrow.py."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from zoo.converters.writers.torch import lowers
from zoo.converters.writers.torch.narrow import (
    float4_bits,
    float4_of_bits,
    to_float8,
    to_float8_e8m0,
    to_narrow_float,
    to_narrow_int,
)
from zoo.converters.writers.torch.types import torch_dtype
from zoo.errors import HubError

Value = Any
Type = ir.DataType
FLOAT8 = {Type.FLOAT8E4M3FN, Type.FLOAT8E4M3FNUZ, Type.FLOAT8E5M2, Type.FLOAT8E5M2FNUZ}
# bits of the mantissa, exponent of the smallest normal number, largest number (onnx/defs, OCP's microscaling formats)
NARROW_FLOATS = {Type.FLOAT4E2M1: (1, 0, 6.0), Type.FLOAT6E2M3: (3, 0, 7.5), Type.FLOAT6E3M2: (2, -2, 28.0)}
NARROW_INTS = {Type.INT4, Type.UINT4, Type.INT2, Type.UINT2}
ROUND_MODES = ("up", "down", "nearest")


def converted(
    w: Any, x: Value, source: ir.DataType, target: ir.DataType, *, saturate: bool = True, round_mode: str = "up"
) -> Value:
    """A tensor of the ONNX dtype `source` as one of `target`. Raises HubError for strings."""
    if source == target:
        return x
    dtype, _ = torch_dtype(target), torch_dtype(source)
    if target in FLOAT8:
        return w.function(to_float8, x, dtype, **({} if saturate else {"saturate": False}))
    if target == Type.FLOAT8E8M0:
        if round_mode not in ROUND_MODES:
            raise HubError(f"a cast to FLOAT8E8M0 with round_mode {round_mode!r}; ONNX has {', '.join(ROUND_MODES)}")
        return w.function(to_float8_e8m0, x, round_mode, saturate)
    if target in NARROW_FLOATS:
        return w.function(to_narrow_float, x, *NARROW_FLOATS[target])
    if target in NARROW_INTS:
        return w.function(to_narrow_int, x, target.bitwidth, dtype)
    return x.to(dtype)


def _dtype(w: Any, i: int) -> ir.DataType:
    value = w.value(i)
    if value is None or value.dtype is None:
        raise HubError(f"{w.node.op_type} {w.node.name!r}: the dtype of its input {i} is not known")
    return value.dtype  # type: ignore[no-any-return]


@lowers("Cast")
def cast(w: Any, input: Value, *, round_mode: str = "up", saturate: int = 1, to: int) -> Value:  # noqa: A002
    """To another dtype; out of range as the tables of the specification say."""
    target = ir.DataType(to)
    return converted(w, w.tensor_of(input), _dtype(w, 0), target, saturate=bool(saturate), round_mode=round_mode)


@lowers("CastLike")
def cast_like(w: Any, input: Value, target_type: Value, *, round_mode: str = "up", saturate: int = 1) -> Value:  # noqa: A002
    """To the dtype of another value."""
    target = _dtype(w, 1)
    return converted(w, w.tensor_of(input), _dtype(w, 0), target, saturate=bool(saturate), round_mode=round_mode)


@lowers("BitCast")
def bit_cast(w: Any, input: Value, *, to: int) -> Value:  # noqa: A002
    """The same bits as another dtype of the same width."""
    source, target = _dtype(w, 0), ir.DataType(to)
    if source.bitwidth != target.bitwidth:
        raise HubError(f"BitCast from {source.name} to {target.name}: {source.bitwidth} bits and {target.bitwidth}")
    x = w.tensor_of(input)
    if source.bitwidth >= 8:
        return x.view(torch_dtype(target))
    bits = w.function(float4_bits, x) if source == Type.FLOAT4E2M1 else x
    if target == Type.FLOAT4E2M1:
        return w.function(float4_of_bits, bits)
    return w.function(to_narrow_int, bits, target.bitwidth, torch_dtype(target))
