"""Bound canonical graph -> torch.nn.Module: a torch.fx GraphModule inside the author's module tree.

`write` gives a module whose layers are torch's own (nn.Conv2d, nn.BatchNorm2d, ...) at the author's paths, whose
state_dict has the author's keys in his order, and whose forward reads like a person's. `tensors` is the way back.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import fx, nn

from zoo.converters.graph import is_parameter, module_path, modules
from zoo.converters.writers import driver
from zoo.converters.writers.torch import activation as activation_group  # noqa: F401 - each group fills `lowers`
from zoo.converters.writers.torch import attention as attention_group  # noqa: F401
from zoo.converters.writers.torch import casting as casting_group  # noqa: F401
from zoo.converters.writers.torch import control_flow as control_flow_group  # noqa: F401
from zoo.converters.writers.torch import convolution as convolution_group  # noqa: F401
from zoo.converters.writers.torch import decoding as decoding_group  # noqa: F401
from zoo.converters.writers.torch import detection as detection_group  # noqa: F401
from zoo.converters.writers.torch import generator as generator_group  # noqa: F401
from zoo.converters.writers.torch import image as image_group  # noqa: F401
from zoo.converters.writers.torch import indexing as indexing_group  # noqa: F401
from zoo.converters.writers.torch import linear as linear_group  # noqa: F401
from zoo.converters.writers.torch import linear_attention as linear_attention_group  # noqa: F401
from zoo.converters.writers.torch import logical as logical_group  # noqa: F401
from zoo.converters.writers.torch import loss as loss_group  # noqa: F401
from zoo.converters.writers.torch import lowers
from zoo.converters.writers.torch import maps as maps_group  # noqa: F401
from zoo.converters.writers.torch import math as math_group  # noqa: F401
from zoo.converters.writers.torch import microsoft as microsoft_group  # noqa: F401
from zoo.converters.writers.torch import normalization as normalization_group  # noqa: F401
from zoo.converters.writers.torch import pooling as pooling_group  # noqa: F401
from zoo.converters.writers.torch import quantization as quantization_group  # noqa: F401
from zoo.converters.writers.torch import reduction as reduction_group  # noqa: F401
from zoo.converters.writers.torch import resize as resize_group  # noqa: F401
from zoo.converters.writers.torch import rnn as rnn_group  # noqa: F401
from zoo.converters.writers.torch import sequence as sequence_group  # noqa: F401
from zoo.converters.writers.torch import signal as signal_group  # noqa: F401
from zoo.converters.writers.torch import tensor as tensor_group  # noqa: F401
from zoo.converters.writers.torch import text as text_group  # noqa: F401
from zoo.converters.writers.torch.module import nested
from zoo.converters.writers.torch.sizes import SIZES, TAKES_SIZES, Sizes
from zoo.converters.writers.torch.strings import strings
from zoo.converters.writers.torch.tree import (
    Scope,
    author_name,
    complete,
    place,
    plant,
    rename_parameters,
    without_weights,
)
from zoo.converters.writers.torch.types import to_tensor, torch_dtype
from zoo.errors import UsageError

Value = Any  # torch.fx.Proxy, or a Python number for a known scalar, or Sizes
Tensor = ir.TensorProtocol


def write(model: ir.Model) -> nn.Module:
    """The native module of a bound canonical model, in inference mode, every parameter trainable. Raises HubError."""
    rename_parameters(model.graph)
    writer = TorchWriter(model.graph, plant(model), modules(model))
    module: nn.Module = driver.write(model.graph, writer)
    complete(module, model)
    return module.eval()


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """The way back: the module's state_dict as the author's tensors, under his names and in his layout."""
    state = {author_name(key): tensor.detach().cpu() for key, tensor in module.state_dict().items()}
    return {name: ir.tensor(tensor, name=name) for name, tensor in state.items()}


def placed(module: nn.Module, *, device: str | None, dtype: str | None) -> nn.Module:
    """The module on a device, its floating-point tensors in a dtype. Raises UsageError."""
    from zoo.converters.writers.torch.runner import torch_device

    if dtype is not None:
        wanted = getattr(torch, dtype, None)
        if not isinstance(wanted, torch.dtype) or not wanted.is_floating_point:
            raise UsageError(f"unknown dtype {dtype!r}", hint="Known: float32, float16, bfloat16, float64.")
        module = module.to(wanted)
    return module if device is None else module.to(torch_device(device))


def identifier(name: str) -> str:
    """A name as Python can write it, and as no attribute of nn.Module is called."""
    word = re.sub(r"\W", "_", name)
    if not word or word[0].isdigit():
        word = f"_{word}"
    return f"{word}_" if word in RESERVED else word


# what an attribute of a module may not be called
RESERVED = {*dir(nn.Module()), *keyword.kwlist, "self"}


def _is_sequence(value: ir.Value) -> bool:
    return isinstance(value.type, (ir.SequenceType, ir.OptionalType)) or value.dtype == ir.DataType.STRING


class PathTracer(fx.proxy.GraphAppendingTracer):
    """Notes on each new node the module that it belongs to."""

    path = ""

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """As torch's, with the path."""
        node: fx.Node = super().create_node(*args, **kwargs)
        node.meta["path"] = self.path
        return node


