"""safetensors files whose header lies, each the bytes and what the error says of it."""

from __future__ import annotations

import json
from typing import Any


def file(header: Any, data: bytes = bytes(24), size: int | None = None) -> bytes:
    """A safetensors file of any header, and of any statement of its size."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if size is None else size).to_bytes(8, "little") + text + data


def entry(dtype: Any = "F32", shape: Any = (2, 3), offsets: Any = (0, 24)) -> dict[str, Any]:
    """The header's entry of one tensor."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def safetensors() -> list[tuple[bytes, str]]:
    """All of them."""
    return [
        (file({"a": entry()}, size=1 << 26), "a header of 67,108,864 bytes"),
        (file({"a": entry()}, b""), "the file ends at|bytes"),
        (file(b"{" * 200_000), "no JSON"),
        (file(b'{"a": ' + b"[" * 200_000), "no JSON"),
        (file(b'{"a": \xff}'), "no JSON"),
        (file(b'{"a": 1' + b"0" * 5_000 + b"}"), "no JSON"),
        (file(b'{"a": {}, "a": {}}'), "'a' stands in it twice"),
        (file(b"{" + b"".join(b'"%d":1,' % n for n in range(99_999)) + b'"5":1}'), "'5' stands in it twice"),
        (file(b'{"a":' + b"[]," * 1_100_000 + b"}"), "lists and objects"),
        (file({"n" * 100_000: entry("F4")}), "'nnn.*\\.\\.\\.' is of dtype 'F4'"),
        (file({"a": [1]}), "no dtype, shape and data_offsets"),
        (file({"a": {"dtype": "F32"}}), "no dtype, shape and data_offsets"),
        (file({"a": entry("F4")}), "of dtype 'F4'"),
        (file({"a": entry(["F32"])}), "of dtype"),
        (file({"a": entry(shape=[-1, 3])}), "no count"),
        (file({"a": entry(shape=[2.0, 3])}), "no count"),
        (file({"a": entry(shape=[True, 3])}), "no count"),
        (file({"a": entry(shape=[1 << 62, 1 << 62, 0], offsets=[0, 0])}), "beyond reason"),
        (file({"a": entry(shape=[1 << 40, 1 << 40])}), "bytes for shape"),
        (file({"a": entry(shape=[1] * 50 + [6])}), "sizes"),
        (file({"a": entry(shape=[2, 4])}), "24 bytes for shape"),
        (file({"a": entry(offsets=[24, 0])}), "data_offsets"),
        (file({"a": entry(offsets=[0, 24, 48])}), "data_offsets"),
        (file({"a": entry(offsets=[1 << 60, (1 << 60) + 24])}), "the file ends at"),
        (file({"a": entry(), "b": entry()}), "overlaps the one before it"),
        (file({"a": entry(offsets=[4, 28])}, bytes(28)), "leaves a gap before it"),
        (file({"a": entry()}, bytes(25)), "the tensors end at"),
    ]
