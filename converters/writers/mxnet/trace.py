"""One walk over a graph: the driver calls the lowerings on MXNet's symbols, or on its arrays; `w.F` is mx.sym or mx.nd.

A value is *classic* (mx.sym.Symbol, mx.nd.NDArray), so that what comes out is what Module, SymbolBlock, Gluon's layers
and readers of symbol files know: Convolution, FullyConnected, broadcast_add. The functions of `mx.np` serve where the
classic ones have no truth values, no scalars, no broadcasting of a choice: `w.np` calls them on classic values.

What is *known* (a constant, what is computed of these alone) is a numpy array; axes, sizes and pads are read from it.
In a symbol a size may be free (sizes.py). Sequences are lists, an optional that holds nothing is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import mxnet as mx
import numpy as np
import onnx_ir as ir

from zoo.converters.fold import dims
from zoo.converters.writers import driver
from zoo.converters.writers.mxnet import lowers
from zoo.converters.writers.mxnet.sizes import Size, Sizes, evaluated
from zoo.converters.writers.mxnet.types import Array, mxnet_dtype, to_mxnet
from zoo.errors import HubError

Value = Any
Type = ir.DataType
KNOWN_ELEMENTS = 1 << 16  # what is larger is left to MXNet
# operators that hand values on as they are, known or not
HANDS_ON = {
    *("If", "Loop", "Scan", "SequenceMap", "Identity", "Optional", "OptionalHasElement", "OptionalGetElement"),
    *("SequenceConstruct", "SequenceEmpty", "SequenceAt", "SequenceInsert", "SequenceErase", "SequenceLength"),
}
RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
NEVER_KNOWN = RANDOM | HANDS_ON | {"Dropout", "Shape", "Size"}
# operators that move elements and compute none: classic ones move no truth values, which go through them as uint8
MOVES = {
    *("Transpose", "Concat", "Slice", "Split", "Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND"),
    *("Pad", "Tile", "Expand", "Where", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "DepthToSpace", "SpaceToDepth"),
    *("ReverseSequence", "Trilu", "Compress", "Unique", "SplitToSequence", "ConcatFromSequence", "TensorScatter"),
    *("ReduceMax", "ReduceMin", "CenterCropPad", "Max", "Min", "CumSum", "OneHot"),
}
# operators that MXNet has in half precision too; it computes the others in float32, and rounds what comes out
HALF = MOVES | {"Cast", "CastLike", "Relu", "Abs", "Neg", "Shape", "Size", "Dropout", "Identity"} - {"CumSum"}


class Untraceable(HubError):
    """What decides over a shape, or over which code runs, is computed from what a symbol only stands for."""


class Numpy:
    """The functions of mx.np over classic values: a value has both faces, and changes them without a copy."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(self.module, name)
        return lambda *args, **options: _classic(function(*map(_as_numpys, args), **options))


def _as_numpys(x: Any) -> Any:
    if isinstance(x, (list, tuple)) and any(hasattr(item, "as_np_ndarray") for item in x):
        return [_as_numpys(item) for item in x]
    return x.as_np_ndarray() if hasattr(x, "as_np_ndarray") else x


