"""A TorchScript module -> a graph: its tensors by their authors' names, `forward` called on inputs."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from zoo.converters.readers.scribe import Facts, Fault, Scribe, finish, with_facts
from zoo.converters.readers.torch_aten import Items, Ref, Sym
from zoo.converters.readers.torchscript_code import Library, author_class, names_in
from zoo.converters.readers.torchscript_machine import Exhausted, Machine, literal
from zoo.converters.tensors import Tensor, mapped
from zoo.converters.tensors.mapped import quoted
from zoo.converters.tensors.pickle_values import Instance
from zoo.converters.tensors.torch_globals import View

MAX_MODULES = 100_000
MAX_DEPTH = 200
MAX_INPUTS = 1_000


class Tree:
    """The modules and tensors of a program by their names."""

    def __init__(self, library: Library, root: Instance, op: Scribe) -> None:
        self.library, self.op = library, op
        self.paths: dict[int, str] = {}
        self.modules: dict[str, str] = {}
        self.tensors: dict[tuple[Any, ...], Ref] = {}
        self._walk(root, "", 0)

    def _walk(self, module: Instance, path: str, depth: int) -> None:
        if id(module) in self.paths:
            return
        if len(self.paths) > MAX_MODULES or depth > MAX_DEPTH:
            raise Fault("modules without end", is_refusal=True)
        self.paths[id(module)] = path
        self.modules[path] = author_class(str(module.cls))
        buffers = set(module.state.get("__buffers__") or ())
        parameters = None
        if str(module.cls).startswith("__torch__."):
            cls = self.library.class_(str(module.cls))
            buffers, parameters = set(names_in(cls, "__buffers__")), set(names_in(cls, "__parameters__"))
        for name, value in module.state.items():
            at = f"{path}.{name}" if path else str(name)
            if isinstance(value, View):
                is_plain = parameters is not None and name not in buffers and name not in parameters
                self._take(at, value, None if is_plain else "buffer" if name in buffers else "parameter")
        for name, value in module.state.items():
            if isinstance(value, Instance):
                self._walk(value, f"{path}.{name}" if path else str(name), depth + 1)

    def _take(self, name: str, view: View, kind: str | None) -> None:
        key = _key(view)
        if key not in self.tensors:
            kind = "counter" if kind and name.endswith("num_batches_tracked") else kind
            self.tensors[key] = Ref(self.op.parameter(name, _tensor(name, view), kind))

    def tensor(self, view: View) -> Ref:
        """A tensor that stands somewhere in the module's attributes, or among the constants."""
        if _key(view) not in self.tensors:
            self._take(self.op.unique(f"constant_{len(self.tensors)}"), view, None)
        return self.tensors[_key(view)]


def _key(view: View) -> tuple[Any, ...]:
    return id(view.storage), view.dtype, view.offset, view.shape, view.strides


def _tensor(name: str, view: View) -> Tensor:
    storage = view.storage
    if storage.source is None:
        raise Fault(f"the storage {quoted(storage.key)} is not in the file")
    return mapped.tensor(
        Path(storage.key), name, storage.source, storage.size_bytes, view.dtype, view.shape,
        strides=view.strides, offset=view.offset, is_big_endian=storage.is_big_endian,
    )  # fmt: skip


def build(
    library: Library, module: Instance, constants: Sequence[Any], methods: Mapping[int, str], traced: Sequence[Any] = ()
) -> ir.Model:
    """The bound graph; `traced` are the inputs that the module was traced with, as far as the file has them.

    Raises Fault.
    """
    spent = [0]  # steps, of all attempts
    forward = Machine(library, Scribe(), methods, spent).method(module, "forward")

    def build_with(facts: Facts) -> ir.Model:
        op = Scribe(None, library.size_bytes)
        return _build(Machine(library, op, methods, spent), module, constants, facts)

    def attempt(*, fixed: bool) -> ir.Model:
        facts = Facts()
        for arg, value in zip(forward.args.args[1:], traced, strict=False):
            _note(facts, arg.arg, value, fixed=fixed)
        return with_facts(build_with, facts)

    try:
        return attempt(fixed=False)
    except Fault as fault:
        if not traced or isinstance(fault, Exhausted):
            raise
        try:  # where a free size is in the way, the traced one is as good as any
            return attempt(fixed=True)
        except Fault:
            raise fault from None


