"""Bound canonical graph -> keras.Model: a functional model of Keras' own layers, and `Op`s for what is none.

`write` gives a model whose layers bear the author's module paths and whose weights are his tensors; `tensors` is the
way back, of a model that was loaded from a file too. What a functional model can't hold (lists, None, values of
unknown rank, no input at all) is a `Graph`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import onnx_ir as ir

from zoo.converters.dtypes import cast
from zoo.converters.graph import CHANNELS_LAST, bodies, data_inputs, is_parameter
from zoo.converters.layout import Choice, Layouts, channels_last, layouts
from zoo.converters.writers import driver
from zoo.converters.writers.keras import backends, layers, lowers, operators, ops  # noqa: F401 - two fill their tables
from zoo.converters.writers.keras.dtypes import FLOATS, available, held
from zoo.converters.writers.keras.heads import multi_head
from zoo.converters.writers.keras.layers.values import is_tensor
from zoo.converters.writers.keras.naming import LayerNames, identifier
from zoo.converters.writers.keras.parameters import Parameter
from zoo.converters.writers.keras.program import Names, program_of
from zoo.converters.writers.keras.publishing import STATISTICS, Publisher, unnamed
from zoo.converters.writers.keras.publishing import tensors as tensors
from zoo.converters.writers.keras.saved import Graph, Op, PublishedParts
from zoo.converters.writers.keras.sharing import part_biases, shared
from zoo.errors import HubError, UsageError

Value = Any  # KerasTensor; Parameter; numpy array of a constant; Deferred; None
Array = np.ndarray[Any, np.dtype[Any]]

SMALL = 1024  # elements: a larger constant is a weight of its layer, and not text in its config


def write(model: ir.Model, *, channels: Choice = "first", dtype: str | None = None) -> keras.Model:
    """The native model of a bound canonical one, every parameter trainable. Raises HubError, UsageError for a dtype.

    With channels="last" pictures come and go as Keras has them, [N, H, W, C]; with "first" as the graph says. Inside
    they are last in any case. A `dtype` is that of the layers, the weights, the inputs and the outputs: Keras makes a
    layer in its dtype, and casts none.
    """
    return written(model, channels=channels, dtype=dtype)[0]


def written(model: ir.Model, *, channels: Choice = "first", dtype: str | None = None) -> tuple[keras.Model, Layouts]:
    """What `write` gives, and which of its inputs and outputs stand otherwise than the graph says."""
    driver.check(model.graph, lowers)
    if dtype is not None:
        model = cast(model, dtype)
    if is_functional(model.graph):
        laid_out = model.clone()
        channels_last(laid_out, _takes, inputs=channels, outputs=channels)
        part_biases(laid_out)
        if is_functional(laid_out.graph):
            return functional(laid_out), layouts(laid_out)
    return whole(model), Layouts({}, {})


def _takes(node: ir.Node) -> bool:
    """Whether there is a lowering of the node's channels-last form."""
    key = (CHANNELS_LAST, node.op_type)
    return key in ops or (key in lowers and not any(v is not None and not is_parameter(v) for v in node.inputs[1:]))


def is_functional(graph: ir.Graph) -> bool:
    """Whether each value is a tensor of known rank and dtype, and there is something to begin with."""
    values = [*graph.inputs, *(v for node in graph for v in node.outputs if is_read(v))]
    return bool(data_inputs(graph)) and all(
        isinstance(v.type, ir.TensorType) and v.dtype is not None and v.shape is not None for v in values
    )


def functional(model: ir.Model) -> keras.Model:
    """A functional model. A parameter that turns out to be read by two layers gets one of its own, in another try."""
    held_apart = shared(model.graph)
    while True:
        try:
            made: keras.Model = driver.write(model.graph, KerasWriter(model, held_apart))
            return made
        except SharedParameter as found:
            held_apart.add(found.name)


