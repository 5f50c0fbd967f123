"""The functions of a tree as text."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Sequence
from types import FunctionType
from typing import Any

import onnx_ir as ir

from zoo.converters.graph import parameters
from zoo.converters.writers.jax.source import layers
from zoo.converters.writers.jax.source.tree import JaxTree, takes_context
from zoo.converters.writers.source import expressions, forward
from zoo.converters.writers.source.arrays import Array, expression
from zoo.converters.writers.source.classes import Class, classes_of, where
from zoo.converters.writers.source.embed import Embedded
from zoo.converters.writers.source.expressions import quoted
from zoo.converters.writers.source.forward import WORDS
from zoo.converters.writers.source.layout import laid_out
from zoo.converters.writers.source.naming import unique
from zoo.converters.writers.source.nest import Scope
from zoo.converters.writers.source.steps import Name, Step, placeholders
from zoo.converters.writers.source.terms import REQUIRED, Call, Constant, Term, Var, key

TAKEN = {"Path", "CONSTANTS", "HERE", "Params", "Context", "jax", "jnp", "np", "lax", "math", "apply", "load_params"}
TAKEN |= {"load_file", "params", "ctx"}


class Source:
    """The functions of a tree as text, and the constants that are stored beside it."""

    def __init__(self, tree: JaxTree) -> None:
        self.tree = tree
        self.stored: dict[str, Array] = {}
        self._stored_names: dict[str, str] = {}
        self.embedded = Embedded(frozenset({"jax"}), frozenset({"Params"}))
        self._embed()
        self.functions = TAKEN | set(self.embedded.sources)
        self.classes = classes_of(tree, set(self.functions))
        self.functions |= {cls.name for cls in self.classes}
        by_path = {i.path: i.module for i in tree.instances}
        self.class_of = {id(by_path[path]): cls for cls in self.classes for path in cls.paths}
        self.scopes = by_path
        self.contextual: set[str] = {
            n for n, f in vars(layers).items() if isinstance(f, FunctionType) and takes_context(f)
        }
        self.bare: set[str] = set()
        for cls in self.classes:  # each after those that it calls
            if any(self._needs_context(cls, s) for s in cls.steps or ()):
                self.contextual.add(cls.name)
            if not any(self._needs_params(cls, s) for s in cls.steps or ()):
                self.bare.add(cls.name)

    def _embed(self) -> None:
        used = [s.target for i in self.tree.instances for s in i.steps or () if isinstance(s.target, FunctionType)]
        used += [getattr(layers, call.callee.name) for call in self.tree.tracer.layers.values()]
        if any(map(takes_context, used)):
            self.embedded.add(layers.Context)
        for function in used:
            self.embedded.add(function)

    def _needs_context(self, cls: Class, step: Step) -> bool:
        if step.op == "call_function":
            return isinstance(step.target, FunctionType) and takes_context(step.target)
        name = self.callee_name(cls, step)
        return name is not None and name in self.contextual

    def _needs_params(self, cls: Class, step: Step) -> bool:
        if step.op == "get_attr":
            return not step.kwargs
        name = self.callee_name(cls, step)
        return name is not None and name not in self.bare

    def callee_name(self, cls: Class, step: Step) -> str | None:
        """What a call of a child calls."""
        term = self.term_of(cls, step)
        return term.callee.name if isinstance(term, Call) else None

    def term_of(self, cls: Class, step: Step) -> Term:
        """The term of a child that is called."""
        if step.op == "loop":
            return cls.fields[f"{step.target}.{step.kwargs['start']}".strip(".")]
        return cls.fields[step.target] if step.op == "call_module" else None

    @property
    def is_flat(self) -> bool:
        """Whether the params are one dict by whole names: where a name is the beginning of another."""
        names = set(self.weights())
        return any(name[:i] in names for name in names for i, c in enumerate(name) if c == ".")

    def weights(self) -> dict[str, ir.TensorProtocol]:
        """The author's tensors of floating point, in his order, each once."""
        found = parameters(self.tree.tracer.model.graph)
        tensors = {n: v.const_value for n, v in found.items() if v.const_value is not None}
        return {n: t for n, t in tensors.items() if t.dtype.is_floating_point() and t.dtype.bitwidth > 8}

    # ---- functions

    def function_texts(self) -> list[str]:
        """Every function, each after those that it calls."""
        bodies: dict[str, list[str]] = {}
        for cls in reversed(self.classes):  # a caller's variables give its children's arguments their names
            bodies[cls.name] = list(self._function(cls))
        return ["\n".join(bodies[cls.name]) for cls in self.classes]

    def _function(self, cls: Class) -> Iterator[str]:
        given = placeholders(cls.steps or [])
        own = {p.name for p in cls.parameters.parameters.values()}
        names: list[str] = []
        for name in cls.arguments or self._own_names(cls, [str(p.target) for p in given]):
            names.append(unique(name, {*names, *own, *keyword.kwlist, *self.functions}))
        cls.arguments = names
        written = Forward(self, cls, names)
        body = [line for text in written.lines() for line in laid_out(f"    {text}")]
        self._name_children(cls, written)
        hints = [] if cls.name in self.bare else ["params: Params"]
        hints += [f"{n}: {'int' if p.is_number else 'jax.Array'}" for n, p in zip(names, given, strict=True)]
        hints += ["ctx: Context"] if cls.name in self.contextual else []
        if parameters := list(self._signature(cls)):
            hints += ["*", *parameters]
        yield from laid_out(f"def {cls.name}({', '.join(hints)}) -> {_returns((cls.steps or [])[-1].args[0])}:")
        yield f'    """{where(cls.paths)}"""'
        yield from body

    def _own_names(self, cls: Class, names: Sequence[str]) -> list[str]:
        """Those of the graph, of the whole model; x of what takes one."""
        return list(names) if "" in cls.paths or len(names) != 1 else ["x"]

    def _signature(self, cls: Class) -> Iterator[str]:
        for parameter in cls.parameters.parameters.values():
            kinds = {_kind(v) for v in parameter.values if v is not None}
            hint = " | ".join(sorted(kinds)) or "None"
            if parameter.default is None or None in parameter.values:
                hint += " | None"
            text = f"{parameter.name}: {hint}"
            yield text if parameter.default is REQUIRED else f"{text} = {self.term(cls, parameter.default)}"

    def _name_children(self, cls: Class, written: Forward) -> None:
        scope = self.scopes[cls.template]
        for step in cls.steps or ():
            if step.op not in ("call_module", "loop"):
                continue
            path = f"{step.target}.{step.kwargs['start']}".strip(".") if step.op == "loop" else step.target
            child = self.class_of.get(id(scope.at(path)))
            if child is not None and child.arguments is None:
                child.arguments = written.argument_names(step)

    # ---- terms

    def term(self, cls: Class, term: Term, name: str = "constant") -> str:
        """A term as text."""
        if isinstance(term, Var):
            return cls.parameters.expression(term.column)
        if isinstance(term, Constant):
            return self.constant(term, name)
        if isinstance(term, tuple):
            return f"({', '.join(self.term(cls, t) for t in term)}{',' * (len(term) == 1)})"
        return expressions.plain(term)[0]

    def constant(self, constant: Constant, name: str) -> str:
        """An expression, or where it is stored."""
        array = self.tree.constants[constant.digest]
        if (text := expression(array, "jnp.")) is not None:
            return text
        if constant.digest not in self._stored_names:
            made = unique(re.sub(r"\W", "_", name), set(self.stored))
            self._stored_names[constant.digest] = made
            self.stored[made] = array
        return f'CONSTANTS["{self._stored_names[constant.digest]}"]'

    def arguments(self, cls: Class, call: Call) -> Iterator[str]:
        """The keywords of a call that are worth saying."""
        for name, value in call.arguments:
            if key(value) != key(call.callee.parameters[name]):
                yield f"{name}={self.term(cls, value, f'{call.callee.name}_{name}')}"