def _note(facts: Facts, name: str, value: Any, *, fixed: bool) -> None:
    """The rank and dtype of a traced input, its sizes if they are fixed, and those of each in a tuple."""
    if isinstance(value, View):
        facts.ranks[name] = len(value.shape)
        facts.dtypes[name] = mapped.ONNX_TYPES[value.dtype]
        if fixed:
            facts.sizes[name] = value.shape
    elif isinstance(value, tuple):
        for i, part in enumerate(value):
            _note(facts, f"{name}_{i}", part, fixed=fixed)


def _build(machine: Machine, module: Instance, constants: Sequence[Any], facts: Facts) -> ir.Model:
    op, library = machine.op, machine.library
    forward = machine.method(module, "forward")
    inputs = forward.args.args[1:]
    op.names.update(arg.arg for arg in inputs)
    tree = Tree(library, module, op)
    machine.tree, machine.constants = tree, constants
    given = _inputs(op, forward, facts)
    result = machine.call_function(forward, [module, *given], {})
    op.path = ""
    outputs = _outputs(result)
    if not outputs:
        raise Fault("a module that gives no tensor", is_refusal=True)
    named = {name: value.value() if isinstance(value, Ref) else value.value for name, value in outputs.items()}
    return finish(op, named, name="module", modules=tree.modules, made_by={"format": "torchscript"}, facts=facts)


def _inputs(op: Scribe, forward: ast.FunctionDef, facts: Facts) -> list[Any]:
    """One value for each argument of forward: an input, a list or tuple of inputs, or what stands for a missing one."""
    args = forward.args.args[1:]
    if len(args) > MAX_INPUTS:
        raise Fault(f"{len(args):,} inputs", is_refusal=True)
    defaults = [None] * (len(args) - len(forward.args.defaults)) + list(forward.args.defaults)
    return [_input(op, arg.arg, arg.annotation, default, facts) for arg, default in zip(args, defaults, strict=True)]


def _input(op: Scribe, name: str, kind: ast.expr | None, default: ast.expr | None, facts: Facts) -> Any:
    text = ast.unparse(kind) if kind is not None else "Tensor"
    if text == "Tensor":
        shape: list[int | str | None] | None = None
        if name in facts.ranks:
            shape = list(facts.sizes.get(name) or (f"{name}_{i}" for i in range(facts.ranks[name])))
            shape[:1] = ["N"] if shape else []  # the batch is free, also where the rest is not
        return Ref(op.input(name, facts.dtypes.get(name, ir.DataType.FLOAT), shape))
    if default is not None:
        return literal(default)
    if isinstance(kind, ast.Subscript) and isinstance(kind.value, ast.Name):
        if kind.value.id == "Optional":
            return None
        if kind.value.id == "Tuple" and isinstance(kind.slice, ast.Tuple):
            return tuple(_input(op, f"{name}_{i}", part, None, facts) for i, part in enumerate(kind.slice.elts))
    raise Fault(f"input {name!r} is a {text[:60]}, which is no tensor", is_refusal=True)


def _outputs(result: Any, name: str = "output") -> dict[str, Ref | Sym]:
    """The tensors of a result: one is `output`, several are numbered, those of a dict have its keys."""
    if isinstance(result, Ref | Sym):
        return {name: result}
    found: dict[str, Ref | Sym] = {}
    if isinstance(result, dict):
        for key, value in result.items():
            found |= _outputs(value, str(key) if name == "output" else f"{name}_{key}")
    if isinstance(result, list | tuple | Items):
        for i, value in enumerate(result):
            found |= _outputs(value, f"{name}_{i}")
    return found
