"""TorchScript that attacks its reader: each a name, the body of `forward(self, x)`, and what the error says of it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile import archives

MODULE = b"\x80\x02c__torch__\nM\n)\x81}(X\x08\x00\x00\x00training\x89ub."  # an object of class M with one attribute


def archive(code: str, pickle: bytes = MODULE, **members: bytes) -> bytes:
    """An archive of torch.jit.save's form around a source file."""
    inside = {"m/data.pkl": pickle, "m/constants.pkl": b"\x80\x02)."}
    return archives.zipped(inside | {"m/code/__torch__.py": code.encode()} | members)


def program(*lines: str) -> str:
    """A class M whose forward has these lines."""
    body = "".join(f"    {line}\n" for line in lines)
    return f"class M(Module):\n  def forward(self, x: Tensor) -> Tensor:\n{body}"


def every() -> Iterator[tuple[str, bytes, str]]:
    """All of them."""
    for call in ("open('x')", "eval('1')", "exec('1')", "__import__('os')", "os.system('id')", "ops.evil.run(x)"):
        yield call, archive(program(f"return {call}")), "which is not known"
    yield "an operator", archive(program("return torch.load(x)")), "aten::load is not known"
    yield "a loop without end", archive(program("while True:", "  pass", "return x")), "steps"
    yield "a call without end", archive(program("return (self).forward(x)")), "without end"
    yield "a number without end", archive(program("n = 3", *["n = torch.mul(n, n)"] * 99, "return x")), "without end"
    yield "a list without end", archive(program("n = [x]", *["n = torch.add(n, n)"] * 99, "return x")), "without end"
    yield "a text without end", archive(program("n = 'ab'", *["n = torch.add(n, n)"] * 99, "return x")), "without end"
    yield "a range without end", archive(program("return torch.arange(99999999999)")), "a range"
    yield "a diagonal", archive(program("return torch.eye(99999999)")), "a diagonal"
    nodes = ["for i in range(999999):", "  x = torch.add(x, x)", "return x"]
    yield "nodes without end", archive(program(*nodes)), "operators|steps"
    yield "parentheses", archive(program(f"return {'(' * 5000}x{')' * 5000}")), "no code"
    yield "minus signs", archive(program(f"return {'-' * 90000}x")), "no code|makes no sense"
    yield "a large tuple", archive(program(f"return ({'0,' * 900_000})")), "words and signs"
    yield "no Python", archive("class M(Module:\n"), "no code"
    yield "a NUL", archive("class M:\0"), "no code"
    for line in ("lambda: 1", "[i for i in x]", "x.__class__", "f'{x}'", "x := 1", "await x", "x < 1"):
        yield line, archive(program(f"y = ({line})", "return x")), "TorchScript"
    for line in (
        "import os\n    return os.system('id')",
        "try:\n      pass\n    except Exception:\n      pass",
        "with x:\n      pass",
    ):
        yield line, archive(program(line)), "not known|doesn't have"
    yield "a method that is missing", archive("class M(Module):\n  pass\n"), "has no 'forward'"
    yield "a class that is missing", archive("x = 1\n"), "the code has no"
    yield "a pickle that calls", archive(program("return x"), b"cos\nsystem\n(X\x02\x00\x00\x00idtR."), "'os.system'"
    yield "a storage that is missing", archive(program("return CONSTANTS.c0")), "makes no sense|out of range"
    yield "a path out", archives.zipped({"m/data.pkl": MODULE, "m/code/../x.py": b""}), "leaves its archive"
