"""A native module as instances of classes: each of the author's modules with its fields as terms, its forward as steps.

Torch's layers and plain containers are terms in the module around them, and no instances.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import fx, nn

from zoo.converters.writers.source.naming import camel, is_generic, unique
from zoo.converters.writers.source.steps import (
    Alignment,
    Step,
    chained,
    drop_unread,
    fold_loops,
    mapped,
    mark_numbers,
    sink_sizes,
)
from zoo.converters.writers.source.terms import ABSENT, REQUIRED, Call, Callee, Constant, Items, Term
from zoo.converters.writers.source.tree import Instance, generations
from zoo.converters.writers.torch.source.constants import expression
from zoo.converters.writers.torch.source.layers import OURS, constructor

PARAMETER = Callee("nn.Parameter", {"shape": REQUIRED, "dtype": torch.float32, "requires_grad": True}, 1)
BUFFER = Callee("register_buffer", {"value": REQUIRED, "persistent": True}, 1)
ZEROS = Callee("torch.zeros", {"shape": REQUIRED, "dtype": torch.float32}, 1)
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Tree:
    """The instances of a native module, innermost first, and every constant by the digest of its content."""

    sequential = "nn.Sequential"
    absent = ABSENT
    reserved = frozenset(dir(nn.Sequential()))
    activations = frozenset(f"nn.{name}" for name in nn.modules.activation.__all__)

    def __init__(self, root: nn.Module, classes: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
        self.root, self.classes = root, classes
        self.constants: dict[str, torch.Tensor] = {}
        self.made: dict[int, Call] = {}  # the call that makes an instance, by the id of its module
        self.instances = [Instance(p, m, self._name(p, m), "nn.Module", None, {}) for p, m in _own(root)]
        self.by_module = {id(i.module): i for i in self.instances}
        for instance in self.instances:
            if isinstance(instance.module, fx.GraphModule):
                instance.steps = steps_of(instance.module.graph)
        for instance in self.instances:
            self._simplify(instance)
        if (top := self.by_module.get(id(root))) is not None and top.steps is not None:
            mark_numbers(top.steps, self._steps_at)

    def _simplify(self, instance: Instance) -> None:
        """Sizes that a child can read itself are not handed to it; equal calls in turn become a loop."""
        steps = instance.steps
        if steps is None:
            return
        called = [s.target for s in steps if s.op == "call_module"]

        def inner(path: str) -> list[Step] | None:
            child = self.by_module.get(id(instance.module.get_submodule(path)))
            return child.steps if child is not None and called.count(path) == 1 else None

        sink_sizes(steps, inner)
        fold_loops(steps, lambda path, count: _holds(instance.module, path, count))
        drop_unread(steps)

    def _steps_at(self, path: str) -> list[Step] | None:
        instance = self.by_module.get(id(self.root.get_submodule(path)))
        return instance.steps if instance is not None else None

    def _name(self, path: str, module: nn.Module) -> str:
        """The author's class name; where he has none, after the attribute that the module stands under."""
        author = self.classes.get(path, ("", {}))[0].rpartition(".")[2]
        name = author if is_layer(module) and author else module._get_name()
        if name in ("Module", "Model", "Under", "Sequential", "") or not name.isidentifier():
            parts = [part for part in path.split(".") if part and not part.isdigit()]
            name = camel(parts[-1]) if parts else "Model"
        return name

    def generations(self) -> Iterator[list[Instance]]:
        """The instances by class name, each name after those that its instances hold."""
        return generations(self.instances, lambda module: [m for _, m in _own(module, inside=True)])

    def describe(self, instance: Instance) -> None:
        """Fill the instance's fields; the instances that it holds have their calls."""
        module = instance.module
        persistent = set(module._buffers) - module._non_persistent_buffers_set
        if is_layer(module):
            base = constructor(module, self.term)
            given = [c for c in module.children() if any(c is v for k, v in vars(module).items() if k != "_modules")]
            instance.base = base
            own = set(_expected(module))
            held = {n: c for n, c in module.named_children() if c not in given}
        else:
            own, held = set(), dict(module.named_children())
        for name, parameter in module._parameters.items():
            if parameter is not None and name not in own:
                arguments = (shape_of(parameter), parameter.dtype, parameter.requires_grad)
                instance.fields[name] = Call(PARAMETER, tuple(zip(PARAMETER.parameters, arguments, strict=True)))
        for name, buffer in self._renamed(instance).items():
            if buffer is not None and name not in own:
                value = self._buffer(buffer, name in persistent)
                instance.fields[name] = Call(BUFFER, (("value", value), ("persistent", name in persistent)))
        for name, child in held.items():
            instance.fields[name] = self.term(child)
        is_sequential = (
            isinstance(module, nn.Sequential) or module._get_name() == "Sequential" or self.is_chain(instance)
        )
        if is_sequential and held and list(held) == [str(i) for i in range(len(held))]:
            instance.base = "nn.Sequential"

    def _buffer(self, buffer: torch.Tensor, persistent: bool) -> Term:
        """A constant; a buffer of the author's only where it is not numbers (its values come from the file anyway)."""
        if persistent and (buffer.is_floating_point() or buffer.ndim == 0):
            return Call(ZEROS, (("shape", shape_of(buffer)), ("dtype", buffer.dtype)))
        if persistent and expression(buffer) is None:
            return Call(ZEROS, (("shape", shape_of(buffer)), ("dtype", buffer.dtype)))
        data = buffer.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        head = f"{buffer.dtype} {tuple(buffer.shape)} ".encode()
        digest = hashlib.sha256(head + data.numpy().tobytes()).hexdigest()
        self.constants[digest] = buffer
        return Constant(digest)

    def _renamed(self, instance: Instance) -> dict[str, torch.Tensor | None]:
        """The buffers, those that an exporter numbered under names that say what they are for."""
        module, steps = instance.module, instance.steps or []
        prefix = re.sub(r"\W", "_", instance.path) + "_"
        taken = {*module._parameters, *module._modules, *dir(nn.Module())}
        names: dict[str, str] = {}
        reads = [s for s in steps if s.op == "get_attr"]
        order = list(dict.fromkeys([str(s.target) for s in reads] + list(module._buffers)))
        for old in (n for n in order if n in module._buffers):
            new = old
            if old in module._non_persistent_buffers_set:
                new = old.removeprefix(prefix)
                is_numbered = instance.path and re.search(r"\d", new)
                if is_numbered or is_generic(new) or not new.isidentifier():
                    new = _use(module._buffers[old], [s for s in reads if s.target == old], steps)
                new = unique(new, taken | set(names.values()))
            names[old] = new
        for step in reads:
            step.target = names.get(str(step.target), step.target)
        return {names[old]: buffer for old, buffer in module._buffers.items()}

    def is_empty(self, instance: Instance, path: str) -> bool:
        """Whether there is no such child, or an nn.Identity."""
        try:
            return isinstance(instance.module.get_submodule(path), nn.Identity)
        except AttributeError:
            return True

    def are_alike(self, a: Instance, b: Instance, aligned: Alignment) -> bool:
        """Always: a child that differs is an argument of the constructor."""
        return True

    def is_chain(self, instance: Instance) -> bool:
        """Whether the forward is nn.Sequential's: every child in turn (an nn.Identity need not be called)."""
        called = chained(instance.steps)
        children = instance.module.named_children()
        return called is not None and called == [
            n for n, m in children if n in called or not isinstance(m, nn.Identity)
        ]

    def term(self, module: nn.Module) -> Term:
        """The term that makes a module."""
        if id(module) in self.made:
            return self.made[id(module)]
        if type(module) in CONTAINERS:
            children = dict(module.named_children())
            return Items(type(module).__name__, tuple(children), tuple(self.term(c) for c in children.values()))
        return constructor(module, self.term)


