"""Keras layers -> ONNX nodes: the walk over the calls, and what a layer's function (keras_layers.py) writes nodes with.

Keras computes channels last and ONNX channels first. A tensor is known in the author's layout, with its channels moved
to the front, or both; the other layout is made when a layer wants it and kept, so that a chain of convolutions has one
transpose before and one behind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.graph import MADE_BY, MODULES, PARAMETER, PATH, STORED_OPSET
from zoo.converters.readers.keras_config import Call, Fault, Layer, Model, Ref
from zoo.converters.readers.keras_weights import Found, Weights
from zoo.converters.tensors import Tensor

Shape = tuple[int | None, ...]
BUFFERS = ("moving_mean", "moving_variance", "running_mean", "running_std")
NOBODY = Layer("", "", {})
MAX_CALLS = 100_000
IR_VERSION = 11


@dataclass(slots=True, eq=False)
class Laid:
    """A Keras tensor: its shape as the author has it, and its value in the author's layout or with channels moved."""

    shape: Shape
    author: ir.Value | None = None
    moved: ir.Value | None = None  # [N, ..., C] as [N, C, ...]
    dtype: ir.DataType = ir.DataType.FLOAT
    mask: ir.Value | None = None  # [N, T] of bool: which steps count

    @property
    def rank(self) -> int:
        """How many axes, the batch's included."""
        return len(self.shape)


Emit = Callable[["Builder", Layer, Sequence[Laid]], Laid | Sequence[Laid]]


@dataclass(frozen=True, slots=True)
class Origin:
    """What the file says of itself beside the layers."""

    version: tuple[int, int]  # of Keras: major, minor
    backend: str
    format: str = "keras-hdf5"