def _classic(x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        return [_classic(item) for item in x]
    return x.as_nd_ndarray() if hasattr(x, "as_nd_ndarray") else x


class Names(mx.name.NameManager):  # type: ignore[misc]
    """Names what a lowering makes of symbols by the node: `conv1`, and `conv1_1` where it takes several."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self.node, self.count = node, 0

    def get(self, name: str | None, hint: str) -> str:
        """The name that is asked for, else the next one of the node's."""
        if name:
            return name
        self.count += 1
        return self.node if self.count == 1 else f"{self.node}_{self.count - 1}"


NUMPY = {mx.nd: Numpy(mx.np), mx.sym: Numpy(mx.sym.np)}
# the operators behind them: mx.np.pad of 1.9.1 forgets to return what it has padded by a number
OPERATORS = {mx.nd: Numpy(mx.nd.numpy._internal), mx.sym: Numpy(mx.sym.numpy._internal)}


class Trace:
    """Calls the lowerings; what they ask for is below."""

    lowers = lowers

    def __init__(
        self,
        graph: ir.Graph,
        F: Any,
        values: Mapping[ir.Value, Value],
        order: Mapping[ir.Node, int],
        make: Callable[[Array, str], Value],
    ) -> None:
        self.graph, self.F, self.given, self.order, self.make = graph, F, values, order, make
        self.shapes: list[tuple[Value, list[Any]]] = []  # of symbols, as far as they were asked for
        self.node: ir.Node | None = None
        self.args: Sequence[Value] = ()
        self.converted: Sequence[Value] = ()

    # ---- what the driver asks for

    def input(self, value: ir.Value) -> Value:
        """What is fed."""
        return self.given[value]

    def initializer(self, value: ir.Value) -> Value:
        """A parameter, or a constant of the graph."""
        return self.given[value]

    @contextmanager
    def at(self, node: ir.Node) -> Iterator[None]:
        """While this is open, `node` is being lowered."""
        self.node = node
        with Names(node.outputs[0].name or node.op_type):
            yield

    def call(self, lowering: driver.Lowering, args: list[Value], attributes: dict[str, Any]) -> Value:
        """Call a lowering: by numpy's numbers where all are known and few, else on MXNet's values."""
        node = self.node
        assert node is not None
        self.args = self.converted = args
        if node.op_type in HANDS_ON and not node.domain:
            return lowering(self, *args, **attributes)
        if any(isinstance(x, Sizes) for x in args) and not node.domain:
            made = evaluated(node.op_type, args, attributes)
            if made is not None:
                return made
        if self._is_known(node.op_type, args):
            outer, self.F = self.F, mx.nd
            try:
                return _each(_numbers, self._called(lowering, args, attributes))
            finally:
                self.F = outer
        return self._called(lowering, args, attributes)

    def finish(self, outputs: list[Value]) -> list[Value]:
        """The graph's outputs."""
        return outputs

    def _is_known(self, op: str, args: Sequence[Value]) -> bool:
        if op in NEVER_KNOWN or not all(x is None or is_known(x) for x in args):
            return False
        return bool(sum(x.size for x in args if x is not None) <= KNOWN_ELEMENTS)

    def _called(self, lowering: driver.Lowering, args: Sequence[Value], attributes: dict[str, Any]) -> Value:
        """The lowering on MXNet's values, those that the operator can't take as they are in a dtype that it can."""
        node = self.node
        assert node is not None
        self.converted = [_each(self.array, x) for x in args]
        given = list(self.converted)
        changed = False
        for i, value in enumerate(node.inputs):
            if value is None or i >= len(given) or not isinstance(value.type, ir.TensorType):
                continue
            wide = self._carrier(node, value.dtype)
            if wide is not None:
                given[i] = self.F.cast(given[i], dtype=wide)
                changed = True
        self.converted = given
        made = lowering(self, *given, **attributes)
        if not changed:
            return made
        several = made if isinstance(made, tuple) else (made,)
        back = tuple(self._back(node, value, x) for value, x in zip(node.outputs, several, strict=False))
        return back if isinstance(made, tuple) else back[0]

    def _carrier(self, node: ir.Node, dtype: ir.DataType | None) -> str | None:
        if dtype == Type.BOOL and node.op_type in MOVES and not node.domain and node.op_type != "Where":
            return "uint8"
        if dtype == Type.FLOAT16 and (node.op_type not in HALF or node.domain):
            return "float32"
        return None

    def _back(self, node: ir.Node, value: ir.Value, x: Value) -> Value:
        """A result in the dtype that the graph says, where it was computed in another."""
        if isinstance(x, (list, np.ndarray, Sizes)) or x is None or value.dtype not in (Type.BOOL, Type.FLOAT16):
            return x
        return self.F.cast(x, dtype=mxnet_dtype(value.dtype))

    # ---- what lowerings ask for

    @property
    def np(self) -> Numpy:
        """The functions of mx.np over classic values."""
        return NUMPY[self.F]

    @property
    def is_symbolic(self) -> bool:
        """Whether values are symbols, which have no shapes."""
        return self.F is mx.sym

    def array(self, x: Value) -> Value:
        """A known value as MXNet's; others as they are."""
        if isinstance(x, Sizes):
            return self._as_tensor(x)
        if not is_known(x):
            return x
        return to_mxnet(x) if self.F is mx.nd else self.make(x, self._name_of(x))

    def _as_tensor(self, x: Sizes) -> Value:
        parts: list[Value] = []
        for item in x.items.reshape(-1):
            if not isinstance(item, Size):
                parts.append(self.array(np.array([item], np.int64)))
                continue
            part: Value = None
            for symbol, axis in item.axes:
                size = self.F.slice_axis(self.F.shape_array(symbol), axis=0, begin=axis, end=axis + 1)
                part = size if part is None else self.F.broadcast_mul(part, size)
            parts.append(part if item.factor == 1 else part * item.factor)
        vector = parts[0] if len(parts) == 1 else self.F.concat(*parts, dim=0)
        return self.reshape(vector, x.items.shape)

    def known(self, x: Value) -> Array | None:
        """The numbers of an input of the node at hand, if they are there."""
        raw = self._raw(x)
        if is_known(raw):
            known: Array = raw
            return known
        if isinstance(raw, mx.nd.NDArray):
            computed: Array = raw.asnumpy()
            return computed
        return None

    def constant(self, x: Value) -> Array | None:
        """The numbers of an input of the node at hand, if they are known; `known` reads computed ones as well."""
        raw = self._raw(x)
        return raw if is_known(raw) else None

    def _raw(self, x: Value) -> Value:
        for raw, converted in zip(self.args, self.converted, strict=False):
            if converted is x or raw is x:
                return raw
        return x

    def concrete(self, x: Value) -> Array:
        """The numbers of an input. Raises Untraceable where a symbol stands for them."""
        found = self.known(x)
        if found is None:
            raise Untraceable(
                f"{self.name}: its input {self._name_of(x)!r} has to be known to say what comes out, "
                "and is computed from what the symbol is fed",
                hint="Load the model as gluon, and leave it unhybridized: its operators then run one after the other.",
            )
        return found

    def ints(self, x: Value) -> list[int]:
        """An input as a list of integers: axes, sizes, pads. Raises Untraceable where a symbol stands for one."""
        return [int(n) for n in self.concrete(x).reshape(-1)]

    def sizes(self, x: Value) -> list[Any]:
        """An input as a list of sizes, integers and free ones. Raises Untraceable where a symbol stands for one."""
        raw = self._raw(x)
        return list(raw.items.reshape(-1)) if isinstance(raw, Sizes) else list(self.ints(x))

    def number(self, x: Value) -> Any:
        """An input of one element as a Python number. Raises Untraceable where a symbol stands for it."""
        return self.concrete(x).reshape(-1)[0].item()

    @property
    def name(self) -> str:
        """The node at hand, as errors call it."""
        assert self.node is not None
        return f"{self.node.op_type} {self.node.name!r} of {self.graph.name!r}"

    def _name_of(self, x: Value) -> str:
        assert self.node is not None
        places = [i for i, (a, c) in enumerate(zip(self.args, self.converted, strict=False)) if a is x or c is x]
        value = self.node.inputs[places[0]] if places else None
        return "" if value is None else value.name or ""

    def dims(self, i: int) -> list[Any]:
        """The sizes of the i-th input: integers, and free ones in a symbol. Raises Untraceable for an unknown rank."""
        assert self.node is not None
        x, value = self.converted[i], self.node.inputs[i]
        if isinstance(x, (mx.nd.NDArray, np.ndarray)):
            return [int(n) for n in x.shape]
        known = None if value is None else dims(value)
        if known is None:
            raise Untraceable(f"{self.name}: the rank of its input {self._name_of(x)!r} is not known")
        made = [n if isinstance(n, int) else Size(1, (n,), ((x, axis),)) for axis, n in enumerate(known)]
        self.shapes.append((x, made))
        return made

    def symbol_of(self, shape: Sequence[Any]) -> Value | None:
        """A symbol that has exactly this shape, of those whose sizes the free ones of the shape are."""
        free = [n for n in shape if isinstance(n, Size)]
        if not free or any(len(n.axes) != 1 or n.factor != 1 for n in free):
            return None
        symbol = free[0].axes[0][0]
        return next((x for x, sizes in self.shapes if x is symbol and sizes == list(shape)), None)

    def whole(self, i: int) -> list[int]:
        """The sizes of the i-th input. Raises Untraceable where one is free."""
        found = self.dims(i)
        if any(isinstance(n, Size) for n in found):
            shown = ", ".join(str(n) if isinstance(n, int) else "*".join(n.names) for n in found)
            raise Untraceable(f"{self.name}: the sizes of its input {i} have to be known, and are [{shown}]")
        return found

    def rank(self, i: int) -> int:
        """How many axes the i-th input has."""
        return len(self.dims(i))

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """The same elements in another shape; in MXNet's codes 0 copies a size, -1 is what is left over."""
        if len(shape) and (self.is_symbolic or all(n > 0 for n in shape)):
            return self.F.reshape(x, shape=tuple(shape))
        if not self.is_symbolic:
            shape = [x.shape[i] if n == 0 and x.size else n for i, n in enumerate(shape)]
        return self.np.reshape(x, tuple(shape))

    def pad(self, x: Value, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Value:
        """With so many elements before and behind each axis, all of one value."""
        if len(widths) == 1:  # MXNet takes the widths of a vector for those of two axes
            made = self.pad(self.F.expand_dims(x, axis=0), [(0, 0), *widths], value)
            return self.np.squeeze(made, axis=0)
        if len(widths) in (4, 5) and not any((*widths[0], *widths[1])) and self._pads_classically(value):
            flat = tuple(n for pair in widths for n in pair)
            return self.F.pad(x, mode="constant", pad_width=flat, constant_value=value)
        return OPERATORS[self.F].pad(x, tuple(widths), mode="constant", constant_value=value)

    def _pads_classically(self, value: float) -> bool:
        """Whether Pad takes what the node at hand pads: the first of its inputs, in floats, by a number."""
        return not math.isinf(value) and self.computed_in(0) in ("float32", "float64")

    def type_in(self, i: int) -> ir.DataType:
        """The ONNX dtype of the i-th input. Raises HubError where it is not known."""
        assert self.node is not None
        value = self.node.inputs[i] if i < len(self.node.inputs) else None
        if value is None or value.dtype is None:
            raise HubError(f"{self.name}: the dtype of its input {i} is not known")
        return value.dtype

    def computed_in(self, i: int) -> str:
        """MXNet's dtype of the i-th input as the lowering sees it."""
        assert self.node is not None
        dtype = self.type_in(i)
        return self._carrier(self.node, dtype) or mxnet_dtype(dtype)

    def cast(self, x: Value, dtype: ir.DataType | int | str) -> Value:
        """A value in a dtype, ONNX's or MXNet's name of it."""
        return self.F.cast(x, dtype=dtype if isinstance(dtype, str) else mxnet_dtype(dtype))

    def scalar(self, x: Value) -> float | int | None:
        """The number of a known input of one element, else None."""
        found = self.constant(x)
        return found.reshape(-1)[0].item() if found is not None and found.size == 1 else None

    def is_read(self, i: int) -> bool:
        """Whether anybody reads the i-th output."""
        assert self.node is not None
        outputs = self.node.outputs
        return i < len(outputs) and bool(outputs[i].uses() or outputs[i].is_graph_output())

    def body(self, held: driver.Body) -> Callable[..., list[Value]]:
        """A graph that the node at hand holds as a function of its inputs."""
        outer = {value: held.outer[value] for value in held.captured}
        program = (self.F, self.order, self.make)

        def run(*args: Value) -> list[Value]:
            F, order, make = program
            inner = Trace(held.graph, F, {}, order, make)
            values: driver.Values = {None: None}
            values |= [*outer.items(), *zip(held.graph.inputs, args, strict=True)]
            made: list[Value] = driver.walk(held.graph, inner, values)
            return made

        return run


def is_known(x: Value) -> bool:
    """Whether a value is numpy's: its numbers are there while the graph is walked."""
    return isinstance(x, np.ndarray)


def _numbers(x: Value) -> Value:
    return x.asnumpy() if isinstance(x, mx.nd.NDArray) else x


def _each(f: Callable[[Value], Value], x: Value) -> Value:
    """`f` of a value, or of each of several; nothing of nothing."""
    if isinstance(x, (tuple, list)):
        return type(x)(_each(f, item) for item in x)
    return x if x is None else f(x)
