"""The classes of a tree as text."""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Iterator, Sequence
from types import FunctionType
from typing import Any

from zoo.converters.writers.keras.source import layers
from zoo.converters.writers.keras.source.tracer import KerasTracer
from zoo.converters.writers.keras.source.tree import FIELDS, WEIGHT, KerasTree, attribute
from zoo.converters.writers.source import expressions, forward
from zoo.converters.writers.source.arrays import Array, expression
from zoo.converters.writers.source.classes import Class, classes_of, where
from zoo.converters.writers.source.embed import Embedded
from zoo.converters.writers.source.expressions import quoted
from zoo.converters.writers.source.forward import WORDS
from zoo.converters.writers.source.layout import laid_out
from zoo.converters.writers.source.naming import unique
from zoo.converters.writers.source.nest import Scope
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
from zoo.errors import HubError

MANY = 3  # equal layers from which on a comprehension reads better
TAKEN = {"Path", "CONSTANTS", "HERE", "FIELDS", "RENAMED", "keras", "layers", "ops", "np", "math", "create_model"}
TAKEN |= {"load_file", "load_weights", "training", "inputs"}


class Source:
    """The classes of a tree as text, and the constants that are stored beside it."""

    def __init__(self, tree: KerasTree) -> None:
        self.tree = tree
        self.stored: dict[str, Array] = {}
        self._stored_names: dict[str, str] = {}
        self.embedded = Embedded(frozenset({"keras"}), frozenset({"keras", "layers", "ops"}))
        self._embed()
        self.names = TAKEN | set(self.embedded.sources)
        self.classes = classes_of(tree, set(self.names))
        self.names |= {cls.name for cls in self.classes}
        self.scopes: dict[str, Scope] = {i.path: i.module for i in tree.instances}
        self.class_of = {id(self.scopes[path]): cls for cls in self.classes for path in cls.paths}

    def _embed(self) -> None:
        for instance in self.tree.instances:
            for step in instance.steps or ():
                if step.op == "call_function" and isinstance(step.target, FunctionType):
                    self.embedded.add(step.target)
        for call in self.tree.tracer.layers.values():
            if inspect.isclass(found := getattr(layers, call.callee.name, None)):
                self.embedded.add(found)

    def weights(self) -> dict[str, Any]:
        """The author's tensors that the model reads, in his order."""
        tracer: KerasTracer = self.tree.tracer
        read = {w.name for held in tracer.weights.values() for w in held.values()} | set(tracer.renamed)
        read |= {
            f"{i.path}.{s.target}".strip(".") for i in self.tree.instances for s in i.steps or () if s.op == "get_attr"
        }
        values = tracer.model.graph.initializers
        return {n: v.const_value for n, v in values.items() if n in read and v.const_value is not None}

    # ---- classes

    def class_texts(self) -> list[str]:
        """Every class, each after those that it uses."""
        bodies: dict[str, list[str]] = {}
        for cls in reversed(self.classes):  # a caller's variables give its children's arguments their names
            bodies[cls.name] = self._call_method(cls)
        return ["\n".join(self._class(cls, bodies[cls.name])) for cls in self.classes]

    def _class(self, cls: Class, call: list[str]) -> Iterator[str]:
        base = cls.base.callee.name if isinstance(cls.base, Call) else cls.base
        if base == "keras.Model":
            yield "@keras.saving.register_keras_serializable()"
        yield f"class {cls.name}({base}):"
        yield f'    """{where(cls.paths)}"""'
        init = [line for text in self._init(cls) for line in laid_out(f"        {text}")]
        names = ["self", *self._signature(cls), *(["**kwargs"] if base == "keras.Model" else [])]
        if [line.strip() for line in init] != ["super().__init__()"] or len(names) > 1:
            yield ""
            yield from laid_out(f"    def __init__({', '.join(names)}):")
            yield from init
        if call:
            yield ""
            yield from call

    def _signature(self, cls: Class) -> Iterator[str]:
        for parameter in cls.parameters.parameters.values():
            yield (
                parameter.name
                if parameter.default is REQUIRED
                else f"{parameter.name}={self.term(cls, parameter.default)}"
            )

    def _init(self, cls: Class) -> Iterator[str]:
        fields = {n: t for n, t in cls.fields.items() if not isinstance(t, Constant) and not _is_constant(cls, t)}
        if cls.base == "keras.Sequential":
            yield f"super().__init__([{self._listed(cls, list(fields.values()))}])"
            fields = {}
        elif isinstance(cls.base, Call):
            yield f"super().__init__({self._arguments(cls, cls.base)})"
        else:
            yield "super().__init__(**kwargs)" if cls.base == "keras.Model" else "super().__init__()"
        for parameter in cls.parameters.parameters.values():
            if parameter.in_forward or parameter.role == "constant":
                yield f"self.{parameter.name} = {parameter.name}"
        for name, term in fields.items():
            text = (
                self._weight(cls, name, term)
                if isinstance(term, Call) and term.callee is WEIGHT
                else self.term(cls, term, name)
            )
            if name.isidentifier() and not keyword.iskeyword(name):
                yield f"self.{name} = {text}"
            else:
                yield f"setattr(self, {quoted(name)}, {text})"

    def _weight(self, cls: Class, name: str, term: Call) -> str:
        arguments = dict(term.arguments)
        trained = "" if arguments["trainable"] is True else f", trainable={self.term(cls, arguments['trainable'])}"
        return f'self.add_weight({self.term(cls, arguments["shape"])}, "zeros"{trained}, name={quoted(name)})'

    # ---- terms

    def term(self, cls: Class, term: Term, name: str = "constant") -> str:
        """A term as text."""
        if isinstance(term, Var):
            return cls.parameters.expression(term.column)
        if isinstance(term, LoopVar):
            return "value"
        if isinstance(term, Factory):
            return term.callee.name
        if isinstance(term, Made):
            return f"{self.term(cls, term.factory)}()"
        if isinstance(term, Constant):
            return self.constant(term, name)
        if isinstance(term, Items):
            return self._items(cls, term)
        if isinstance(term, Mapped):
            variable = "value" if has_loop_var(term.term) else "_"
            values = self.term(cls, term.values) if variable == "value" else f"range({self.term(cls, term.values)})"
            listed = f"[{self.term(cls, term.term)} for {variable} in {values}]"
            return f"keras.Sequential({listed})" if term.kind == "Sequential" else listed
        if isinstance(term, Optional):
            other = "None" if term.otherwise is ABSENT else "layers.Identity()"
            return f"{self.term(cls, term.term)} if {self.term(cls, term.flag)} else {other}"
        if isinstance(term, Call):
            return f"{term.callee.name}({self._arguments(cls, term)})"
        if isinstance(term, tuple):
            return f"({', '.join(self.term(cls, t) for t in term)}{',' * (len(term) == 1)})"
        return "None" if term is ABSENT else expressions.plain(term)[0]

    def _arguments(self, cls: Class, call: Call) -> str:
        made = []
        for i, (name, value) in enumerate(call.arguments):
            text = self.term(cls, value, f"{call.callee.name}_{name}")
            if i < call.callee.positional:
                made.append(text)
            elif key(value) != key(call.callee.parameters[name]):
                made.append(f"{name}={text}")
        return ", ".join(made)

    def _items(self, cls: Class, items: Items) -> str:
        if items.kind == "dict":
            pairs = (f"{quoted(n)}: {self.term(cls, t)}" for n, t in zip(items.names, items.terms, strict=True))
            return f"{{{', '.join(pairs)}}}"
        runs = runs_of(items.terms)
        if len(runs) == 1 and runs[0][1] >= MANY:
            listed = f"[{self.term(cls, runs[0][0])} for _ in range({runs[0][1]})]"
        else:
            listed = f"[{self._listed(cls, items.terms)}]"
        return f"keras.Sequential({listed})" if items.kind == "Sequential" else listed

    def _listed(self, cls: Class, terms: Sequence[Term]) -> str:
        made = []
        for term, times in runs_of(terms):
            text = self.term(cls, term)
            made += [f"*({text} for _ in range({times}))"] if times >= MANY else [text] * times
        return ", ".join(made)

    def constant(self, constant: Constant, name: str) -> str:
        """An expression, or where it is stored."""
        array = self.tree.constants[constant.digest]
        if (text := expression(array, "ops.")) is not None:
            return text
        if constant.digest not in self._stored_names:
            made = unique(re.sub(r"\W", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)).lower(), set(self.stored))
            self._stored_names[constant.digest] = made
            self.stored[made] = array
        return f'CONSTANTS["{self._stored_names[constant.digest]}"]'

    # ---- calls

    def _call_method(self, cls: Class) -> list[str]:
        if cls.steps is None or cls.is_chain:
            return []
        given = placeholders(cls.steps)
        names: list[str] = []
        for name in cls.arguments or self._own_names(cls, [str(p.target) for p in given]):
            wished = {"mask": "attention_mask"}.get(name, name)  # Keras gives a `mask` itself
            names.append(unique(wished, {*names, *keyword.kwlist, *TAKEN, "mask"}))
        cls.arguments = names
        written = Forward(self, cls, names)
        list(written.lines())  # gives its variables their names, and by these those of its children's arguments
        self._name_children(cls, written)
        body = [line for text in Forward(self, cls, names).lines() for line in laid_out(f"        {text}")]
        arguments, first = list(names), list[str]()
        if cls.base == "keras.Model":
            if len(names) > 1:
                first = [f'        {n} = inputs["{p.target}"]' for n, p in zip(names, given, strict=True)]
                arguments = ["inputs"]
            arguments.append("training=None")
        elif isinstance(cls.base, Call):
            arguments.append("training=None")
        return [*laid_out(f"    def call({', '.join(['self', *arguments])}):"), *first, *body]

    def _own_names(self, cls: Class, names: Sequence[str]) -> list[str]:
        return list(names) if "" in cls.paths or len(names) != 1 else ["x"]

    def _name_children(self, cls: Class, written: Forward) -> None:
        scope = self.scopes[cls.template]
        for step in cls.steps or ():
            if step.op not in ("call_module", "loop"):
                continue
            path = f"{step.target}.0" if step.op == "loop" else step.target
            child = self.class_of.get(id(scope.at(path)))
            if child is not None and child.arguments is None:
                child.arguments = written.argument_names(step)


