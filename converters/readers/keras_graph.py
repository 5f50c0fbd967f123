"""Keras layers -> ONNX nodes: the walk over the calls, and what a layer's function (keras_layers.py) writes nodes with.

Keras computes channels last and ONNX channels first. A tensor is known in the author's layout, with its channels moved
to the front, or both; the other layout is made when a layer wants it and kept, so that a chain of convolutions has one
transpose before and one behind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.graph import MADE_BY, MODULES, PARAMETER, PATH, STORED_OPSET
from zoo.converters.readers.keras_config import Call, Fault, Layer, Model, Ref
from zoo.converters.tensors import Tensor

Shape = tuple[int | None, ...]
BUFFERS = ("moving_mean", "moving_variance", "running_mean", "running_std")
MAX_CALLS = 100_000
IR_VERSION = 11


@dataclass(slots=True, eq=False)
class Laid:
    """A Keras tensor: its shape as the author has it, and its value in the author's layout or with channels moved."""

    shape: Shape
    author: ir.Value | None = None
    moved: ir.Value | None = None  # [N, ..., C] as [N, C, ...]
    dtype: ir.DataType = ir.DataType.FLOAT

    @property
    def rank(self) -> int:
        """How many axes, the batch's included."""
        return len(self.shape)


Emit = Callable[["Builder", Layer, Sequence[Laid]], Laid]


@dataclass(frozen=True, slots=True)
class Origin:
    """What the file says of itself beside the layers."""

    version: tuple[int, int]  # of Keras: major, minor
    backend: str