class Writer(expressions.Writer):
    """Writes the steps of a function."""

    def __init__(self, source: Source, cls: Class, forward_: Forward) -> None:
        super().__init__(forward_.names.get, forward_.var)
        self.source, self.cls = source, cls

    def access(self, path: str) -> str:
        """`layer1.0` as `params["layer1"]["0"]`; a constant as what it is."""
        term = self.cls.fields.get(path)
        if isinstance(term, (Constant, Var)):
            return self.source.term(self.cls, term, f"{self.cls.name}_{path}")
        return "params" + "".join(f"[{quoted(part)}]" for part in path.split(".") if path)

    def called(self, step: Step) -> str:
        """A function on the params of a child."""
        return self.call_of(
            self.source.term_of(self.cls, step), self.access(step.target), [self.text(a) for a in step.args]
        )

    def call_of(self, call: Call, params: str, args: Sequence[str]) -> str:
        """The text of a call."""
        name = call.callee.name
        given = [] if name in self.source.bare else [params]
        given += [*args, *(["ctx"] if name in self.source.contextual else []), *self.source.arguments(self.cls, call)]
        return f"{name}({', '.join(given)})"

    def public_name(self, function: Any) -> str:
        """The name as it stands, or that of a function of ours."""
        return function if isinstance(function, str) else str(function.__name__)


