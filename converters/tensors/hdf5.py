"""HDF5 through pyfive: the weights files of Keras 1 to 3, Chainer and others. Contiguous datasets are mapped.

pyfive is pure Python, so that a bad file is an exception and no crash; but it believes what a file says. So it reads
through a `_Tape` that counts, its errors become ours, and where numbers lie and how large they are is checked here.
"""

from __future__ import annotations

import io
import struct
import time
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyfive
from pyfive.core import InvalidHDF5File
from pyfive.dataobjects import DataObjects

from zoo.converters.tensors.mapped import DTYPES, Bytes, DType, MappedFile, Source, Tensor, map_file, quoted, tensor
from zoo.errors import FileError, Malformed, Refused

NAME = "hdf5"
EXTENSIONS = (".h5", ".hdf5", ".keras.h5", ".weights.h5")
SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_DEPTH = 64
MIN_LINK_BYTES = 16  # what a link takes in a file at least: more objects than this allows are one reached twice
MAX_RATIO = 1_032  # deflate's limit
MAX_SECONDS = 10.0  # of processor time in pyfive; a file of 2,000 datasets takes 1
KERAS_MODEL = "model_weights"  # the group of a whole Keras model; beside it stand optimizer_weights
CONTIGUOUS, CHUNKED = 1, 2
MAX_COMPACT_BYTES = 1 << 16  # of data that stand in an object's header, whose messages are no longer
DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
PYFIVE_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    InvalidHDF5File,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
)


def sniff(head: bytes) -> bool:
    """Does the signature stand at the beginning? (A user block before it is legal, and pyfive doesn't read it.)"""
    return head.startswith(SIGNATURE)


def read(path: Path) -> dict[str, Tensor]:
    """The datasets of numbers by their paths in the file.

    Of a whole Keras model the paths are those inside `model_weights`, so that a model and its weights file give the
    same names, and the optimizer's datasets are left out. Raises Malformed and Refused.
    """
    return read_mapped(map_file(path))


def read_mapped(file: MappedFile) -> dict[str, Tensor]:
    """The same of a file that is mapped, or stands in another one."""
    with opened(file) as root:
        group = root.get(KERAS_MODEL, root)
        return {name: _tensor(file, name, dataset) for name, dataset in _datasets(file, group)}


@contextmanager
def opened(file: MappedFile) -> Iterator[Any]:
    """Pyfive's root group of a file; what pyfive raises inside becomes Malformed."""
    if base := _base_address(file):
        raise Refused(file.path, f"HDF5 that begins at byte {base:,}, behind something else")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield pyfive.File(_Tape(file))
    except FileError:
        raise
    except PYFIVE_ERRORS as error:
        why = str(error)[:200] or type(error).__name__
        raise Malformed(file.path, f"HDF5: {why}") from error


def _base_address(file: MappedFile) -> int:
    """What every address in the file counts from (HDF5 file format 3.0, II.A): of versions 0 and 1, and 2 and 3."""
    at = 24 if file.data[8:9] < b"\2" else 12
    return int.from_bytes(file.data[at : at + 8], "little")


class Part:
    """The bytes of a file that stands in another, to parse: slices are bytes, as a whole file's mapping has them."""

    def __init__(self, data: Bytes) -> None:
        self.view = data.data

    def __len__(self) -> int:
        return len(self.view)

    @overload
    def __getitem__(self, key: int) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> bytes: ...
    def __getitem__(self, key: int | slice) -> int | bytes:
        return bytes(self.view[key]) if isinstance(key, slice) else self.view[key]


class _Tape:
    """A file for pyfive that ends what would not end: a structure that is read in circles, or read over and over."""

    closed = False

    def __init__(self, file: MappedFile) -> None:
        self.file, self.pos = file, 0
        self.left = 8 * len(file) + (1 << 20)
        self.deadline = time.process_time() + MAX_SECONDS

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        self.pos = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.pos, io.SEEK_END: len(self.file)}[whence])
        return self.pos

    def tell(self) -> int:
        """Where it stands."""
        return self.pos

    def read(self, size: int = -1) -> bytes:
        """The next bytes, fewer at the file's end."""
        end = len(self.file) if size < 0 else min(self.pos + size, len(self.file))
        data = self.file.data[self.pos : end] if self.pos < end else b""
        self.pos += len(data)
        self.spend(len(data) + 16)
        return data

    def spend(self, size_bytes: int) -> None:
        """Count what was read or will be made of it; Malformed when it is far more than the file can be worth."""
        self.left -= size_bytes
        if self.left < 0 or time.process_time() > self.deadline:
            raise Malformed(self.file.path, "HDF5: its structures refer to each other without end", offset=self.pos)


