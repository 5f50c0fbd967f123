"""The author's tree, out of a canonical graph, as instances for classes.py: what Keras and JAX make files of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from zoo.converters.graph import module_path, modules
from zoo.converters.writers import driver
from zoo.converters.writers.source.naming import camel, unique
from zoo.converters.writers.source.nest import Scope, nest
from zoo.converters.writers.source.steps import Alignment, Step, chained, drop_unread, mark_numbers, sink_sizes
from zoo.converters.writers.source.terms import ABSENT, Call, Constant, Term
from zoo.converters.writers.source.traced import Array, Tracer
from zoo.converters.writers.source.tree import Instance, generations

CONTAINERS = {"ModuleList", "ModuleDict", "ParameterList", "ParameterDict"}


class GraphTree:
    """The instances of a traced graph, innermost first; a framework says how their fields are written."""

    sequential = ""
    absent: Term = ABSENT
    reserved = frozenset[str]()
    activations = frozenset[str]()
    opens_sequential = True  # whether an nn.Sequential's children are called from where it stands

    def __init__(self, model: ir.Model, tracer: Tracer) -> None:
        driver.write(model.graph, tracer)
        self.tracer = tracer
        self.made: dict[int, Call] = {}
        self.constants: dict[str, Array] = {}
        self.root = _scopes(model, tracer)
        self._open()
        nest(self.root, tracer.steps)
        self._note_chains()
        own = [s for s in self.root.walk() if s.steps is not None and not s.is_chain]
        self.instances = [Instance(s.path, s, self.name_of(s), "", s.steps, {}) for s in own]
        self.by_scope = {id(i.module): i for i in self.instances}
        for instance in self.instances:
            self._simplify(instance)
        mark_numbers(self.root.steps or [], self._steps_at)

    def name_of(self, scope: Scope) -> str:
        """The author's class name; where he has none, after the attribute that the module stands under."""
        name = scope.cls.rpartition(".")[2]
        if name in ("Module", "Model", "Sequential", "") or not name.isidentifier():
            parts = [part for part in scope.path.split(".") if part and not part.isdigit()]
            name = camel(parts[-1]) if parts else "Model"
        return name

    def has_own_class(self, scope: Scope, nodes: int) -> bool:
        """Whether a module without children is more than what stands in its place: it computes several things."""
        return nodes > 1

    def _open(self) -> None:
        """Note which modules are layers, and which are called through."""
        nodes = self.tracer.counts
        steps = [s for s in self.tracer.steps if s.op in ("call_function", "call_method", "call_module")]
        functional = {s.path for s in steps if s.op != "call_module"}
        at = {s.path for s in steps}
        below = {p[:i] for p in at for i, c in enumerate(p) if c == "."}
        for scope in self.root.walk():
            if not scope.path:
                continue
            kind = scope.cls.rpartition(".")[2]
            is_leaf = scope.path not in below
            scope.is_layer = scope.path in self.tracer.layers and is_leaf and scope.path not in functional
            is_container = kind in CONTAINERS or (kind == "Sequential" and self.opens_sequential)
            is_plain = is_leaf and not self.has_own_class(scope, nodes[scope.path])
            scope.is_open = not scope.is_layer and (is_container or is_plain)

    def _note_chains(self) -> None:
        """An nn.Sequential that is called as a whole is one in the file too."""
        for scope in self.root.walk():
            if self.opens_sequential or scope.cls.rpartition(".")[2] != "Sequential":
                continue
            scope.is_chain = numbered_chain(scope)

    def _simplify(self, instance: Instance) -> None:
        """Sizes that a child can read itself are not handed to it."""
        steps = instance.steps or []
        called = [s.target for s in steps if s.op == "call_module"]

        def inner(path: str) -> list[Step] | None:
            child = instance.module.at(path)
            return child.steps if child is not None and called.count(path) == 1 else None

        sink_sizes(steps, inner)
        drop_unread(steps)

    def _steps_at(self, path: str) -> list[Step] | None:
        scope = self.root.at(path)
        return scope.steps if scope is not None else None

    # ---- what classes.py asks for

    def generations(self) -> Iterator[list[Instance]]:
        """The instances by class name, each name after those that its instances hold."""
        return generations(self.instances, nearest)

    def is_empty(self, instance: Instance, path: str) -> bool:
        """Whether there is no such child, or it computes nothing."""
        scope = instance.module.at(path)
        return scope is None or (not scope.is_layer and scope.steps is None)

    def are_alike(self, a: Instance, b: Instance, aligned: Alignment) -> bool:
        """Whether a child that differs can be an argument."""
        return True

    def is_chain(self, instance: Instance) -> bool:
        """Whether the forward is every child in turn."""
        return numbered_chain(instance.module)

    def describe(self, instance: Instance) -> None:
        """Fill the instance's fields."""
        raise NotImplementedError

    def name_constants(self, instance: Instance) -> dict[str, Constant]:
        """The constants that a forward reads, under names that say what they are for; steps are renamed."""
        steps = instance.steps or []
        reads = [s for s in steps if s.op == "get_attr" and s.kwargs]
        taken = {*instance.module.children, *(str(s.target) for s in steps if s.op == "get_attr" and not s.kwargs)}
        names: dict[str, str] = {}
        for read in reads:
            old = str(read.target)
            if old not in names:
                array = self.tracer.constants[old]
                word = (
                    old if not old.startswith("constant") else _use(array, [r for r in reads if r.target == old], steps)
                )
                names[old] = unique(word, taken | set(names.values()))
                self.constants[old] = array
        for read in reads:
            read.target = names[str(read.target)]
        return {new: Constant(old) for old, new in names.items()}


def nearest(scope: Scope) -> list[Scope]:
    """The modules with a forward of their own that are nearest below one."""
    found: list[Scope] = []
    for child in scope.children.values():
        found += [child] if child.steps is not None and not child.is_chain else nearest(child)
    return found


def numbered_chain(scope: Scope) -> bool:
    """Whether a forward is numbered children in turn."""
    called = chained(scope.steps)
    names = list(scope.children)
    return (
        called is not None
        and names == [str(i) for i in range(len(names))]
        and called == [n for n in names if n in called]
    )


def _scopes(model: ir.Model, tracer: Tracer) -> Scope:
    """The tree of all that the author names, in his order."""
    classes = modules(model)
    paths = [*classes, *(module_path(node) for node in model.graph), *tracer.layers]
    root = Scope("", classes.get("", ("", {}))[0])
    for path in dict.fromkeys(paths):
        scope = root
        parts = path.split(".") if path else []
        for i, part in enumerate(parts):
            at = ".".join(parts[: i + 1])
            scope = scope.children.setdefault(part, Scope(at, classes.get(at, ("", {}))[0]))
    return root


def _use(array: Array, reads: Sequence[Step], steps: Sequence[Step]) -> str:
    """What a constant is for, in a word."""
    if array.dtype == np.bool_:
        return "mask"
    users = [s for s in steps if any(r is i for r in reads for i in s.inputs())]
    names = {str(getattr(u.target, "__name__", u.target)).rpartition(".")[2] for u in users}
    if names & {"attention", "add"}:
        return "mask" if bool((array.astype(np.float64) <= -100).any()) else "bias"
    if array.dtype.kind != "f":
        return "index"
    return "scale" if names & {"mul", "truediv"} else "constant"
