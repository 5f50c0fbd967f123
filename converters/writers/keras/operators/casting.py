"""ONNX's casts; to what Keras holds in another dtype by narrow.py."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from keras import ops

from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.dtypes import available, held
from zoo.converters.writers.keras.operators import narrow
from zoo.converters.writers.keras.operators.precision import bits, is_bool, to
from zoo.errors import HubError

Tensor = Any
Type = ir.DataType
SIGNED = {Type.UINT8: Type.INT8, Type.UINT16: Type.INT16, Type.UINT32: Type.INT32, Type.UINT64: Type.INT64}
ROUND_MODES = ("up", "down", "nearest")


def converted(x: Tensor, target: ir.DataType, *, saturate: bool = True, round_mode: str = "up") -> Tensor:
    """A tensor as one of an ONNX dtype; out of range as the tables of the specification say. Raises HubError."""
    if target in narrow.FLOATS:
        return narrow.to_float(x, target, saturate)
    if target == Type.FLOAT8E8M0:
        if round_mode not in ROUND_MODES:
            raise HubError(f"a cast to FLOAT8E8M0 with round_mode {round_mode!r}; ONNX has {', '.join(ROUND_MODES)}")
        return narrow.to_float8_e8m0(x, round_mode, saturate)
    if target in narrow.INTS:
        return ops.cast(narrow.to_int(x, target), held(target))
    return ops.not_equal(x, ops.zeros_like(x)) if target == Type.BOOL and not is_bool(x) else to(x, held(target))


@lowers("Cast")
def cast(w: Any, input: Tensor, *, round_mode: str = "up", saturate: int = 1, to: int) -> Tensor:  # noqa: A002
    """To another dtype; out of range as the tables of the specification say."""
    target = ir.DataType(to)
    if w.type_in(0) == target:
        return input
    return converted(input, target, saturate=bool(saturate), round_mode=round_mode)


@lowers("CastLike")
def cast_like(w: Any, input: Tensor, target_type: Tensor, *, round_mode: str = "up", saturate: int = 1) -> Tensor:  # noqa: A002
    """To the dtype of another value."""
    return cast(w, input, to=w.type_in(1), saturate=saturate, round_mode=round_mode)


@lowers("BitCast")
def bit_cast(w: Any, input: Tensor, *, to: int) -> Tensor:  # noqa: A002
    """The same bits as another dtype of the same width."""
    source, target = w.type_in(0), ir.DataType(to)
    if source.bitwidth != target.bitwidth:
        raise w.refused(f"from {source.name} to {target.name}: {source.bitwidth} bits and {target.bitwidth}")
    if source.bitwidth == 4 and Type.FLOAT4E2M1 in (source, target):
        code = narrow.float4_bits(input) if source == Type.FLOAT4E2M1 else input
        return narrow.float4_of_bits(code) if target == Type.FLOAT4E2M1 else narrow.to_int(code, target)
    if target in narrow.INTS:
        return narrow.to_int(input, target)
    if {source, target} & {*narrow.FLOATS, Type.FLOAT8E8M0}:
        raise w.refused(f"Keras holds {source.name} or {target.name} in float32, which has other bits")
    if Type.BOOL in (source, target):
        return ops.cast(input, "uint8") if source == Type.BOOL else ops.not_equal(input, 0)
    if source.is_integer() and target.is_integer():
        return _wrapped(input, target)
    made = bits(
        _wrapped(input, SIGNED[source]) if source in SIGNED else input, available(held(SIGNED.get(target, target)))
    )
    return _wrapped(made, target) if target in SIGNED else made


def _wrapped(x: Tensor, target: ir.DataType) -> Tensor:
    """Integers as others of as many bits; torch holds the unsigned ones of 16 and 32 bits in wider ones."""
    if target in (Type.UINT16, Type.UINT32) and available("int64") == "int64":
        x = ops.bitwise_and(to(x, "int64"), (1 << target.bitwidth) - 1)
    return to(x, held(target))
