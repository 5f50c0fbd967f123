"""A step as the expression that a person would write for it: operators infix, methods behind their object, slices.

What a framework calls its functions by, and where modules and tensors stand, is said by a subclass of Writer.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from zoo.converters.writers.source.steps import Name, Step
from zoo.converters.writers.source.terms import Var
from zoo.errors import HubError

ATOM = 100
INFIX: dict[Callable[..., Any], tuple[str, int]] = {
    operator.or_: ("|", 40),
    operator.xor: ("^", 45),
    operator.and_: ("&", 50),
    operator.lshift: ("<<", 55),
    operator.rshift: (">>", 55),
    operator.add: ("+", 60),
    operator.sub: ("-", 60),
    operator.mul: ("*", 70),
    operator.matmul: ("@", 70),
    operator.truediv: ("/", 70),
    operator.floordiv: ("//", 70),
    operator.mod: ("%", 70),
    **{f: (s, 30) for f, s in zip((operator.eq, operator.ne, operator.lt), ("==", "!=", "<"), strict=True)},
    **{f: (s, 30) for f, s in zip((operator.le, operator.gt, operator.ge), ("<=", ">", ">="), strict=True)},
}
INFIX |= {
    getattr(operator, f"i{f.__name__.strip('_')}"): v
    for f, v in INFIX.items()
    if hasattr(operator, f"i{f.__name__.strip('_')}")
}
INFIX[operator.pow] = ("**", 90)
PREFIX = {operator.neg: "-", operator.pos: "+", operator.invert: "~", operator.inv: "~"}


class Writer:
    """Writes steps; `name` gives the variable of a step or None where it stands inside another, `var` a parameter."""

    def __init__(self, name: Callable[[Step], str | None], var: Callable[[Var], str]) -> None:
        self.name, self.var = name, var

    # ---- what a framework says

    def access(self, path: str) -> str:
        """How a forward reads the module or tensor that stands at a path."""
        raise NotImplementedError

    def called(self, step: Step) -> str:
        """The call of a module."""
        return f"{self.access(str(step.target))}({self.arguments(step.args, step.kwargs)})"

    def public_name(self, function: Any) -> str:
        """What a person calls a function by. Raises HubError for one without a public name."""
        raise NotImplementedError

    def given(self, step: Step) -> tuple[Sequence[Any], dict[str, Any]]:
        """The arguments of a function that are worth saying."""
        return step.args, step.kwargs

    def plain(self, x: Any) -> tuple[str, int]:
        """A literal without parts, and how strongly it binds. Raises HubError for what has none."""
        return plain(x)

    # ---- what all write alike

    def text(self, x: Any, least: int = 0) -> str:
        """A step or literal, in brackets where it binds less than `least`."""
        if isinstance(x, Step) and (name := self.name(x)) is not None:
            return name
        text, strength = self.step(x) if isinstance(x, Step) else self.literal(x)
        return f"({text})" if strength < least else text

    def step(self, step: Step) -> tuple[str, int]:
        """The expression of a step, and how strongly it binds."""
        if step.op == "get_attr":
            return self.access(str(step.target)), ATOM
        if step.op == "call_module":
            return self.called(step), ATOM
        if step.op == "call_method":
            receiver = self.text(step.args[0], ATOM)
            return f"{receiver}.{step.target}({self.arguments(step.args[1:], step.kwargs)})", ATOM
        return self._function(step)

    def _function(self, step: Step) -> tuple[str, int]:
        f, args = step.target, step.args
        if f is operator.getitem:
            return f"{self.text(args[0], ATOM)}[{self._index(args[1])}]", ATOM
        if f is getattr and len(args) == 2 and str(args[1]).isidentifier():
            return f"{self.text(args[0], ATOM)}.{args[1]}", ATOM
        if f in INFIX and len(args) == 2 and not step.kwargs:
            sign, strength = INFIX[f]
            return (
                f"{self.text(args[0], strength + (strength in (30, 90)))} {sign} {self.text(args[1], strength + 1)}",
                strength,
            )
        if f in PREFIX and len(args) == 1:
            return f"{PREFIX[f]}{self.text(args[0], 80)}", 80
        return f"{self.public_name(f)}({self.arguments(*self.given(step))})", ATOM

    def arguments(self, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
        """What stands between the brackets of a call."""
        return ", ".join([*(self.text(a) for a in args), *(f"{k}={self.text(v)}" for k, v in kwargs.items())])

    def _index(self, x: Any) -> str:
        if isinstance(x, tuple) and x:
            return ", ".join(map(self._index, x)) + ("," if len(x) == 1 and not isinstance(x[0], (slice, Step)) else "")
        if isinstance(x, slice):
            parts = ["" if p is None else self.text(p) for p in (x.start, x.stop, x.step)]
            parts = parts if x.step is not None else parts[:2]
            if all(re.fullmatch(r"-?\w*", p) for p in parts):
                return ":".join(parts)
            return re.sub(r"(?<=:) +(?=:)|^ +| +$", "", " : ".join(parts))
        return "..." if x is Ellipsis else self.text(x)

    def literal(self, x: Any) -> tuple[str, int]:
        """A literal of Python or torch, and nested ones."""
        if isinstance(x, Var):
            text = self.var(x)
            return text, ATOM if text.replace(".", "_").isidentifier() else 65
        if isinstance(x, list):
            return f"[{', '.join(map(self.text, x))}]", ATOM
        if isinstance(x, tuple):
            return f"({', '.join(map(self.text, x))}{',' * (len(x) == 1)})", ATOM
        if isinstance(x, dict):
            return "{" + ", ".join(
                f"{k!r}: {self.text(v)}".replace("'", '"') if isinstance(k, str) else "" for k, v in x.items()
            ) + "}", ATOM
        if isinstance(x, slice):
            return f"slice({', '.join(self.text(p) for p in (x.start, x.stop, x.step))})", ATOM
        return self.plain(x)


def plain(x: Any) -> tuple[str, int]:
    """A literal without parts. Raises HubError for what has none."""
    if isinstance(x, str):
        return quoted(x), ATOM
    if isinstance(x, float) and not math.isfinite(x):
        return ("math.nan", ATOM) if math.isnan(x) else ("math.inf", ATOM) if x > 0 else ("-math.inf", 80)
    if isinstance(x, (bool, int, float, complex)) or x is None:
        return repr(x).replace("e-0", "e-"), 80 if isinstance(x, (int, float)) and x < 0 else ATOM
    if isinstance(x, Name):
        return x.text, ATOM
    if x is Ellipsis:
        return "...", ATOM
    raise HubError(f"a {type(x).__module__}.{type(x).__name__} in a forward can't be written as source")


def quoted(text: str) -> str:
    """A string in double quotes, as Python writes it."""
    body = repr(text)[1:-1]
    if repr(text)[0] == "'":
        body = body.replace("\\'", "'").replace('"', '\\"')
    return f'"{body}"'
