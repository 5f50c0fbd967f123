"""TorchScript's source, which is a part of Python's grammar: parsed by Python's own parser, never compiled or run."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from zoo.converters.readers.scribe import Fault

MANGLED = "___torch_mangle_"
TOKEN = re.compile(r"\w+|[^\w\s]")
MAX_TOKENS = 400_000  # of all files that are asked for: a syntax tree takes 300 to 500 bytes for each


class Library:
    """Classes and functions by their qualified names; a file is parsed when something of it is asked for."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.sources, self.size_bytes = sources, sum(map(len, sources.values()))
        self.tokens = 0
        self.parsed: dict[str, dict[str, ast.stmt]] = {}

    def module(self, name: str) -> dict[str, ast.stmt]:
        """The definitions of one file. Raises Fault."""
        if name not in self.parsed:
            if name not in self.sources:
                raise Fault(f"the code has no {name[:120]!r}")
            self.tokens += sum(1 for _ in TOKEN.finditer(self.sources[name]))
            if self.tokens > MAX_TOKENS:
                raise Fault(f"code of more than {MAX_TOKENS:,} words and signs", is_refusal=True)
            try:
                tree = ast.parse(self.sources[name])
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                raise Fault(f"{name[:120]}: no code: {str(error)[:120]}") from error
            self.parsed[name] = {
                node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)
            }
        return self.parsed[name]

    def find(self, qualified: str) -> ast.stmt:
        """`__torch__.torch.nn.functional.relu`: a function or a class. Raises Fault."""
        module, _, name = qualified.rpartition(".")
        found = self.module(module).get(name)
        if found is None:
            raise Fault(f"the code has no {qualified[:120]!r}")
        return found

    def class_(self, qualified: str) -> ast.ClassDef:
        """A class by its name. Raises Fault."""
        found = self.find(qualified)
        if not isinstance(found, ast.ClassDef):
            raise Fault(f"{qualified[:120]!r} is no class")
        return found


def method(cls: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    """A method of a class."""
    return next((node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == name), None)


def bases(cls: ast.ClassDef) -> set[str]:
    """The names of what a class is derived from."""
    return {base.id for base in cls.bases if isinstance(base, ast.Name)}


def fields(cls: ast.ClassDef) -> list[str]:
    """The annotated names of a class, in order."""
    return [
        node.target.id for node in cls.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]


def constant(cls: ast.ClassDef, name: str) -> ast.expr | None:
    """What a class gives a name: `padding_idx : Final[int] = 0`, `__parameters__ = ["weight", ]`."""
    for node in cls.body:
        targets = (
            [node.target] if isinstance(node, ast.AnnAssign) else node.targets if isinstance(node, ast.Assign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            assert isinstance(node, ast.AnnAssign | ast.Assign)
            return node.value
    return None


def names_in(cls: ast.ClassDef, field: str) -> list[str]:
    """The strings of a list such as `__parameters__`."""
    value = constant(cls, field)
    elements = value.elts if isinstance(value, ast.List) else []
    return [e.value for e in elements if isinstance(e, ast.Constant) and isinstance(e.value, str)]


def assigned(statements: list[ast.stmt]) -> list[str]:
    """The names that statements give values, in order."""
    found: dict[str, None] = {}
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found[node.id] = None
    return list(found)


def author_class(qualified: str) -> str:
    """`__torch__.torch.nn.modules.linear.___torch_mangle_3.Linear` as torch itself calls it."""
    parts = qualified.removeprefix("__torch__.").split(".")
    return ".".join(part for part in parts if not part.startswith(MANGLED))
