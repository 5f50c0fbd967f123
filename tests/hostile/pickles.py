"""Pickle streams that a state_dict reader must refuse: each a name, the bytes, and what the error says of it."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator


def call(module: str, name: str, argument: bytes = b"X\x02\x00\x00\x00id", protocol: int = 2) -> bytes:
    """A pickle that calls module.name(argument)."""
    return b"\x80" + bytes([protocol]) + f"c{module}\n{name}\n".encode() + argument + b"\x85R."


class Reduced:
    """What pickle.dumps turns into the call that it is given."""

    def __init__(self, function: object, *args: object) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call  # type: ignore[return-value]


def callers() -> Iterator[tuple[str, bytes, str]]:
    """Every way that a stream has to call something."""
    for module, name in (
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("__builtin__", "eval"),
        ("builtins", "__import__"),
        ("builtins", "open"),
        ("runpy", "run_path"),
        ("webbrowser", "open"),
        ("importlib", "import_module"),
        ("shutil", "rmtree"),
        ("socket", "create_connection"),
        ("ctypes", "CDLL"),
        ("operator", "attrgetter"),
        ("pickle", "loads"),
        ("sys", "exit"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch.jit", "load"),
        ("torch.utils.collect_env", "run"),
        ("numpy", "load"),
        ("numpy.testing._private.utils", "runstring"),
        ("some.package", "function"),
    ):
        yield f"reduce {module}.{name}", call(module, name), rf"'{module}.{name}'.*not part of a state_dict.*at byte"
    yield "reduce a dotted name", b"\x80\x04\x8c\x08builtins\x8c\x0cgetattr.__se\x93)R.", "not part of a state_dict"
    yield (
        "stack global",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.",
        r"'os.system'.*not part of a state_dict",
    )
    yield "inst", b"(X\x02\x00\x00\x00idios\nsystem\n.", r"'os.system'.*not part of a state_dict"
    yield "obj", b"(cos\nsystem\nX\x02\x00\x00\x00ido.", r"'os.system'.*not part of a state_dict"
    yield "obj of a foreign class", b"(csome.package\nThing\nX\x02\x00\x00\x00ido.", r"'some.package.Thing' is called"
    yield "new object of it", b"\x80\x02cos\nsystem\n)\x81.", r"'os.system'.*not part of a state_dict"
    yield "a name alone", b"\x80\x02cos\nsystem\n.", r"'os.system'.*not part of a state_dict"
    yield "a value that is called", b"\x80\x02cbuiltins\ngetattr\n)R)R.", "is called"
    yield "a string that is called", b"\x80\x02X\x02\x00\x00\x00id)R.", "'str' is called"
    yield (
        "hidden in the arguments of a good call",
        pickle.dumps({"w": Reduced(bytearray, Reduced(__import__, "os"))}, 2),
        "__import__",
    )
    yield "build with a foreign setstate", b"\x80\x02csome.package\nThing\n)R}b.", r"'some.package.Thing' is called"
    yield "extension code", b"\x80\x02\x82\x01.", "extension code"
    yield "out-of-band buffer", b"\x80\x05\x97.", "out-of-band"
    yield "a persistent id of nothing", b"\x80\x02X\x01\x00\x00\x00aQ.", "persistent id"
    yield "a sparse tensor", call("torch._utils", "_rebuild_sparse_tensor"), "_rebuild_sparse_tensor' is called"
    yield "a quantized tensor", call("torch._utils", "_rebuild_qtensor"), "_rebuild_qtensor' is called"


def bombs() -> Iterator[tuple[str, bytes, str]]:
    """Small streams that ask for much: memory, time, or a deep stack."""
    yield "8 EiB of bytes", b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62), "bytes are announced"
    yield "4 GiB of text", b"\x80\x02X" + struct.pack("<I", 0xFFFFFFFF), "bytes are announced"
    yield "a frame beyond the file", b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.", "a frame of"
    yield "a huge number", b"\x80\x02\x8b" + struct.pack("<i", 100_000) + b"\x01" * 100_000 + b".", "a number of"
    yield "a negative length", b"\x80\x02\x8b" + struct.pack("<i", -1) + b".", "announced"
    yield "a number of many digits", b"L" + b"9" * 100_000 + b"L\n.", "a number of"
    yield "lists in lists", b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".", "no tensors|nested without end"
    yield "tuples in tuples as a key", b"\x80\x02})" + b"\x85" * 500_000 + b"Ns.", "a key of type tuple"
    yield "tuples in tuples in a set", b"\x80\x04\x8f()" + b"\x85" * 500_000 + b"\x90.", "a key of type tuple"
    yield "a million sets", b"\x80\x04" + b"\x8f" * 1_000_000 + b".", "objects"
    yield "millions of instructions", b"\x80\x02" + b"N0" * 2_500_000 + b".", "instructions"
    yield "a million memo entries", b"\x80\x04N" + b"\x94" * 1_100_000 + b".", "remembered"
    yield "marks without end", b"\x80\x02" + b"(" * 1_000_000, "inside each other"
    yield (
        "numbers that hash alike",
        b"\x80\x02}("
        + b"".join(b"\x8a\x10" + (n * ((1 << 61) - 1)).to_bytes(16, "little") + b"N" for n in range(1, 50_000))
        + b"u.",
        "a key of type int",
    )
    doubling = b"\x80\x02]q\x00" + b"".join(
        b"]q" + bytes([i + 1]) + b"(" + (b"h" + bytes([i])) * 10 + b"e" for i in range(60)
    )
    yield "a list of ten lists of ten lists", doubling + b".", "nested without end|no tensors"
    yield "a dict that contains itself", b"\x80\x02}q\x00X\x05\x00\x00\x00modelh\x00s.", "nested without end|no tensors"
    parts = b"X\x0b\x00\x00\x00_parameters}X\x08\x00\x00\x00_modules}X\x01\x00\x00\x00ah\x00s"
    module = b"\x80\x02csome\nNet\nq\x01)\x81q\x00}(" + parts + b"ub."
    yield "a module that contains itself", module, "nested without end"


def broken() -> Iterator[tuple[str, bytes, str]]:
    """Streams that are no pickles."""
    yield "nothing on the stack", b"\x80\x02.", "finds nothing"
    yield "a pop of nothing", b"\x80\x020.", "finds nothing|ends inside"
    yield "a mark that is not there", b"\x80\x02t.", "finds nothing|ends inside"
    yield "an unknown instruction", b"\x80\x02\xff.", "no instruction"
    yield "protocol 6", b"\x80\x06N.", "protocol 6"
    yield "a memo entry that is not there", b"\x80\x02h\x07.", "never remembered"
    yield "a dict of an odd count", b"\x80\x02}(K\x01u.", "no dict"
    yield "an item of no dict", b"\x80\x02]K\x01K\x02s.", "no dict"
    yield "text that is none", b"\x80\x02X\x01\x00\x00\x00\xff.", "utf-8"
    yield "a line without end", b"cos", "no end"
    yield "a string without quotes", b"Sabc\n.", "quotes"
    yield "a dict as a key", b"\x80\x02}}Ns.", "a key of type dict"
    yield "an end in the middle", b"\x80\x02}q\x00(X\x01\x00\x00\x00aK", "ends inside"


def every() -> list[tuple[str, bytes, str]]:
    """All of the above."""
    return [*callers(), *bombs(), *broken()]