def _guard(objects: Any) -> None:
    """Have pyfive's DataObjects spend from the tape what it makes of attributes, before it is made.

    pyfive allocates as many values as an attribute states, and a copy of a text for each that points at it; it has no
    hook for this. Files that others read with pyfive in the same process are read as ever: theirs is no tape.
    """
    attribute, text = objects._attr_value, objects._vlen_size_and_data

    def counted_attribute(self: Any, ptype: Any, buffer: Any, count: int, offset: int) -> Any:
        if isinstance(self.fh, _Tape):
            self.fh.spend(8 * count)
        return attribute(self, ptype, buffer, count, offset)

    def counted_text(self: Any, buffer: Any, offset: int) -> Any:
        size, data = text(self, buffer, offset)
        if isinstance(self.fh, _Tape):
            self.fh.spend(len(data or b""))
        return size, data

    objects._attr_value, objects._vlen_size_and_data = counted_attribute, counted_text


_guard(DataObjects)


def _datasets(file: MappedFile, root: Any) -> Iterator[tuple[str, Any]]:
    """Every dataset below a group with its path; refuses groups that contain themselves."""
    pending, count = [("", root, 0)], 0
    while pending:
        prefix, group, depth = pending.pop()
        for key in group:
            name, item = f"{prefix}{key}", group[key]
            if depth >= MAX_DEPTH or (count := count + 1) > len(file) // MIN_LINK_BYTES:
                raise Refused(file.path, f"HDF5: nested without end, at {quoted(name)}")
            if isinstance(item, pyfive.Group):
                pending.append((f"{name}/", item, depth + 1))
            elif isinstance(item, pyfive.Dataset):
                yield name, item
            else:
                raise Refused(file.path, f"HDF5: {quoted(name)} is a link to nothing or a type, not a dataset")


def _tensor(file: MappedFile, name: str, dataset: Any) -> Tensor:
    dtype, is_big_endian = _dtype(file, name, dataset)
    shape, layout = dataset.shape, dataset.id.layout_class
    if shape is None or not all(type(n) is int for n in shape):
        raise Refused(file.path, f"HDF5: dataset {quoted(name)} has no shape")
    size_bytes = prod(shape) * dtype.itemsize
    source: Source
    if size_bytes == 0:
        source = file.array[:0]
    elif layout == CONTIGUOUS:
        source = file.slice(dataset.id.data_offset, size_bytes, f"HDF5: dataset {quoted(name)}")
    elif layout == CHUNKED:
        _check_chunks(file, name, dataset, size_bytes)
        source = lambda: _chunks(file, name, dataset, dtype.itemsize)  # noqa: E731 - it is handed on, not named
    elif size_bytes > MAX_COMPACT_BYTES:
        raise Malformed(file.path, f"HDF5: dataset {quoted(name)} states {size_bytes:,} bytes in its header")
    else:
        source = np.frombuffer(bytearray(np.ascontiguousarray(dataset[()]).tobytes()), np.uint8)
    return tensor(file.path, name, source, size_bytes, dtype, shape, is_big_endian=is_big_endian)


def _dtype(file: MappedFile, name: str, dataset: Any) -> tuple[DType, bool]:
    stored = dataset.dtype
    if names := pyfive.check_enum_dtype(stored):  # h5py writes booleans as an enumeration
        stored = np.dtype(bool) if set(names) == {"FALSE", "TRUE"} else stored
    tag = dataset.attrs.get("dtype")
    tag = tag.decode("latin1") if isinstance(tag, bytes) else tag
    if isinstance(tag, str) and tag in DTYPES and (stored.kind == "V" or tag == "bfloat16"):  # Keras 3's way
        if DTYPES[tag].itemsize != stored.itemsize:
            raise Malformed(file.path, f"HDF5: dataset {quoted(name)}: {stored} is no {tag}")
        return DTYPES[tag], False
    plain = stored.newbyteorder("=")
    if plain not in DTYPES.values():
        raise Refused(file.path, f"HDF5: dataset {quoted(name)} is of dtype {stored}; only numbers are read")
    return plain, stored.str.startswith(">")


