"""A Keras architecture as values: layers, what each is called on, inputs and outputs, whichever Keras wrote it.

Keras 2 writes a call as `[["conv", 0, 0, {}], ...]`, Keras 3 as `{"args": [{"class_name": "__keras_tensor__", "config":
{"keras_history": ["conv", 0, 0]}}], "kwargs": {}}`; a Sequential has no calls, and in old files no input layer either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

MODELS = ("Model", "Functional", "Sequential")
MAX_DEPTH = 32
OPERATIONS = ("keras.src.ops", "keras.ops")  # modules of functions that stand among Keras 3's layers


class Fault(Exception):
    """What is wrong with a configuration; `is_refusal` when it is well-formed and not read."""

    def __init__(self, what: str, *, is_refusal: bool = False) -> None:
        super().__init__(what)
        self.is_refusal = is_refusal


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor: which output of which call of which layer."""

    layer: str
    call: int = 0
    output: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One use of a layer: its inputs, and other tensors or values by name."""

    inputs: tuple[Ref, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    arguments: tuple[Any, ...] = ()  # in order, numbers and lists included, where a file states them so


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: class, name, configuration as Keras has it, calls in order; of a nested model, that model."""

    kind: str
    name: str
    config: Mapping[str, Any]
    calls: tuple[Call, ...] = ()
    model: Model | None = None
    first_call: int = 0  # the number by which others refer to the first of `calls`
    is_operation: bool = False  # a function of keras.ops and no layer

    def __getitem__(self, key: str) -> Any:
        if key not in self.config:
            raise Fault(f"layer {self.name!r} ({self.kind}) states no {key!r}")
        return self.config[key]

    def get(self, key: str, default: Any = None) -> Any:
        """A field of the configuration, or what Keras takes where a file doesn't state it."""
        value = self.config.get(key)
        return default if value is None else value


@dataclass(frozen=True, slots=True)
class Model:
    """Layers by name, and which tensors go in and come out."""

    name: str
    layers: Mapping[str, Layer]
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]


def model(entry: Any, depth: int = 0) -> Model:
    """A model from its {class_name, config}. Raises Fault."""
    if not isinstance(entry, dict) or entry.get("class_name") not in MODELS:
        kind = str(entry.get("class_name"))[:80] if isinstance(entry, dict) else type(entry).__name__
        raise Fault(f"a model of class {kind!r}, whose computation is code outside the file", is_refusal=True)
    if depth > MAX_DEPTH:
        raise Fault("models inside each other without end", is_refusal=True)
    config = entry.get("config")
    if entry["class_name"] == "Sequential":
        return _sequential(config, depth)
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        raise Fault("a model without layers")
    layers = _by_name(_layer(layer, depth) for layer in config["layers"])
    inputs, outputs = (_refs(config.get(key)) for key in ("input_layers", "output_layers"))
    return Model(str(config.get("name", "model")), _numbered(layers, outputs), inputs, outputs)


def _numbered(layers: dict[str, Layer], outputs: tuple[Ref, ...]) -> dict[str, Layer]:
    """The layers with `first_call`: in Keras 2 a nested model's own building counts as a call, which isn't written.

    A call that nobody refers to isn't written either, so that the least reference is the first call.
    """
    least: dict[str, int] = {}
    for layer in layers.values():
        for call in layer.calls:
            for ref in (*call.inputs, *(v for v in call.kwargs.values() if isinstance(v, Ref))):
                least[ref.layer] = min(least.get(ref.layer, ref.call), ref.call)
    for ref in outputs:
        least[ref.layer] = min(least.get(ref.layer, ref.call), ref.call)
    return {
        name: replace(layer, first_call=least.get(name, 0)) if layer.model is not None else layer
        for name, layer in layers.items()
    }


def _sequential(config: Any, depth: int) -> Model:
    entries = config.get("layers") if isinstance(config, dict) else config
    if not isinstance(entries, list) or not entries:
        raise Fault("a Sequential without layers")
    name = str(config.get("name", "sequential")) if isinstance(config, dict) else "sequential"
    layers = [_layer(entry, depth) for entry in entries]
    if layers[0].kind != "InputLayer":
        shape = layers[0].config.get("batch_input_shape") or layers[0].config.get("batch_shape")
        shape = shape or (config.get("build_input_shape") if isinstance(config, dict) else None)
        first: Any = layers[0]
        while shape is None and first.model is not None:  # a nested model states its own
            first = next(iter(first.model.layers.values()))
            shape = first.config.get("batch_input_shape") or first.config.get("batch_shape")
        integers = layers[0].kind == "Embedding"
        config = {"batch_input_shape": shape, "dtype": "int32" if integers else layers[0].get("dtype", "float32")}
        layers.insert(0, Layer("InputLayer", f"{layers[0].name}_input", config))
    chained = [layers[0]]
    for layer in layers[1:]:
        calls = (Call((Ref(chained[-1].name),)),)
        chained.append(Layer(layer.kind, layer.name, layer.config, calls, layer.model))
    return Model(name, _by_name(chained), (Ref(layers[0].name),), (Ref(layers[-1].name),))


