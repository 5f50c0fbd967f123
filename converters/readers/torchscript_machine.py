"""Walks over TorchScript's syntax trees and writes nodes: what is known is computed, what isn't becomes the graph.

Modules are inlined, branches on known conditions taken, loops of known length written out; the others become If and
Loop (torch_control.py). Nothing of the file's code runs: every name that it calls is looked up in our own tables.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.converters.readers.scribe import Fault, Scribe
from zoo.converters.readers.torch_aten import DTYPES, Items, Ref, Sym, call, scalar, watched
from zoo.converters.readers.torch_control import Raised, branched, looped
from zoo.converters.readers.torchscript_code import Library, assigned, bases, constant, fields, method
from zoo.converters.tensors.pickle_values import Global, Instance
from zoo.converters.tensors.torch_globals import View

if TYPE_CHECKING:
    from zoo.converters.readers.torchscript_graph import Tree

FEW_STEPS = 50_000  # of the smallest program, besides ten for each of its bytes
MAX_CALLS = 60  # inside each other
MAX_MEMBERS = 1 << 16  # of a list or text
MAX_NUMBER = 1 << 63
ALWAYS = {"training": False}  # a graph is for inference, whatever the module was when it was saved


class Name(str):
    """A qualified name that is no value: `torch.add`, `__torch__.torch.nn.functional.relu`."""

    __slots__ = ()


class Exhausted(Fault):
    """The program takes more steps than an honest one of its size: no other attempt is made."""


class Nothing:
    """What `uninitialized(T)` gives: a value that nobody will read."""


NOTHING = Nothing()
ROOTS = ("torch", "ops", "__torch__", "CONSTANTS", "prim", "aten", "math")
Env = dict[str, Any]


def literal(node: ast.expr) -> Any:
    """A default of an argument. Raises Fault."""
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise Fault(f"a default that is no number: {ast.unparse(node)[:60]}", is_refusal=True) from error


class Machine:
    """One walk. `op` is the scribe that is written to: a body's own while a branch or a loop is walked."""

    tree: Tree
    constants: Sequence[Any]

    def __init__(self, library: Library, op: Scribe, methods: Mapping[int, str], spent: list[int]) -> None:
        self.library, self.op, self.methods, self.spent = library, op, methods, spent
        self.depth, self.limit = 0, FEW_STEPS + 10 * library.size_bytes

    # ---- calls

    def method(self, module: Instance, name: str) -> ast.FunctionDef:
        """A method of a module. Raises Fault."""
        if id(module) in self.methods:
            found = self.library.module(self.methods[id(module)]).get(name)
            found = found if isinstance(found, ast.FunctionDef) else None
        else:
            found = method(self.library.class_(str(module.cls)), name)
        if found is None:
            raise Fault(f"{str(module.cls)[:120]} has no {name[:60]!r}")
        return found

    def call_function(self, function: ast.FunctionDef, args: Sequence[Any], kwargs: Env) -> Any:
        """What a function returns."""
        names = [arg.arg for arg in (*function.args.args, *function.args.kwonlyargs)]
        if len(args) > len(function.args.args):
            raise Fault(f"{function.name}() is given {len(args)} arguments")
        env = dict(zip(names, args, strict=False)) | kwargs
        defaults = function.args.defaults
        for arg, default in zip(function.args.args[len(function.args.args) - len(defaults) :], defaults, strict=True):
            if arg.arg not in env:
                env[arg.arg] = self.value(default, {})
        if missing := [name for name in names if name not in env]:
            raise Fault(f"{function.name}() is not given {missing[0]!r}")
        self.depth += 1
        if self.depth > MAX_CALLS:
            raise Fault("functions that call each other without end", is_refusal=True)
        before = self.op.path
        if args and isinstance(args[0], Instance) and id(args[0]) in self.tree.paths:
            self.op.path = self.tree.paths[id(args[0])]
        try:
            self.run(function.body, env)
        finally:
            self.depth -= 1
            self.op.path = before
        return env.pop("return", None)

    def run(self, statements: Sequence[ast.stmt], env: Env) -> None:
        """Statements in order."""
        for statement in statements:
            self.step()
            self.statement(statement, env)

    def step(self) -> None:
        """Count what is done, over all attempts at one file."""
        self.spent[0] += 1
        if self.spent[0] > self.limit:
            raise Exhausted(f"more than {self.limit:,} steps", is_refusal=True)

    def statement(self, node: ast.stmt, env: Env) -> None:
        """One statement."""
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=names) as target], value=value):
                self.op.parts = len(names)
                made = self.value(value, env)
                self.op.parts = None
                self.assign(target, made, env)
            case ast.Assign(targets=[target], value=value):
                self.assign(target, self.value(value, env), env)
            case ast.AnnAssign(target=target, value=value) if value is not None:
                self.assign(target, self.value(value, env), env)
            case ast.Expr(value=value):
                self.value(value, env)
            case ast.Return(value=value):
                env["return"] = None if value is None else self.value(value, env)
            case ast.If():
                self.choose(node, env)
            case ast.While(test=test, body=body):
                self.repeat(test, body, env)
            case ast.For(target=ast.Name(id=name), iter=iterated, body=body):
                self.each(name, iterated, body, env)
            case ast.Pass() | ast.Import() | ast.ImportFrom():
                pass
            case _:
                raise Fault(f"a statement that TorchScript doesn't have: {type(node).__name__}", is_refusal=True)

    def assign(self, target: ast.expr, value: Any, env: Env) -> None:
        """Give a value to a name, to several, or to an attribute."""
        match target:
            case ast.Name(id=name):
                env[name] = value
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                if not isinstance(value, list | tuple) or len(value) != len(targets):
                    raise Fault(f"{len(targets)} names for {type(value).__name__}")
                for one, part in zip(targets, value, strict=True):
                    self.assign(one, part, env)
            case ast.Attribute(value=owner, attr=name):
                held = self.value(owner, env)
                if not isinstance(held, Instance):
                    raise Fault(f"an attribute {name[:60]!r} of what is no object")
                watched(held)
                held.state[name] = value
            case _:
                raise Fault("a value is given to what takes none")

    # ---- branches and loops

    def choose(self, node: ast.If, env: Env) -> None:
        """An if: one way where its condition is known, else what both leave."""
        truth = self.truth(self.value(node.test, env))
        if isinstance(truth, bool):
            self.run(node.body if truth else node.orelse, env)
            return
        after: list[tuple[Env, list[str]]] = []
        names = [name for name in assigned(node.body) if name in set(assigned(node.orelse))]
        shapes: list[Any] = []

        def way(statements: list[ast.stmt]) -> Callable[[Scribe], list[Any]]:
            def walk(op: Scribe) -> list[Any]:
                inner = dict(env)
                with _Writing(self, op):
                    self.run(statements, inner)
                after.append((inner, names))
                leaves: list[Any] = []
                shapes.append([_flatten(inner.get(name, NOTHING), leaves) for name in names])
                return leaves

            return walk

        leaves = iter(branched(self.op, truth, way(node.body), way(node.orelse), nothing=NOTHING))
        for name, shape in zip(names, shapes[-1], strict=True):
            env[name] = _unflatten(shape, leaves)
        if len(shapes) != 2:  # one way raises: the other was walked once more, into the graph itself
            env.update({k: v for k, v in after[-1][0].items() if k not in names})

    def each(self, name: str, iterated: ast.expr, body: list[ast.stmt], env: Env) -> None:
        """A for over range(n) or over a list."""
        over = self.value(iterated, env)
        if isinstance(over, range | list | tuple):
            for value in over:
                env[name] = value
                self.run(body, env)
            return
        if not isinstance(over, Sym):
            raise Fault(f"a loop over a {type(over).__name__}")
        self.loop(over, True, body, env, lambda inner, i: inner.__setitem__(name, i), None)

    def repeat(self, test: ast.expr, body: list[ast.stmt], env: Env) -> None:
        """A while: step by step as long as its condition is known."""
        while True:
            truth = self.truth(self.value(test, env))
            if not isinstance(truth, bool):
                break
            if not truth:
                return
            self.step()
            self.run(body, env)
        self.loop(None, truth, body, env, lambda inner, i: None, test)

    def loop(
        self,
        trips: Any,
        condition: Any,
        body: list[ast.stmt],
        env: Env,
        begin: Callable[[Env, Any], None],
        test: ast.expr | None,
    ) -> None:
        """A Loop: its states are the names that its body changes and that had a value before."""
        names = [name for name in assigned(body) if name in env]
        states: list[Any] = []
        shapes = [_flatten(env[name], states) for name in names]

        def step(op: Scribe, i: Any, inside: Sequence[Any]) -> tuple[Any, list[Any]]:
            leaves = iter(inside)
            inner = dict(env) | {name: _unflatten(shape, leaves) for name, shape in zip(names, shapes, strict=True)}
            begin(inner, i)
            with _Writing(self, op):
                self.run(body, inner)
                goes_on = True if test is None else self.truth(self.value(test, inner))
            left: list[Any] = []
            if [_flatten(inner[name], left) for name in names] != shapes:
                raise Fault("a loop that changes the form of what it works on", is_refusal=True)
            return goes_on, left

        leaves = iter(looped(self.op, trips, condition, states, step))
        for name, shape in zip(names, shapes, strict=True):
            env[name] = _unflatten(shape, leaves)

    def truth(self, value: Any) -> Any:
        """A condition: known, or a Sym."""
        if isinstance(value, Ref):
            value = call(self.op, "item", [value], {})
        if isinstance(value, Sym):
            return Sym(scalar(self.op, value, DTYPES[11]), "bool")
        return bool(value)

    # ---- expressions

    def value(self, node: ast.expr, env: Env) -> Any:
        """An expression's value."""
        match node:
            case ast.Constant(value=value):
                if isinstance(value, complex | bytes) or value is Ellipsis:
                    raise Fault(f"a constant of type {type(value).__name__}", is_refusal=True)
                return value
            case ast.Name(id=name):
                return self.name(name, env)
            case ast.Attribute(value=owner, attr=name):
                return self.attribute(self.value(owner, env), name)
            case ast.Call(func=function, args=args, keywords=keywords):
                return self.call(node, function, args, keywords, env)
            case ast.Tuple(elts=parts):
                return tuple(self.value(part, env) for part in parts)
            case ast.List(elts=parts):
                return Items(self.value(part, env) for part in parts)
            case ast.Dict(keys=keys, values=values):
                pairs = zip(keys, values, strict=True)
                return {self.key(self.value(k, env)): self.value(v, env) for k, v in pairs if k is not None}
            case ast.Subscript(value=owner, slice=index):
                return self.member(self.value(owner, env), self.value(index, env))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return call(self.op, "neg", [self.value(operand, env)], {})
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.torch("__not__", [self.value(operand, env)], {})
            case ast.IfExp(test=test, body=yes, orelse=no):
                return self.either(self.truth(self.value(test, env)), yes, no, env)
        raise Fault(f"an expression that TorchScript doesn't have: {type(node).__name__}", is_refusal=True)

    def either(self, truth: Any, yes: ast.expr, no: ast.expr, env: Env) -> Any:
        """`a if c else b`."""

        def way(node: ast.expr) -> Callable[[Scribe], list[Any]]:
            def walk(op: Scribe) -> list[Any]:
                with _Writing(self, op):
                    return [self.value(node, dict(env))]

            return walk

        return branched(self.op, truth, way(yes), way(no))[0]

    def name(self, name: str, env: Env) -> Any:
        """A variable, or the beginning of a qualified name."""
        if name in env:
            return env[name]
        if name in ("inf", "nan"):
            return math.inf if name == "inf" else math.nan
        return Name(name)

    def key(self, value: Any) -> Any:
        """A dict's key. Raises Fault."""
        if not isinstance(value, str | int | float | bool):
            raise Fault("a key that is no text and no number", is_refusal=True)
        return value

    def member(self, owner: Any, index: Any) -> Any:
        """owner[index] of a list, a tuple or a dict."""
        if isinstance(owner, Name):  # a type, such as List[int]
            return owner
        if isinstance(owner, dict):
            return owner[self.key(index)]
        if isinstance(owner, list | tuple | str) and isinstance(index, int):
            return owner[index]
        raise Fault(f"a member of a {type(owner).__name__} by a {type(index).__name__}", is_refusal=True)

    def attribute(self, owner: Any, name: str) -> Any:
        """owner.name: a module's tensor, child or number; a field of a named tuple; or a longer name."""
        if isinstance(owner, Name):
            if owner == "CONSTANTS":
                return self.known(self.constants[int(name.removeprefix("c"))])
            return Name(f"{owner}.{name}")
        if isinstance(owner, Instance):
            if name in ALWAYS:
                return ALWAYS[name]
            if name in owner.state:
                return self.known(owner.state[name])
            if str(owner.cls).startswith("__torch__."):
                cls = self.library.class_(str(owner.cls))
                if "NamedTuple" in bases(cls) and name in fields(cls):
                    return owner.entries[fields(cls).index(name)]
                if (stated := constant(cls, name)) is not None:
                    return self.value(stated, {})
            raise Fault(f"{str(owner.cls)[:120]} has no {name[:60]!r}")
        if isinstance(owner, Ref):
            return self.torch(name, [owner], {})
        raise Fault(f"an attribute {name[:60]!r} of a {type(owner).__name__}")

    def known(self, value: Any) -> Any:
        """A value out of the pickle as one of the program."""
        if isinstance(value, View):
            return self.tree.tensor(value)
        if isinstance(value, list) and not isinstance(value, Items):
            return Items(self.known(part) for part in value)
        if isinstance(value, tuple):
            return tuple(self.known(part) for part in value)
        if isinstance(value, dict):
            return {key: self.known(part) for key, part in value.items()}
        return value

    def call(
        self, node: ast.Call, function: ast.expr, args: list[ast.expr], keywords: list[ast.keyword], env: Env
    ) -> Any:
        """A call of a method, of a function of the file, or of an operator."""
        if isinstance(function, ast.Name) and function.id not in env and function.id in TYPED:
            return NOTHING if function.id == "uninitialized" else self.value(args[-1], env)
        owner: Any = None
        if isinstance(function, ast.Attribute):
            owner = self.value(function.value, env)
        values = [self.value(arg, env) for arg in args]
        named = {k.arg: self.value(k.value, env) for k in keywords if k.arg is not None}
        if isinstance(owner, Instance) and isinstance(function, ast.Attribute):
            return self.call_function(self.method(owner, function.attr), [owner, *values], named)
        if isinstance(owner, Name) and isinstance(function, ast.Attribute):
            called = self.attribute(owner, function.attr)
        else:
            called = self.value(function, env)
        if not isinstance(called, Name):
            raise Fault(f"a {type(called).__name__} is called")
        return self.checked(self.named(called, values, named))

    def checked(self, value: Any) -> Any:
        """A value within bounds: numbers and lists may grow at every step."""
        is_large = (type(value) is int and abs(value) > MAX_NUMBER) or (
            isinstance(value, list | str) and len(value) > MAX_MEMBERS
        )
        if is_large:
            raise Fault("a number, list or text that grows without end", is_refusal=True)
        return value

    def named(self, name: Name, args: list[Any], kwargs: Env) -> Any:
        """A call by a qualified name."""
        if name.startswith("__torch__."):
            found = self.library.find(str(name))
            if isinstance(found, ast.FunctionDef):
                return self.call_function(found, args, kwargs)
            assert isinstance(found, ast.ClassDef)
            return self.made(name, found, args, kwargs)
        if name.startswith("ops.prim."):
            return self.prim(name.removeprefix("ops.prim."), args, kwargs)
        if name.startswith("ops.torchvision."):
            return call(self.op, f"torchvision::{name.removeprefix('ops.torchvision.')}", args, kwargs)
        for prefix in ("torch.", "ops.aten.", "aten."):
            if name.startswith(prefix):
                return self.torch(name.removeprefix(prefix), args, kwargs)
        if name in BUILTINS:
            return BUILTINS[name](self, *args, **kwargs)
        raise Fault(f"{str(name)[:120]} is called, which is not known", is_refusal=True)

    def made(self, name: Name, cls: ast.ClassDef, args: list[Any], kwargs: Env) -> Any:
        """An object of one of the file's classes; a named tuple is a tuple that knows its class."""
        if "NamedTuple" in bases(cls):
            return (*args, *(kwargs[field] for field in fields(cls)[len(args) :]))
        module, _, last = name.rpartition(".")
        held = Instance(Global(module, last))
        init = method(cls, "__init__")
        if init is not None:
            self.call_function(init, [held, *args], kwargs)
        return held

    def prim(self, name: str, args: list[Any], kwargs: Env) -> Any:
        """ops.prim.X."""
        if name == "RaiseException":
            raise Raised(f"the program raises: {str(args[0] if args else '')[:160]}", is_refusal=True)
        return self.torch(name, args, kwargs)

    def torch(self, name: str, args: list[Any], kwargs: Env) -> Any:
        """torch.X: of lists, numbers and objects here, of tensors by the table of aten's operators."""
        if name in LANGUAGE:
            return LANGUAGE[name](self, *args, **kwargs)
        if name in OF_LISTS and args and isinstance(args[0], list | dict | str | tuple):
            return OF_LISTS[name](self, *args, **kwargs)
        return call(self.op, name, args, kwargs)


