"""Casts that torch has no kernel for, or whose result is not ONNX's: to types below 8 bits, float8 and float8e8m0.

Plain torch, for any device; written into the source of a model that uses them. What a type is held in is in types.py.
"""

from __future__ import annotations

import torch


def to_narrow_int(x: torch.Tensor, bits: int, dtype: torch.dtype) -> torch.Tensor:
    """Integers of `bits` bits in int8 or uint8: a fraction is cut off, higher bits are discarded."""
    low = x.to(torch.int32) & ((1 << bits) - 1)
    if dtype == torch.int8:  # the highest bit is the sign's
        low = (low ^ (1 << (bits - 1))) - (1 << (bits - 1))
    return low.to(dtype)


def to_float8(x: torch.Tensor, dtype: torch.dtype, saturate: bool = True) -> torch.Tensor:
    """To a float8, rounded half to even; what is out of range becomes the largest, or else infinite or NaN.

    As the tables of ONNX's Cast: torch's own cast saturates one of the four types, and not on every device.
    """
    x = x.to(torch.float32)
    largest = torch.finfo(dtype).max
    if saturate:
        return x.clamp(-largest, largest).to(dtype)
    if dtype == torch.float8_e4m3fn:  # 464 is halfway to the next number, and even downwards
        x = torch.where(x.abs() > 464, torch.full_like(x, torch.nan).copysign(x), x)
    return x.to(dtype)


def to_float8_e8m0(x: torch.Tensor, round_mode: str = "up", saturate: bool = True) -> torch.Tensor:
    """To float8e8m0, a power of two from 2^-127 to 2^127 without a sign: `up`, `down` or `nearest` (halfway is up).

    Out of range is the nearest end, or else NaN; zero counts as below 2^-127. As the table of ONNX's Cast.
    """
    bits = x.to(torch.float32).view(torch.int32)
    exponent, fraction = (bits >> 23) & 0xFF, bits & 0x7FFFFF
    # a float32 below 2^-126 has the exponent 0 and no leading one: its 0x400000 is 2^-127
    halfway = torch.where(exponent == 0, 0x400001, 0x400000)
    if round_mode == "up":
        code = exponent + (fraction > torch.where(exponent == 0, 0x400000, 0)).to(torch.int32)
    elif round_mode == "nearest":
        code = exponent + (fraction >= halfway).to(torch.int32)
    else:
        code = exponent
    is_nan = (exponent == 0xFF) & (fraction != 0)
    if saturate:
        code = code.clamp(max=0xFE)
    else:
        is_nan = is_nan | (code > 0xFE) | ((exponent == 0) & (fraction < 0x400000))
    return torch.where(is_nan, 0xFF, code).to(torch.uint8).view(torch.float8_e8m0fnu)


def to_narrow_float(x: torch.Tensor, mantissa: int, exponent: int, largest: float) -> torch.Tensor:
    """To a float of 4 or 6 bits, held in float8_e4m3fn: `mantissa` bits, 2 ** `exponent` the smallest normal number.

    Rounded half to even, the largest where out of range. These types have no NaN; it becomes -0, as ml_dtypes casts it.
    """
    x = x.to(torch.float32)
    x = torch.where(x.isnan(), -0.0, x.clamp(-largest, largest))
    step = torch.ldexp(torch.ones_like(x), (torch.frexp(x).exponent - 1).clamp(min=exponent) - mantissa)
    return (torch.round(x / step) * step).to(torch.float8_e4m3fn)


def float4_bits(x: torch.Tensor) -> torch.Tensor:
    """The four bits of each float4e2m1 (held in float8_e4m3fn) in uint8: a sign, two of the exponent, one more."""
    x = x.to(torch.float32)
    exponent = torch.frexp(x).exponent.clamp(min=1)
    bits = 2 * (exponent - 1) + torch.ldexp(x.abs(), 2 - exponent).to(torch.int32)
    return (bits + 8 * x.signbit().to(torch.int32)).to(torch.uint8)


def float4_of_bits(bits: torch.Tensor) -> torch.Tensor:
    """The reverse of float4_bits."""
    bits = bits.to(torch.int32)
    exponent = (bits >> 1) & 3
    size = torch.ldexp((bits & 1).to(torch.float32) + 2 * (exponent > 0), exponent.clamp(min=1) - 2)
    return torch.where(bits & 8 > 0, -size, size).to(torch.float8_e4m3fn)
