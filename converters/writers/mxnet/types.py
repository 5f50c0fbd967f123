"""ONNX's dtypes as MXNet holds them. It has neither int16, uint16, uint32 and uint64, nor strings and narrow floats."""

from __future__ import annotations

from typing import Any

import mxnet as mx
import numpy as np
import onnx_ir as ir

from zoo.errors import HubError

Type = ir.DataType
Array = np.ndarray[Any, np.dtype[Any]]
HELD = {
    Type.FLOAT: "float32",
    Type.DOUBLE: "float64",
    Type.FLOAT16: "float16",
    Type.INT8: "int8",
    Type.UINT8: "uint8",
    Type.INT32: "int32",
    Type.INT64: "int64",
    Type.BOOL: "bool",
}


def mxnet_dtype(dtype: ir.DataType | int) -> str:
    """MXNet's name of an ONNX dtype. Raises HubError where it has none."""
    found = HELD.get(Type(dtype))
    if found is None:
        raise HubError(f"MXNet has no dtype for ONNX's {Type(dtype).name}", hint=f"It has {', '.join(HELD.values())}.")
    return found


def to_mxnet(array: Array, ctx: Any = None) -> Any:
    """An array as MXNet's, of the same dtype. Raises HubError where MXNet has no such dtype."""
    array = np.asarray(array)
    if array.dtype.name not in HELD.values():
        raise HubError(f"MXNet has no dtype {array.dtype.name}", hint=f"It has {', '.join(HELD.values())}.")
    with mx.util.np_shape(True):
        return mx.nd.array(array, ctx=ctx or mx.cpu(), dtype=array.dtype.name)


def to_numpy(value: Any) -> Any:
    """What a model gives as numpy's; lists as they are, None as it is."""
    if isinstance(value, (list, tuple)):
        return [to_numpy(item) for item in value]
    return value if value is None or isinstance(value, np.ndarray) else value.asnumpy()
