"""The author's module tree: where parameters, layers and containers stand in the native module."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from keyword import iskeyword
from typing import Any
from unicodedata import normalize
from urllib.parse import quote, unquote

import onnx_ir as ir
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from zoo.converters.graph import PARAMETER, TIED, modules, parameters, tied_names
from zoo.converters.writers.torch.types import to_tensor
from zoo.errors import HubError

# what needs no constructor arguments and no part of the graph
PLAIN = {f"{c.__module__}.{c.__name__}": c for c in (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.Identity)}


class Scope(nn.Module):
    """A module of the author's that holds others and has no forward of its own here; prints under its author's name."""

    def __init__(self, class_name: str) -> None:
        super().__init__()
        self.class_name = class_name

    def _get_name(self) -> str:
        return self.class_name


RESERVED = frozenset(dir(Scope("")))  # what no parameter and no module in a module can be called
MARKS = ("=", "~")


def rename_parameters(graph: ir.Graph) -> None:
    """Give parameters that torch can't hold under their names such that it can; `author_name` is the way back.

    A part of a path gets a `=` behind it where it is empty, an attribute of every module or no text that can stand in
    source, and a `~` where it is the path of another parameter too. A name that torch's author gave is none of these.
    """
    names = {key for name, value in parameters(graph).items() for key in (name, *tied_names(value))}
    inner = {".".join(parts[:n]) for name in names if (parts := name.split(".")) for n in range(1, len(parts))}

    def held(name: str) -> str:
        *path, field = name.split(".")
        return ".".join([*map(_held, path), f"{_quoted(field)}~" if name in inner else _held(field)])

    for name, value in parameters(graph).items():
        if tied_names(value):
            value.metadata_props[TIED] = json.dumps([held(tied) for tied in tied_names(value)])
        if held(name) != name:
            tensor, value.const_value = value.const_value, None  # which bears the caller's name, and keeps it
            value.name, value.const_value = held(name), tensor


def _held(part: str) -> str:
    fits = part and part not in RESERVED and not part.endswith(MARKS) and is_safe(part)
    return part if fits else f"{_quoted(part)}="


def _quoted(part: str) -> str:
    return quote(part, safe="".join(c for c in map(chr, range(32, 127)) if is_safe(c) and c != "%"))


def is_safe(name: str) -> bool:
    """Whether torch.fx, which puts a name into source as it is, writes what means this name, and nothing else."""
    plain = name.isascii() or normalize("NFKC", name) == name  # as Python reads identifiers
    return plain and name.isprintable() and not iskeyword(name) and not any(c in name for c in '"\\')


def author_name(key: str) -> str:
    """The author's name of a key of the state_dict.

    >>> author_name("block.forward=.weight~")
    'block.forward.weight'
    """
    return ".".join(unquote(part[:-1]) if part.endswith(MARKS) else part for part in key.split("."))


def plant(model: ir.Model) -> nn.Module:
    """The tree of a bound model, every parameter and buffer in its place, in the order of the author's state_dict."""
    classes = modules(model)
    root = Scope(short(classes.get("", ("", {}))[0]) or "Model")
    for path, (cls, _) in classes.items():
        if path:
            _scope(root, path, cls)
    for name, value in parameters(model.graph).items():
        if value.const_value is None:
            continue
        tensor = to_tensor(value.const_value.numpy())
        trained = value.metadata_props[PARAMETER] == "parameter" and tensor.is_floating_point()
        held = nn.Parameter(tensor) if trained else tensor
        for key in (name, *tied_names(value)):
            path, _, field = key.rpartition(".")
            owner = _scope(root, path)
            if isinstance(held, nn.Parameter):
                owner.register_parameter(field, held)
            else:
                owner.register_buffer(field, held)
    return root


def short(cls: str) -> str:
    """The class without its module."""
    return cls.rpartition(".")[2]


def _scope(root: nn.Module, path: str, cls: str = "") -> nn.Module:
    """The module at a path, made with all that lead to it where they are missing."""
    module = root
    for part in filter(None, path.split(".")):
        child = module._modules.get(part)
        if child is None and not is_safe(part):
            raise HubError(f"the module {path!r} has a name that can't be written as Python's source")
        if child is None:
            child = PLAIN[cls]() if cls in PLAIN else Scope(short(cls) or "Module")
            module.add_module(part, child)
        module = child
    return module


def place(root: nn.Module, path: str, layer: nn.Module) -> None:
    """Put a layer where a scope stood; what the scope held besides (an activation inside a norm) stays."""
    parent_path, _, name = path.rpartition(".")
    parent = root.get_submodule(parent_path)
    old = parent._modules[name]
    if old is not None:
        for child_name, child in old.named_children():
            layer.add_module(child_name, child or nn.Identity())
        for field, held in (*old._parameters.items(), *old._buffers.items()):
            (layer._parameters if isinstance(held, nn.Parameter) else layer._buffers)[field] = held  # type: ignore[assignment]
    parent._modules[name] = layer


def complete(root: nn.Module, model: ir.Model) -> None:
    """Put torch's own modules where the author has some that no node of the graph belongs to (an unused dropout)."""
    for path, (cls, arguments) in modules(model).items():
        module, name = _find(root, path), cls.rpartition(".")[2]
        if (
            isinstance(module, Scope)
            and cls.startswith("torch.nn.modules.")
            and not [*module.children(), *module.buffers()]
        ):
            known = inspect.signature(made := getattr(nn, name)).parameters
            given = {k: v for k, v in arguments.items() if k in known}
            if all(k in given for k, p in known.items() if p.default is p.empty and p.kind != p.VAR_POSITIONAL):
                place(root, path, _without_state(made, given, path))


def _without_state(cls: type[nn.Module], arguments: Mapping[str, Any], path: str) -> nn.Module:
    """A module that holds no tensors: its arguments are from a file, and may ask for any size. Raises HubError."""
    try:
        module = without_weights(cls, arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise HubError(f"the module {path!r} can't be made: {cls.__name__}(**{dict(arguments)}): {error}") from error
    if [*module.parameters(), *module.buffers()]:
        raise HubError(f"the module {path!r} is a {cls.__name__} with weights, and no node of the graph has them")
    return module


def _find(root: nn.Module, path: str) -> nn.Module | None:
    try:
        return root.get_submodule(path) if path else None
    except AttributeError:
        return None


def without_weights(cls: type[nn.Module], arguments: Mapping[str, Any]) -> nn.Module:
    """A layer whose parameters take no memory and no time, until the author's are put in."""
    with torch.device("meta"), Uninitialised():
        return cls(**arguments)


class Uninitialised(TorchFunctionMode):
    """While this is open torch.nn.init does nothing: normal_ of a tensor without memory imports torch's compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Give back the tensor as it is, where it was to be initialised."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
