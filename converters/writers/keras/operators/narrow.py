"""Numbers of ONNX's narrow dtypes, held in float32, int8 and uint8: what a wider number becomes as one of them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
from keras import ops

from zoo.converters.writers.keras.operators.precision import bits

Tensor = Any
Type = ir.DataType


class Narrow(NamedTuple):
    """A float of 4 to 8 bits: bits of the mantissa, exponent of its smallest normal number, its largest number.

    `beyond` is what is too large where nothing is saturated. From onnx/defs and OCP's microscaling formats.
    """

    mantissa: int
    exponent: int
    largest: float
    beyond: float = math.nan
    has_nan: bool = True
    has_negative_zero: bool = True


FLOATS = {
    Type.FLOAT8E4M3FN: Narrow(3, -6, 448.0),
    Type.FLOAT8E4M3FNUZ: Narrow(3, -7, 240.0, has_negative_zero=False),
    Type.FLOAT8E5M2: Narrow(2, -14, 57344.0, math.inf),
    Type.FLOAT8E5M2FNUZ: Narrow(2, -15, 57344.0, has_negative_zero=False),
    Type.FLOAT6E2M3: Narrow(3, 0, 7.5, has_nan=False),
    Type.FLOAT6E3M2: Narrow(2, -2, 28.0, has_nan=False),
    Type.FLOAT4E2M1: Narrow(1, 0, 6.0, has_nan=False),
}
INTS = {Type.INT4, Type.UINT4, Type.INT2, Type.UINT2}
# float8e8m0 by its code: powers of two, of which the last stands for NaN
POWERS = np.append(np.ldexp(np.float32(1), np.arange(-127, 128)), np.float32(math.nan)).astype(np.float32)


def exponent_and_fraction(x: Tensor) -> tuple[Tensor, Tensor]:
    """The biased exponent and the bits of the fraction of float32 numbers."""
    code = bits(ops.cast(x, "float32"), "int32")
    return ops.bitwise_and(ops.right_shift(code, 23), 0xFF), ops.bitwise_and(code, 0x7FFFFF)


def to_float(x: Tensor, target: ir.DataType, saturate: bool = True) -> Tensor:
    """Rounded half to even; what is out of range becomes the largest, or else infinite or NaN.

    The types of 4 and 6 bits have no NaN and always saturate; NaN becomes -0, as ml_dtypes casts it.
    """
    kind = FLOATS[target]
    x = ops.cast(x, "float32")
    largest = np.float32(kind.largest)
    if not kind.has_nan:
        x = ops.where(ops.isnan(x), ops.full_like(x, -0.0), x)
    if saturate or not kind.has_nan:
        x = ops.clip(x, -largest, largest)
    exponent = ops.maximum(exponent_and_fraction(x)[0] - 127, kind.exponent) - kind.mantissa
    step = bits(ops.left_shift(exponent + 127, 23), "float32")
    y = ops.where(ops.isfinite(x), ops.round(x / step) * step, x)
    if not saturate and kind.has_nan:
        y = ops.where(ops.abs(y) > largest, ops.sign(y) * np.float32(kind.beyond), y)
    return y if kind.has_negative_zero else ops.where(y == 0, ops.zeros_like(y), y)


def to_float8_e8m0(x: Tensor, round_mode: str = "up", saturate: bool = True) -> Tensor:
    """To float8e8m0, a power of two from 2^-127 to 2^127 without a sign: `up`, `down` or `nearest` (halfway is up).

    Out of range is the nearest end, or else NaN; zero counts as below 2^-127. As the table of ONNX's Cast.
    """
    exponent, fraction = exponent_and_fraction(x)
    # a float32 below 2^-126 has the exponent 0 and no leading one: its 0x400000 is 2^-127
    if round_mode == "up":
        code = exponent + ops.cast(fraction > ops.where(exponent == 0, 0x400000, 0), "int32")
    elif round_mode == "nearest":
        code = exponent + ops.cast(fraction >= ops.where(exponent == 0, 0x400001, 0x400000), "int32")
    else:
        code = exponent
    is_nan = ops.logical_and(exponent == 0xFF, fraction != 0)
    if saturate:
        code = ops.minimum(code, 0xFE)
    else:
        is_below = ops.logical_and(exponent == 0, fraction < 0x400000)
        is_nan = ops.logical_or(is_nan, ops.logical_or(code > 0xFE, is_below))
    return ops.take(ops.convert_to_tensor(POWERS), ops.where(is_nan, 0xFF, code), axis=0)


def to_int(x: Tensor, target: ir.DataType) -> Tensor:
    """Integers of 2 or 4 bits: a fraction is cut off, higher bits are discarded."""
    low = ops.bitwise_and(ops.cast(x, "int32"), (1 << target.bitwidth) - 1)
    if not target.is_signed():
        return low
    highest = 1 << (target.bitwidth - 1)  # the sign's bit
    return ops.bitwise_xor(low, highest) - highest


def float4_bits(x: Tensor) -> Tensor:
    """The four bits of each float4e2m1 in int32: a sign, two of the exponent, one more."""
    codes = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
    size = ops.sum(ops.cast(ops.expand_dims(ops.abs(x), -1) > codes, "int32"), -1)
    return size + ops.left_shift(ops.bitwise_and(ops.right_shift(bits(x, "int32"), 31), 1), 3)


def float4_of_bits(code: Tensor) -> Tensor:
    """The reverse of float4_bits."""
    codes = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
    codes = np.concatenate([codes, -codes])
    return ops.take(ops.convert_to_tensor(codes), ops.bitwise_and(ops.cast(code, "int32"), 0xF), axis=0)
