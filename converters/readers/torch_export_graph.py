"""An exported program's JSON -> a graph: the walk over its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from zoo.converters.readers import torch_aten
from zoo.converters.readers.scribe import Facts, Fault, Scribe, finish, with_facts
from zoo.converters.readers.torch_aten import KINDS, Ref, Sym, Untold, call
from zoo.converters.readers.torch_control import branched
from zoo.converters.tensors import Tensor

# torch/_export/serde/schema.py, ScalarType -> c10::ScalarType
SCALARS = {1: 0, 2: 1, 3: 2, 4: 3, 5: 4, 6: 5, 7: 6, 8: 7, 12: 11, 13: 15}
PYTHON = {
    "_operator": {"add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pow", "eq", "ne", "lt", "le", "gt", "ge"}
}
PYTHON |= {"math": {"ceil", "floor"}, "torch": {"sym_max", "sym_min", "sym_not", "sym_float", "sym_int"}}
WRAPPED = ("wrap_with_set_grad_enabled", "wrap_with_autocast", "invoke_subgraph")
PLAIN = ("as_int", "as_bool", "as_string", "as_ints", "as_floats", "as_bools", "as_strings")


class Walk:
    """One graph of the program: its values by name."""

    def __init__(self, op: Scribe, modules: dict[str, str]) -> None:
        self.op, self.modules = op, modules
        self.values: dict[str, Any] = {}

    def run(self, graph: Mapping[str, Any]) -> list[Any]:
        """The outputs of a graph whose inputs are in `values`."""
        for node in graph["nodes"]:
            self.node(node, graph["tensor_values"])
        return [self.argument(output) for output in graph["outputs"]]

    def node(self, node: Mapping[str, Any], stated: Mapping[str, Any]) -> None:
        """One call."""
        target = str(node["target"])
        self.op.path = _path(node.get("metadata") or {}, self.modules)
        try:
            made = self.call(target, node)
        except Fault as fault:
            if self.op.path:
                fault.args = (f"{fault} in {self.op.path!r}",)
            raise
        self.take(node["outputs"], made, stated)

    def call(self, target: str, node: Mapping[str, Any]) -> Any:
        """What a node gives."""
        parts = target.removeprefix("torch.ops.").split(".")
        if target.startswith("torch.ops.aten."):
            return call(self.op, parts[1], [], {i["name"]: self.argument(i["arg"]) for i in node["inputs"]})
        if parts[0] == "torchvision":
            named = {i["name"]: self.argument(i["arg"]) for i in node["inputs"]}
            return call(self.op, f"torchvision::{parts[1]}", [], named)
        args = [self.argument(i["arg"]) for i in node["inputs"]]
        if parts[0] == "higher_order" and parts[1] == "cond":
            return self.cond(*args)
        if parts[0] == "higher_order" and parts[1] in WRAPPED:
            return self.wrapped(args)
        module, _, name = target.rpartition(".")
        if name in PYTHON.get(module, ()):
            return _number(self.op, name.removeprefix("sym_"), args)
        if target == "_operator.getitem":
            return args[0][args[1]]
        raise Fault(f"{target[:80]} is called, and only aten's operators are known", is_refusal=True)

    def cond(self, truth: Any, yes: Any, no: Any, operands: Any = ()) -> Any:
        """torch.cond: both graphs take the operands."""

        def branch(graph: Any) -> Any:
            def run(op: Scribe) -> list[Any]:
                return self.inner(op, graph, list(operands))

            return run

        return branched(self.op, truth, branch(yes), branch(no))

    def inner(self, op: Scribe, graph: Mapping[str, Any], operands: list[Any]) -> list[Any]:
        """The outputs of a graph inside the graph."""
        walk = Walk(op, self.modules)
        for spec, operand in zip(graph["inputs"], operands, strict=True):
            walk.values[_name(spec)] = operand
        return walk.run(graph)

    def wrapped(self, args: list[Any]) -> Any:
        """A graph that is called under other settings, which don't matter here."""
        at = next(i for i, arg in enumerate(args) if isinstance(arg, dict) and "nodes" in arg)
        return self.inner(self.op, args[at], [arg for arg in args[at + 1 :] if not isinstance(arg, str)])

    def take(self, outputs: Any, made: Any, stated: Mapping[str, Any]) -> None:
        """Name what a node gave, and note what the program says of it."""
        names = [_names(output) for output in outputs]
        if len(names) == 1 and isinstance(names[0], list):
            names = names[0]
        several = (
            made if isinstance(made, list | tuple) and (len(names) > 1 or len(made) == 1 == len(names)) else [made]
        )
        for name, value in zip(names, several, strict=False):
            if not isinstance(name, str):
                continue
            self.values[name] = value
            meta = stated.get(name)
            if meta is not None and isinstance(value, Ref) and not isinstance(value, Untold):
                self.op.state(value.value(), [_size(n) for n in meta["sizes"]])

    def argument(self, arg: Mapping[str, Any]) -> Any:
        """An argument's value."""
        ((kind, value),) = arg.items()
        if kind == "as_float":
            return float(value)  # "Infinity" is text
        if kind in PLAIN:
            return value
        if kind == "as_none":
            return None
        if kind in ("as_tensor", "as_optional_tensor"):
            return self.argument(value) if "name" not in value else self.value(value["name"])
        if kind in ("as_tensors", "as_optional_tensors"):
            return [self.value(v["name"]) if "name" in v else self.argument(v) for v in value]
        if kind == "as_scalar_type":
            return SCALARS.get(value, value + 100)
        if kind in ("as_sym_int", "as_sym_bool", "as_sym_float"):
            return self.symbol(value)
        if kind in ("as_sym_ints", "as_sym_bools", "as_sym_floats"):
            return [self.symbol(v) for v in value]
        if kind == "as_graph":
            return value["graph"]
        if kind in ("as_memory_format", "as_layout", "as_device", "as_complex", "as_custom_obj", "as_operator"):
            return None
        raise Fault(f"an argument of kind {kind[:40]!r}", is_refusal=True)

    def symbol(self, value: Mapping[str, Any]) -> Any:
        """A number that may be known."""
        ((kind, found),) = value.items()
        return self.value(found) if kind == "as_name" else found

    def value(self, name: str) -> Any:
        """What a name stands for. Raises Fault."""
        if name not in self.values:
            raise Fault(f"{name[:80]!r} is used and nothing makes it")
        return self.values[name]


