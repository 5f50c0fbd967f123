"""A step as the expression that a person would write for it: operators infix, methods behind their object, slices."""

from __future__ import annotations

import builtins
import inspect
import keyword
import math
import operator
import re
import types
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from zoo.converters.writers.torch.source.layers import OURS
from zoo.converters.writers.torch.source.steps import Step
from zoo.converters.writers.torch.source.terms import Var
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
SPACES = {
    "torch": torch,
    "F": F,
    "torch.linalg": torch.linalg,
    "torch.special": torch.special,
    "torch.fft": torch.fft,
    "torch.nested": torch.nested,
    "torch.nn.utils.rnn": nn.utils.rnn,
    "math": math,
    "operator": operator,
}
SILENT: dict[str, Any] = {"keepdim": False, "dilation": 1, "groups": 1, "ceil_mode": False, "return_indices": False}
SILENT |= {"approximate": "none", "rounding_mode": None, "dtype": None, "padding": 0}
CONVOLUTIONS = {getattr(F, f"conv{kind}{n}d") for kind in ("", "_transpose") for n in (1, 2, 3)}


@cache
def _public() -> dict[int, str]:
    found = {id(f): f"F.{f.__name__}" for f in CONVOLUTIONS}
    for space, module in SPACES.items():
        for name in dir(module):
            if not name.startswith("_") and callable(made := getattr(module, name)):
                found.setdefault(id(made), f"{space}.{name}")
    return found


def public_name(function: Callable[..., Any]) -> str:
    """What a person calls the function by: torch.cat, F.gelu, math.prod; the plain name of one of ours.

    Raises HubError for a function that has no public name.
    """
    module, name = getattr(function, "__module__", "") or "", getattr(function, "__name__", "")
    if module.startswith(OURS):
        if getattr(function, "__qualname__", name) != name or name == "<lambda>":
            raise HubError(f"{module}.{function.__qualname__}: a function within another can't be written as source")
        return name
    if (known := _public().get(id(function))) is not None:
        return known
    if isinstance(function, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        return f"torch.ops.{function}"
    if getattr(builtins, name, None) is function:
        return name
    raise HubError(f"{module}.{name} has no public name in torch, and can't be written as source")


@cache
def _defaults(f: Callable[..., Any]) -> dict[str, Any]:
    """The defaults of a function's keywords; of torch's own, which have no signature, those that all of them share."""
    try:
        found = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return SILENT | ({"stride": 1} if f in CONVOLUTIONS else {})
    if any(p.kind is p.VAR_KEYWORD for p in found):
        return SILENT
    return {p.name: p.default for p in found if p.default is not p.empty} | {"_stacklevel": 3}


def is_ours(function: Any) -> bool:
    """Whether the function is one of this folder's, whose source goes into the file."""
    return isinstance(function, types.FunctionType) and function.__module__.startswith(OURS)


class Writer:
    """Writes steps; `name` gives the variable of a step or None where it stands inside another, `var` a parameter."""

    def __init__(self, module: nn.Module, name: Callable[[Step], str | None], var: Callable[[Var], str]) -> None:
        self.module, self.name, self.var = module, name, var

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
            return f"{self.access(str(step.target))}({self.arguments(step.args, step.kwargs)})", ATOM
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
        if f in CONVOLUTIONS:
            args = args[: len(args) - (args[-1] is None)]
        return f"{public_name(f)}({self.arguments(args, self._said(f, step.kwargs))})", ATOM

    def _said(self, f: Callable[..., Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The keywords that are worth saying: not what is the default."""
        defaults = _defaults(f)
        return {
            k: v for k, v in kwargs.items() if k not in defaults or (type(v), v) != (type(defaults[k]), defaults[k])
        }

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
        return plain(x)

    # ---- where modules and tensors stand

    def access(self, path: str) -> str:
        """`layers.0.norm` as `self.layers[0].norm`."""
        text, holder = "self", self.module
        for part in path.split("."):
            children = getattr(holder, "_modules", {})
            numbered = isinstance(holder, (nn.Sequential, nn.ModuleList)) or holder._get_name() == "Sequential"
            if part in children and numbered and part == str([*children].index(part)):
                text += f"[{part}]"
            elif part in children and isinstance(holder, nn.ModuleDict):
                text += f'["{part}"]'
            elif part.isidentifier() and not keyword.iskeyword(part):
                text += f".{part}"
            else:
                text = f"getattr({text}, {quoted(part)})"
            holder = children.get(part, holder)
        return text


def plain(x: Any) -> tuple[str, int]:
    """A literal without parts. Raises HubError for what has none."""
    if isinstance(x, str):
        return quoted(x), ATOM
    if isinstance(x, float) and not math.isfinite(x):
        return ("math.nan", ATOM) if math.isnan(x) else ("math.inf", ATOM) if x > 0 else ("-math.inf", 80)
    if isinstance(x, (bool, int, float, complex)) or x is None:
        return repr(x), 80 if isinstance(x, (int, float)) and x < 0 else ATOM
    if x is Ellipsis:
        return "...", ATOM
    if isinstance(x, (torch.dtype, torch.layout, torch.memory_format)):
        return str(x), ATOM
    if isinstance(x, torch.device):
        return f"torch.device({quoted(str(x))})", ATOM
    if callable(x):
        return public_name(x), ATOM
    raise HubError(f"a {type(x).__module__}.{type(x).__name__} in a forward can't be written as source")


def quoted(text: str) -> str:
    """A string in double quotes, as Python writes it."""
    body = repr(text)[1:-1]
    if repr(text)[0] == "'":
        body = body.replace("\\'", "'").replace('"', '\\"')
    return f'"{body}"'
