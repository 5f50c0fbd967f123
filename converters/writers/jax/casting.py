"""ONNX's casts: `x.astype(dtype)` where jax's own cast gives the same numbers."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import onnx_ir as ir
from jax import lax

from zoo.converters.writers.jax import lowers
from zoo.errors import HubError

Value = Any
Type = ir.DataType
FLOAT8 = {Type.FLOAT8E4M3FN, Type.FLOAT8E4M3FNUZ, Type.FLOAT8E5M2, Type.FLOAT8E5M2FNUZ}
# bits of the mantissa, exponent of the smallest normal number, largest number (onnx/defs, OCP's microscaling formats)
NARROW_FLOATS = {Type.FLOAT4E2M1: (1, 0, 6.0), Type.FLOAT6E2M3: (3, 0, 7.5), Type.FLOAT6E3M2: (2, -2, 28.0)}
NARROW_INTS = {Type.INT4, Type.UINT4, Type.INT2, Type.UINT2}
ROUND_MODES = ("up", "down", "nearest")


def converted(w: Any, x: Value, target: ir.DataType, *, saturate: bool = True, round_mode: str = "up") -> Value:
    """A tensor as one of another ONNX dtype; out of range as the tables of the specification say."""
    dtype = w.dtype_of(target)
    if target in FLOAT8:
        return to_float8(x, dtype, saturate)
    if target == Type.FLOAT8E8M0:
        if round_mode not in ROUND_MODES:
            raise HubError(f"a cast to FLOAT8E8M0 with round_mode {round_mode!r}; ONNX has {', '.join(ROUND_MODES)}")
        return to_float8_e8m0(x, round_mode, saturate)
    if target in NARROW_FLOATS:
        return to_narrow_float(x, dtype, *NARROW_FLOATS[target])
    if target in NARROW_INTS:
        return to_narrow_int(x, target.bitwidth, dtype)
    if target == Type.BOOL:
        return x != 0
    return x.astype(dtype)


def to_narrow_int(x: Value, bits: int, dtype: Any) -> Value:
    """Integers of `bits` bits: a fraction is cut off, higher bits are discarded."""
    low = x.astype(jnp.int32) & ((1 << bits) - 1)
    if jnp.issubdtype(dtype, jnp.signedinteger):  # the highest bit is the sign's
        low = (low ^ (1 << (bits - 1))) - (1 << (bits - 1))
    return low.astype(dtype)


def to_float8(x: Value, dtype: Any, saturate: bool = True) -> Value:
    """To a float8, rounded half to even; what is out of range becomes the largest, or else infinite or NaN."""
    x = x.astype(jnp.float32)
    largest = float(ml_dtypes.finfo(dtype).max)
    return (jnp.clip(x, -largest, largest) if saturate else x).astype(dtype)


def to_float8_e8m0(x: Value, round_mode: str = "up", saturate: bool = True) -> Value:
    """To float8e8m0, a power of two from 2^-127 to 2^127 without a sign: `up`, `down` or `nearest` (halfway is up).

    Out of range is the nearest end, or else NaN; zero counts as below 2^-127. As the table of ONNX's Cast.
    """
    bits = lax.bitcast_convert_type(x.astype(jnp.float32), jnp.int32)
    exponent, fraction = (bits >> 23) & 0xFF, bits & 0x7FFFFF
    # a float32 below 2^-126 has the exponent 0 and no leading one: its 0x400000 is 2^-127
    if round_mode == "up":
        code = exponent + (fraction > jnp.where(exponent == 0, 0x400000, 0))
    elif round_mode == "nearest":
        code = exponent + (fraction >= jnp.where(exponent == 0, 0x400001, 0x400000))
    else:
        code = exponent
    is_nan = (exponent == 0xFF) & (fraction != 0)
    if saturate:
        code = jnp.minimum(code, 0xFE)
    else:
        is_nan = is_nan | (code > 0xFE) | ((exponent == 0) & (fraction < 0x400000))
    return lax.bitcast_convert_type(jnp.where(is_nan, 0xFF, code).astype(jnp.uint8), jnp.float8_e8m0fnu)


def to_narrow_float(x: Value, dtype: Any, mantissa: int, exponent: int, largest: float) -> Value:
    """To a float of 4 or 6 bits: `mantissa` bits, 2 ** `exponent` the smallest normal number.

    Rounded half to even, the largest where out of range. These types have no NaN; it becomes -0, as ml_dtypes casts it.
    """
    x = x.astype(jnp.float32)
    x = jnp.where(jnp.isnan(x), -0.0, jnp.clip(x, -largest, largest))
    step = jnp.ldexp(jnp.float32(1), jnp.maximum(jnp.frexp(x)[1] - 1, exponent) - mantissa)
    return (jnp.round(x / step) * step).astype(dtype)


@lowers("Cast")
def cast(w: Any, input: Value, *, round_mode: str = "up", saturate: int = 1, to: int) -> Value:  # noqa: A002
    """To another dtype; out of range as the tables of the specification say."""
    target = ir.DataType(to)
    if w.type_in(0) == target:
        return input
    return converted(w, input, target, saturate=bool(saturate), round_mode=round_mode)


@lowers("CastLike")
def cast_like(w: Any, input: Value, target_type: Value, *, round_mode: str = "up", saturate: int = 1) -> Value:  # noqa: A002
    """To the dtype of another value."""
    return cast(w, input, to=w.type_in(1), saturate=saturate, round_mode=round_mode)


@lowers("BitCast")
def bit_cast(w: Any, input: Value, *, to: int) -> Value:  # noqa: A002
    """The same bits as another dtype of the same width."""
    source, target = w.type_in(0), ir.DataType(to)
    if source.bitwidth != target.bitwidth:
        raise HubError(f"BitCast from {source.name} to {target.name}: {source.bitwidth} bits and {target.bitwidth}")
    dtype = np.dtype(w.dtype_of(target))
    if bool in (input.dtype, dtype):  # XLA has no bits of truth values
        return input.astype(dtype) if input.dtype == bool else input != 0
    return lax.bitcast_convert_type(input, dtype)
