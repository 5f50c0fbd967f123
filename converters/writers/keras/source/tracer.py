"""What Keras calls things by: its own layers, keras.ops, and the layers of layers.py."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.graph import module_path
from zoo.converters.writers.driver import Lowerings
from zoo.converters.writers.keras.naming import snake
from zoo.converters.writers.source.naming import unique
from zoo.converters.writers.source.sizes import Size
from zoo.converters.writers.source.steps import Step
from zoo.converters.writers.source.terms import REQUIRED, Call, Callee, key
from zoo.converters.writers.source.traced import Tracer, Weight
from zoo.converters.writers.source.unwritable import Unwritable
from zoo.converters.writers.source.windows import is_same, windows_of

Value = Any
DTYPES = {"float32", "int32"}  # what Keras makes of Python's numbers


@cache
def callee(name: str, positional: int = 0, **parameters: Any) -> Callee:
    """A layer with what it is made of; one that is given by position, or REQUIRED, has no default."""
    return Callee(name, parameters, positional)


def kind(dtype: np.dtype[Any]) -> str:
    """Keras' name of a dtype: all whole numbers are of 32 bits there, as its own are."""
    return "int32" if dtype.name == "int64" else dtype.name


def pads_pixels(graph: ir.Graph, prefers_same: bool) -> bool:
    """Whether a convolution pads otherwise than "same" or "valid" do."""
    for node in graph:
        pads = node.attributes.get("pads")
        if node.op_type != "Conv" or pads is None or not any(pads.as_ints()):
            continue
        shapes = [None if v is None or v.shape is None else v.shape for v in node.inputs[:2]]
        if not prefers_same or shapes[0] is None or shapes[1] is None:
            return True
        sizes = [d if isinstance(d, int) else None for d in shapes[0]][1:-1]
        strides, dilations = (node.attributes.get(name) for name in ("strides", "dilations"))
        kernel = [int(d) for d in shapes[1][2:]]  # type: ignore[arg-type]  # a kernel's sizes are known
        at = windows_of(
            kernel,
            sizes,
            "NOTSET",
            pads.as_ints(),
            strides.as_ints() if strides is not None else None,
            dilations.as_ints() if dilations is not None else None,
        )
        if not is_same(at, sizes):
            return True
    return False