class TorchWriter:
    """Calls the lowerings on torch.fx proxies; what is particular to torch is how a layer with weights is made."""

    lowers = lowers

    def __init__(self, graph: ir.Graph, root: nn.Module, classes: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
        self.graph = graph
        self.fx_graph = fx.Graph()
        self.tracer = PathTracer(self.fx_graph)
        self.root = root
        self.classes = classes
        self.inputs: list[tuple[ir.Value, fx.Proxy]] = []
        self.constants: dict[fx.Node, np.ndarray[Any, Any]] = {}
        self.names: dict[fx.Node, str] = {}
        self.layers: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {}
        self.node: ir.Node | None = None
        self.args: list[Value] = []
        held = (*self.root.named_modules(), *self.root.named_parameters(), *self.root.named_buffers())
        self.taken = {part for name, _ in held for part in name.split(".")}

    # ---- what the driver asks for

    def input(self, value: ir.Value) -> Value:
        """A placeholder under the author's name."""
        proxy = self.argument(value.name or "input")
        self.inputs.append((value, proxy))
        return proxy

    def argument(self, name: str) -> fx.Proxy:
        """A further argument of the forward, under a name that no other has."""
        word = base = identifier(name)
        taken, n = {node.target for node in self.fx_graph.nodes if node.op == "placeholder"}, 0
        while word in taken:
            n += 1
            word = f"{base}_{n}"
        return self.proxy("placeholder", word)

    def initializer(self, value: ir.Value) -> Value:
        """A parameter or buffer by its path; a scalar constant as a Python number; others as unsaved buffers."""
        name, tensor = value.name or "constant", value.const_value
        if tensor is None:
            raise ValueError(f"initializer {name!r} has no data")
        if is_parameter(value):
            proxy = self.proxy("get_attr", name)
            self.names[proxy.node] = name
            return proxy
        return self.array(tensor.numpy(), name)

    def array(self, array: np.ndarray[Any, Any], name: str) -> Value:
        """A constant: a scalar as a Python number, strings as the call that makes them, others as unsaved buffers."""
        if array.ndim == 0 and array.dtype.kind in "iufb":
            return array.item()
        if array.dtype.kind in "OSU":
            items = [item.decode() if isinstance(item, bytes) else str(item) for item in array.reshape(-1)]
            proxy = self.function(strings, items, array.shape)
            self.constants[proxy.node] = np.array(items, dtype=object).reshape(array.shape)
            return proxy
        return self.tensor_constant(array, name)

    def tensor_constant(self, array: np.ndarray[Any, Any], name: str) -> fx.Proxy:
        """A buffer that is not part of the state_dict and moves with the module."""
        attribute = identifier(name)
        while attribute in self.taken:
            attribute += "_"
        self.taken.add(attribute)
        proxy = self.proxy("get_attr", attribute)
        proxy.node.meta["constant"] = to_tensor(array)
        self.constants[proxy.node] = array
        return proxy

    @contextmanager
    def at(self, node: ir.Node) -> Iterator[None]:
        """Nodes that are made meanwhile belong to the module that `node` belongs to."""
        path = module_path(node)
        self.node, self.tracer.path = node, path if path in self.classes else ""
        yield
        self.node, self.tracer.path = None, ""

    def call(self, lowering: driver.Lowering, args: list[Value], attributes: dict[str, Any]) -> Value:
        """Sizes stay Python integers through shape arithmetic, and become a tensor for any other operator."""
        op = self.node.op_type if self.node else ""
        self.args = args
        if any(isinstance(a, Sizes) for a in args):
            sizes = SIZES.get(op)
            if sizes is not None and (made := sizes(self, *args, **attributes)) is not None:
                return made
            if op not in TAKES_SIZES:
                vectors = [isinstance(a, Sizes) and a.rank == 1 for a in args]
                args = [self.as_tensor(i, a) if vectors[i] else self.materialise(a) for i, a in enumerate(args)]
        return lowering(self, *args, **attributes)

    def finish(self, outputs: list[Value]) -> nn.Module:
        """The module: one output is the tensor, several a dict by the author's names."""
        outputs = self.as_tensors(outputs)
        names = [v.name or "output" for v in self.graph.outputs]
        return self.assembled(outputs[0] if len(outputs) == 1 else dict(zip(names, outputs, strict=True)))

    def as_tensors(self, outputs: Sequence[Value]) -> list[Value]:
        """The graph's outputs, those that are Python's numbers or Sizes as tensors of their dtype."""
        made = []
        for value, x in zip(self.graph.outputs, outputs, strict=True):
            if isinstance(x, (Sizes, int, float)):
                items = list(x.items) if isinstance(x, Sizes) and x.rank else x.items[0] if isinstance(x, Sizes) else x
                dtype = torch_dtype(value.dtype or ir.DataType.INT64)
                x = self.function(torch.tensor, items, dtype=dtype, device=self.device())
            made.append(x)
        return made

    def assembled(self, result: Any) -> nn.Module:
        """The forward that gives `result`, cut along the author's tree."""
        self.fx_graph.output(self.tracer.create_arg(result))
        self.fx_graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
        self.fx_graph.lint()
        return nested(self.root, self.fx_graph, self.root._get_name())

    # ---- what lowerings ask for

    def proxy(
        self, op: str, target: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> fx.Proxy:
        """A new node of the forward."""
        return self.tracer.create_proxy(op, target, args, dict(kwargs or {}))

    def function(self, target: Any, *args: Any, **kwargs: Any) -> fx.Proxy:
        """Call a function that makes a tensor from no tensor (torch.zeros, torch.arange), which proxies can't see."""
        return self.proxy("call_function", target, args, kwargs)

    def known(self, x: Value) -> np.ndarray[Any, Any] | None:
        """The numbers of a value, if they are constant."""
        if isinstance(x, Sizes):
            return np.array(x.items) if all(isinstance(i, int) for i in x.items) else None
        if isinstance(x, fx.Proxy):
            return self.constants.get(x.node)
        return None if x is None else np.asarray(x)

    def sizes(self, x: Value) -> Sizes | None:
        """A value as Sizes: it is one already, or a small known vector of integers."""
        if isinstance(x, Sizes):
            return x
        array = self.known(x)
        if array is None or array.ndim > 1 or array.dtype.kind not in "iu":
            return None
        return Sizes(tuple(int(i) for i in array.reshape(-1)), array.ndim)

    def ints(self, x: Value) -> list[Any]:
        """A vector of sizes as a list of Python integers, symbolic ones among them; read from the tensor if need be."""
        if (sizes := self.sizes(x)) is not None:
            return list(sizes.items)
        n = self.shape(x)
        if n is None or len(n) != 1 or not isinstance(n[0], int):
            raise ValueError("a list of sizes whose length is not known before the module runs")
        read = x.tolist()
        return [read[i] for i in range(n[0])]

    def materialise(self, x: Value) -> Value:
        """Sizes as what an operator takes: a Python integer or an int64 tensor."""
        if not isinstance(x, Sizes):
            return x
        if x.rank == 0:
            return x.items[0]
        return self.function(torch.tensor, list(x.items), dtype=torch.int64, device=self.device())

    def value(self, i: int) -> ir.Value | None:
        """The graph's own i-th input of the node at hand: its name, dtype and shape."""
        inputs = self.node.inputs if self.node else ()
        return inputs[i] if i < len(inputs) else None

    def shape_in(self, i: int) -> tuple[Any, ...] | None:
        """The shape of the i-th input as the graph knows it: int or a name."""
        value = self.value(i)
        return (
            None
            if value is None or value.shape is None
            else tuple(d if isinstance(d, int) else d.value for d in value.shape)
        )

    def rank_in(self, i: int) -> int:
        """The rank of the i-th input."""
        shape = self.shape_in(i)
        if shape is None:
            raise ValueError(f"the rank of input {i} is not known")
        return len(shape)

    def rank_out(self) -> int | None:
        """The rank of the first output."""
        out = self.node.outputs[0] if self.node else None
        return None if out is None or out.shape is None else len(out.shape)

    def dtype_out(self) -> torch.dtype:
        """The dtype of the first output."""
        out = self.node.outputs[0] if self.node else None
        return torch_dtype(out.dtype if out is not None and out.dtype is not None else ir.DataType.FLOAT)

    def dtype_in(self, i: int) -> torch.dtype:
        """The dtype of the i-th input."""
        value = self.value(i)
        return torch_dtype(value.dtype if value is not None and value.dtype is not None else ir.DataType.FLOAT)

    def tensor_of(self, x: Value) -> Value:
        """A value as a tensor, where it is one of Python's numbers or Sizes."""
        if isinstance(x, fx.Proxy) and not isinstance(x, Sizes):
            return x
        items = list(x.items) if isinstance(x, Sizes) and x.rank else x.items[0] if isinstance(x, Sizes) else x
        i = next((i for i, v in enumerate(self.args) if v is x), 0)
        return self.function(torch.tensor, items, dtype=self.dtype_in(i), device=self.device())

    def is_tensor(self, i: int) -> bool:
        """Whether the i-th input of the node at hand is a tensor: no Python number, no Sizes, not left out."""
        return i < len(self.args) and isinstance(self.args[i], fx.Proxy)

    def as_tensor(self, i: int, x: Value) -> Value:
        """The i-th input of the node at hand as a tensor, where it is one of Python's numbers or Sizes."""
        given = self.args[i] if i < len(self.args) else x
        if isinstance(given, Sizes) and given.rank == 0:  # `x` may be the size itself, which is no tensor
            x = given
        if not isinstance(x, (Sizes, int, float)):
            return x
        items = list(x.items) if isinstance(x, Sizes) and x.rank else x.items[0] if isinstance(x, Sizes) else x
        return self.function(torch.tensor, items, dtype=self.dtype_in(i), device=self.device())

    def fixed(self, value: ir.Value) -> tuple[int, ...]:
        """The shape of a value of the graph, a size that is not known as 0."""
        return tuple(d if isinstance(d, int) else 0 for d in value.shape or ())

    def number(self, x: Value) -> Value:
        """A scalar as a Python number: known, or read from its tensor when the module runs."""
        if isinstance(x, Sizes):
            return x.items[0]
        known = self.known(x)
        if known is not None:
            return known.reshape(-1)[0].item()
        is_size = any(isinstance(given, Sizes) and given.rank == 0 and given.items[0] is x for given in self.args)
        return x if is_size else x.item()

    def constant(self, array: np.ndarray[Any, Any], name: str) -> fx.Proxy:
        """A constant that the lowering itself makes."""
        return self.tensor_constant(np.ascontiguousarray(array), name)

    def device(self) -> Value:
        """Where the module runs: the device of its first input that is a tensor; torch's default without any."""
        return next((proxy.device for value, proxy in self.inputs if not _is_sequence(value)), None)

    def dtype_of(self, dtype: ir.DataType) -> torch.dtype:
        """ONNX's dtype as torch's."""
        return torch_dtype(dtype)

    def tensor(self, x: Value, like: Sequence[Value]) -> Value:
        """A Python number as a tensor, for a function that takes none; on the device of the first tensor of `like`."""
        if isinstance(x, fx.Proxy):
            return x
        near = next(v for v in like if isinstance(v, fx.Proxy))
        return near.new_tensor(x)

    def shape(self, x: Value) -> tuple[Any, ...] | None:
        """The shape of a value that is an input of the node at hand."""
        return next((self.shape_in(i) for i, v in enumerate(self.args) if v is x), None)

    def layer(self, cls: type[nn.Module], x: Value, arguments: Mapping[str, Any], **tensors: Value) -> fx.Proxy | None:
        """Call a layer of torch's that takes `tensors` as its own parameters; None unless they fit as they are.

        They fit when each is a parameter of the author's named `<path>.<field>`, with one path for all, of the shape
        and in the place that the layer has.
        """
        given = {field: t for field, t in tensors.items() if t is not None}
        names = {field: self.names.get(t.node, "") for field, t in given.items() if isinstance(t, fx.Proxy)}
        path = next(iter(names.values()), "").rpartition(".")[0]
        if not path or len(names) < len(given) or any(name != f"{path}.{field}" for field, name in names.items()):
            return None
        if path not in self.layers:
            layer = without_weights(cls, arguments)
            expected = {k: v for k, v in (*layer._parameters.items(), *layer._buffers.items()) if v is not None}
            held = self.root.get_submodule(path)
            if set(expected) - set(given) - {"num_batches_tracked"}:
                return None
            if any(getattr(held, field, None) is not None for field in layer._parameters if field not in expected):
                return None  # the author's layer has a bias that this node does not add, and torch's would
            if any(expected[f].shape != getattr(held, f).shape for f in given if f in expected) or set(given) - set(
                expected
            ):
                return None
            if "num_batches_tracked" in expected:
                layer.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.int64))
            place(self.root, path, layer)
            self.layers[path] = (cls, dict(arguments))
        elif self.layers[path] != (cls, dict(arguments)):
            return None
        return self.proxy("call_module", path, (x,))

    def body(self, body: driver.Body) -> tuple[nn.Module, tuple[Value, ...]]:
        """A graph that the node at hand holds, as a module, and the values that it reads of the graphs around it.

        The module takes the graph's inputs, then those values; it gives a tuple.
        """
        inner = BodyWriter(body.graph, Scope("Body"), {})
        values: driver.Values = {None: None} | {v: inner.input(v) for v in body.graph.inputs}
        values |= {v: inner.initializer(v) for v in body.graph.initializers.values()}
        read: list[fx.Proxy] = []

        def size_of(held: Value, value: ir.Value) -> Value:
            if not isinstance(held, fx.Proxy):
                return held
            read.append(held)
            return inner.argument(value.name or "size")

        for value in body.captured:
            held = body.outer[value]
            if isinstance(held, Sizes):
                values[value] = Sizes(tuple(size_of(size, value) for size in held.items), held.rank)
            elif isinstance(held, fx.Proxy) and (known := self.known(held)) is not None:
                values[value] = inner.array(known, value.name or "constant")
            elif isinstance(held, fx.Proxy):
                values[value] = inner.input(value)
                read.append(held)
            else:
                values[value] = held
        module: nn.Module = driver.walk(body.graph, inner, values)
        if inner.own_device is not None:
            read.append(self.device())
        return module, tuple(read)

    def call_held(self, module: nn.Module, *args: Any) -> fx.Proxy:
        """Call a module of ours that stands beside the graph's own, under its class's name."""
        return self.proxy("call_module", self.hold(module), args)

    def module(self, cls: type[nn.Module], x: Value, **arguments: Any) -> fx.Proxy | None:
        """Call a module without parameters where the author has one of that very class; None where he has none."""
        if not self.author_has(cls):
            return None
        path = self.tracer.path
        if path not in self.layers:
            place(self.root, path, cls(**arguments))
            self.layers[path] = (cls, arguments)
        elif self.layers[path] != (cls, arguments):
            return None
        return self.proxy("call_module", path, (x,))

    def replaced(self, module: nn.Module, x: Value) -> fx.Proxy:
        """Call a module of ours in the place of the author's that this node belongs to, or beside the graph's own."""
        path = self.tracer.path
        if not path:
            return self.anonymous(module, x)
        if path not in self.layers:
            place(self.root, path, module)
            self.layers[path] = (type(module), {})
        return self.proxy("call_module", path, (x,))

    def anonymous(self, module: nn.Module, x: Value) -> fx.Proxy:
        """Call a module where the author has a function: it stands under its class's name in the module around it."""
        return self.call_held(module, x)

    def hold(self, module: nn.Module) -> str:
        """Put a module under its class's name in the author's module that the node at hand belongs to; its path."""
        around = self.tracer.path
        name = base = identifier(type(module).__name__.lower())
        n = 0
        while name in self.root.get_submodule(around)._modules:
            n += 1
            name = f"{base}_{n}"
        path = f"{around}.{name}" if around else name
        self.root.get_submodule(around).add_module(name, module)
        return path

    def author_has(self, cls: type[nn.Module]) -> bool:
        """Whether the author's module that the node at hand belongs to is of that very class."""
        path = self.tracer.path
        return self.classes.get(path, ("", {}))[0] == f"{cls.__module__}.{cls.__qualname__}"


class BodyWriter(TorchWriter):
    """Writes the body of an If, Loop or Scan: a module without a tree, whose outputs are a tuple."""

    own_device: fx.Proxy | None = None

    def device(self) -> Value:
        """As outside; a body that is given no tensor is given the device, as its last argument."""
        if (device := super().device()) is not None:
            return device
        if self.own_device is None:
            arguments = [node for node in self.fx_graph.nodes if node.op == "placeholder"]
            with self.fx_graph.inserting_after(arguments[-1]) if arguments else nullcontext():
                self.own_device = self.argument("device")
        return self.own_device

    def finish(self, outputs: list[Value]) -> nn.Module:
        """The module, called Body."""
        return self.assembled(tuple(self.as_tensors(outputs)))