def whole(model: ir.Model) -> Graph:
    """The graph as one program."""
    names, graph = Names(), model.graph
    inputs = data_inputs(graph)
    for value in (*inputs, *graph.outputs):
        names[value]  # the author's names go first
    publish = Publisher(graph)
    weights, constants = {}, {}
    for value in graph.initializers.values():
        if is_parameter(value):
            weights[names[value]] = publish(Parameter(value.name or "", value)), publish.is_trained(value)
        elif value.const_value is not None:
            constants[names[value]] = np.asarray(value.const_value.numpy())
    program = program_of(list(graph), inputs, list(graph.outputs), names, constants)
    return Graph(program, weights, name=identifier(graph.name or "") or None)


def placed(native: keras.Model, *, device: str | None, dtype: str | None) -> keras.Model:
    """The model on a device, whose weights are moved there. Raises UsageError."""
    if dtype is not None:
        raise UsageError("a Keras model is made in its dtype, and not cast afterwards: write(model, dtype=...)")
    where = backends.device(device or "auto")
    return native if where is None else backends.moved(native, where)


class SharedParameter(HubError):
    """A parameter that a second layer reads, and that the first was to own."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the parameter {name!r} is read by two layers")
        self.name = name


class Deferred:
    """A value of shape arithmetic: its nodes become part of the layer that reads it."""


DEFERRED = Deferred()


class KerasWriter:
    """Calls the lowerings on Keras' symbolic tensors, and makes `Op`s of what they leave."""

    lowers = lowers

    def __init__(self, model: ir.Model, held_apart: set[str]) -> None:
        self.model, self.graph, self.held_apart = model, model.graph, held_apart
        self.names = Names()
        self.publish = Publisher(model.graph)
        self.inputs: list[Any] = []
        self.values: dict[ir.Value, Value] = {}
        self.owners: dict[str, Any] = {}
        self.layers: dict[Any, keras.layers.Layer] = {}
        self.heads = multi_head(self.graph, held_apart)
        self.absorbed = {node for heads in self.heads.values() for node in heads.absorbed}
        self.node: ir.Node | None = None
        for value in (*data_inputs(self.graph), *self.graph.outputs):
            self.names[value]  # the author's names go first
        self.layer_names = LayerNames(model)

    # ---- what the driver asks for

    def input(self, value: ir.Value) -> Value:
        """An Input under the author's name."""
        dtype = available(held(value.dtype or ir.DataType.FLOAT))
        shape = tuple(d if isinstance(d, int) else None for d in value.shape or ())
        self.inputs.append(keras.Input(batch_shape=shape, dtype=dtype, name=self.layer_names.unique(value.name or "")))
        self.values[value] = self.inputs[-1]
        return self.inputs[-1]

    def initializer(self, value: ir.Value) -> Value:
        """A parameter, for a layer to take; a constant as its numbers."""
        if value.const_value is None:
            raise ValueError(f"initializer {value.name!r} has no data")
        made: Value = Parameter(value.name or "", value) if is_parameter(value) else value.const_value.numpy()
        if value.name in self.held_apart:
            made = self._op([], [value], {value: made}, self.layer_names.unique(value.name))
        self.values[value] = made
        return made

    @contextmanager
    def at(self, node: ir.Node) -> Iterator[None]:
        """While this is open, layers are made for `node`."""
        self.node = node
        yield
        self.node = None

    def call(self, lowering: driver.Lowering, args: list[Value], attributes: dict[str, Any]) -> Value:
        """A layer of Keras' own where the operator is one, else an `Op`; shape arithmetic waits for who reads it."""
        assert self.node is not None
        node = self.node
        self.values |= {v: a for v, a in zip(node.inputs, args, strict=True) if v is not None}
        for body in (a for a in attributes.values() if isinstance(a, driver.Body)):
            self.values |= {v: body.outer[v] for v in body.captured}
        if node in self.absorbed:
            return (next(x for x in args if is_tensor(x)),) * len(node.outputs)
        if self._is_deferred(node, args):
            return (DEFERRED,) * len(node.outputs)
        native = lowers.get((node.domain, node.op_type))
        made = native(self, *args, **attributes) if native else None
        if made is None:
            outputs = [v for v in node.outputs if is_read(v)]
            found = self._op([node], outputs, self.values, self.layer_names.of_node(node))
            by_value = dict(zip(outputs, found if len(outputs) > 1 else [found], strict=True))
            made = tuple(by_value.get(v) for v in node.outputs)
        return made

    def finish(self, outputs: list[Value]) -> keras.Model:
        """The model: one output is the tensor, several a dict by the author's names."""
        made = []
        for value, x in zip(self.graph.outputs, outputs, strict=True):
            self.values[value] = x
            made.append(
                x if is_tensor(x) else self._op([], [value], self.values, self.layer_names.unique(value.name or ""))
            )
        if (unread := self.publish.unread()) and made:
            made[0] = self._keep(self.graph.outputs[0], made[0], unread)
        names = [v.name or "output" for v in self.graph.outputs]
        result = made[0] if len(made) == 1 else dict(zip(names, made, strict=True))
        inputs = self.inputs[0] if len(self.inputs) == 1 else self.inputs
        return keras.Model(inputs, result, name=identifier(self.graph.name or "") or None)

    # ---- Ops

    def _is_deferred(self, node: ir.Node, args: Sequence[Value]) -> bool:
        """Whether a node computes of sizes alone, and it is a few numbers, or one node alone reads them."""
        if any(v.shape is None or (len(v.shape) > 1 and len(list(v.uses())) > 1) for v in node.outputs):
            return False
        if node.op_type in ("Shape", "Size") and not node.domain:
            return True
        fixed = all(a is None or a is DEFERRED or isinstance(a, np.ndarray) for a in args)
        return fixed and any(a is DEFERRED for a in args) and not any(bodies(node))

    def _with_deferred(self, nodes: Sequence[ir.Node], outputs: Sequence[ir.Value]) -> list[ir.Node]:
        """The nodes, and before them those of the shape arithmetic that they read."""
        order: list[ir.Node] = []
        seen: set[ir.Node] = set()

        def add(node: ir.Node | None) -> None:
            if node is None or node in seen:
                return
            seen.add(node)
            for value in read_by(node):
                if self.values.get(value) is DEFERRED:
                    add(value.producer())
            order.append(node)

        for value in outputs:
            if self.values.get(value) is DEFERRED:
                add(value.producer())
        for node in nodes:
            add(node)
        return order

    def _op(
        self, nodes: Sequence[ir.Node], outputs: Sequence[ir.Value], values: Mapping[ir.Value, Value], name: str
    ) -> Any:
        """Call an `Op` that runs these nodes."""
        order = self._with_deferred(nodes, outputs)
        made = {out for node in order for out in node.outputs}
        read = dict.fromkeys(v for node in order for v in read_by(node) if v not in made)
        read |= dict.fromkeys(v for v in outputs if v not in made)
        inputs = [v for v in read if is_tensor(values[v])]
        weights, constants = {}, {}
        for value in read:
            x = values[value]
            if isinstance(x, Parameter):
                weights[self.names[value]] = self.publish(x), self.publish.is_trained(x.value)
                if x.name not in self.held_apart:
                    self._own(x, name)
            elif isinstance(x, np.ndarray):
                constants[self.names[value]] = x
        weights |= {n: (unnamed(constants.pop(n)), False) for n in list(constants) if constants[n].size > SMALL}
        program = program_of(order, inputs, outputs, self.names, constants)
        layer = Op(program, weights, name=name)
        given = [values[v] for v in inputs] or self.inputs[:1]
        return layer(given[0] if len(given) == 1 else given)

    def _keep(self, value: ir.Value, x: Value, unread: Sequence[Parameter]) -> Value:
        """Hand an output on through a layer that holds the author's tensors that nothing reads."""
        program = program_of([], [value], [value], self.names, {})
        weights = {p.name: (self.publish(p), False) for p in unread}
        return Op(program, weights, name=self.layer_names.unique("unused"))(x)

    def _own(self, parameter: Parameter, owner: Any) -> None:
        if self.owners.setdefault(parameter.name, owner) != owner:
            raise SharedParameter(parameter.name)

    # ---- what lowerings ask for

    def layer(
        self,
        cls: type[keras.layers.Layer],
        x: Value,
        config: Mapping[str, Any] | None = None,
        how: Mapping[str, Any] | None = None,
        part: str = "",
        **weights: Value,
    ) -> Value:
        """Call a layer of Keras', whose weights are the author's parameters: `kernel_initializer=Parameter, ...`.

        A layer of several parts has a parameter for each: `kernel_initializer={"query": Parameter, ...}`.
        None unless all of them are that, of the dtype that x has. The same layer is called again where the author has
        it twice; `how` are further arguments of the call. `part` says what it does for the layer that the node is.
        """
        fields = {field: p if isinstance(p, dict) else {"": p} for field, p in weights.items() if p is not None}
        given = {(field, part): p for field, parts in fields.items() for part, p in parts.items()}
        dtype = x[0].dtype if isinstance(x, list) else x.dtype
        if not all(isinstance(p, Parameter) for p in given.values()):
            return None
        dtypes = {available(held(p.dtype)) for p in given.values()} | ({dtype} if dtype in FLOATS else set())
        if len(dtypes) != 1:
            return None
        (policy,) = dtypes
        arguments = dict(config or {})
        trained = {self.publish.is_trained(p.value) for (field, _), p in given.items() if field not in STATISTICS}
        if len(trained) > 1:
            return None
        if trained == {False}:
            arguments["trainable"] = False
        if not given:
            return cls(**arguments, dtype=policy, name=self._name([], part))(x)
        key = (cls, repr(sorted(arguments.items())), tuple((f, p.name, p.views) for f, p in sorted(given.items())))
        made = self.layers.get(key)
        if made is not None:
            return made(x, **(how or {}))
        for parameter in given.values():
            self._own(parameter, key)
        arguments |= {field: self._published(parts) for field, parts in fields.items()}
        self.layers[key] = cls(**arguments, dtype=policy, name=self._name(given.values()))
        y = self.layers[key](x, **(how or {}))
        for initializer in (i for i in arguments.values() if isinstance(i, PublishedParts)):
            initializer.fill(self.layers[key])
        return y

    def _published(self, parts: Mapping[str, Parameter]) -> Any:
        """The initializer of a weight, or of one in each part of a layer."""
        made = {part: self.publish(p) for part, p in parts.items()}
        return made[""] if "" in made else PublishedParts(made)

    def _name(self, weights: Iterable[Parameter], part: str = "") -> str:
        """The path of the module that all of the weights are of."""
        assert self.node is not None
        paths = [p.name.split(".")[:-1] for p in weights]
        if paths and (path := ".".join(os.path.commonprefix(paths))):
            return self.layer_names.unique(path)
        return self.layer_names.of_node(self.node, part)

    def value(self, i: int) -> ir.Value | None:
        """The graph's own i-th input of the node at hand."""
        inputs = self.node.inputs if self.node else ()
        return inputs[i] if i < len(inputs) else None

    def is_read(self, i: int) -> bool:
        """Whether anything reads the i-th output of the node at hand."""
        outputs = self.node.outputs if self.node else ()
        return i < len(outputs) and is_read(outputs[i])

    def known(self, x: Value) -> Array | None:
        """The numbers of a constant."""
        return x if isinstance(x, np.ndarray) else None

    def refused(self, why: str) -> HubError:
        """An error that names the node."""
        node = self.node
        return HubError(f"{node.op_type if node else ''} {node.name if node else ''!r}: {why}")


def is_read(value: ir.Value) -> bool:
    """Whether a node or the user of the graph reads a value."""
    return bool(value.uses()) or value.is_graph_output()


def read_by(node: ir.Node) -> list[ir.Value]:
    """What a node reads, and what its bodies read of the graphs around them."""
    read = [v for v in node.inputs if v is not None]
    for attr in node.attributes.values():
        if attr.type == ir.AttributeType.GRAPH:
            read += driver.Body(attr.as_graph(), {}).captured
    return list(dict.fromkeys(read))
