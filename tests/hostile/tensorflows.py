"""TensorFlow files that lie: protocol buffers and tables built byte by byte, each with what its error has to say."""

from __future__ import annotations


def varint(value: int) -> bytes:
    """A number as protobuf has it."""
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def text(number: int, data: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def number(field: int, value: int) -> bytes:
    """A field of a number."""
    return varint(field << 3) + varint(value)


def node(name: str, op: str, *inputs: str, **attributes: bytes) -> bytes:
    """A NodeDef in its GraphDef."""
    body = text(1, name.encode()) + text(2, op.encode()) + b"".join(text(3, i.encode()) for i in inputs)
    for key, value in attributes.items():
        body += text(5, text(1, key.encode()) + text(2, value))
    return text(1, body)


def shape(*sizes: int) -> bytes:
    """A TensorShapeProto."""
    return b"".join(text(2, number(1, size)) for size in sizes)


PLACEHOLDER = node("x", "Placeholder", dtype=number(6, 1), shape=text(7, shape(2, 3)))


def graph(*nodes: bytes) -> bytes:
    """A GraphDef that begins with an input."""
    return PLACEHOLDER + b"".join(nodes)


def constant(dtype: int, sizes: bytes, content: bytes = b"") -> bytes:
    """A Const node's tensor."""
    tensor = number(1, dtype) + text(2, sizes) + (text(4, content) if content else b"")
    return node("c", "Const", dtype=number(6, dtype), value=text(8, tensor))


def every() -> list[tuple[str, bytes, str]]:
    """Name, bytes, and what the error says."""
    return [
        ("a huge constant", graph(constant(1, shape(1 << 40)), node("y", "Add", "x", "c")), "numbers"),
        ("a constant too short", graph(constant(1, shape(4), b"123"), node("y", "Add", "x", "c")), "bytes"),
        ("a loop", graph(node("a", "Relu", "b"), node("b", "Relu", "a"), node("y", "Add", "x", "a")), "TensorFlow"),
        ("two of one name", graph(node("y", "Relu", "x"), node("y", "Relu", "x")), "two nodes"),
        ("a hash table", graph(node("y", "LookupTableFindV2", "x")), "LookupTableFindV2"),
        ("code", graph(node("y", "PyFunc", "x")), "PyFunc"),
        ("an unknown input", graph(node("y", "Add", "x", "nothing")), "nothing"),
        ("empty messages", PLACEHOLDER + b"\x0a\x00" * 400_000, "without end"),
        ("a field beyond its message", PLACEHOLDER + b"\x0a\xff\xff\x7f", "beyond"),
        ("a number without an end", PLACEHOLDER + b"\xff" * 12, "without an end"),
    ]
