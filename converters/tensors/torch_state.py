"""The weights in what a torch pickle holds: a state_dict, a training checkpoint around one, or a whole module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from zoo.converters.tensors.mapped import Tensor, quoted, tensor
from zoo.converters.tensors.pickle_values import Instance, Value
from zoo.converters.tensors.torch_globals import NumpyArray, View
from zoo.errors import Malformed, Refused

# Where training programs keep the weights inside a checkpoint, in the order in which they are looked for: Lightning,
# mmcv, timm, torchvision's references, DeiT, Swin and MAE, DeepSpeed, fairseq, BasicSR; exponential averages last.
WEIGHT_KEYS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "params",
    "params_ema",
    "state_dict_ema",
    "model_ema",
    "ema",
)
MAX_DEPTH = 100
MAX_VISITS = 300_000
MAX_NAME = 1_024
MAX_TENSORS = 100_000
HOLDERS = (View, NumpyArray, dict, list, tuple, Instance)  # what a tensor can be in, or be


def weights(path: Path, value: Value) -> dict[str, Tensor]:
    """Names to tensors, the names as `state_dict()` gives them.

    Of a dict with one of WEIGHT_KEYS that holds tensors, the first such; nested dicts and lists else join their keys by
    `.`; of a module, its parameters and persistent buffers, module by module. An optimizer's state is left out. A
    `module.` prefix stays (`unprefixed` in this package takes it off). Raises Refused when nothing holds a tensor.
    """
    walk = _Walk(path)
    chosen = walk.choose(value)
    found: dict[str, View | NumpyArray] = {}
    for name, leaf in walk.leaves(chosen, "", 0):
        if name in found and found[name] is not leaf:
            raise Malformed(path, f"torch pickle: two tensors are named {quoted(name)}")
        found[name] = leaf
        if len(found) > MAX_TENSORS:
            raise Refused(path, f"torch pickle: more than {MAX_TENSORS:,} tensors")
    if not found and chosen != {}:
        raise Refused(path, "torch pickle: it holds no tensors")
    return {name: _tensor(path, name, leaf) for name, leaf in found.items()}


def _tensor(path: Path, name: str, leaf: View | NumpyArray) -> Tensor:
    if isinstance(leaf, NumpyArray):
        data = np.frombuffer(bytearray(leaf.data or b""), np.uint8)
        strides, big = leaf.strides, leaf.is_big_endian
        return tensor(path, name, data, data.size, leaf.dtype, leaf.shape, strides=strides, is_big_endian=big)
    storage, big = leaf.storage, leaf.storage.is_big_endian
    if storage.source is None:
        raise Malformed(path, f"tensor {quoted(name)}: its storage {quoted(storage.key)} is not in the file")
    size, offset = storage.size_bytes, leaf.offset
    return tensor(
        path, name, storage.source, size, leaf.dtype, leaf.shape, strides=leaf.strides, offset=offset, is_big_endian=big
    )


class _Walk:
    """A bounded walk: a file can make a small structure that is reached along very many paths, or contains itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.visits = 0

    def visit(self, name: str, depth: int) -> None:
        self.visits += 1
        if self.visits > MAX_VISITS or depth > MAX_DEPTH or len(name) > MAX_NAME:
            raise Refused(self.path, f"torch pickle: nested without end, at {quoted(name)}")

    def choose(self, value: Value, depth: int = 0) -> Value:
        """The part of a checkpoint that is the model's."""
        self.visit("", depth)
        items = _items(value)
        if items is not None and not _is_module(value):
            for key in WEIGHT_KEYS:
                if key in items and self.has_tensors(items[key]):
                    return self.choose(items[key], depth + 1)
        return value

    def has_tensors(self, value: Value) -> bool:
        """Is it a dict or module with a tensor somewhere? A tensor itself is none: `model` may name a parameter."""
        if _items(value) is None and not _is_module(value):
            return False
        return next(self.leaves(value, "", 0), None) is not None

    def leaves(self, value: Value, name: str, depth: int) -> Iterator[tuple[str, View | NumpyArray]]:
        """Every tensor below a value with its name."""
        self.visit(name, depth)
        if isinstance(value, View) or (isinstance(value, NumpyArray) and value.data is not None):
            yield name or "tensor", value
            return
        for key, part in _module_parts(value) if _is_module(value) else _parts(value):
            if isinstance(part, HOLDERS):
                yield from self.leaves(part, f"{name}.{key}" if name else key, depth + 1)


def _items(value: Value) -> dict[Value, Value] | None:
    """A dict's items, or those of a dict's subclass; None for anything else and for an optimizer's state."""
    items = value.items if isinstance(value, Instance) else value
    if not isinstance(items, dict) or (isinstance(value, Instance) and not items):
        return None
    return None if {"state", "param_groups"} <= items.keys() else items


def _parts(value: Value) -> Iterator[tuple[str, Value]]:
    if (items := _items(value)) is not None:
        for key, part in items.items():
            if isinstance(key, bytes):
                yield key.decode("utf-8", "replace"), part
            elif isinstance(key, str | int):
                yield str(key), part
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield str(i), part


def _is_module(value: Value) -> bool:
    """A torch.nn.Module's state has these two, whatever its class."""
    return (
        isinstance(value, Instance)
        and isinstance(value.state.get("_parameters"), dict)
        and isinstance(value.state.get("_modules"), dict)
    )


def _module_parts(module: Instance) -> Iterator[tuple[str, Value]]:
    """As torch.nn.Module.state_dict goes: parameters, persistent buffers, children."""
    state = module.state
    passing = state.get("_non_persistent_buffers_set") or ()
    for group in ("_parameters", "_buffers", "_modules"):
        for key, part in (state.get(group) or {}).items():
            if part is not None and not (group == "_buffers" and key in passing):
                yield str(key), part
