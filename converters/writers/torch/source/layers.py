"""A layer as the call that makes it: torch.nn's, and the modules of this folder, whose sources go into the file.

What a constructor was given is read from the layer's attributes of the same names, and the call is tried: a layer whose
attributes come out otherwise is refused by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import nn

from zoo.converters.writers.source.terms import REQUIRED, Call, Callee, Term
from zoo.errors import HubError

OURS = "zoo.converters.writers.torch."
SPREAD = {"kernel_size", "stride", "padding", "dilation", "output_padding", "output_size", "normalized_shape"}
PLACED = {"device", "dtype"}
EMPTY = Callee("torch.empty", {"shape": REQUIRED, "dtype": torch.float32}, 1)


@cache
def callee(cls: Any) -> Callee:
    """The class with the parameters of its constructor; RNN, LSTM and GRU pass theirs on to RNNBase."""
    if cls is nn.Identity or cls.__init__ is nn.Module.__init__:  # the one takes anything and keeps nothing
        return Callee(_name(cls))
    found = list(inspect.signature(cls).parameters.values())
    if any(p.kind is p.VAR_POSITIONAL for p in found) and issubclass(cls, nn.RNNBase):
        unlike = {"mode"} if cls is nn.LSTM else {"mode", "proj_size"}
        found = [p for p in inspect.signature(nn.RNNBase).parameters.values() if p.name not in unlike]
        if cls is nn.RNN:
            found.insert(3, inspect.Parameter("nonlinearity", inspect.Parameter.KEYWORD_ONLY, default="tanh"))
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in found):
        raise HubError(
            f"{cls.__module__}.{cls.__qualname__} says not what it is made from: its constructor takes *args"
        )
    parameters = {p.name: REQUIRED if p.default is p.empty else p.default for p in found if p.name != "device"}
    required = [name for name, default in parameters.items() if default is REQUIRED]
    positional = min(len(required), 3) or int(list(parameters) == ["p", "inplace"])
    return Callee(_name(cls), parameters, positional)


def _name(cls: type[nn.Module]) -> str:
    if cls.__module__.startswith(OURS):
        return cls.__name__
    if getattr(nn, cls.__name__, None) is cls:
        return f"nn.{cls.__name__}"
    raise HubError(f"a layer of the class {cls.__module__}.{cls.__qualname__} can't be written as torch source")


def constructor(layer: nn.Module, child: Callable[[nn.Module], Term]) -> Call:
    """The call that makes the layer, every argument named; `child` gives the term of a module that it was given."""
    cls: Any = type(layer)
    called = callee(cls)
    arguments: dict[str, Any] = {}
    for name, default in called.parameters.items():
        if name == "dtype":
            arguments[name] = _dtype(layer) or default
        elif name == "bias" and isinstance(getattr(layer, name, None), (torch.Tensor, type(None))):
            arguments[name] = getattr(layer, name, None) is not None
        elif hasattr(layer, name):
            arguments[name] = getattr(layer, name)
        elif default is not REQUIRED:
            arguments[name] = default
        else:
            raise HubError(f"{called.name} keeps no attribute {name!r}, which its constructor takes")
    plain = all(isinstance(v, (int, float, str, tuple, list, torch.dtype, type(None))) for v in arguments.values())
    if plain:
        arguments = _shortest(layer, arguments)
    return Call(called, tuple((name, _term(called, name, value, child)) for name, value in arguments.items()))


def _term(called: Callee, name: str, value: Any, child: Callable[[nn.Module], Term]) -> Term:
    if isinstance(value, nn.Module):
        return child(value)
    if isinstance(value, torch.Tensor):
        return Call(EMPTY, (("shape", tuple(value.shape)), ("dtype", value.dtype)))
    if isinstance(value, (list, tuple)):
        return tuple(_term(called, name, v, child) for v in value)
    if value is None or isinstance(value, (int, float, str, torch.dtype)):
        return value
    raise HubError(
        f"{called.name}: its argument {name!r} is a {type(value).__name__}, which can't be written as source"
    )


def _dtype(layer: nn.Module) -> torch.dtype | None:
    """The dtype of the layer's own tensors, where it is not torch's default."""
    held = [t for t in (*layer._parameters.values(), *layer._buffers.values()) if t is not None]
    found = {t.dtype for t in held if t.is_floating_point()} - {torch.float32}
    return found.pop() if len(found) == 1 else None


def _shortest(layer: nn.Module, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """(3, 3) as 3 where the layer is the same; raises HubError where it can't be made again at all."""
    short = {k: v[0] if k in SPREAD and _is_repeated(k, v) else v for k, v in arguments.items()}
    for attempt in (short, dict(arguments)):
        if not (differing := _differing(layer, attempt)):
            return attempt
    raise HubError(
        f"{type(layer).__name__} can't be made again from its attributes: {', '.join(differing)} would differ"
    )


def _is_repeated(name: str, value: Any) -> bool:
    is_same = isinstance(value, tuple) and len(set(value)) == 1 and isinstance(value[0], int)
    return is_same and (name != "normalized_shape" or len(value) == 1)


def _differing(layer: nn.Module, arguments: Mapping[str, Any]) -> list[str]:
    """The attributes and tensors that the call makes otherwise."""
    given = {k: v for k, v in arguments.items() if k != "dtype" or v is not None}
    with torch.device("meta"):
        made = type(layer)(**given)
    keys = {k for k in {*vars(layer), *vars(made)} if not k.startswith("_") and k != "training"}
    wrong = [k for k in sorted(keys) if repr(vars(layer).get(k)) != repr(vars(made).get(k))]
    theirs, ours = dict(made.named_parameters(recurse=False)), dict(layer.named_parameters(recurse=False))
    theirs |= dict(made.named_buffers(recurse=False))
    ours |= dict(layer.named_buffers(recurse=False))
    return wrong + [
        k for k, t in theirs.items() if k not in ours or (ours[k].shape, ours[k].dtype) != (t.shape, t.dtype)
    ]
