"""Which of TensorFlow's messages a file begins with. Protobuf has no magic number, so the first fields have to tell.

No ONNX model begins so: the first field of a ModelProto is a number, and its second is text.
"""

from __future__ import annotations

import re

WORD = re.compile(rb"[A-Za-z0-9_.>/-]+")
FIRST_OF_INFO = (0x0A, 0x12, 0x1A, 0x22, 0x2A, 0x3A)  # fields of a MetaInfoDef that are bytes


def _length(head: bytes, at: int) -> tuple[int, int]:
    """A varint at a byte and where it ends; -1 for none."""
    value = shift = 0
    while at < len(head) and shift < 64:
        byte = head[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return -1, at


def _field(head: bytes, at: int, tag: int) -> tuple[int, int]:
    """Where the bytes of a field begin and end if it is the one of that tag; (-1, -1) if not."""
    if head[at : at + 1] != bytes([tag]):
        return -1, -1
    size, begin = _length(head, at + 1)
    return (begin, begin + size) if size >= 0 else (-1, -1)


def is_graph(head: bytes) -> bool:
    """A GraphDef: its first node, with name and operator."""
    begin, _ = _field(head, 0, 0x0A)
    if begin < 0:
        return False
    name, end = _field(head, begin, 0x0A)
    if name < 0 or not head[name:end]:
        return False
    op, stop = _field(head, end, 0x12)
    return op >= 0 and WORD.fullmatch(head[op:stop]) is not None


def is_meta_graph(head: bytes) -> bool:
    """A MetaGraphDef: what it says of itself, which begins with operators, tags or versions."""
    begin, end = _field(head, 0, 0x0A)
    if begin < 0 or is_graph(head) or begin >= len(head):
        return False
    inner, stop = _field(head, begin, head[begin])
    return head[begin] in FIRST_OF_INFO and inner >= 0 and stop <= end


def is_saved_model(head: bytes) -> bool:
    """A SavedModel: version 1, then a MetaGraphDef."""
    if head[:3] != b"\x08\x01\x12":
        return False
    size, begin = _length(head, 3)
    return size > 0 and is_meta_graph(head[begin:])
