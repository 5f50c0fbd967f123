"""A canonical graph as JAX functions: a module of the author's is a function of its params, its layers are calls."""

from __future__ import annotations

import inspect
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.writers.jax.source import layers
from zoo.converters.writers.jax.source.operators import CTX, lowers
from zoo.converters.writers.source import scopes
from zoo.converters.writers.source.arrays import PLAIN, dtype_name
from zoo.converters.writers.source.masks import simplify_masks
from zoo.converters.writers.source.nest import Scope
from zoo.converters.writers.source.padding import merge_pads
from zoo.converters.writers.source.sizes import Size
from zoo.converters.writers.source.steps import Alignment, Name, Step, fold_runs
from zoo.converters.writers.source.terms import HOLE, REQUIRED, Call, Callee, key
from zoo.converters.writers.source.traced import Tracer, Weight
from zoo.converters.writers.source.tree import Instance

Value = Any
GIVEN = ("params", "x", "ctx", "indices")  # what a layer is called with, besides what it is made of


@cache
def callee(function: Callable[..., Any]) -> Callee:
    """A layer with what it is made of."""
    found = [p for p in inspect.signature(function).parameters.values() if p.name not in GIVEN]
    return Callee(function.__name__, {p.name: REQUIRED if p.default is p.empty else p.default for p in found})


@cache
def takes_context(function: Callable[..., Any]) -> bool:
    """Whether a function of ours does something else in training."""
    return "ctx" in inspect.signature(function).parameters


class JaxTracer(Tracer):
    """Says what JAX calls things by."""

    functions, networks, specials = "jnp.", "jax.nn.", "jax.scipy.special."

    def ours(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Step:
        """A call of a function of layers.py, without the arguments that are its defaults."""
        defaults = {p.name: p.default for p in inspect.signature(function).parameters.values()}
        said = {k: v for k, v in kwargs.items() if k not in defaults or key(v) != key(defaults[k])}
        return self.step("call_function", function, self.given(args), self.given(said))

    def layer_of(self, function: Callable[..., Any], x: Value, weights: Mapping[str, Value], **arguments: Any) -> Step:
        """A call of a layer on a module's params; on a dict of tensors where they are no module's."""
        held = {field: v for field, v in weights.items() if v is not None}
        if all(isinstance(v, Weight) for v in held.values()):
            made = self.layer(callee(function), x, held, **arguments)
            if made is not None:
                return made
        context = (CTX,) if takes_context(function) else ()
        return self.ours(function, held, x, *context, **arguments)

    def linear(self, x: Value, weight: Value, bias: Value) -> Value | None:
        """A layer, where the weights are one module's."""
        held = {"weight": weight} | ({} if bias is None else {"bias": bias})
        if not all(isinstance(v, Weight) for v in held.values()):
            return None
        return self.layer(callee(layers.linear), x, held)

    def embedding(self, table: Value, indices: Value) -> Value | None:
        """Rows of a module's table."""
        if not isinstance(table, Weight):
            return None
        return self.layer(callee(layers.embedding), indices, {"weight": table})

    def cast(self, x: Value, dtype: np.dtype[Any]) -> Value:
        """x.astype(jnp.int32)."""
        return self.method(
            "astype", self._tensor(x), Name("int" if dtype.name == "int64" else dtype_name(dtype, "jnp."))
        )

    def _tensor(self, x: Value) -> Value:
        given = self.given(x)
        is_number = isinstance(given, (int, float)) or isinstance(given, Step) and given.is_number
        return self.f("array", given) if is_number else given

    def reshape(self, x: Value, shape: Sequence[Size]) -> Value:
        """x.reshape(-1, 4)."""
        return self.method("reshape", x, *self.given(list(shape)))

    def transpose(self, x: Value, perm: Sequence[int]) -> Value:
        """x.transpose(0, 2, 1), and x.T of a matrix."""
        if tuple(perm) == (1, 0):
            return self.step("call_function", getattr, (self.given(x), "T"))
        return self.method("transpose", x, *perm)

    def expand_dims(self, x: Value, axes: Sequence[int]) -> Step:
        """x[:, None]."""
        base, all_axes = self.unexpanded(x, axes)
        index: list[Any] = [None if i in all_axes else slice(None) for i in range(all_axes[-1] + 1)]
        made = self.step(
            "call_function", operator.getitem, (self._tensor(base), tuple(index) if index[1:] else index[0])
        )
        self.expanded[made] = base, all_axes
        return made

    def dtype_argument(self, dtype: np.dtype[Any]) -> dict[str, Any]:
        """dtype=jnp.int32."""
        return {} if dtype.name in PLAIN else {"dtype": Name(dtype_name(dtype, "jnp."))}

    def top_k(self, x: Value, k: int) -> Step:
        """Lax's."""
        return self.f("lax.top_k", x, k)


class JaxTree(scopes.GraphTree):
    """The instances of a canonical graph, each a function."""

    sequential = "nothing is"
    absent = HOLE  # whether a child is there is seen from the params
    reserved = frozenset(dir(dict) + ["params", "ctx"])

    def __init__(self, model: ir.Model) -> None:
        model = model.clone()
        merge_pads(model)
        simplify_masks(model)
        super().__init__(model, JaxTracer(model, lowers))

    def name_of(self, scope: Scope) -> str:
        """The author's class in a function's spelling: `BasicBlock` as `basic_block`."""
        return snake(super().name_of(scope))

    def describe(self, instance: Instance) -> None:
        """Every call is a field, and every constant."""
        scope, steps = instance.module, instance.steps or []
        for step in steps:
            if step.op == "call_module":
                instance.fields[step.target] = self._called(scope, step.target)
        instance.fields |= self.name_constants(instance)

        def alike(a: str, b: str) -> bool:
            return bool(key(instance.fields[a]) == key(instance.fields[b]))

        fold_runs(steps, alike)
        kept = {s.target for s in steps if s.op == "call_module"}
        kept |= {f"{s.target}.{s.kwargs['start']}" for s in steps if s.op == "loop"}
        kept |= {s.target for s in steps if s.op == "get_attr"}
        instance.fields = {n: t for n, t in instance.fields.items() if n in kept}

    def are_alike(self, a: Instance, b: Instance, aligned: Alignment) -> bool:
        """Whether the same functions are called: what differs is told by numbers alone."""
        for mine, theirs in aligned.matched.items():
            if mine.op == "loop" and mine.kwargs["start"] != theirs.kwargs["start"]:
                return False
            if mine.op in ("call_module", "loop") and _callee(a, mine) is not _callee(b, theirs):
                return False
        return True

    def _called(self, scope: Scope, target: str) -> Call:
        child = scope.at(target)
        if child is not None and id(child) in self.made:
            return self.made[id(child)]
        return self.tracer.layers[f"{scope.path}.{target}".strip(".")]


def _callee(instance: Instance, step: Step) -> Callee:
    """What a call of a child calls."""
    path = f"{step.target}.{step.kwargs['start']}".strip(".") if step.op == "loop" else step.target
    found: Call = instance.fields[path]
    return found.callee


def snake(name: str) -> str:
    """A class's name as a function's.

    >>> snake("BertSelfAttention"), snake("CNBlock"), snake("BatchNormAct2d")
    ('bert_self_attention', 'cn_block', 'batch_norm_act2d')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
