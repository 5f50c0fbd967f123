"""ONNX's dtypes as Keras holds them, one element a value.

What no backend of Keras computes with is held in the smallest dtype that has every value of it: the narrow integers in
int8 and uint8, the narrow floats in float32. The graph still knows what it is: casts wrap, round and saturate as that
type does (operators/narrow.py), and the Runner takes and gives arrays of it. Strings are refused by name.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import onnx_ir as ir

from zoo.errors import HubError

Type = ir.DataType
HELD = {
    Type.FLOAT: "float32",
    Type.DOUBLE: "float64",
    Type.FLOAT16: "float16",
    Type.BFLOAT16: "bfloat16",
    Type.FLOAT8E4M3FN: "float32",
    Type.FLOAT8E4M3FNUZ: "float32",
    Type.FLOAT8E5M2: "float32",
    Type.FLOAT8E5M2FNUZ: "float32",
    Type.FLOAT8E8M0: "float32",
    Type.FLOAT6E2M3: "float32",
    Type.FLOAT6E3M2: "float32",
    Type.FLOAT4E2M1: "float32",
    Type.INT64: "int64",
    Type.INT32: "int32",
    Type.INT16: "int16",
    Type.INT8: "int8",
    Type.INT4: "int8",
    Type.INT2: "int8",
    Type.UINT64: "uint64",
    Type.UINT32: "uint32",
    Type.UINT16: "uint16",
    Type.UINT8: "uint8",
    Type.UINT4: "uint8",
    Type.UINT2: "uint8",
    Type.BOOL: "bool",
    Type.COMPLEX64: "complex64",
    Type.COMPLEX128: "complex128",
}
HALF = ("float16", "bfloat16")
FLOATS = ("float16", "bfloat16", "float32", "float64")
IN_32_BITS = {"int64": "int32", "uint64": "uint32", "float64": "float32", "complex128": "complex64"}


def held(dtype: ir.DataType) -> str:
    """The dtype that Keras holds values of an ONNX dtype in. Raises HubError where there is none."""
    if dtype not in HELD:
        raise HubError(f"Keras has no dtype for ONNX's {dtype.name}")
    return HELD[dtype]


def available(dtype: str) -> str:
    """The dtype that the backend makes of this one: JAX has no 64 bits unless jax_enable_x64 is set."""
    if dtype not in IN_32_BITS or keras.backend.backend() != "jax":
        return dtype
    import jax

    return dtype if jax.config.read("jax_enable_x64") else IN_32_BITS[dtype]


def held_array(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array of any of ONNX's dtypes in the dtype that it is held in; the same array where that is its own.

    Raises HubError for strings and objects.
    """
    if array.dtype.kind in "OSU":
        raise HubError("Keras has no tensors of strings and objects")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    wanted = held(ir.DataType.from_numpy(array.dtype))
    return array if array.dtype.name == wanted else array.astype(numpy_dtype(wanted))


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """The dtype of numpy, or of ml_dtypes, of a name of Keras'."""
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, dtype, dtype))