class _Writing:
    """While a branch or loop is walked, nodes go into its body."""

    def __init__(self, machine: Machine, op: Scribe) -> None:
        self.machine, self.op, self.before = machine, op, machine.op

    def __enter__(self) -> None:
        self.op.path = self.before.path
        self.machine.op = self.op

    def __exit__(self, *_: object) -> None:
        self.machine.op = self.before


def _flatten(value: Any, leaves: list[Any]) -> Any:
    """The form of a value, whose tensors and numbers go to `leaves`."""
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return kind, [_flatten(part, leaves) for part in value]
    if isinstance(value, Ref | Sym | bool | int | float | Nothing):
        leaves.append(value)
        return "leaf"
    return "known", value


def _unflatten(shape: Any, leaves: Any) -> Any:
    if shape == "leaf":
        return next(leaves)
    kind, parts = shape
    if kind == "known":
        return parts
    values = [_unflatten(part, leaves) for part in parts]
    return Items(values) if kind == "list" else tuple(values)


# ---- the language itself


def _number(m: Machine, value: Any, kind: type) -> Any:
    """int(x), float(x), bool(x) of numbers, text and tensors of one element."""
    if isinstance(value, Ref):
        value = call(m.op, "item", [value], {})
    if isinstance(value, Sym):
        number = {"int": 4, "float": 7, "bool": 11}[kind.__name__]
        return Sym(scalar(m.op, value, DTYPES[number]), kind.__name__)
    return kind(value)


