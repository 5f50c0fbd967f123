"""A step of torch's as the expression that a person would write for it."""

from __future__ import annotations

import builtins
import inspect
import keyword
import math
import operator
import types
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from zoo.converters.writers.source import expressions
from zoo.converters.writers.source.expressions import ATOM, quoted
from zoo.converters.writers.source.steps import Step
from zoo.converters.writers.source.terms import Var
from zoo.converters.writers.torch.source.layers import OURS
from zoo.errors import HubError

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


class Writer(expressions.Writer):
    """Writes the steps of a module; `name` gives the variable of a step or None where it stands inside another."""

    def __init__(self, module: nn.Module, name: Callable[[Step], str | None], var: Callable[[Var], str]) -> None:
        super().__init__(name, var)
        self.module = module

    def public_name(self, function: Callable[..., Any]) -> str:
        """torch.cat, F.gelu, math.prod; the plain name of one of ours. Raises HubError."""
        return public_name(function)

    def given(self, step: Step) -> tuple[Sequence[Any], dict[str, Any]]:
        """What is not the default."""
        f, args, defaults = step.target, step.args, _defaults(step.target)
        if f in CONVOLUTIONS:
            args = args[: len(args) - (args[-1] is None)]
        return args, {
            k: v
            for k, v in step.kwargs.items()
            if k not in defaults or (type(v), v) != (type(defaults[k]), defaults[k])
        }

    def plain(self, x: Any) -> tuple[str, int]:
        """A literal of Python or torch."""
        return plain(x)

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
    if isinstance(x, (torch.dtype, torch.layout, torch.memory_format)):
        return str(x), ATOM
    if isinstance(x, torch.device):
        return f"torch.device({quoted(str(x))})", ATOM
    if x is not Ellipsis and callable(x):
        return public_name(x), ATOM
    return expressions.plain(x)