def _by_name(layers: Iterator[Layer] | list[Layer]) -> dict[str, Layer]:
    named: dict[str, Layer] = {}
    for layer in layers:
        if layer.name in named:
            raise Fault(f"two layers are named {layer.name[:80]!r}")
        named[layer.name] = layer
    return named


def _layer(entry: Any, depth: int) -> Layer:
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict | list):
        raise Fault("a layer without a class or a configuration")
    kind, config = str(entry.get("class_name", "")), entry["config"]
    nested = model(entry, depth + 1) if kind in MODELS else None
    fields = config if isinstance(config, dict) else {}
    name = entry.get("name") or fields.get("name")
    if not isinstance(name, str):
        raise Fault(f"a layer of class {kind[:80]!r} without a name")
    if "registered_name" in entry and entry["registered_name"] not in (None, kind) and nested is None:
        raise Fault(f"layer {name!r} is of the user's class {str(entry['registered_name'])[:80]!r}", is_refusal=True)
    calls = tuple(_call(call) for call in entry.get("inbound_nodes") or ())
    is_operation = str(entry.get("module", "")).startswith(OPERATIONS)
    return Layer(f"ops.{kind}" if is_operation else kind, name, fields, calls, nested, is_operation=is_operation)


def layer_of(entry: Any, name: str) -> Layer:
    """A layer that stands in another's configuration: what is wrapped, or a cell. Raises Fault."""
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict | list):
        raise Fault(f"layer {name!r} wraps no layer")
    return _layer({**entry, "name": _own_name(entry, name), "inbound_nodes": []}, 1)


def _own_name(entry: Mapping[str, Any], default: str) -> str:
    config = entry["config"]
    return str((config.get("name") if isinstance(config, dict) else None) or default)


def _call(entry: Any) -> Call:
    if isinstance(entry, dict):  # Keras 3
        kwargs = {key: _value(value) for key, value in (entry.get("kwargs") or {}).items()}
        inputs = _value(entry.get("args", ()))
        flat = (ref for part in inputs for ref in (part if isinstance(part, tuple) else (part,)))
        return Call(tuple(ref for ref in flat if isinstance(ref, Ref)), kwargs, inputs)
    if not isinstance(entry, list):
        raise Fault("a call that is no list")
    refs: list[Ref] = []
    named: dict[str, Any] = {}
    if entry and isinstance(entry[0], str):  # one tensor, without a list around it
        entry = [entry]
    for item in entry:
        if not isinstance(item, list) or len(item) < 3:
            raise Fault("a call without its tensors")
        refs.append(_ref(item))
        if len(item) > 3 and isinstance(item[3], dict):
            named |= {key: _maybe_ref(value) for key, value in item[3].items()}
    return Call(tuple(refs), named)


def _value(value: Any) -> Any:
    """Keras 3's arguments, tensors as Ref and lists as tuples."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        return _ref((value.get("config") or {}).get("keras_history"))
    if isinstance(value, list | tuple):
        return tuple(_value(part) for part in value)
    return value


def _maybe_ref(value: Any) -> Any:
    """Keras 2's keyword arguments: a tensor is `["name", 0, 0]`."""
    is_ref = isinstance(value, list) and len(value) >= 3 and isinstance(value[0], str) and type(value[1]) is int
    return _ref(value) if is_ref else value


def _ref(value: Any) -> Ref:
    if not isinstance(value, list | tuple) or len(value) < 3 or not isinstance(value[0], str):
        raise Fault(f"no tensor: {str(value)[:80]}", is_refusal=True)
    if any(type(n) is not int or n < 0 for n in value[1:3]):
        raise Fault(f"a constant instead of a tensor, at {value[0][:80]!r}", is_refusal=True)
    return Ref(value[0], value[1], value[2])


def _refs(value: Any) -> tuple[Ref, ...]:
    """A model's inputs or outputs: one tensor, or a list or dict of them."""
    if isinstance(value, list) and value and isinstance(value[0], str):
        return (_ref(value),)
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list) or not value:
        raise Fault("a model without inputs or outputs")
    return tuple(ref for part in value for ref in _refs(part))