class Forward(forward.Forward):
    """Writes the body of a function."""

    prefix = ""

    def __init__(self, source: Source, cls: Class, names: Sequence[str]) -> None:
        self.source = source
        own = {p.name for p in cls.parameters.parameters.values()}
        self.words = frozenset(WORDS | source.functions | own | {"i"})
        super().__init__(cls, names)

    def make_writer(self) -> Writer:
        """What writes the expressions."""
        return Writer(self.source, self.cls, self)

    def is_mask(self, step: Step) -> bool:
        """Whether the step makes truth values."""
        is_cast = step.op == "call_method" and step.target == "astype" and step.args[1] == Name("jnp.bool")
        return is_cast or super().is_mask(step)

    def returns(self, step: Step) -> int | None:
        """How many results a child returns."""
        child: Scope | None = self.source.scopes[self.cls.template].at(step.target)
        result = child.steps[-1].args[0] if child is not None and child.steps else None
        return len(result) if isinstance(result, tuple) else None

    def test(self, flag: Var | str) -> str:
        """A flag, or whether there are params of such a child."""
        return f"{quoted(flag)} in params" if isinstance(flag, str) else self.var(flag)

    def loop(self, step: Step, variable: str, given: Sequence[str]) -> tuple[str, str]:
        """Calls of one function on the params of numbered children."""
        first, last = (self.writer.text(step.kwargs[k]) for k in ("start", "stop"))
        bounds = last if first == "0" else f"{first}, {last}"
        params = f"{self.writer.access(step.target)}[str(i)]"
        writer = self.writer
        assert isinstance(writer, Writer)
        return f"for i in range({bounds}):", writer.call_of(self.source.term_of(self.cls, step), params, given)


def _returns(x: Any) -> str:
    if isinstance(x, dict):
        return "dict[str, jax.Array]"
    if isinstance(x, (tuple, list)):
        return f"tuple[{', '.join(map(_returns, x))}]"
    return "int" if isinstance(x, int) or isinstance(x, Step) and x.is_number else "jax.Array"


def _kind(value: Term) -> str:
    if isinstance(value, Constant):
        return "jax.Array"
    if isinstance(value, tuple):
        return f"tuple[{' | '.join(sorted({_kind(v) for v in value}))}, ...]"
    return type(value).__name__