def _is(m: Machine, a: Any, b: Any) -> bool:
    return a is b or (a is None) == (b is None) and a is not None and type(a) is type(b) and a == b


def _not(m: Machine, value: Any) -> Any:
    truth = m.truth(value)
    return not truth if isinstance(truth, bool) else Sym(m.op.Not(truth.value), "bool")


def _append(m: Machine, items: Any, value: Any) -> Any:
    watched(items)
    items.append(value)
    return m.checked(items)


def _extend(m: Machine, items: Any, values: Any) -> Any:
    watched(items)
    items.extend(values)
    return m.checked(items)


def _pop(m: Machine, items: Any, at: Any = -1, *_: Any) -> Any:
    watched(items)
    return items.pop(at)


def _insert(m: Machine, items: Any, at: Any, value: Any) -> Any:
    watched(items)
    items.insert(at, value)
    return m.checked(items)


def _set_item(m: Machine, items: Any, key: Any, value: Any) -> Any:
    watched(items)
    if isinstance(key, Sym):
        raise Fault("a place of a list that is not known", is_refusal=True)
    items[key] = value
    return items


def _clear(m: Machine, items: Any) -> None:
    watched(items)
    items.clear()


def _reverse(m: Machine, items: Any) -> None:
    watched(items)
    items.reverse()


