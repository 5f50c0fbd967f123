"""Classes of a tree as text: constructors from their terms, forwards from their steps."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from zoo.converters.writers.source.classes import Class, classes_of, where
from zoo.converters.writers.source.embed import Embedded
from zoo.converters.writers.source.expressions import quoted
from zoo.converters.writers.source.layout import laid_out
from zoo.converters.writers.source.naming import unique
from zoo.converters.writers.source.steps import Step, placeholders
from zoo.converters.writers.source.terms import (
    ABSENT,
    REQUIRED,
    Call,
    Constant,
    Factory,
    Items,
    LoopVar,
    Made,
    Mapped,
    Optional,
    Term,
    Var,
    has_loop_var,
    key,
    runs_of,
)
from zoo.converters.writers.torch.module import Native
from zoo.converters.writers.torch.source.constants import expression
from zoo.converters.writers.torch.source.expressions import Writer, is_ours, plain
from zoo.converters.writers.torch.source.forward import Forward
from zoo.converters.writers.torch.source.layers import EMPTY, OURS
from zoo.converters.writers.torch.source.tree import BUFFER, PARAMETER, ZEROS, Tree
from zoo.converters.writers.torch.tree import Scope

MANY = 3  # equal modules from which on a comprehension reads better
TAKEN = {"Path", "OrderedDict", "CONSTANTS", "HERE", "F", "nn", "torch", "math", "lattice", "create_model", "load_file"}


class Source:
    """The classes of a tree as text, and the constants that are stored beside it."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.stored: dict[str, torch.Tensor] = {}
        self.embedded = Embedded(frozenset({"torch", "PIL"}), frozenset({"nn"}))
        self._stored_names: dict[str, str] = {}
        self._embed()
        taken = TAKEN | set(self.embedded.sources)
        self.classes = classes_of(tree, taken)
        ids = {p: id(m) for p, m in tree.root.named_modules()}
        self.class_of = {ids[path]: cls for cls in self.classes for path in cls.paths}
        self.modules = dict(tree.root.named_modules())

    def _embed(self) -> None:
        for module in self.tree.root.modules():
            if type(module).__module__.startswith(OURS) and not isinstance(module, (Native, Scope)):
                self.embedded.add(type(module))
        for instance in self.tree.instances:
            for step in instance.steps or ():
                if step.op == "call_function" and is_ours(step.target):
                    self.embedded.add(step.target)

    # ---- classes

    def class_texts(self) -> list[str]:
        """Every class, each after those that it uses."""
        bodies: dict[str, list[str]] = {}
        for cls in reversed(self.classes):  # a caller's variables give its children's arguments their names
            bodies[cls.name] = self._forward(cls)
        return ["\n".join(self._class(cls, bodies[cls.name])) for cls in self.classes]

    def _class(self, cls: Class, forward: list[str]) -> Iterator[str]:
        base = cls.base.callee.name if isinstance(cls.base, Call) else cls.base
        yield f"class {cls.name}({base}):"
        yield f'    """{where(cls.paths)}"""'
        init = [line for text in self._init(cls) for line in laid_out(f"        {text}")]
        names = ["self", *self._signature(cls)]
        if [line.strip() for line in init] != ["super().__init__()"] or len(names) > 1:
            yield ""
            yield from laid_out(f"    def __init__({', '.join(names)}) -> None:")
            yield from init
        if forward:
            yield ""
            yield from forward

    def _signature(self, cls: Class) -> Iterator[str]:
        for parameter in cls.parameters.parameters.values():
            hint = _hint([v for v in parameter.values if v is not None])
            if parameter.default is None:
                hint += " | None"
            text = f"{parameter.name}: {hint}"
            yield text if parameter.default is REQUIRED else f"{text} = {self._term(parameter.default, str)}"

    def _init(self, cls: Class) -> Iterator[str]:
        def var(v: Var) -> str:
            return cls.parameters.expression(v.column)

        fields = dict(cls.fields)
        if cls.base == "nn.Sequential":
            numbered = {n: t for n, t in fields.items() if n.isdigit()}
            items = self._listed(list(numbered.values()), var)
            fields = {n: t for n, t in fields.items() if n not in numbered}
            yield f"super().__init__({items})"
        elif isinstance(cls.base, Call):
            yield f"super().__init__({self._arguments(cls.base, var)})"
        else:
            yield "super().__init__()"
        for parameter in cls.parameters.parameters.values():
            if parameter.in_forward:
                yield f"self.{parameter.name} = {parameter.name}"
        for name, term in fields.items():
            yield self._field(name, term, var, cls)
        if "" in cls.paths:
            yield from self._ties()

    def _ties(self) -> Iterator[str]:
        """Parameters that are one, under several names."""
        first: dict[int, str] = {}
        writer = Writer(self.tree.root, lambda s: None, str)
        for name, parameter in self.tree.root.named_parameters(remove_duplicate=False):
            if id(parameter) in first:
                yield f"{writer.access(name)} = {writer.access(first[id(parameter)])}"
            first.setdefault(id(parameter), name)

    def _field(self, name: str, term: Term, var: Callable[[Var], str], cls: Class) -> str:
        is_plain = name.isidentifier() and not keyword.iskeyword(name)
        inner = term.term if isinstance(term, Optional) else term
        condition = f" if {self._term(term.flag, var)} else None" if isinstance(term, Optional) else ""
        if isinstance(inner, Call) and inner.callee is BUFFER:
            arguments = dict(inner.arguments)
            kept = "" if arguments["persistent"] else ", persistent=False"
            value = self._term(arguments["value"], var, name if "" in cls.paths else f"{cls.name}_{name}")
            if condition == f" if {value} is not None else None":
                condition = ""
            return f"self.register_buffer({quoted(name)}, {value}{condition}{kept})"
        if isinstance(inner, Call) and inner.callee is PARAMETER:
            value = self._term(inner, var)
            if is_plain and not condition:
                return f"self.{name} = {value}"
            return f"self.register_parameter({quoted(name)}, {value}{condition})"
        value = self._term(term, var, f"{cls.name}_{name}")
        return f"self.{name} = {value}" if is_plain else f"self.add_module({quoted(name)}, {value})"

    # ---- terms

    def _term(self, term: Term, var: Callable[[Var], str], where: str = "constant") -> str:
        if isinstance(term, Var):
            return var(term)
        if isinstance(term, LoopVar):
            return "value"
        if isinstance(term, Factory):
            return term.callee.name
        if isinstance(term, Made):
            return f"{self._term(term.factory, var)}()"
        if isinstance(term, Constant):
            return self._constant(term, where)
        if isinstance(term, Items):
            return self._items(term, var)
        if isinstance(term, Mapped):
            one = self._term(term.term, var, where)
            if has_loop_var(term.term):
                inner = f"{one} for value in {self._term(term.values, var, where)}"
            else:
                inner = f"{one} for _ in range({self._term(term.values, var, where)})"
            return f"nn.{term.kind}({f'*({inner})' if term.kind == 'Sequential' else inner})"
        if isinstance(term, Optional):
            other = "None" if term.otherwise is ABSENT else "nn.Identity()"
            return f"{self._term(term.term, var, where)} if {self._term(term.flag, var)} else {other}"
        if isinstance(term, Call):
            return self._call(term, var)
        if isinstance(term, tuple):
            inner = ", ".join(self._term(t, var, where) for t in term)
            return f"({inner}{',' * (len(term) == 1)})"
        return "None" if term is ABSENT else plain(term)[0]

    def _call(self, call: Call, var: Callable[[Var], str]) -> str:
        arguments = dict(call.arguments)
        if call.callee in (PARAMETER, ZEROS, EMPTY):
            shape = ", ".join(self._term(d, var) for d in arguments["shape"]) or "()"
            dtype = "" if arguments["dtype"] is torch.float32 else f", dtype={self._term(arguments['dtype'], var)}"
            made = f"torch.zeros({shape}{dtype})"
            if call.callee is not PARAMETER:
                return made
            trained = arguments["requires_grad"]
            return f"nn.Parameter({made})" if trained is True else f"nn.Parameter({made}, requires_grad={trained})"
        return f"{call.callee.name}({self._arguments(call, var)})"

    def _arguments(self, call: Call, var: Callable[[Var], str]) -> str:
        made = []
        for i, (name, value) in enumerate(call.arguments):
            text = self._term(value, var, f"{call.callee.name}_{name}")
            if i < call.callee.positional:
                made.append(text)
            elif key(value) != key(call.callee.parameters[name]):
                made.append(f"{name}={text}")
        return ", ".join(made)

    def _items(self, items: Items, var: Callable[[Var], str]) -> str:
        if items.kind == "ModuleDict":
            pairs = (f"{quoted(n)}: {self._term(t, var)}" for n, t in zip(items.names, items.terms, strict=True))
            return f"nn.ModuleDict({{{', '.join(pairs)}}})"
        if items.is_numbered:
            runs = runs_of(items.terms)
            if items.kind == "ModuleList" and len(runs) == 1 and runs[0][1] >= MANY:
                return f"nn.ModuleList({self._term(runs[0][0], var)} for _ in range({runs[0][1]}))"
            listed = self._listed(items.terms, var)
            return f"nn.Sequential({listed})" if items.kind == "Sequential" else f"nn.ModuleList([{listed}])"
        prefix = re.sub(r"\d+$", "", items.names[0])
        count, is_run = len(items.names), len(runs_of(items.terms)) == 1
        if is_run and count >= MANY and items.names == tuple(f"{prefix}{i}" for i in range(count)):
            one = self._term(items.terms[0], var)
            return f'nn.{items.kind}(OrderedDict((f"{prefix}{{i}}", {one}) for i in range({count})))'
        pairs = (f"({quoted(n)}, {self._term(t, var)})" for n, t in zip(items.names, items.terms, strict=True))
        return f"nn.{items.kind}(OrderedDict([{', '.join(pairs)}]))"

    def _listed(self, terms: Sequence[Term], var: Callable[[Var], str]) -> str:
        made = []
        for term, times in runs_of(terms):
            text = self._term(term, var)
            made += [f"*({text} for _ in range({times}))"] if times >= MANY else [text] * times
        return ", ".join(made)

    def _constant(self, constant: Constant, where: str) -> str:
        tensor = self.tree.constants[constant.digest]
        if (text := expression(tensor)) is not None:
            return text
        if constant.digest not in self._stored_names:
            name = unique(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", where).lower(), set(self.stored))
            self._stored_names[constant.digest] = name
            self.stored[name] = tensor
        return f'CONSTANTS["{self._stored_names[constant.digest]}"]'

    # ---- forwards

    def _forward(self, cls: Class) -> list[str]:
        if cls.steps is None or cls.is_chain:
            return []
        module = self.modules[cls.template]
        given = placeholders(cls.steps)
        names = cls.arguments or self._own_names(cls, [str(p.target) for p in given])
        forward = Forward(cls, module, names)
        body = [line for text in forward.lines() for line in laid_out(f"        {text}")]
        hints = [f"{n}: {'int' if p.is_number else 'torch.Tensor'}" for n, p in zip(names, given, strict=True)]
        self._name_children(cls, forward, module)
        head = laid_out(f"    def forward({', '.join(['self', *hints])}) -> {_returns(cls.steps[-1].args[0])}:")
        return [*head, *body]

    def _own_names(self, cls: Class, names: Sequence[str]) -> list[str]:
        """Those of the graph: of the whole model, and of what is called by a module of ours."""
        if "" in cls.paths or len(names) != 1:
            return [unique(n, {*names[:i], *keyword.kwlist, "self"}) for i, n in enumerate(names)]
        return ["x"]

    def _name_children(self, cls: Class, forward: Forward, module: nn.Module) -> None:
        for step in cls.steps or ():
            if step.op not in ("call_module", "loop"):
                continue
            target = module.get_submodule(step.target)
            called = list(target.children()) if step.op == "loop" else [target]
            for child in (self.class_of.get(id(c)) for c in called):
                if child is not None and child.steps is not None and child.arguments is None:
                    child.arguments = forward.argument_names(step)


def _returns(x: Any) -> str:
    if isinstance(x, dict):
        return "dict[str, torch.Tensor]"
    if isinstance(x, (tuple, list)):
        return f"tuple[{', '.join(map(_returns, x))}]"
    return "int" if isinstance(x, int) or isinstance(x, Step) and x.is_number else "torch.Tensor"


def _hint(values: Sequence[Term]) -> str:
    kinds = {_kind(v) for v in values}
    return " | ".join(sorted(kinds)) or "None"


def _kind(value: Term) -> str:
    if isinstance(value, (Call, Items, Mapped, Optional)):
        return "nn.Module"
    if isinstance(value, Factory):
        return "type[nn.Module]"
    if isinstance(value, Constant):
        return "torch.Tensor"
    if isinstance(value, tuple):
        return f"tuple[{_hint(value)}, ...]"
    if isinstance(value, torch.dtype):
        return "torch.dtype"
    return type(value).__name__
