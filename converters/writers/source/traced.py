"""The canonical graph as steps: lowerings stand in for a framework's functions, and say what a person would call.

A value is a Step; a Weight, which is one of the author's tensors; a numpy array, which is known; Sizes; or None.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.graph import is_parameter, module_path, modules
from zoo.converters.writers import driver
from zoo.converters.writers.source.naming import is_generic, unique
from zoo.converters.writers.source.sizes import Size, Sizes, computed
from zoo.converters.writers.source.steps import Step
from zoo.converters.writers.source.terms import Call, Callee, key
from zoo.converters.writers.source.unwritable import Unwritable
from zoo.converters.writers.source.windows import prefers_same
from zoo.errors import UnsupportedOps

Value = Any
Array = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int | None, ...]
CONSTANT = {"constant": True}  # the keywords of a step that reads a constant, and no weight


@dataclass(frozen=True)
class Weight:
    """One of the author's tensors of floating point."""

    name: str
    value: ir.Value

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes, all of them known."""
        return tuple(int(d) for d in self.value.shape or ())  # type: ignore[arg-type]

    @property
    def owner(self) -> str:
        """The author's module that holds it."""
        return self.name.rpartition(".")[0]


class Tracer:
    """Calls the lowerings of a framework's source; what they ask for is below."""

    functions = ""  # where the framework keeps what numpy has: "jnp.", "ops."
    networks = ""  # what networks need, "jax.nn."
    specials = ""  # and special functions, "jax.scipy.special."
    pads_edges = True  # whether `pad` repeats what stands at the edge

    def __init__(self, model: ir.Model, lowers: driver.Lowerings) -> None:
        self.model, self.lowers = model, lowers
        self.steps: list[Step] = []
        self.shapes: dict[Step, Shape] = {}
        self.dtypes: dict[Step, np.dtype[Any]] = {}
        self.layers: dict[str, Call] = {}  # of each module that is a layer of the framework's, the call that makes it
        self.weights: dict[str, dict[str, Weight]] = {}  # and what it holds
        self.constants: dict[str, Array] = {}
        self.named: dict[int, tuple[str, Array]] = {}  # what the graph calls a constant, by the array's id
        self.placed: set[Step] = set()
        self.node: ir.Node | None = None
        self.refused: dict[ir.Node, str] = {}
        self.prefers_same = prefers_same(model.graph)
        self.expanded: dict[Step, tuple[Value, list[int]]] = {}  # what got axes of size one, and which
        tree = modules(model)
        self.leaves = set(tree) - {p[:i] for p in tree for i, c in enumerate(p) if c == "."} - {""}
        self.counts = Counter(module_path(node) for node in model.graph)

    # ---- what the driver asks for

    def input(self, value: ir.Value) -> Step:
        """What the whole model takes."""
        return self._made(self.step("placeholder", value.name or "input"), value)

    def initializer(self, value: ir.Value) -> Value:
        """A weight, or a constant by its numbers."""
        if value.const_value is None:
            raise ValueError(f"initializer {value.name!r} has no data")
        dtype = value.const_value.dtype
        if is_parameter(value) and dtype.is_floating_point() and dtype.bitwidth > 8:
            return Weight(value.name or "", value)
        array: Array = value.const_value.numpy()
        self.named[id(array)] = value.name or "", array
        return array

    @contextmanager
    def at(self, node: ir.Node) -> Iterator[None]:
        """While this is open, steps are of `node`."""
        self.node = node
        yield

    def call(self, lowering: driver.Lowering, args: list[Value], attributes: dict[str, Any]) -> Value:
        """The steps of a node. What can't be written is noted, so that all of it can be said at once."""
        node = self.node
        assert node is not None
        if any(isinstance(a, Sizes) for a in args) and not node.domain:
            found = computed(node.op_type, args, attributes)
            if found is not None:
                self._add(found)
                return found
        try:
            made = lowering(self, *args, **attributes)
        except Unwritable as error:
            self.refused[node] = str(error)
            made = tuple(self.step("refused") for _ in node.outputs)
        several = made if isinstance(made, tuple) else (made,)
        for value, x in zip(node.outputs, several, strict=False):
            if isinstance(x, Sizes):
                self._add(x)
            elif isinstance(x, Step):
                self._made(x, value)
        return made

    def finish(self, outputs: list[Value]) -> list[Step]:
        """The steps of the whole graph. Raises UnsupportedOps that lists all that can't be written."""
        if self.refused:
            raise _refusal(self.refused, self.model.graph.name or "the graph", self.lowers.framework)
        made = [self.given(x) if not isinstance(x, Sizes) else self.array(x) for x in outputs]
        made = [x if isinstance(x, Step) else self.f("array", self._constant(np.asarray(x))) for x in made]
        names = [v.name or "output" for v in self.model.graph.outputs]
        result: Any = made[0] if len(made) == 1 else dict(zip(names, made, strict=True))
        self.step("output", "output", (result,))
        return self.steps

    # ---- what lowerings ask for

    def f(self, function: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Step:
        """A call: of what numpy has under that name, of a dotted name, or of a function of ours."""
        target = f"{self.functions}{function}" if isinstance(function, str) and "." not in function else function
        return self.step("call_function", target, self.given(args), self.given(kwargs))

    def neural(self, name: str, *args: Any, **kwargs: Any) -> Step:
        """A call of what networks need: relu, softmax."""
        return self.step("call_function", f"{self.networks}{name}", self.given(args), self.given(kwargs))

    def special(self, name: str, *args: Any, **kwargs: Any) -> Step:
        """A call of a special function: erf, logsumexp."""
        return self.step("call_function", f"{self.specials}{name}", self.given(args), self.given(kwargs))

    def item(self, x: Step, i: int) -> Step:
        """One of several results."""
        return self.step("call_function", operator.getitem, (x, i))

    def index(self, x: Value, index: Sequence[Any]) -> Step:
        """x[index], an entry for each of the first axes."""
        at = self.given(tuple(index))
        return self.step("call_function", operator.getitem, (self.given(x), at[0] if len(at) == 1 else at))

    def is_all(self, x: Value, number: float) -> bool:
        """Whether a value is nothing, or that number throughout."""
        return x is None or isinstance(x, np.ndarray) and bool(np.all(x == number))

    def expand_dims(self, x: Value, axes: Sequence[int]) -> Step:
        """With axes of size one, in front of those that stand there."""
        base, all_axes = self.unexpanded(x, axes)
        made: Step = self.given(base)
        for axis in all_axes:
            made = self.f("expand_dims", made, axis)
        self.expanded[made] = base, all_axes
        return made

    def unexpanded(self, x: Value, axes: Sequence[int]) -> tuple[Value, list[int]]:
        """What x was before it got axes of size one, and all of those that it has with the new `axes`."""
        base, old = self.expanded.get(x, (x, [])) if isinstance(x, Step) else (x, [])
        kept = [i for i in range(self.rank(x) + len(axes)) if i not in axes]
        return base, sorted([*axes, *(kept[i] for i in old)])

    def output_shape(self, i: int) -> Shape | None:
        """What the graph knows of the node's i-th output."""
        assert self.node is not None
        shape = self.node.outputs[i].shape
        return None if shape is None else tuple(d if isinstance(d, int) else None for d in shape)

    # ---- what each framework writes its own way

    def cast(self, x: Value, dtype: np.dtype[Any]) -> Value:
        """In another dtype."""
        raise NotImplementedError

    def reshape(self, x: Value, shape: Sequence[Size]) -> Value:
        """In another shape."""
        raise NotImplementedError

    def transpose(self, x: Value, perm: Sequence[int]) -> Value:
        """With its axes in another order."""
        raise NotImplementedError

    def dtype_argument(self, dtype: np.dtype[Any]) -> dict[str, Any]:
        """The keyword that says a dtype; none where it is what is made of Python's numbers anyway."""
        raise NotImplementedError

    def top_k(self, x: Value, k: int) -> Step:
        """The largest along the last axis, and where they stand."""
        raise NotImplementedError

    def linear(self, x: Value, weight: Value, bias: Value) -> Value | None:
        """A layer that computes x @ weight.T + bias; None where these are not a module's."""
        raise NotImplementedError

    def method(self, name: str, x: Value, *args: Any, **kwargs: Any) -> Step:
        """A call of a method."""
        return self.step("call_method", name, (self.given(x), *self.given(args)), self.given(kwargs))

    def infix(self, function: Callable[..., Any], *args: Any) -> Step:
        """An operator of Python's."""
        return self.step("call_function", function, self.given(args))

    def step(self, op: str, target: Any = "", args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] = {}) -> Step:  # noqa: B006
        """A new step behind all others, of the node at hand."""
        made = Step(op, target, args, dict(kwargs), path=module_path(self.node) if self.node is not None else "")
        self.steps.append(made)
        self.placed.add(made)
        return made

    def layer(self, callee: Callee, x: Value, weights: Mapping[str, Weight | None], **arguments: Any) -> Step | None:
        """A call of a layer that holds the author's weights under his names; None where they are not one module's."""
        held = {field: w for field, w in weights.items() if w is not None}
        paths = {w.owner for w in held.values()}
        if len(paths) != 1 or any(w.name.rpartition(".")[2] != field for field, w in held.items()):
            return None
        (path,) = paths
        term = Call(callee, tuple((n, arguments.get(n, d)) for n, d in callee.parameters.items()))
        if key(self.layers.setdefault(path, term)) != key(term) or self.weights.setdefault(path, held) != held:
            return None
        made = self.step("call_module", path, (self.given(x),))
        made.path = path
        return made

    def leaf(self, callee: Callee, x: Value, **arguments: Any) -> Step | None:
        """A call of a layer without weights; None where the author has no such module."""
        path = module_path(self.node) if self.node is not None else ""
        if path not in self.leaves or self.counts[path] != 1 or path in self.layers:
            return None
        self.layers[path] = Call(callee, tuple((n, arguments.get(n, d)) for n, d in callee.parameters.items()))
        return self.step("call_module", path, (self.given(x),))

    def given(self, x: Any) -> Any:
        """What stands among the arguments of a step."""
        if isinstance(x, Weight):
            return self.step("get_attr", x.name)
        if isinstance(x, Step):
            self._add_number(x)
            return x
        if isinstance(x, Sizes):
            self._add(x)
            return x.items[0] if x.is_scalar else x.items
        if isinstance(x, np.ndarray):
            return literal(x) if x.ndim == 0 else self._constant(x)
        if isinstance(x, (list, tuple)):
            return type(x)(self.given(i) for i in x)
        if isinstance(x, dict):
            return {k: self.given(v) for k, v in x.items()}
        if isinstance(x, slice):
            return slice(self.given(x.start), self.given(x.stop), self.given(x.step))
        return x

    def array(self, x: Sizes) -> Step:
        """Sizes as a tensor."""
        return self.f("array", self.given(x) if x.is_scalar else list(self.given(x)))

    def operand(self, x: Value, rank: int) -> Value:
        """An operand of arithmetic with a tensor of that rank: one number alone is written as a number."""
        if isinstance(x, np.ndarray) and x.size == 1 and x.ndim <= rank and x.dtype.kind in "fiub":
            return literal(x.reshape(()))
        return x

    def rank(self, x: Value) -> int:
        """How many axes a value has. Raises Unwritable where nothing says so."""
        return len(self.shape(x))

    def shape(self, x: Value) -> Shape:
        """The sizes, None where they are free. Raises Unwritable where the rank is not known."""
        if isinstance(x, Sizes):
            return () if x.is_scalar else (len(x.items),)
        if isinstance(x, (np.ndarray, Weight)):
            return tuple(x.shape)
        if x not in self.shapes:
            raise Unwritable("the rank of its input is not known")
        return self.shapes[x]

    def dtype(self, x: Value) -> np.dtype[Any]:
        """The dtype in numpy's words."""
        if isinstance(x, Weight):
            return np.dtype((x.value.dtype or ir.DataType.FLOAT).numpy())
        if isinstance(x, np.ndarray):
            return np.dtype(x.dtype)
        return np.dtype(np.int64) if isinstance(x, Sizes) else self.dtypes.get(x, np.dtype(np.float32))

    def size(self, x: Value, axis: int) -> Size:
        """One size, read from the tensor where it is free."""
        known = self.shape(x)[axis]
        if known is not None:
            return known
        shape = Step("call_function", getattr, (self.given(x), "shape"))
        return Step("call_function", operator.getitem, (shape, axis), is_number=True)

    def known(self, x: Value, what: str) -> Array:
        """The numbers of a constant. Raises Unwritable for what is computed."""
        if isinstance(x, Sizes) and all(isinstance(i, int) for i in x.items):
            return np.array(x.items[0] if x.is_scalar else x.items, np.int64)
        if not isinstance(x, np.ndarray):
            raise Unwritable(f"its {what} is computed, and not a constant")
        return x

    def ints(self, x: Value, what: str) -> list[int]:
        """A constant vector of integers."""
        return [int(n) for n in self.known(x, what).reshape(-1)]

    def is_read(self, i: int) -> bool:
        """Whether anything reads the node's i-th output."""
        assert self.node is not None
        outputs = self.node.outputs
        return i < len(outputs) and bool(outputs[i].uses() or outputs[i].is_graph_output())

    # ---- inside

    def _made(self, step: Step, value: ir.Value) -> Step:
        if value.shape is not None:
            self.shapes[step] = tuple(d if isinstance(d, int) else None for d in value.shape)
        if value.dtype is not None and value.dtype != ir.DataType.STRING:
            self.dtypes[step] = np.dtype(value.dtype.numpy())
        return step

    def _add(self, x: Sizes) -> None:
        """Put the steps of sizes in front of what reads them, once."""
        for item in x.items:
            self._add_number(item)

    def _add_number(self, x: Any) -> None:
        if not isinstance(x, Step) or x in self.placed:
            return
        for argument in x.inputs():
            self._add_number(argument)
        x.path = module_path(self.node) if self.node is not None else ""
        self.steps.append(x)
        self.placed.add(x)

    def _constant(self, array: Array) -> Step:
        """A read of a constant that has no literal."""
        name, _ = self.named.get(id(array), ("constant", array))
        name = "constant" if is_generic(name.rpartition(".")[2]) else name.replace(".", "_").replace("/", "_")
        for known, other in self.constants.items():
            if other is array or _is_same(other, array):
                return self.step("get_attr", known, kwargs=CONSTANT)
        name = unique(name, self.constants)
        self.constants[name] = array
        return self.step("get_attr", name, kwargs=CONSTANT)


def _is_same(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def literal(array: Array) -> bool | int | float:
    """A tensor of one number as Python's, a float32 by its shortest digits. Raises Unwritable for what has none."""
    x = array.reshape(()).item()
    if isinstance(x, (bool, int)):
        return x
    if not isinstance(x, float):
        raise Unwritable(f"a constant of {array.dtype} has no literal")
    return driver.shortest(x) if array.dtype == np.float32 else x


def _refusal(refused: Mapping[ir.Node, str], graph: str, framework: str) -> UnsupportedOps:
    by_op: dict[tuple[str, str], list[str]] = {}
    for node, why in refused.items():
        op = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        by_op.setdefault((op, why), []).append(node.name or "(no name)")
    rows = [
        f"  {op:20} x{len(names):<4} {why} ({', '.join(names[:3])}{', ...' * (len(names) > 3)})"
        for (op, why), names in by_op.items()
    ]
    return UnsupportedOps(
        "\n".join([f"{len(refused)} nodes of {graph!r} can't be written as {framework}:", *rows, ""]),
        hint="Nothing was written.",
    )