def _contains(m: Machine, items: Any, value: Any) -> Any:
    if isinstance(value, Sym) or (isinstance(items, list) and any(isinstance(item, Sym) for item in items)):
        raise Fault("whether a list has a number that is not known", is_refusal=True)
    return value in items


def _range_length(m: Machine, low: Any, high: Any, step: Any) -> Any:
    if all(isinstance(v, int) for v in (low, high, step)):
        return len(range(low, high, step))
    span = call(m.op, "sub", [high, low], {})
    return call(m.op, "floordiv", [call(m.op, "add", [span, call(m.op, "sub", [step, 1], {})], {}), step], {})


def _derive_index(m: Machine, index: Any, start: Any, step: Any) -> Any:
    return call(m.op, "add", [start, call(m.op, "mul", [index, step], {})], {})


def _length(m: Machine, value: Any) -> Any:
    return call(m.op, "size", [value, 0], {}) if isinstance(value, Ref) else len(value)


def _range(m: Machine, *bounds: Any) -> Any:
    if all(isinstance(bound, int) for bound in bounds):
        return range(*bounds)
    if len(bounds) == 1:
        return bounds[0]
    raise Fault("a loop between bounds that are not known", is_refusal=True)


def _getattr(m: Machine, owner: Any, name: str) -> Any:
    return m.attribute(owner, name)