def steps_of(graph: fx.Graph) -> list[Step]:
    """The graph's nodes in order; the output's only argument is what is returned."""
    made: dict[fx.Node, Step] = {}
    for node in graph.nodes:
        args, kwargs = (_unlike_fx(x, made) for x in (node.args, node.kwargs))
        made[node] = Step(node.op, node.target, tuple(args), dict(kwargs))
    return list(made.values())


def _unlike_fx(x: Any, made: Mapping[fx.Node, Step]) -> Any:
    return mapped(x, lambda leaf: made[leaf] if isinstance(leaf, fx.Node) else leaf)


def _holds(module: nn.Module, path: str, count: int) -> bool:
    """Whether the container has that many children and no more, under torch's own names."""
    container = module.get_submodule(path)
    names = [n for n, m in container.named_children()]
    is_list = isinstance(container, (nn.ModuleList, nn.Sequential)) or container._get_name() == "Sequential"
    return is_list and names == [str(i) for i in range(count)]


def shape_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """The shape as plain integers."""
    return tuple(int(d) for d in tensor.shape)


def is_layer(module: nn.Module) -> bool:
    """Whether a module of torch's or of this folder computes it, and no graph of the author's."""
    has_forward = type(module).forward is not nn.Module.forward
    return has_forward and not isinstance(module, fx.GraphModule) and type(module) not in CONTAINERS


def _expected(layer: nn.Module) -> list[str]:
    """The parameters and buffers that a layer of its class has by itself."""
    if type(layer).__module__.startswith(OURS):
        return [*layer._parameters, *layer._buffers]
    call = constructor(layer, lambda m: None)
    with torch.device("meta"):
        made = type(layer)(**dict(call.arguments))
    return [*made._parameters, *made._buffers]


def _is_own(module: nn.Module) -> bool:
    """Whether the module gets a class: it is the author's, or a layer that holds more than its class makes."""
    if type(module) in CONTAINERS:
        return False
    if not is_layer(module):
        return True
    if type(module).__module__.startswith(OURS):
        return False
    if any(True for _ in module.children()):
        return True
    held = {k for k, v in (*module._parameters.items(), *module._buffers.items()) if v is not None}
    return bool(held - set(_expected(module)))


def _own(module: nn.Module, path: str = "", *, inside: bool = False) -> Iterator[tuple[str, nn.Module]]:
    """The modules that get a class, outermost first; of those inside only the nearest."""
    if not inside:
        for name, one in module.named_modules():
            if _is_own(one):
                yield name, one
        return
    for name, child in module.named_children():
        at = f"{path}.{name}" if path else name
        if _is_own(child):
            yield at, child
        else:
            yield from _own(child, at, inside=True)


def _use(buffer: torch.Tensor | None, reads: list[Step], steps: list[Step]) -> str:
    """What a constant is for, in a word."""
    if buffer is None:
        return "constant"
    if buffer.dtype == torch.bool:
        return "mask"
    users = [s for s in steps if any(r is i for r in reads for i in s.inputs())]
    for user in users:
        if (
            user.target in (torch.nn.functional.scaled_dot_product_attention,)
            or getattr(user.target, "__name__", "") == "add"
        ):
            return "mask" if bool((buffer.float() <= -100).any()) else "bias"
    if not buffer.is_floating_point():
        return "index"
    names = {getattr(u.target, "__name__", u.target) for u in users}
    return "scale" if names & {"mul", "truediv"} else "constant"