def _is_constant(cls: Class, term: Term) -> bool:
    """Whether a field is a parameter that holds a constant."""
    return isinstance(term, Var) and cls.parameters.columns[term.column].role == "constant"


class Writer(expressions.Writer):
    """Writes the steps of a layer."""

    def __init__(self, source: Source, cls: Class, forward_: Forward) -> None:
        super().__init__(forward_.names.get, forward_.var)
        self.source, self.cls = source, cls
        self.scope = source.scopes[cls.template]

    def access(self, path: str) -> str:
        """`layers.0.norm` as `self.layers[0].norm`; a constant as what it is."""
        term = self.cls.fields.get(path)
        if isinstance(term, Constant):
            text = self.source.term(self.cls, term, f"{self.cls.name}_{path}")
            return f"ops.convert_to_tensor({text})" if text.startswith("CONSTANTS") else text
        if isinstance(term, Var) and _is_constant(self.cls, term):
            return f"ops.convert_to_tensor({self.cls.parameters.expression(term.column, 'self.')})"
        owner, _, field = path.rpartition(".")
        holder = self.scope.at(owner)
        if holder is not None and holder.is_layer and field not in holder.children:
            return self._of_layer(holder, self._path(owner))
        return self._path(path)

    def _of_layer(self, layer: Scope, text: str) -> str:
        """The weight of a layer that somebody else reads as well, as its author lays it out."""
        name = self.source.tree.tracer.layers[layer.path].callee.name
        if name not in FIELDS:
            raise HubError(f"the weight of {layer.path}, a {name}, is read elsewhere too, which has no form in Keras")
        return f"ops.transpose({text}.kernel)" if FIELDS[name] == "kernel" else f"{text}.{FIELDS[name]}"

    def _path(self, path: str) -> str:
        text, holder = "self", self.scope
        for part in path.split(".") if path else ():
            is_held = holder.steps is None and holder.path != self.scope.path
            if is_held and all(name.isdigit() for name in holder.children):
                text += f"[{part}]"
            elif is_held:
                text += f"[{quoted(part)}]"
            elif holder.is_chain:
                text += f".layers[{part}]"
            elif part.isidentifier() and not keyword.iskeyword(part):
                text += f".{attribute(part)}"
            else:
                text = f"getattr({text}, {quoted(part)})"
            holder = holder.children.get(part, holder)
        return text

    def called(self, step: Step) -> str:
        """A call of a child, or of what the class is itself."""
        if not step.target:
            return f"super().call({self.arguments(step.args, step.kwargs)}, training=training)"
        return f"{self.access(str(step.target))}({self.given_to(step, [self.text(a) for a in step.args])})"

    def given_to(self, step: Step, texts: Sequence[str]) -> str:
        """The arguments of a child, by position what is a tensor: Keras takes nothing else so."""
        child = self.source.class_of.get(id(self.scope.at(f"{step.target}.0" if step.op == "loop" else step.target)))
        names = child.arguments if child is not None and child.arguments else [""] * len(texts)
        tensors = [t for a, t in zip(step.args, texts, strict=True) if not _is_number(a)]
        numbers = [f"{n}={t}" for a, n, t in zip(step.args, names, texts, strict=True) if _is_number(a)]
        return ", ".join([*tensors, *numbers])

    def public_name(self, function: Any) -> str:
        """The name as it stands, or that of a function of ours."""
        return function if isinstance(function, str) else str(function.__name__)

    def _function(self, step: Step) -> tuple[str, int]:
        if step.target is getattr and step.args[1] == "shape":
            return f"ops.shape({self.text(step.args[0])})", expressions.ATOM
        return super()._function(step)