class KerasTracer(Tracer):
    """Says what Keras calls things by."""

    functions = networks = specials = "ops."
    pads_edges = False

    def __init__(self, model: ir.Model, lowers: Lowerings) -> None:
        super().__init__(model, lowers)
        self.renamed: dict[str, str] = {}  # the author's name of a weight -> where the file has it
        self.pads_pixels = pads_pixels(model.graph, self.prefers_same)
        self.reads = {v: len(v.uses()) for v in model.graph.initializers.values()}

    def input(self, value: ir.Value) -> Step:
        """What the whole model takes; whole numbers as Keras has them."""
        made = super().input(value)
        if value.dtype != ir.DataType.INT64:
            return made
        return self._made(self.f("cast", made, "int32"), value)

    # ---- layers

    def layer_of(self, made: Callee, x: Value, weights: Mapping[str, Value], **arguments: Any) -> Step:
        """A call of a layer that holds weights. Raises Unwritable where these are no tensors of the author's."""
        held = {field: v for field, v in weights.items() if v is not None}
        if not all(isinstance(v, Weight) for v in held.values()):
            raise Unwritable("its weights are computed, or no tensors of the author's")
        if (step := self.layer(made, x, held, **arguments)) is not None:
            return step
        if any(self.reads[v.value] != 1 for v in held.values()):
            raise Unwritable("its weights are another layer's as well")
        path = self._place()
        self.renamed |= {v.name: f"{path}.{field}" for field, v in held.items()}
        self.layers[path] = Call(made, tuple((n, arguments.get(n, d)) for n, d in made.parameters.items()))
        return self._called(path, x)

    def module(self, made: Callee, x: Value, **arguments: Any) -> Step:
        """A call of a layer without weights: the author's module, or one of its own where he has none."""
        if (step := self.leaf(made, x, **arguments)) is not None:
            return step
        path = self._place()
        self.layers[path] = Call(made, tuple((n, arguments.get(n, d)) for n, d in made.parameters.items()))
        return self._called(path, x)

    def _place(self) -> str:
        """A new attribute of the module at hand, after the operator."""
        assert self.node is not None
        at = module_path(self.node)
        while at in self.leaves:
            at = at.rpartition(".")[0]
        name = snake(self.node.op_type)
        return unique(f"{at}.{name}" if at else name, {*self.layers, *self.leaves})

    def _called(self, path: str, x: Value) -> Step:
        made = self.step("call_module", path, (self.given(x),))
        made.path = path
        return made

    def ours(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Step:
        """A call of a function of layers.py, without the arguments that are its defaults."""
        defaults = {p.name: p.default for p in inspect.signature(function).parameters.values()}
        said = {k: v for k, v in kwargs.items() if k not in defaults or key(v) != key(defaults[k])}
        return self.step("call_function", function, self.given(args), self.given(said))

    def linear(self, x: Value, weight: Value, bias: Value) -> Value | None:
        """A Dense, where the weights are the author's."""
        held = {"weight": weight} | ({} if bias is None else {"bias": bias})
        if not all(isinstance(v, Weight) for v in held.values()) or self.rank(weight) != 2:
            return None
        made = callee("layers.Dense", 1, units=REQUIRED, use_bias=True)
        try:
            return self.layer_of(made, x, held, units=weight.shape[0], use_bias=bias is not None)
        except Unwritable:
            return None

    def embedding(self, table: Value, indices: Value) -> Value | None:
        """Rows of an author's table."""
        if not isinstance(table, Weight):
            return None
        made = callee("layers.Embedding", 2, input_dim=REQUIRED, output_dim=REQUIRED)
        try:
            size, width = table.shape
            return self.layer_of(made, indices, {"weight": table}, input_dim=size, output_dim=width)
        except Unwritable:
            return None

    # ---- functions

    def cast(self, x: Value, dtype: np.dtype[Any]) -> Value:
        """ops.cast(x, "float32")."""
        made = isinstance(x, Step) and x.target == "ops.cast" and x.args[1] == "int32"
        base = x.args[0] if made and x.args[0].op == "placeholder" else x  # what `input` casts anyway
        return self.f("cast", base, kind(dtype))

    def reshape(self, x: Value, shape: Sequence[Size]) -> Value:
        """ops.reshape(x, (-1, 4))."""
        return self.f("reshape", x, tuple(self.given(list(shape))))

    def transpose(self, x: Value, perm: Sequence[int]) -> Value:
        """ops.transpose(x, (0, 2, 1))."""
        return self.f("transpose", x) if tuple(perm) == (1, 0) else self.f("transpose", x, tuple(perm))

    def expand_dims(self, x: Value, axes: Sequence[int]) -> Step:
        """x[:, None]."""
        base, all_axes = self.unexpanded(x, axes)
        index: list[Any] = [None if i in all_axes else slice(None) for i in range(all_axes[-1] + 1)]
        given = self.given(base)
        if isinstance(given, (int, float)) or isinstance(given, Step) and given.is_number:
            given = self.f("convert_to_tensor", given)
        made = self.step("call_function", operator.getitem, (given, tuple(index) if index[1:] else index[0]))
        self.expanded[made] = base, all_axes
        return made

    def dtype_argument(self, dtype: np.dtype[Any]) -> dict[str, Any]:
        """dtype="int32"."""
        return {} if dtype.name == "float32" else {"dtype": kind(dtype)}

    def top_k(self, x: Value, k: int) -> Step:
        """Keras' own."""
        return self.f("top_k", x, k)