class Builder:
    """Collects nodes and initializers. `path` is the layer being written, in the author's module tree."""

    def __init__(self, table: Mapping[str, Emit], weights: Mapping[str, Tensor], origin: Origin) -> None:
        self.table, self.weights, self.origin = table, weights, origin
        self.nodes: list[ir.Node] = []
        self.initializers: dict[str, ir.Value] = {}
        self.modules: dict[str, str] = {}
        self.path: tuple[str, ...] = ()
        self.calls = 0

    def op(self, kind: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """A node of one output."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, outputs: int, *inputs: ir.Value | None, **attributes: Any) -> Sequence[ir.Value]:
        """A node of several outputs."""
        name = f"{'/'.join(self.path)}/{kind}_{len(self.nodes)}"
        values = [ir.Value(name=f"{name}:{i}" if outputs > 1 else name) for i in range(outputs)]
        given = {key: value for key, value in attributes.items() if value is not None}
        props = {PATH: ".".join(self.path)}
        node = ir.node(kind, inputs, given, outputs=values, name=name, metadata_props=props)
        self.nodes.append(node)
        return values

    def ints(self, *numbers: int) -> ir.Value:
        """A constant [n] of int64."""
        return self._constant(np.array(numbers, np.int64), f"ints_{'_'.join(map(str, numbers))}")

    def number(self, value: float) -> ir.Value:
        """A constant [] of float32."""
        return self._constant(np.array(value, np.float32), f"number_{float(value)!r}")

    def full(self, value: float, *shape: int) -> ir.Value:
        """A tensor of one value, which stays a node so that nobody takes it for weights."""
        return self.op("ConstantOfShape", self.ints(*shape), value=ir.tensor(np.array([value], np.float32)))

    def _constant(self, array: np.ndarray[Any, Any], name: str) -> ir.Value:
        if name not in self.initializers:
            self.initializers[name] = _initializer(name, ir.tensor(array, name=name))
        return self.initializers[name]

    def weight(self, *field: str, rank: int | None = None) -> ir.Value:
        """The layer's weight of that name, unchanged and under the name that it has in the file.

        `field` may name inner layers first, as in ("query", "kernel"). Raises Fault when there is none or several.
        """
        return self._weight(field, rank)[0]

    def has_weight(self, *field: str) -> bool:
        """Whether the layer has a weight of that name."""
        return len(self._named(field)) == 1

    def weight_shape(self, *field: str, rank: int | None = None) -> tuple[int, ...]:
        """Its shape."""
        return sizes(self._weight(field, rank)[1])

    def _named(self, field: Sequence[str]) -> list[str]:
        top, *inner = self.path
        scope = [*inner[-1:], *field[:-1]]  # whether the models between stand in a name depends on Keras' version
        found = [name for name in self.weights if name.startswith(f"{top}/") and _is_named(name, top, scope, field[-1])]
        if len(found) > 1 and inner:
            found = [name for name in found if set(inner) <= set(name.split("/"))]
        return found

    def _weight(self, field: Sequence[str], rank: int | None) -> tuple[ir.Value, Tensor]:
        found = self._named(field)
        if len(found) != 1:
            what = "no weight" if not found else f"{len(found)} weights"
            raise Fault(f"layer {'/'.join(self.path)!r} has {what} {'/'.join(field)!r}")
        name, tensor = found[0], self.weights[found[0]]
        if rank is not None and len(tensor.shape) != rank:
            raise Fault(f"weight {name!r} has {len(tensor.shape)} axes, not {rank}")
        if name not in self.initializers:
            value = self.initializers[name] = _initializer(name, tensor)
            value.metadata_props[PARAMETER] = "buffer" if _leaf(name) in BUFFERS else "parameter"
        return self.initializers[name], tensor

    def author(self, x: Laid) -> ir.Value:
        """The value in the author's layout."""
        if x.author is None:
            x.author = self.op("Transpose", x.moved, perm=[0, *range(2, x.rank), 1])
        return x.author

    def moved(self, x: Laid) -> ir.Value:
        """The value with the author's last axis as the second."""
        if x.rank < 3:
            return self.author(x)
        if x.moved is None:
            x.moved = self.op("Transpose", x.author, perm=[0, x.rank - 1, *range(1, x.rank - 1)])
        return x.moved

    def channels(self, x: Laid, layer: Layer) -> ir.Value:
        """The value with its channels second, whichever `data_format` the layer has."""
        return self.author(x) if is_channels_first(layer) else self.moved(x)

    def from_channels(self, value: ir.Value, shape: Sequence[int | None], layer: Layer) -> Laid:
        """The tensor of a value [N, C, ...] and its sizes in that order."""
        if is_channels_first(layer) or len(shape) < 3:
            return Laid(tuple(shape), author=value)
        return Laid((shape[0], *shape[2:], shape[1]), moved=value)

    def same(self, x: Laid, emit: Callable[[ir.Value], ir.Value]) -> Laid:
        """An element by element function, in the layout that is at hand."""
        if x.moved is not None:
            return Laid(x.shape, moved=emit(x.moved), dtype=x.dtype)
        return Laid(x.shape, author=emit(self.author(x)), dtype=x.dtype)


def is_channels_first(layer: Layer) -> bool:
    """Whether the author's own layout has the channels second."""
    return bool(layer.get("data_format", "channels_last") == "channels_first")


def channels_shape(x: Laid, layer: Layer) -> Shape:
    """A tensor's shape with the channels second."""
    return x.shape if is_channels_first(layer) or x.rank < 3 else (x.shape[0], x.shape[-1], *x.shape[1:-1])


def build(model: Model, table: Mapping[str, Emit], weights: Mapping[str, Tensor], origin: Origin) -> ir.Model:
    """The graph of a model with its weights. Raises Fault."""
    b = Builder(table, weights, origin)
    inputs = []
    for ref in model.inputs:
        layer = model.layers.get(ref.layer)
        if layer is None or layer.kind != "InputLayer":
            raise Fault(f"input {ref.layer!r} is no InputLayer")
        inputs.append(_input(layer))
    outputs = _walk(b, model, inputs, ())
    b.path = ()
    graph = ir.Graph(
        [x.author for x in inputs if x.author is not None],
        _named_outputs(b, model, outputs),
        nodes=b.nodes,
        initializers=list(b.initializers.values()),
        opset_imports={"": STORED_OPSET},
        name=model.name,
    )
    made_by = {"format": "keras-hdf5", "keras": ".".join(map(str, origin.version))}
    props = {MODULES: json.dumps({"": "keras.Model"} | b.modules), MADE_BY: json.dumps(made_by)}
    return ir.Model(graph, ir_version=IR_VERSION, producer_name="polyzoo", metadata_props=props)


def _walk(b: Builder, model: Model, inputs: Sequence[Laid], path: tuple[str, ...]) -> list[Laid]:
    """The outputs of a model, nested or not, called on tensors."""
    if len(inputs) != len(model.inputs):
        raise Fault(f"model {model.name!r} has {len(model.inputs)} inputs and is called on {len(inputs)}")
    made: dict[tuple[str, int], Sequence[Laid]] = {
        (ref.layer, ref.call): [x] for ref, x in zip(model.inputs, inputs, strict=True)
    }
    pending = [
        (layer, i, call) for layer in model.layers.values() for i, call in enumerate(layer.calls, layer.first_call)
    ]
    while pending:
        later: list[tuple[Layer, int, Call]] = []
        for item in pending:
            needs = [*item[2].inputs, *(v for v in item[2].kwargs.values() if isinstance(v, Ref))]
            known = all((ref.layer, ref.call) in made for ref in needs)
            if known:
                layer, i, call = item
                made[layer.name, i] = _call(b, layer, call, made, (*path, layer.name))
            else:
                later.append(item)
        if len(later) == len(pending):
            raise Fault(f"layer {later[0][0].name!r} waits for a tensor that no layer makes")
        pending = later
    return [_get(made, ref) for ref in model.outputs]


def _get(made: Mapping[tuple[str, int], Sequence[Laid]], ref: Ref) -> Laid:
    tensors = made.get((ref.layer, ref.call), ())
    if ref.output >= len(tensors):
        raise Fault(f"layer {ref.layer!r} has no output {ref.output} of call {ref.call}")
    return tensors[ref.output]


def _call(
    b: Builder, layer: Layer, call: Call, made: Mapping[tuple[str, int], Sequence[Laid]], path: tuple[str, ...]
) -> Sequence[Laid]:
    b.calls += 1
    if b.calls > MAX_CALLS:
        raise Fault(f"more than {MAX_CALLS:,} layers", is_refusal=True)
    inputs = [_get(made, ref) for ref in call.inputs]
    if layer.model is not None:
        return _walk(b, layer.model, inputs, path)
    emit = b.table.get(layer.kind)
    if emit is None:
        raise Fault(f"layer {layer.name!r} of class {layer.kind!r}", is_refusal=True)
    named = {key: _get(made, value) for key, value in call.kwargs.items() if isinstance(value, Ref)}
    allowed = ARGUMENTS.get(layer.kind, ())
    given = [k for k, v in call.kwargs.items() if k not in (*allowed, "training") and v not in (None, False, {})]
    if given:
        raise Fault(f"layer {layer.name!r} ({layer.kind}) is called with {given[0]!r}", is_refusal=True)
    b.path = path
    b.modules[".".join(path)] = f"keras.layers.{layer.kind}"
    return [emit(b, layer, [*inputs, *(named[key] for key in allowed if key in named)])]


# Tensors that a layer takes by name, in the order in which its function gets them.
ARGUMENTS: dict[str, tuple[str, ...]] = {"MultiHeadAttention": ("value", "key")}


def _input(layer: Layer) -> Laid:
    shape = layer.get("batch_input_shape") or layer.get("batch_shape")
    if not isinstance(shape, list | tuple) or not shape:
        raise Fault(f"input {layer.name!r} has no shape; the model was never built", is_refusal=True)
    if any(n is not None and (type(n) is not int or n < 0) for n in shape):
        raise Fault(f"input {layer.name!r} has shape {str(shape)[:80]}")
    dtype = dtype_of(layer.get("dtype", "float32"))
    sizes: list[int | str] = [n if n is not None else f"{layer.name}_{i}" for i, n in enumerate(shape)]
    sizes[0] = "N"  # the batch is free, also where the author fixed it
    value = ir.Value(name=layer.name, shape=ir.Shape(sizes), type=ir.TensorType(dtype))
    return Laid((None, *shape[1:]), author=value, dtype=dtype)


def dtype_of(name: Any) -> ir.DataType:
    """A dtype as Keras states it: a name, or a policy around one."""
    if isinstance(name, dict):
        name = (name.get("config") or {}).get("name")
    try:
        return ir.DataType.from_numpy(np.dtype(str(name)))
    except TypeError as error:
        raise Fault(f"a tensor of dtype {str(name)[:40]!r}", is_refusal=True) from error


def sizes(tensor: Tensor) -> tuple[int, ...]:
    """A stored tensor's shape, which is never symbolic."""
    return tuple(n for n in tensor.shape if isinstance(n, int))


def _initializer(name: str, tensor: Tensor) -> ir.Value:
    shape = ir.Shape(sizes(tensor))
    return ir.Value(name=name, shape=shape, type=ir.TensorType(tensor.dtype), const_value=tensor)


def _leaf(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(":0")


def _is_named(name: str, top: str, scope: Sequence[str], leaf: str) -> bool:
    """Does `tower/conv2d_1/kernel:0` name the `kernel` of `conv2d_1` in `tower`? Keras puts scopes between."""
    parts = name.removeprefix(f"{top}/").split("/")[:-1]
    return _leaf(name) == leaf and (not scope or parts[-len(scope) :] == list(scope))


def _named_outputs(b: Builder, model: Model, outputs: Sequence[Laid]) -> list[ir.Value]:
    """One value an output, named after the layer; an Identity where two names are for one value."""
    values: list[ir.Value] = []
    others = {ref.layer for ref in model.inputs} | b.initializers.keys()
    for ref, x in zip(model.outputs, outputs, strict=True):
        value = b.author(x)
        if value.producer() is None or value in values:
            value = b.op("Identity", value)
        taken, name, n = others | {v.name or "" for v in values}, ref.layer, 0
        while name in taken:
            n += 1
            name = f"{ref.layer}_{n}"
        value.name = name
        value.type = ir.TensorType(x.dtype)
        sizes: list[int | str | None] = ["N", *x.shape[1:]]
        value.shape = ir.Shape(sizes)
        values.append(value)
    return values