def _is_number(x: Any) -> bool:
    return isinstance(x, int) or isinstance(x, Step) and x.is_number


class Forward(forward.Forward):
    """Writes the body of a call."""

    def __init__(self, source: Source, cls: Class, names: Sequence[str]) -> None:
        self.source = source
        self.words = frozenset(WORDS | source.names)
        super().__init__(cls, names)

    def make_writer(self) -> Writer:
        """What writes the expressions."""
        return Writer(self.source, self.cls, self)

    def test(self, flag: Var | str) -> str:
        """A flag, or whether there is such a child."""
        return f"{self.writer.access(flag)} is not None" if isinstance(flag, str) else self.var(flag)

    def is_mask(self, step: Step) -> bool:
        """Whether the step makes truth values."""
        return (step.target == "ops.cast" and step.args[1] == "bool") or super().is_mask(step)

    def loop(self, step: Step, variable: str, given: Sequence[str]) -> tuple[str, str]:
        """Calls of the members of a list."""
        writer = self.writer
        assert isinstance(writer, Writer)
        return f"for {variable} in {writer.access(step.target)}:", f"{variable}({writer.given_to(step, given)})"

    def returns(self, step: Step) -> int | None:
        """How many results a child returns."""
        child = self.source.scopes[self.cls.template].at(step.target)
        result = child.steps[-1].args[0] if child is not None and child.steps else None
        return len(result) if isinstance(result, tuple) else None
