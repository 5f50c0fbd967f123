"""One trace of a graph: the driver calls the lowerings on arrays, which are jax's tracers under jit, grad and vmap.

A value is a jax array, or a numpy array if it is *known*: a constant, a shape, or what is computed of these alone.
What is known stays known, in all of ONNX's 64 bits, and is what axes, sizes and pads are read from; anywhere else it
becomes a jax array. Strings are numpy arrays of objects, sequences are lists, an optional that holds nothing is None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
import onnx_ir as ir

from zoo.converters.writers import driver
from zoo.converters.writers.jax import lowers
from zoo.converters.writers.jax.sizes import Sizes, as_array, evaluated
from zoo.converters.writers.jax.types import Array, jax_dtype, sixty_four_bits, to_jax
from zoo.errors import HubError

Value = Any


class Untraceable(HubError):
    """What decides over a shape, or over which code runs, is computed from what jax traces."""


KNOWN_ELEMENTS = 1 << 16  # what is larger is left to XLA, and does not become a constant of the program
RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
# operators that hand values on as they are, known or not
HANDS_ON = {
    *("If", "Loop", "Scan", "SequenceMap", "Identity", "Optional", "OptionalHasElement", "OptionalGetElement"),
    *("SequenceConstruct", "SequenceEmpty", "SequenceAt", "SequenceInsert", "SequenceErase", "SequenceLength"),
}
NEVER_KNOWN = RANDOM | HANDS_ON | {"Dropout"}


def _product(sizes: Array) -> float:
    return float(np.prod(np.abs(sizes), dtype=np.float64))


# operator -> how many elements it makes of inputs that are known
MAKES: dict[str, Callable[..., float]] = {
    "ConstantOfShape": lambda shape: _product(shape),
    "Expand": lambda x, shape: x.size * _product(shape),
    "Tile": lambda x, repeats: x.size * _product(repeats),
    "Range": lambda start, limit, delta: abs((float(limit) - float(start)) / float(delta)) if delta else 0,
    "OneHot": lambda indices, depth, values: indices.size * abs(float(depth.reshape(-1)[0])),
}


class Trace:
    """Calls the lowerings; what they ask for is below."""

    lowers = lowers

    def __init__(
        self,
        graph: ir.Graph,
        values: Mapping[ir.Value, Value],
        order: Mapping[ir.Node, int],
        *,
        casts: Mapping[np.dtype[Any], np.dtype[Any]],
        train: bool = False,
        rngs: jax.Array | None = None,
        steps: Sequence[Any] = (),
        is_body: bool = False,
    ) -> None:
        self.graph, self.given, self.order = graph, values, order
        self.casts, self.train, self.rngs, self.steps = casts, train, rngs, tuple(steps)
        self.is_body = is_body
        self.updates: dict[ir.Value, Value] = {}
        self.node: ir.Node | None = None
        self.args: Sequence[Value] = ()
        self.converted: Sequence[Value] = ()
        self.is_static = False

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
        with jax.named_scope(node.op_type):
            yield

    def call(self, lowering: driver.Lowering, args: list[Value], attributes: dict[str, Any]) -> Value:
        """Call a lowering: by numpy's numbers where all are known and few, else on jax arrays."""
        node = self.node
        assert node is not None
        self.args = self.converted = args
        if node.op_type in HANDS_ON and not node.domain:
            return lowering(self, *args, **attributes)
        if any(isinstance(x, Sizes) for x in args) and not node.domain:
            made = evaluated(node.op_type, args, attributes)
            if made is not None:
                return made
        if driver.has_strings(node):
            return lowering(self, *(self.concrete(x) for x in args), **attributes)
        if self._is_known(node.op_type, args):
            with jax.ensure_compile_time_eval(), sixty_four_bits():
                self.is_static = True
                try:
                    return _each(lambda x: np.asarray(x), self._called(lowering, args, attributes))
                finally:
                    self.is_static = False
        return self._called(lowering, args, attributes)

    def finish(self, outputs: list[Value]) -> list[Value]:
        """The graph's outputs."""
        return outputs

    def _is_known(self, op: str, args: Sequence[Value]) -> bool:
        if op in NEVER_KNOWN or not all(x is None or is_known(x) for x in args):
            return False
        given = [x for x in args if x is not None]
        if sum(x.size for x in given) > KNOWN_ELEMENTS:
            return False
        return op not in MAKES or MAKES[op](*given) <= KNOWN_ELEMENTS

    def _called(self, lowering: driver.Lowering, args: Sequence[Value], attributes: dict[str, Any]) -> Value:
        self.converted = [_each(self.array, x) for x in args]
        made = lowering(self, *self.converted, **attributes)
        assert self.node is not None
        if not isinstance(made, tuple):
            return self._typed(self.node.outputs[0], made)
        return tuple(self._typed(value, x) for value, x in zip(self.node.outputs, made, strict=False))

    def _typed(self, value: ir.Value, x: Value) -> Value:
        """A result in the dtype that the graph says, which jax's own rules (int8 sums to int32) may have left."""
        if not isinstance(x, jax.Array) or value.dtype is None:
            return x
        dtype = self.dtype_of(value.dtype)
        return x if x.dtype == dtype and not x.weak_type else jax.lax.convert_element_type(x, dtype)

    # ---- what lowerings ask for

    def array(self, x: Value) -> Value:
        """A known value as a jax array; others as they are."""
        if isinstance(x, Sizes):
            return as_array(x)
        if not is_known(x):
            return x
        return to_jax(x, None if self.is_static else self.casts.get(x.dtype))

    def known(self, x: Value) -> Array | None:
        """The numbers of an input of the node at hand, if they are there when jax traces."""
        raw = self._raw(x)
        if is_known(raw):
            known: Array = raw
            return known
        return None if raw is None or isinstance(raw, (jax.core.Tracer, list, Sizes)) else np.asarray(raw)

    def constant(self, x: Value) -> Array | None:
        """The numbers of an input of the node at hand, if they are known; `known` reads computed ones as well."""
        raw = self._raw(x)
        return raw if is_known(raw) else None

    def _raw(self, x: Value) -> Value:
        """An input of the node at hand as it was, before it became a jax array."""
        return next((a for a, c in zip(self.args, self.converted, strict=True) if c is x), x)

    def concrete(self, x: Value) -> Value:
        """An input as numpy's, lists of them and None alike. Raises Untraceable where jax traces it."""
        if isinstance(x, list):
            return [self.concrete(item) for item in x]
        if x is None or isinstance(x, (np.ndarray, dict)):
            return x
        found = self.known(x)
        if found is None:
            raise Untraceable(
                f"{self.name}: its input {self._name_of(x)!r} has to be known to say what comes out, "
                "and is computed from what jax traces",
                hint="Call the model outside of jax.jit, jax.grad and jax.vmap, or with that input as a constant.",
            )
        return found

    def ints(self, x: Value) -> list[int]:
        """An input as a list of integers: axes, sizes, pads; some of them symbols, where jax.export keeps sizes free.

        Raises Untraceable where jax traces it.
        """
        raw = self._raw(x)
        if isinstance(raw, Sizes):
            return list(raw.items.reshape(-1))
        return [int(n) for n in self.concrete(x).reshape(-1)]

    def number(self, x: Value) -> Any:
        """An input of one element as a Python number. Raises Untraceable where jax traces it."""
        return self.concrete(x).reshape(-1)[0].item()

    @property
    def name(self) -> str:
        """The node at hand, as errors call it."""
        assert self.node is not None
        return f"{self.node.op_type} {self.node.name!r} of {self.graph.name!r}"

    def _name_of(self, x: Value) -> str:
        assert self.node is not None
        places = [i for i, (a, c) in enumerate(zip(self.args, self.converted, strict=True)) if a is x or c is x]
        value = self.node.inputs[places[0]] if places else None
        return "" if value is None else value.name or ""

    def type_in(self, i: int) -> ir.DataType:
        """The ONNX dtype of the i-th input. Raises HubError where it is not known."""
        assert self.node is not None
        value = self.node.inputs[i] if i < len(self.node.inputs) else None
        if value is None or value.dtype is None:
            raise HubError(f"{self.name}: the dtype of its input {i} is not known")
        return value.dtype

    def dtype_of(self, dtype: ir.DataType | int) -> np.dtype[Any]:
        """ONNX's dtype as jax's; the dtype that the weights were brought to, in the place of what they were."""
        found = jax_dtype(ir.DataType(dtype))
        return found if self.is_static else self.casts.get(found, found)

    def is_read(self, i: int) -> bool:
        """Whether anybody reads the i-th output."""
        assert self.node is not None
        outputs = self.node.outputs
        return i < len(outputs) and bool(outputs[i].uses() or outputs[i].is_graph_output())

    def key(self, seed: float | None = None) -> jax.Array:
        """The random key of the node at hand: of the caller's `rngs`, else of the seed; one for each run of a body."""
        number = 0 if seed is None or np.isnan(seed) else int(np.float32(seed)) & 0xFFFFFFFF
        key = jax.random.key(number) if self.rngs is None else jax.random.fold_in(self.rngs, number)
        assert self.node is not None
        for step in (self.order[self.node], *self.steps):
            key = jax.random.fold_in(key, step)
        return key

    def body(self, held: driver.Body) -> Callable[..., list[Value]]:
        """A graph that the node at hand holds as a function: its inputs, then `step`, the number of this run."""
        outer = {value: held.outer[value] for value in held.captured}
        program = (self.order, self.casts, self.train, self.rngs)

        def run(*args: Value, step: Any = 0) -> list[Value]:
            order, casts, train, rngs = program
            inner = Trace(
                held.graph, {}, order, casts=casts, train=train, rngs=rngs, steps=(*self.steps, step), is_body=True
            )
            values: driver.Values = {None: None}
            values |= [*outer.items(), *zip(held.graph.inputs, args, strict=True)]
            made: list[Value] = driver.walk(held.graph, inner, values)
            return made

        return run


def is_known(x: Value) -> bool:
    """Whether a value is numpy's: its numbers are there when jax traces."""
    return isinstance(x, np.ndarray) and x.dtype.kind not in "OSU"


def _each(f: Callable[[Value], Value], x: Value) -> Value:
    """`f` of a value, or of each of several; nothing of nothing."""
    if isinstance(x, (tuple, list)):
        return type(x)(_each(f, item) for item in x)
    return x if x is None else f(x)
