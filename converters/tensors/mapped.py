"""Bytes of a file as tensors: one copy-on-write mapping a file, and views of it, checked before they are made."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from zoo.errors import Malformed

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Array = np.ndarray[Any, np.dtype[Any]]
DType = np.dtype[Any]
Source = Bytes | Callable[[], Bytes]  # mapped bytes, or what inflates them when they are asked for
Tensor = ir.TensorProtocol

MAX_QUOTED = 200
MAX_RANK = 32  # NumPy 1's limit; no published tensor has more than 8
MAX_DIM = 1 << 48
# A view may repeat its bytes (`expand`). One that repeats them up to more than this is an attack on memory.
MAX_REPEATED_BYTES = 64 << 20

# NumPy's and ml_dtypes' names, which are also those of the `dtype=` options of every verb.
DTYPES: dict[str, DType] = {
    name: np.dtype(getattr(ml_dtypes, name, name))
    for name in (
        *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
        *("float16", "float32", "float64", "complex64", "complex128", "bfloat16"),
        *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
    )
}
ONNX_TYPES: dict[DType, ir.DataType] = {dtype: ir.DataType.from_numpy(dtype) for dtype in DTYPES.values()}


@dataclass(frozen=True, slots=True)
class MappedFile:
    """A file's bytes twice: `data` to parse (indexing gives int, slicing gives bytes), `array` to make views of."""

    path: Path
    data: Any  # mmap, bytes, or whatever else gives bytes for a slice (hdf5.Part)
    array: Bytes

    def __len__(self) -> int:
        return len(self.data)

    def slice(self, offset: int, size_bytes: int, what: str) -> Bytes:
        """The bytes [offset, offset + size_bytes) without a copy; Malformed, naming `what`, if the file hasn't them."""
        if not 0 <= offset <= offset + size_bytes <= len(self.data):
            what = f"{what} should have {size_bytes:,} bytes, the file ends at {len(self):,}"
            raise Malformed(self.path, what, offset=max(offset, 0))
        return self.array[offset : offset + size_bytes]


def quoted(name: str) -> str:
    """A name out of a file for a message: escaped, and cut where it is longer than any honest one."""
    return repr(name if len(name) <= MAX_QUOTED else f"{name[:MAX_QUOTED]}...")


def map_file(path: Path) -> MappedFile:
    """Map a file copy-on-write: tensors over it can be trained in place, and the file never changes.

    (An in-place step over a read-only mapping kills the process.) Raises OSError when the file can't be opened.
    """
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:  # mmap refuses an empty file
            return MappedFile(path, b"", np.empty(0, np.uint8))
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return MappedFile(path, data, np.frombuffer(data, np.uint8))


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides of a shape, in elements.

    >>> contiguous((2, 3, 4))
    (12, 4, 1)
    """
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def fault(size_bytes: int, itemsize: int, shape: Sequence[int], strides: Sequence[int], offset: int) -> str | None:
    """Why these sizes, strides and offset (in elements) don't fit `size_bytes` bytes; None when they do."""
    if len(shape) > MAX_RANK or len(shape) != len(strides):
        return f"{len(shape)} sizes and {len(strides)} strides"
    if any(not 0 <= n <= MAX_DIM for n in (*shape, *strides, offset)):
        return f"a size, stride or offset beyond reason in shape {str(tuple(shape))[:120]}"
    if (numel := prod(shape)) == 0:
        # NumPy multiplies the other sizes of an empty array too.
        return None if prod(n or 1 for n in shape) <= MAX_DIM else f"shape {tuple(shape)} is beyond reason"
    end = offset + 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if end * itemsize > size_bytes:
        return f"shape {tuple(shape)} needs {end * itemsize:,} bytes of {size_bytes:,}"
    if numel * itemsize > max(size_bytes, MAX_REPEATED_BYTES):
        return f"shape {tuple(shape)} repeats {size_bytes:,} bytes to {numel * itemsize:,}"
    return None


def tensor(
    path: Path,
    name: str,
    source: Source,
    size_bytes: int,
    dtype: DType,
    shape: Sequence[int],
    *,
    strides: Sequence[int] | None = None,
    offset: int = 0,
    is_big_endian: bool = False,
) -> Tensor:
    """A tensor over `source`, which has `size_bytes` bytes; `strides` and `offset` count elements.

    Mapped bytes of this machine's byte order become a view; others are inflated or swapped each time they are asked
    for, so that they take memory only while somebody uses them. Raises Malformed when the view doesn't fit the bytes.
    """
    strides = contiguous(shape) if strides is None else strides
    if why := fault(size_bytes, dtype.itemsize, shape, strides, offset):
        raise Malformed(path, f"tensor {quoted(name)}: {why}")
    swap = is_big_endian != (sys.byteorder == "big") and dtype.itemsize > 1

    def lay(data: Bytes) -> Array:
        if 0 in shape:  # NumPy wants no view of nothing at an offset
            return np.empty(shape, dtype)
        return np.ndarray(shape, dtype, data, offset * dtype.itemsize, [s * dtype.itemsize for s in strides])

    def evaluate() -> Array:
        array = lay(source if isinstance(source, np.ndarray) else source())
        return swapped(array) if swap else array

    if isinstance(source, np.ndarray) and not swap:
        return FileTensor(name, dtype, shape, lay(source))
    return FileTensor(name, dtype, shape, evaluate)


class FileTensor(ir.LazyTensor):
    """A tensor of a file: an array that is mapped, or a function that makes it each time it is asked for.

    onnx_ir's own tensors pass `dtype=None` on to NumPy, which NumPy 1 takes for float64: `np.asarray` of one is a copy
    of another dtype. Here `np.asarray(tensor)` is the mapped array itself.
    """

    __slots__ = ("_value",)

    def __init__(self, name: str, dtype: DType, shape: Sequence[int], value: Array | Callable[[], Array]) -> None:
        super().__init__(partial(_onnx_tensor, name, value), ONNX_TYPES[dtype], ir.Shape(shape), name=name)
        self._value = value

    def numpy(self) -> Array:
        """The numbers; of mapped ones a view that may be strided, and may be written to without changing the file."""
        return self._value if isinstance(self._value, np.ndarray) else self._value()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.numpy()
        return array.astype(dtype or array.dtype) if copy or dtype not in (None, array.dtype) else array

    def tobytes(self) -> bytes:
        """The numbers in row-major order, little-endian, as ONNX stores them."""
        array = self.numpy()
        return (swapped(array) if sys.byteorder == "big" else array).tobytes()

    def __repr__(self) -> str:
        return f"FileTensor<{self.dtype},{self.shape}>(name={self.name!r})"


def _onnx_tensor(name: str, value: Array | Callable[[], Array]) -> Tensor:
    return ir.Tensor(value if isinstance(value, np.ndarray) else value(), name=name)


def swapped(array: Array) -> Array:
    """A copy with each number's bytes in the other order; of a complex number, its two parts each."""
    array = np.ascontiguousarray(array)
    width = array.itemsize // 2 if array.dtype.kind == "c" else array.itemsize
    return array.view(f"u{width}").byteswap().view(array.dtype).reshape(array.shape)
