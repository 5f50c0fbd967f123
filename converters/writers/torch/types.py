"""ONNX's dtypes as torch holds them, one element a value: one table for weights, constants, inputs and outputs.

torch 2.14 names types below 8 bits and has no kernel that copies or casts them (its float4 packs two values into one
element, which would change shapes), so a value of such a type is held in the smallest type that has every value of it.
The graph still knows what it is: casts wrap, round and saturate as that type does (narrow.py), and the Runner takes and
gives arrays of it. For strings torch has nothing at all.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import torch

from zoo.errors import HubError

Type = ir.DataType
HELD = {
    Type.FLOAT: torch.float32,
    Type.DOUBLE: torch.float64,
    Type.FLOAT16: torch.float16,
    Type.BFLOAT16: torch.bfloat16,
    Type.FLOAT8E4M3FN: torch.float8_e4m3fn,
    Type.FLOAT8E4M3FNUZ: torch.float8_e4m3fnuz,
    Type.FLOAT8E5M2: torch.float8_e5m2,
    Type.FLOAT8E5M2FNUZ: torch.float8_e5m2fnuz,
    Type.FLOAT8E8M0: torch.float8_e8m0fnu,
    Type.FLOAT6E2M3: torch.float8_e4m3fn,
    Type.FLOAT6E3M2: torch.float8_e4m3fn,
    Type.FLOAT4E2M1: torch.float8_e4m3fn,
    Type.INT64: torch.int64,
    Type.INT32: torch.int32,
    Type.INT16: torch.int16,
    Type.INT8: torch.int8,
    Type.INT4: torch.int8,
    Type.INT2: torch.int8,
    Type.UINT64: torch.uint64,
    Type.UINT32: torch.uint32,
    Type.UINT16: torch.uint16,
    Type.UINT8: torch.uint8,
    Type.UINT4: torch.uint8,
    Type.UINT2: torch.uint8,
    Type.BOOL: torch.bool,
    Type.COMPLEX64: torch.complex64,
    Type.COMPLEX128: torch.complex128,
}
# no way between numpy and torch but their bytes: torch's dtype -> (what numpy calls it, integers of the same width)
BY_BYTES = {
    torch.bfloat16: (np.dtype(ml_dtypes.bfloat16), torch.int16),
    torch.float8_e4m3fn: (np.dtype(ml_dtypes.float8_e4m3fn), torch.uint8),
    torch.float8_e4m3fnuz: (np.dtype(ml_dtypes.float8_e4m3fnuz), torch.uint8),
    torch.float8_e5m2: (np.dtype(ml_dtypes.float8_e5m2), torch.uint8),
    torch.float8_e5m2fnuz: (np.dtype(ml_dtypes.float8_e5m2fnuz), torch.uint8),
    torch.float8_e8m0fnu: (np.dtype(ml_dtypes.float8_e8m0fnu), torch.uint8),
}
NARROW = {dtype.numpy(): dtype for dtype in HELD if dtype.bitwidth < 8}


def torch_dtype(dtype: ir.DataType) -> torch.dtype:
    """The dtype that torch holds values of an ONNX dtype in. Raises HubError where it has none."""
    if dtype not in HELD:
        raise HubError(f"torch has no dtype for ONNX's {dtype.name}")
    return HELD[dtype]


def to_tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
    """The array as a tensor, over the same memory where that is writable (weights are mapped copy-on-write).

    Raises HubError for strings and objects.
    """
    if array.dtype.kind in "OSU":
        raise HubError(f"torch has no dtype for {'text' if array.dtype.kind != 'O' else 'strings and objects'}")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if (narrow := NARROW.get(array.dtype)) is not None:
        held = HELD[narrow]
        array = array.astype(BY_BYTES[held][0] if held in BY_BYTES else "int8" if narrow.is_signed() else "uint8")
    if not array.flags.writeable:  # only what we made ourselves: constants
        array = array.copy()
    for dtype, (numpy_dtype, bits) in BY_BYTES.items():
        if array.dtype == numpy_dtype:
            return torch.from_numpy(array.view(np.int16 if bits == torch.int16 else np.uint8)).view(dtype)
    return torch.from_numpy(array)


def to_array(tensor: torch.Tensor, dtype: str = "") -> np.ndarray[Any, Any]:
    """The tensor as an array, of ml_dtypes' types where numpy has none; `dtype` names the graph's, for narrow ones."""
    tensor = tensor.detach().cpu()
    if tensor.dtype in BY_BYTES:
        numpy_dtype, bits = BY_BYTES[tensor.dtype]
        array: np.ndarray[Any, Any] = tensor.contiguous().view(bits).numpy().view(numpy_dtype)
    else:
        array = tensor.resolve_conj().resolve_neg().numpy()
    return array.astype(dtype) if dtype and dtype in {d.name for d in NARROW} else array