def _number(op: Scribe, name: str, args: list[Any]) -> Any:
    """Python's own arithmetic on sizes."""
    if name in ("float", "int"):
        (value,) = args
        return (
            Sym(op.cast(value.value, KINDS[name]), name)
            if isinstance(value, Sym)
            else (float, int)[name == "int"](value)
        )
    if name == "not":
        (value,) = args
        return Sym(op.Not(value.value), "bool") if isinstance(value, Sym) else not value
    return call(op, name, args, {})


def _names(output: Mapping[str, Any]) -> Any:
    """The name of an output, or the names in it."""
    ((kind, value),) = output.items()
    if kind in ("as_tensors", "as_optional_tensors"):
        return [v["name"] if "name" in v else _names(v) for v in value]
    if kind == "as_tensor":
        return value["name"]
    return value.get("as_name") if isinstance(value, dict) else None


def _name(spec: Mapping[str, Any]) -> str:
    found = _names(spec)
    if not isinstance(found, str):
        raise Fault("an input without a name")
    return found


def _size(value: Mapping[str, Any]) -> int | None:
    return value.get("as_int")


def _path(metadata: Mapping[str, Any], modules: dict[str, str]) -> str:
    """The author's module: the last of the stack, `key,path,class;key,path,class`."""
    path = ""
    for part in str(metadata.get("nn_module_stack") or "").split(";"):
        words = part.split(",")
        if len(words) >= 3:
            path = words[1].removeprefix("L__self__.").removeprefix("L['self'].")
            path = "" if path in ("L__self__", "L['self']") else path
            if len(modules) < 100_000:
                modules.setdefault(path, words[2])
    return path


def build(program: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ir.Model:
    """The bound graph of a program. Raises Fault."""
    _check_operators(program["graph_module"]["graph"])
    return with_facts(lambda facts: _build(program, tensors, facts))


def _check_operators(graph: Mapping[str, Any]) -> None:
    """Raise Fault with every operator that is not known."""
    names = {str(node["target"]) for node in graph["nodes"]}
    aten = {name.split(".")[3] for name in names if name.startswith("torch.ops.aten.")}
    if unknown := sorted(name for name in aten if torch_aten.find(name) is None):
        raise Fault(f"operators that are not known: aten::{', aten::'.join(unknown)[:300]}", is_refusal=True)


def _build(program: Mapping[str, Any], tensors: Mapping[str, Tensor], facts: Facts) -> ir.Model:
    op = Scribe()
    module = program["graph_module"]
    graph, signature = module["graph"], module["signature"]
    walk = Walk(op, {})
    specs = signature["input_specs"]
    op.names.update(_user_input(spec["user_input"]) or "" for spec in specs if "user_input" in spec)
    for spec in specs:
        _input(walk, spec, tensors, graph["tensor_values"])
    results = walk.run(graph)
    outputs: dict[str, ir.Value] = {}
    for spec, result, arg in zip(signature["output_specs"], results, graph["outputs"], strict=True):
        if "user_output" in spec and isinstance(result, Ref | Sym):
            value = result.value() if isinstance(result, Ref) else result.value
            name = str(_names(arg))
            outputs[name if name not in outputs else op.unique(name)] = value
    if not outputs:
        raise Fault("a program without a tensor as its output", is_refusal=True)
    op.path = ""
    made_by = {"format": "torch-export", "torch": str(program.get("torch_version", ""))[:40]}
    return finish(
        op, outputs, name="program", modules=walk.modules or {"": "torch.nn.Module"}, made_by=made_by, facts=facts
    )


def _user_input(spec: Mapping[str, Any]) -> str | None:
    found = _names(spec["arg"])
    return found if isinstance(found, str) else None


def _input(walk: Walk, spec: Mapping[str, Any], tensors: Mapping[str, Tensor], stated: Mapping[str, Any]) -> None:
    """One input of the program's graph: a weight, a constant, or what the user gives."""
    ((kind, entry),) = spec.items()
    fields = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}
    if kind in fields:
        name, key = entry["arg"]["name"], entry[fields[kind]]
        if key not in tensors:
            raise Fault(f"{key[:80]!r} is not among the archive's tensors")
        role = {"parameter": "parameter", "buffer": "buffer"}.get(kind)
        if key.endswith("num_batches_tracked"):
            role = "counter"
        walk.values[name] = Ref(walk.op.parameter(key, tensors[key], role))
    elif kind == "user_input" and (found := _user_input(entry)) is not None:
        meta = stated[found]
        dtype = torch_aten.dtype_of(SCALARS.get(meta["dtype"], -1))
        shape = [_size(n) or _symbol(n) for n in meta["sizes"]]
        walk.values[found] = Ref(walk.op.input(found, dtype, shape))
    elif kind not in ("user_input", "constant_input", "token"):
        raise Fault(f"an input of kind {kind[:40]!r}", is_refusal=True)


def _symbol(value: Mapping[str, Any]) -> str | None:
    """The name of a free size; None for an expression."""
    expression = (value.get("as_expr") or {}).get("expr_str", "")
    return expression if str(expression).isidentifier() else None
