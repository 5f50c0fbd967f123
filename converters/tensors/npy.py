"""NumPy's .npy: a magic string, a header that is a Python literal, then the numbers, which are mapped as they stand.

The format is numpy/lib/format.py's, whose own parser reads the header; arrays of objects are pickles, and refused.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from zoo.converters.tensors.mapped import (
    DTYPES,
    DType,
    MappedFile,
    Source,
    Tensor,
    contiguous,
    map_file,
    quoted,
    tensor,
)
from zoo.errors import Malformed, Refused

numpy_format: Any = np.lib.format  # has no types before NumPy 2
PARSERS = {(1, 0): numpy_format.read_array_header_1_0, (2, 0): numpy_format.read_array_header_2_0}

NAME = "npy"
EXTENSIONS = (".npy",)
MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 10_000  # numpy's own limit
PREAMBLE_BYTES = 12  # magic, version, and the header's size in version 2


def sniff(head: bytes) -> bool:
    """Does it begin with the magic string?"""
    return head.startswith(MAGIC)


def read(path: Path) -> dict[str, Tensor]:
    """The array, under the file's name without its ending. Raises Malformed and Refused."""
    file = map_file(path)
    return {path.stem: array(file, path.stem, file.array, len(file), file.data[: PREAMBLE_BYTES + MAX_HEADER_BYTES])}


def array(file: MappedFile, name: str, source: Source, size_bytes: int, head: bytes) -> Tensor:
    """The tensor of one .npy that has `size_bytes` bytes and begins with `head`."""
    dtype, shape, is_fortran, begin = _header(file, name, head)
    plain = dtype.newbyteorder("=")
    if plain not in DTYPES.values():
        raise Refused(file.path, f"array {quoted(name)} is of dtype {dtype.str}; only numbers are read")
    if size_bytes - begin != int(np.prod(shape, dtype=object)) * plain.itemsize:
        raise Malformed(file.path, f"array {quoted(name)}: {size_bytes - begin:,} bytes for shape {shape} of {dtype}")
    numbers: Source = source[begin:] if isinstance(source, np.ndarray) else lambda: source()[begin:]
    strides = contiguous(shape[::-1])[::-1] if is_fortran else contiguous(shape)
    big = dtype.str.startswith(">")
    return tensor(file.path, name, numbers, size_bytes - begin, plain, shape, strides=strides, is_big_endian=big)


def _header(file: MappedFile, name: str, head: bytes) -> tuple[DType, tuple[int, ...], bool, int]:
    stream = io.BytesIO(head)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote, which are read well
            version = numpy_format.read_magic(stream)
            if version not in PARSERS:
                raise Refused(file.path, f"array {quoted(name)}: .npy version {version}, which is for named fields")
            shape, is_fortran, dtype = PARSERS[version](stream, max_header_size=MAX_HEADER_BYTES)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError, OverflowError, TokenError) as error:
        raise Malformed(file.path, f"array {quoted(name)}: {str(error)[:200]}") from error
    if any(type(n) is not int or n < 0 for n in shape):
        raise Malformed(file.path, f"array {quoted(name)}: shape {str(shape)[:80]}")
    return dtype, shape, is_fortran, stream.tell()