def _isinstance(m: Machine, value: Any, kind: Any) -> Any:
    raise Fault("a choice by a value's type", is_refusal=True)


def _nothing(m: Machine, *_: Any, **__: Any) -> None:
    return None


def _false(m: Machine, *_: Any, **__: Any) -> bool:
    return False


def _given(m: Machine, value: Any, *_: Any) -> Any:
    return value


def _min_max(which: str) -> Callable[..., Any]:
    def emit(m: Machine, *args: Any) -> Any:
        return call(m.op, which, list(args), {})

    return emit


TYPED = ("annotate", "unchecked_cast", "uninitialized")
BUILTINS: dict[str, Callable[..., Any]] = {
    "int": lambda m, x: _number(m, x, int),
    "float": lambda m, x: _number(m, x, float),
    "bool": lambda m, x: _number(m, x, bool),
    "range": _range,
    "getattr": _getattr,
    "isinstance": _isinstance,
    "print": _nothing,
    "str": lambda m, x: str(x)[:100],
    "len": _length,
}
LANGUAGE: dict[str, Callable[..., Any]] = {
    "__is__": _is,
    "__isnot__": lambda m, a, b: not _is(m, a, b),
    "__not__": _not,
    "len": _length,
    "Int": BUILTINS["int"],
    "Float": BUILTINS["float"],
    "Bool": BUILTINS["bool"],
    "IntImplicit": BUILTINS["int"],
    "FloatImplicit": BUILTINS["float"],
    "ScalarImplicit": lambda m, x: call(m.op, "item", [x], {}),
    "__range_length": _range_length,
    "__derive_index": _derive_index,
    "__contains__": _contains,
    "__getitem__": lambda m, items, key: m.member(items, key),
    "append": _append,
    "extend": _extend,
    "insert": _insert,
    "pop": _pop,
    "_set_item": _set_item,
    "list": lambda m, x: Items(x),
    "dict": lambda m, *pairs: dict(*pairs),
    "keys": lambda m, x: Items(x),
    "values": lambda m, x: Items(x.values()),
    "items": lambda m, x: Items(x.items()),
    "get": lambda m, x, key, default=None: x.get(key, default),
    "format": lambda m, text, *_: str(text)[:200],
    "warn": _nothing,
    "device": _nothing,
    "get_device": lambda m, *_: -1,
    "layout": _nothing,
    "manual_seed": _nothing,
    "set_grad_enabled": _nothing,
    "is_grad_enabled": _false,
    "is_autocast_enabled": _false,
    "is_autocast_cpu_enabled": _false,
    "is_tracing": _false,
    "is_scripting": lambda m: True,
    "unchecked_unwrap_optional": _given,
    "_unwrap_optional": _given,
    "data": _given,
    "requires_grad_": _given,
    "AutogradAnyNonZero": _false,
}
OF_LISTS: dict[str, Callable[..., Any]] = {
    "copy": lambda m, x: type(x)(x),
    "clear": _clear,
    "reverse": _reverse,
    "index": lambda m, x, value, *_: x.index(value),
    "count": lambda m, x, value: x.count(value),
    "lower": lambda m, x: x.lower(),
    "upper": lambda m, x: x.upper(),
    "startswith": lambda m, x, *args: x.startswith(*args),
    "endswith": lambda m, x, *args: x.endswith(*args),
    "eq": lambda m, a, b: call(m.op, "eq", [a, b], {}),
    "join": lambda m, x, parts: m.checked(x.join(map(str, parts))),
    "all": lambda m, x: all(x),
    "any": lambda m, x: any(x),
}
