"""Sources of our own modules and functions, with all that they use, so that a file needs nothing of ours.

What may be used so: classes and functions at the top of a module of a writer's folder, that use the framework, the
standard library, each other, and module constants that Python can write. Our decorators are left out.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from zoo.errors import HubError

OURS = "zoo.converters.writers."
ALLOWED = {"numpy", "__future__"} | set(sys.stdlib_module_names)


@dataclass
class Embedded:
    """The sources in the order in which they need each other, and the imports of all."""

    frameworks: frozenset[str]  # what may be imported beside numpy and the standard library
    always: frozenset[str] = frozenset()  # names that every file has
    imports: set[str] = field(default_factory=set)
    sources: dict[str, str] = field(default_factory=dict)

    def add(self, thing: type | types.FunctionType) -> str:
        """Take in a class or function of ours with all that it uses; its name."""
        name = thing.__name__
        known = self.sources.get(name)
        source = _source(thing)
        if known is not None:
            if known not in ("", source):
                raise HubError(f"two helpers are called {name!r}, and one file can't hold both")
            return name
        self.sources[name] = ""  # it may use itself
        module = sys.modules[thing.__module__]
        for used in _names(ast.parse(source)):
            if used in vars(module) and used != name and used not in self.always:
                self._use(used, vars(module)[used], thing)
        del self.sources[name]
        self.sources[name] = source
        return name

    def _use(self, name: str, value: Any, user: Any) -> None:
        if isinstance(value, types.ModuleType):
            self._import(value.__name__, name, None, user)
        elif isinstance(value, (type, types.FunctionType)) and value.__module__.startswith(OURS):
            if value.__name__ != name:
                raise HubError(f"{user.__module__}.{user.__name__} uses {value.__name__} under another name")
            self.add(value)
        elif getattr(value, "__module__", None) and hasattr(value, "__name__"):
            self._import(value.__module__, name, value.__name__, user)
        elif getattr(value, "__module__", None) in ("typing", "collections.abc"):
            self._import(value.__module__, name, name, user)
        else:
            self.sources[name] = f"{name} = {_written(value, name, user)}"

    def _import(self, module: str, name: str, member: str | None, user: Any) -> None:
        if member is None and name in self.always:
            return
        if module.partition(".")[0] not in ALLOWED | self.frameworks:
            raise HubError(f"{user.__module__}.{user.__name__} uses {module}, which a source must not depend on")
        if member is None:
            package, _, last = module.rpartition(".")
            if package and last == name:
                self.imports.add(f"from {package} import {name}")
            else:
                self.imports.add(f"import {module}" if module == name else f"import {module} as {name}")
        else:
            module = "torch" if module.startswith("torch._C") else module
            self.imports.add(f"from {module} import {member}" + ("" if member == name else f" as {name}"))


def _source(thing: type | types.FunctionType) -> str:
    """The source without decorators."""
    try:
        text = textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError) as error:
        raise HubError(f"{thing.__module__}.{thing.__name__} has no source to be written: {error}") from error
    tree = ast.parse(text).body[0]
    return "\n".join(text.splitlines()[getattr(tree, "lineno", 1) - 1 :])


def _names(tree: ast.AST) -> Iterator[str]:
    """Every name that is read, once, in order; of annotations too."""
    yield from dict.fromkeys(n.id for n in ast.walk(tree) if isinstance(n, ast.Name))


def _written(value: Any, name: str, user: Any) -> str:
    text = repr(value)
    try:
        same = ast.literal_eval(text) == value
    except (ValueError, SyntaxError):
        same = False
    if not same:
        raise HubError(f"{user.__module__}.{user.__name__} uses {name}, a {type(value).__name__} that has no literal")
    return text