def _check_chunks(file: MappedFile, name: str, dataset: Any, size_bytes: int) -> None:
    chunks, index = dataset.chunks, dataset.id.index
    if not chunks or len(chunks) != len(dataset.shape) or any(c <= 0 for c in chunks):
        raise Malformed(file.path, f"HDF5: dataset {quoted(name)} has chunks of shape {chunks}")
    if len(index) != prod(-(-n // c) for n, c in zip(dataset.shape, chunks, strict=True)):
        raise Malformed(file.path, f"HDF5: dataset {quoted(name)} has {len(index):,} chunks, not what its shape needs")
    unknown = {f["filter_id"] for f in dataset.id.filter_pipeline or ()} - {DEFLATE, SHUFFLE, FLETCHER32}
    if unknown:
        raise Refused(file.path, f"HDF5: dataset {quoted(name)} is compressed by filter {min(unknown)}")
    stored = sum(file.slice(c.byte_offset, c.size, f"HDF5: a chunk of {quoted(name)}").size for c in index.values())
    if size_bytes > stored * MAX_RATIO:
        raise Malformed(file.path, f"HDF5: dataset {quoted(name)} states {size_bytes:,} bytes out of {stored:,}")


def _chunks(file: MappedFile, name: str, dataset: Any, itemsize: int) -> Bytes:
    """A chunked dataset's bytes in row-major order."""
    shape, chunks = dataset.shape, dataset.chunks
    out = np.empty((*shape, itemsize), np.uint8)
    for corner in product(*(range(0, n, c) for n, c in zip(shape, chunks, strict=True))):
        info = dataset.id.index.get(corner)
        if info is None:
            raise Malformed(file.path, f"HDF5: dataset {quoted(name)} has no chunk at {corner}")
        packed = file.slice(info.byte_offset, info.size, f"HDF5: a chunk of {quoted(name)}")
        filters, size_bytes = dataset.id.filter_pipeline or (), prod(chunks) * itemsize
        data = _unfiltered(file, name, packed, filters, info.filter_mask, size_bytes)
        inside = tuple(slice(min(c, n - at)) for n, c, at in zip(shape, chunks, corner, strict=True))
        place = tuple(slice(at, at + c) for c, at in zip(chunks, corner, strict=True))
        out[place] = data.reshape(*chunks, itemsize)[inside]
    return out.reshape(-1)


def _unfiltered(file: MappedFile, name: str, data: Bytes, filters: Any, mask: int, size_bytes: int) -> Bytes:
    """A chunk's bytes, of which there must be `size_bytes`; filters are undone from the last to the first."""
    what = f"HDF5: a chunk of {quoted(name)}"
    for i, entry in reversed(list(enumerate(filters))):
        if mask >> i & 1:
            continue
        if entry["filter_id"] == FLETCHER32:
            if data.size < 4 or _fletcher32(data[:-4]) != tuple(n % 65535 for n in data[-4:].view("<u2")):
                raise Malformed(file.path, f"{what} has another checksum than stated")
            data = data[:-4]
        elif entry["filter_id"] == DEFLATE:
            try:  # at most the checksum of a Fletcher filter before this one more than there should be
                data = np.frombuffer(zlib.decompressobj().decompress(data.data, size_bytes + 5), np.uint8)
            except zlib.error as error:
                raise Malformed(file.path, f"{what}: {error}") from error
        else:
            width = (entry["client_data"] or (1,))[0]
            if width <= 0 or data.size % width:
                raise Malformed(file.path, f"{what} is shuffled by {width} bytes and has {data.size:,}")
            data = np.ascontiguousarray(data.reshape(width, -1).T).reshape(-1)
    if data.size != size_bytes:
        raise Malformed(file.path, f"{what} has {data.size:,} bytes and should have {size_bytes:,}")
    return data


def _fletcher32(data: Bytes) -> tuple[int, int]:
    """HDF5's checksum (H5_checksum_fletcher32), each half modulo 65535."""
    words = np.frombuffer(data.tobytes() + b"\0" * (data.size % 2), ">u2").astype(np.int64)
    weights = np.arange(words.size, 0, -1, dtype=np.int64) % 65535
    return int(words.sum() % 65535), int((words * weights).sum() % 65535)