class Builder:
    """Collects nodes and initializers. `path` is the layer being written, in the author's module tree."""

    def __init__(self, table: Mapping[str, Emit], weights: Weights, origin: Origin) -> None:
        self.table, self.weights, self.origin = table, weights, origin
        self.arguments: tuple[Any, ...] = ()  # what the layer is called on, in order
        self.given: dict[str, Any] = {}  # and by name
        self.layer = NOBODY  # whose weights are asked for
        self.inside: tuple[str, ...] = ()  # the objects in it that lead to those
        self.nodes: list[ir.Node] = []
        self.initializers: dict[str, ir.Value] = {}
        self.modules: dict[str, str] = {}
        self.path: tuple[str, ...] = ()
        self.calls, self.written = 0, 0

    def op(self, kind: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """A node of one output."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, outputs: int, *inputs: ir.Value | None, **attributes: Any) -> Sequence[ir.Value]:
        """A node of several outputs."""
        self.written += 1
        name = f"{'/'.join(self.path)}/{kind}_{self.written}"
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

    def index(self, number: int) -> ir.Value:
        """A constant [] of int64."""
        return self._constant(np.array(number, np.int64), f"index_{number}")

    def constant(self, array: np.ndarray[Any, Any]) -> ir.Value:
        """A constant of a few numbers."""
        key = f"const_{array.dtype.name}_{'x'.join(map(str, array.shape))}_{array.tobytes().hex()}"
        return self._constant(array, key if len(key) <= 64 else f"const_{len(self.initializers)}")

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
        return len(self._found(field)) == 1

    def weight_shape(self, *field: str, rank: int | None = None) -> tuple[int, ...]:
        """Its shape."""
        return sizes(self._weight(field, rank)[1])

    @contextmanager
    def within(self, layer: Layer, *inside: str) -> Iterator[None]:
        """Ask for the weights of a layer that stands inside this one."""
        before = self.layer, self.inside
        self.layer, self.inside = layer, (*self.inside, *inside)
        yield
        self.layer, self.inside = before

    @contextmanager
    def elsewhere(self) -> Iterator[list[ir.Node]]:
        """Write nodes into a list of their own, for the body of a loop."""
        before, self.nodes = self.nodes, []
        yield self.nodes
        self.nodes = before

    def _found(self, field: Sequence[str]) -> Found:
        return self.weights.find(self.path, (*self.inside, *field[:-1]), field[-1], self.layer)

    def _weight(self, field: Sequence[str], rank: int | None) -> tuple[ir.Value, Tensor]:
        found = self._found(field)
        if len(found) != 1:
            what = "no weight" if not found else f"{len(found)} weights"
            raise Fault(f"layer {'/'.join(self.path)!r} has {what} {'/'.join((*self.inside, *field))!r}")
        name, tensor = found[0]
        if rank is not None and len(tensor.shape) != rank:
            raise Fault(f"weight {name!r} has {len(tensor.shape)} axes, not {rank}")
        if name not in self.initializers:
            value = self.initializers[name] = _initializer(name, tensor)
            value.metadata_props[PARAMETER] = "buffer" if leaf(name) in BUFFERS else "parameter"
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

    def body(
        self, nodes: list[ir.Node], inputs: Sequence[ir.Value], outputs: Sequence[ir.Value], name: str
    ) -> ir.Graph:
        """Nodes that were written elsewhere as the body of a loop, whose outputs are its own and each once."""
        values: list[ir.Value] = []
        made = {value for node in nodes for value in node.outputs}
        for value in outputs:
            if value not in made or value in values:
                copy = ir.Value(name=f"{value.name}/out_{len(values)}_{len(nodes)}")
                nodes.append(ir.node("Identity", [value], outputs=[copy], name=copy.name))
                value = copy
            values.append(value)
        return ir.Graph(inputs, values, nodes=nodes, name=name)

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


def build(model: Model, table: Mapping[str, Emit], weights: Weights, origin: Origin) -> ir.Model:
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
    made_by = {"format": origin.format, "keras": ".".join(map(str, origin.version))}
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
            needs = [*item[2].inputs, *(v for v in _flat(item[2].kwargs.values()) if isinstance(v, Ref))]
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
    if layer.kind not in b.table and f"ops.{layer.kind}" in b.table:  # Keras 3's HDF5 doesn't say of which module
        layer = replace(layer, kind=f"ops.{layer.kind}", is_operation=True)
    emit = b.table.get(layer.kind)
    if emit is None:
        raise Fault(f"layer {layer.name!r} of class {layer.kind!r}", is_refusal=True)
    b.arguments = tuple(_resolved(made, value) for value in call.arguments)
    b.given = {key: _resolved(made, value) for key, value in call.kwargs.items() if value not in (None, False, {})}
    allowed = ARGUMENTS.get(layer.kind, ())
    given = [key for key in b.given if key not in (*allowed, "training", "mask")]
    if given and layer.kind not in ANYTHING and not layer.is_operation:
        raise Fault(f"layer {layer.name!r} ({layer.kind}) is called with {given[0]!r}", is_refusal=True)
    if not layer.is_operation and any(not isinstance(v, Laid) for v in _flat(b.arguments)):
        raise Fault(f"layer {layer.name!r} ({layer.kind}) is called on something that is no tensor", is_refusal=True)
    b.path, b.layer, b.inside = path, layer, ()
    b.modules[".".join(path)] = f"keras.{'ops' if layer.is_operation else 'layers'}.{layer.kind.removeprefix('ops.')}"
    inputs = [*_masked(inputs, b.given.get("mask")), *_flat(b.given.get(key) for key in ARGUMENTS.get(layer.kind, ()))]
    outputs = emit(b, layer, inputs)
    outputs = [outputs] if isinstance(outputs, Laid) else list(outputs)
    if layer.kind in KEEPS_MASK and (mask := _kept_mask(b, inputs)) is not None:
        outputs = [replace(x, mask=x.mask or mask) for x in outputs]
    return outputs


def _resolved(made: Mapping[tuple[str, int], Sequence[Laid]], value: Any) -> Any:
    """An argument with the tensors that it refers to."""
    if isinstance(value, Ref):
        return _get(made, value)
    return tuple(_resolved(made, part) for part in value) if isinstance(value, tuple) else value


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    """The members of lists in lists; what is not given is left out."""
    for value in values:
        if isinstance(value, tuple):
            yield from _flat(value)
        elif value is not None:
            yield value


def _masked(inputs: Sequence[Laid], given: Any) -> list[Laid]:
    """The inputs with the masks that a call states, which go before those that came with them."""
    masks = given if isinstance(given, tuple) else [given] * len(inputs)
    pairs = zip(inputs, [*masks, *[None] * len(inputs)], strict=False)
    return [replace(x, mask=m.author) if isinstance(m, Laid) else x for x, m in pairs]


def _kept_mask(b: Builder, inputs: Sequence[Laid]) -> ir.Value | None:
    """The mask behind a layer that keeps it: of several inputs the steps that count in all."""
    masks = [x.mask for x in inputs]
    if not masks or any(mask is None for mask in masks):
        return None
    both = masks[0]
    for mask in masks[1:]:
        both = both if mask is both else b.op("And", both, mask)
    return both


# Tensors that a layer takes by name, in the order in which its function gets them.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "MultiHeadAttention": ("value", "key"),
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "Bidirectional", "RNN", "ConvLSTM2D"), ("initial_state",)),
}
# Layers whose function looks at what they are called with by itself.
ANYTHING = frozenset(("MultiHeadAttention", "Attention", "AdditiveAttention", "TFOpLambda", "SlicingOpLambda"))
KEEPS_MASK = frozenset(
    (
        *(
            "Activation",
            "ActivityRegularization",
            "Add",
            "AlphaDropout",
            "Average",
            "BatchNormalization",
            "Concatenate",
        ),
        *("Dense", "Dropout", "ELU", "GaussianDropout", "GaussianNoise", "LayerNormalization", "LeakyReLU", "Maximum"),
        *("Minimum", "Multiply", "PReLU", "ReLU", "RMSNormalization", "Rescaling", "Softmax", "SpatialDropout1D"),
        *("Subtract", "ThresholdedReLU", "TimeDistributed", "UnitNormalization", "MultiHeadAttention", "EinsumDense"),
    )
)


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


def leaf(name: str) -> str:
    """The last part of a weight's name."""
    return name.rpartition("/")[2].removesuffix(":0")


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
