"""Bound canonical graph -> a Gluon HybridBlock, whose children are the author's modules, its parameters his tensors.

net = zoo.load("resnet50", framework="gluon")
net.hybridize()
logits = net(images)
trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 1e-4})
with autograd.record():
    loss = loss_of(net(images), labels)  # updates the running statistics in place, and drops
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mxnet as mx
import numpy as np
import onnx_ir as ir
from mxnet import gluon

from zoo.converters.dtypes import cast
from zoo.converters.graph import modules
from zoo.converters.writers.mxnet.program import Program, arrays_of, data_of, kind, traced
from zoo.converters.writers.mxnet.trace import Untraceable
from zoo.converters.writers.mxnet.types import Array, to_mxnet
from zoo.converters.writers.mxnet.writer import context, lowers
from zoo.errors import BadInput

__all__ = ["Model", "Scope", "lowers", "placed", "tensors", "write"]
Tensor = ir.TensorProtocol
CONSTANTS = "constants"  # the child that holds what is no tensor of the author's


class Scope(gluon.HybridBlock):  # type: ignore[misc]  # mxnet is skipped by mypy
    """A module of the author's: it holds his tensors and modules by their names. The model computes for all."""

    def __init__(self, author_class: str = "") -> None:
        super().__init__(prefix="")
        self.author_class = author_class.rpartition(".")[2]

    def __repr__(self) -> str:
        """The author's class, what it holds, and its modules."""
        held = ", ".join(f"{name}={list(p.shape)}" for name, p in self._reg_params.items())
        lines = [line for name, child in self._children.items() for line in f"({name}): {child!r}".splitlines()]
        inner = "".join(f"\n  {line}" for line in lines) + "\n" * bool(lines)
        return f"{self.author_class or type(self).__name__}({held}{inner})"

    def __getitem__(self, name: str | int) -> Any:
        """A module in this one, by its name: `net["layer1"][0]`."""
        return self._children[str(name)]

    def hold(self, field: str, parameter: Any) -> None:
        """Take a tensor as a parameter of this module."""
        self._reg_params[field] = parameter
        self.params._params[parameter.name] = parameter


class Model(Scope):
    """What the graph computes: an array, or a dict by the author's names of several."""

    def __init__(self, program: Program) -> None:
        tree = modules(program.model)
        super().__init__(tree.get("", ("", {}))[0])
        self.program = program
        self.held: dict[str, Any] = {}
        arrays = arrays_of(program)
        for value in program.read:
            name = value.name or ""
            *path, field = name.split(".")
            scope: Any = self
            for i, part in enumerate(path):
                if part not in scope._children:
                    scope.register_child(Scope(tree.get(".".join(path[: i + 1]), ("", {}))[0]), part)
                scope = scope[part]
            is_trained = kind(value) == "parameter" and np.dtype(data_of(value).dtype.numpy()).kind == "f"
            self.held[name] = _parameter(name, arrays[name], is_trained=is_trained)
            scope.hold(field, self.held[name])
        self.constants: dict[tuple[Any, ...], Any] = {}
        try:
            outputs, found = traced(program, {name: mx.sym.var(name) for name in self.held})
        except Untraceable:  # then it is said again, with its reason, when the model is hybridized
            return
        read = set(mx.sym.Group(outputs).list_inputs())
        if constants := {name: array for name, array in found.arrays.items() if name in read}:
            scope = Scope()
            self.register_child(scope, CONSTANTS)
            for name, array in constants.items():
                self.constants[_key(array)] = _parameter(name, to_mxnet(array), is_trained=False)
                scope.hold(name, self.constants[_key(array)])

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Inputs in the graph's order, or by the author's names. Raises BadInput for inputs that don't fit."""
        names = [v.name or "" for v in self.program.inputs]
        if named:
            if inputs or set(named) != set(names):
                raise BadInput(f"inputs {', '.join(named)}; the model has {', '.join(names)}")
            inputs = tuple(named[name] for name in names)
        if len(inputs) != len(names):
            raise BadInput(f"{len(inputs)} inputs, the model has {len(names)}: {', '.join(names) or 'none'}")
        with mx.util.np_shape(True):
            made = super().__call__(*inputs) if inputs else self.hybrid_forward(mx.nd)
        if not isinstance(made, (list, tuple)):
            return made
        return dict(zip([v.name or "output" for v in self.program.graph.outputs], made, strict=True))

    def hybrid_forward(self, F: Any, *inputs: Any, **_: Any) -> Any:
        """The walk over the graph, on arrays or on symbols."""
        feeds = dict(zip([v.name or "" for v in self.program.inputs], inputs, strict=True))
        if F is mx.sym:
            given = {name: p.var() for name, p in self.held.items()}
            made = self.program.walk(F, feeds, given, self._variable)
        else:
            given = {name: p.data() for name, p in self.held.items()}
            made = self.program.walk(F, feeds, given, lambda array, name: to_mxnet(array))
        return made[0] if len(made) == 1 else made

    def _variable(self, array: Array, name: str) -> Any:
        """The variable of a constant; of one that no operator reads in the end, one that falls away."""
        held = self.constants.get(_key(array))
        return mx.sym.var(name or "constant") if held is None else held.var()


def _key(array: Array) -> tuple[Any, ...]:
    return array.dtype.name, array.shape, array.tobytes()


def _parameter(name: str, array: Any, *, is_trained: bool) -> Any:
    """A parameter of the author's name that holds an array; what is not trained has no gradient."""
    made = gluon.Parameter(
        name,
        grad_req="write" if is_trained else "null",
        shape=array.shape,
        dtype=np.dtype(array.dtype),
        init=mx.init.Zero(),
        differentiable=is_trained,
    )
    with mx.util.np_shape(True):
        made.initialize(ctx=mx.cpu())
        made.set_data(array)
    return made


def write(model: ir.Model, *, dtype: str | None = None) -> Model:
    """The native block of a bound canonical model, every parameter trainable. Raises HubError."""
    return Model(Program(model if dtype is None else cast(model, dtype)))


def tensors(native: Model) -> Mapping[str, Tensor]:
    """The way back: the parameters as the author's tensors, under his names."""
    return native.program.tensors({name: parameter.data() for name, parameter in native.held.items()})


def placed(native: Model, *, device: str | None, dtype: str | None) -> Model:
    """The block with its parameters on a device. Raises UsageError."""
    if device is not None:
        with mx.util.np_shape(True):
            native.collect_params().reset_ctx(context(device))
    return native
