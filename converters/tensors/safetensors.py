"""safetensors: eight bytes with the header's size, the header (JSON), then the numbers, which are mapped as they stand.

    {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {"format": "pt"}}

The format and its limits are those of huggingface/safetensors, safetensors/src/tensor.rs.
"""

from __future__ import annotations

import json
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

from zoo.converters.tensors.mapped import DTYPES, MappedFile, Tensor, map_file, quoted, tensor
from zoo.errors import Malformed, Refused

NAME = "safetensors"
EXTENSIONS = (".safetensors",)
MAX_HEADER_BYTES = 100_000_000
MAX_BRACKETS = 1_000_000  # three a tensor; Python makes a list of 56 bytes of every two characters
TYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}


def sniff(head: bytes) -> bool:
    """A size below the format's limit, and then JSON."""
    return len(head) > 8 and int.from_bytes(head[:8], "little") <= MAX_HEADER_BYTES and head[8:9] == b"{"


def read(path: Path) -> dict[str, Tensor]:
    """The tensors by name, in the order of the header.

    Checked in file order: the header's size, its JSON, then each entry's fields, dtype, shape and size, and that the
    tensors fill the file one after the other without gap or overlap. Raises Malformed and Refused.
    """
    file = map_file(path)
    header, start = _header(file)
    spans: dict[str, tuple[int, int]] = {}
    tensors: dict[str, Tensor] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype, shape, begin, end = _entry(file, name, entry)
        if end - begin != prod(shape) * dtype.itemsize:
            raise Malformed(path, f"tensor {quoted(name)}: {end - begin:,} bytes for shape {shape} of {dtype}")
        spans[name] = begin, end
        data = file.slice(start + begin, end - begin, f"tensor {quoted(name)}")
        tensors[name] = tensor(path, name, data, end - begin, dtype, shape)
    _check_spans(file, spans, start)
    return tensors


def _header(file: MappedFile) -> tuple[dict[str, Any], int]:
    size = int.from_bytes(file.data[:8], "little")
    if len(file) < 8 or size > min(MAX_HEADER_BYTES, len(file) - 8):
        raise Malformed(file.path, f"safetensors: a header of {size:,} bytes in a file of {len(file):,}", offset=0)
    text = file.data[8 : 8 + size]
    if (brackets := text.count(b"[") + text.count(b"{")) > MAX_BRACKETS:
        raise Refused(file.path, f"safetensors: a header of {brackets:,} lists and objects", offset=8)
    try:
        header = json.loads(text.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Malformed(file.path, f"safetensors: the header is no JSON: {error}", offset=8) from error
    if not isinstance(header, dict):
        raise Malformed(file.path, "safetensors: the header is no object", offset=8)
    return header, 8 + size


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{quoted(name)} stands in it twice")
    return made


def _entry(file: MappedFile, name: str, entry: Any) -> tuple[Any, list[int], int, int]:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise Malformed(file.path, f"safetensors: tensor {quoted(name)} has no dtype, shape and data_offsets", offset=8)
    shape, offsets = entry["shape"], entry["data_offsets"]
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or any(type(n) is not int or not 0 <= n < 1 << 63 for n in numbers):
            raise Malformed(file.path, f"tensor {quoted(name)}: a size or an offset is no count", offset=8)
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise Malformed(file.path, f"tensor {quoted(name)}: data_offsets {offsets}", offset=8)
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in TYPES:
        raise Refused(file.path, f"tensor {quoted(name)} is of dtype {str(entry['dtype'])[:40]!r}", offset=8)
    return DTYPES[TYPES[entry["dtype"]]], shape, offsets[0], offsets[1]


def _check_spans(file: MappedFile, spans: dict[str, tuple[int, int]], start: int) -> None:
    at = 0
    for name, (begin, end) in sorted(spans.items(), key=lambda item: item[1]):
        if begin != at:
            what = "overlaps the one before it" if begin < at else "leaves a gap before it"
            raise Malformed(file.path, f"safetensors: tensor {quoted(name)} {what}", offset=start + begin)
        at = end
    if start + at != len(file):
        what = f"safetensors: the tensors end at {start + at:,}, the file at {len(file):,}"
        raise Malformed(file.path, what, offset=start + at)
