"""TensorFlow's dtypes by number (tensorflow/core/framework/types.proto), and its TensorProto as a tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from zoo.converters.tensors.mapped import DTYPES, MAX_DIM, MAX_RANK, DType, Tensor, quoted, tensor
from zoo.errors import Malformed, Refused

STRING, RESOURCE, VARIANT = 7, 20, 21
NUMBERS: Mapping[int, DType] = {
    number: DTYPES[name]
    for number, name in {
        1: "float32",
        2: "float64",
        3: "int32",
        4: "uint8",
        5: "int16",
        6: "int8",
        8: "complex64",
        9: "int64",
        10: "bool",
        14: "bfloat16",
        17: "uint16",
        18: "complex128",
        19: "float16",
        22: "uint32",
        23: "uint64",
    }.items()
}
# where a TensorProto keeps numbers that are no bytes
FIELDS = {
    "float32": "float",
    "float64": "double",
    "int64": "int64",
    "bool": "bool",
    "float16": "half",
    "bfloat16": "half",
    "uint32": "uint32",
    "uint64": "uint64",
    "complex64": "scomplex",
    "complex128": "dcomplex",
}
MAX_FILLED_BYTES = 64 << 20  # of a tensor that states fewer numbers than it has


def dtype_of(path: Path, number: int, what: str) -> DType:
    """A dtype by its number, references to it too. Raises Refused for text and what is no number."""
    number = number - 100 if number > 100 else number
    if number not in NUMBERS:
        name = {STRING: "text", RESOURCE: "a resource", VARIANT: "a variant"}.get(number, f"type {number}")
        raise Refused(path, f"{what} holds {name}, no numbers")
    return NUMBERS[number]


def shape_of(path: Path, shape: Mapping[str, Any], what: str) -> tuple[int, ...]:
    """A shape whose sizes are all known. Raises Malformed."""
    sizes = tuple(dim["size"] for dim in shape["dim"])
    if shape["unknown_rank"] or len(sizes) > MAX_RANK or any(not 0 <= n <= MAX_DIM for n in sizes):
        raise Malformed(path, f"{what} has the shape {str(sizes)[:80]}")
    return sizes


def tensor_of(path: Path, name: str, proto: Mapping[str, Any]) -> Tensor:
    """A TensorProto's numbers: its bytes where they lie, or its list, whose last number stands for all that follow.

    Raises Malformed, and Refused for text.
    """
    what = f"tensor {quoted(name)}"
    dtype, shape = dtype_of(path, proto["dtype"], what), shape_of(path, proto["shape"], what)
    size_bytes = prod(shape) * dtype.itemsize
    content = proto["content"]
    if len(content):
        if len(content) != size_bytes:
            raise Malformed(path, f"{what} of shape {shape} has {len(content):,} bytes")
        return tensor(path, name, np.frombuffer(content, np.uint8), size_bytes, dtype, shape)
    return tensor(path, name, _listed(path, what, proto, dtype, shape), size_bytes, dtype, shape)


def _listed(path: Path, what: str, proto: Mapping[str, Any], dtype: DType, shape: Sequence[int]) -> Any:
    numbers = proto[FIELDS.get(dtype.name, "int")]
    count = prod(shape)
    if dtype.kind == "c":
        numbers = [complex(a, b) for a, b in zip(numbers[::2], numbers[1::2], strict=False)]
    if len(numbers) > count or count * dtype.itemsize > max(MAX_FILLED_BYTES, len(numbers) * 16):
        raise Malformed(path, f"{what} of shape {tuple(shape)} has {len(numbers):,} numbers")
    try:
        if dtype.name in ("float16", "bfloat16"):
            array = np.array(numbers, np.uint16).view(dtype)
        else:
            array = np.array(numbers, dtype)
    except (OverflowError, ValueError) as error:
        raise Malformed(path, f"{what}: {error}") from error
    full = np.zeros(count, dtype)
    full[: array.size] = array
    if 0 < array.size < count:
        full[array.size :] = array[-1]
    return full.view(np.uint8)
