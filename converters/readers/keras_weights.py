"""Where a Keras layer's weights stand in a file, by the era that wrote it.

A weight is asked for by the path of the layer through nested models, the objects inside the layer (`forward_layer`,
`cell`) and the field (`kernel`), as tf.keras and Keras 3 call them; what a file calls them is known here alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from zoo.converters.readers.keras_config import Layer, Model
from zoo.converters.tensors import Tensor
from zoo.converters.tensors.tf_bundle import Checkpoint

Found = list[tuple[str, Tensor]]
# The order in which a layer makes its variables, which is how Keras 3 numbers them
ORDERS: Mapping[str, tuple[str, ...]] = {
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "LayerNormalization": ("gamma", "beta"),
    "GroupNormalization": ("gamma", "beta"),
    "RMSNormalization": ("scale",),
    "Normalization": ("mean", "variance"),
    "Embedding": ("embeddings",),
    "PReLU": ("alpha",),
    "SeparableConv1D": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "SeparableConv2D": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "Attention": ("scale", "concat_score_weight"),
    "AdditiveAttention": ("scale",),
    "SpectralNormalization": ("vector_u",),
}
CELL = ("kernel", "recurrent_kernel", "bias")
# fields that a layer may be without, and the option that says so
OPTIONS = {"gamma": "scale", "beta": "center", "bias": "use_bias", "scale": "use_scale"}
# Keras 1's names of the fields
KERAS1 = {
    "kernel": ("W",),
    "recurrent_kernel": ("U",),
    "bias": ("b",),
    "embeddings": ("W",),
    "alpha": ("alphas",),
    "moving_mean": ("running_mean",),
    "moving_variance": ("running_std", "running_var"),
    "depthwise_kernel": ("depthwise_kernel",),
    "pointwise_kernel": ("pointwise_kernel",),
}


class Weights(Protocol):
    """The tensors of a file as layers ask for them."""

    def find(self, path: Sequence[str], inside: Sequence[str], field: str, layer: Layer) -> Found:
        """Those that can be meant: one, or none, or several where a file leaves it open."""

    def all(self) -> Mapping[str, Tensor]:
        """Every tensor by its name in the file."""


class Named:
    """HDF5 of Keras 2 and of Keras 3's older form: `tower/conv2d_1/kernel:0`, scopes between as versions please."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self.groups: dict[str, list[str]] = {}
        for name in tensors:
            self.groups.setdefault(name.partition("/")[0], []).append(name)

    def all(self) -> Mapping[str, Tensor]:
        """Every tensor."""
        return self.tensors

    def find(self, path: Sequence[str], inside: Sequence[str], field: str, layer: Layer) -> Found:
        """By the group of the outermost layer, the layer's own name, and the last part."""
        top, *inner = path
        inside = [layer.name if part.startswith("cells/") else part for part in inside]
        scope = [*inner[-1:], *inside]  # whether the models between stand in a name depends on Keras' version
        found = [name for name in self.groups.get(top, []) if self._is(name, top, scope, field)]
        if len(found) > 1 and inner:
            found = [name for name in found if set(inner) <= set(name.split("/"))]
        if len(found) > 1:  # of the layer itself rather than of one inside it
            least = min(name.count("/") for name in found)
            found = [name for name in found if name.count("/") == least]
        return [(name, self.tensors[name]) for name in found]

    def _is(self, name: str, top: str, scope: Sequence[str], field: str) -> bool:
        parts = name.removeprefix(f"{top}/").split("/")
        return self._is_field(parts.pop(), field, scope) and _in_scope(parts, scope)

    def _is_field(self, leaf: str, field: str, scope: Sequence[str]) -> bool:
        return leaf.removesuffix(":0") == field


class Keras1(Named):
    """HDF5 of Keras 1: `convolution2d_1/convolution2d_1_W`, the parts of a recurrent layer's weights one by one."""

    def _is_field(self, leaf: str, field: str, scope: Sequence[str]) -> bool:
        return any(leaf.removesuffix(":0").endswith(f"_{name}") for name in KERAS1.get(field, (field,)))

    def _is(self, name: str, top: str, scope: Sequence[str], field: str) -> bool:
        parts = name.removeprefix(f"{top}/").split("/")
        leaf = parts[-1]
        for part in scope:
            if part in ("forward_layer", "backward_layer"):
                if not any(p.startswith(part.partition("_")[0]) for p in parts):
                    return False
            elif part not in ("cell", "layer") and not leaf.startswith(f"{part}_"):
                return False
        own = scope[-1] if scope and scope[-1] not in ("cell", "layer", "forward_layer", "backward_layer") else top
        if "forward_layer" in scope or "backward_layer" in scope or "layer" in scope:
            return self._is_field(leaf, field, scope)
        names = KERAS1.get(field, (field,))
        return leaf.removesuffix(":0") in {f"{own}_{n}" for n in names}


def _in_scope(parts: Sequence[str], scope: Sequence[str]) -> bool:
    """Do a name's parts hold, in order, what is asked for? Cells and wrapped layers needn't be there."""
    left = list(parts)
    for part in scope:
        if part in ("cell", "layer"):
            continue
        is_side = part in ("forward_layer", "backward_layer")
        start = f"{part.partition('_')[0]}_" if is_side else part
        at = next((i for i, p in enumerate(left) if p == start or is_side and p.startswith(start)), None)
        if at is None:
            return False
        left = left[at + 1 :]
    return True


def snake_case(kind: str) -> str:
    """Keras' name of a class in paths (keras/src/utils/naming.py).

    >>> snake_case("PReLU"), snake_case("Conv2DTranspose")
    ('p_re_lu', 'conv2d_transpose')
    """
    spaced = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
    return re.sub("([a-z])([A-Z])", r"\1_\2", spaced).lower()


class Numbered:
    """Keras 3's own HDF5: `layers/dense_1/vars/0`, layers and variables by the order in which they are made."""

    def __init__(self, tensors: Mapping[str, Tensor], model: Model) -> None:
        self.tensors = tensors
        self.places: dict[tuple[str, ...], str] = {}
        self._place(model, (), "")

    def all(self) -> Mapping[str, Tensor]:
        """Every tensor."""
        return self.tensors

    def _place(self, model: Model, path: tuple[str, ...], prefix: str) -> None:
        taken: dict[str, int] = {}
        for layer in model.layers.values():
            if layer.is_operation:
                continue
            name = snake_case(layer.kind)
            count = taken[name] = taken.get(name, -1) + 1
            place = f"{prefix}layers/{name}_{count}" if count else f"{prefix}layers/{name}"
            self.places[(*path, layer.name)] = place
            if layer.model is not None:
                self._place(layer.model, (*path, layer.name), f"{place}/")

    def find(self, path: Sequence[str], inside: Sequence[str], field: str, layer: Layer) -> Found:
        """By the layer's place and the number of its variable."""
        place = self.places.get(tuple(path))
        number = numbered(inside, field, layer)
        if place is None or number is None:
            return []
        parts = [f"{part}_dense" if layer.kind == "MultiHeadAttention" and part in HEADS else part for part in inside]
        tail = "/".join(["output_dense" if part == "attention_output_dense" else part for part in parts])
        name = f"{place}/{tail}/vars/{number}" if tail else f"{place}/vars/{number}"
        return [(name, self.tensors[name])] if name in self.tensors else []


HEADS = ("query", "key", "value", "attention_output")


def numbered(inside: Sequence[str], field: str, layer: Layer) -> int | None:
    """The number of a variable among those of its object; None where the object has none of that name."""
    if inside and inside[-1] not in ("layer",):
        order: tuple[str, ...] = ("kernel", "bias") if inside[-1] in HEADS else CELL
    else:
        order = ORDERS.get(layer.kind, ("kernel", "bias"))
    made = [name for name in order if name not in OPTIONS or _is_made(name, layer)]
    return made.index(field) if field in made else None


def _is_made(field: str, layer: Layer) -> bool:
    default = OPTIONS[field] != "use_scale" or layer.kind != "Attention"
    if layer.kind == "RMSNormalization":
        return True
    return bool(layer.config.get(OPTIONS[field], default))


class Tracked:
    """A checkpoint of tf.keras: `layer_with_weights-1/forward_layer/cell/kernel`, objects by their attributes."""

    SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"

    def __init__(self, tensors: Mapping[str, Tensor], model: Model) -> None:
        self.tensors = tensors
        self.plain = {name.removesuffix(self.SUFFIX): name for name in tensors}
        self.root = ""
        self.is_newer = any("/_operations/" in f"/{name}" for name in self.plain)  # Keras 3's way
        for root in ("model/", ""):
            if any(re.match(f"{root}(layer_with_weights-0|_operations|layer-)", name) for name in self.plain):
                self.root = root
                break
        self.places: dict[tuple[str, ...], str] = {}
        self._place(model, (), self.root)

    def all(self) -> Mapping[str, Tensor]:
        """Every tensor."""
        return self.tensors

    def _place(self, model: Model, path: tuple[str, ...], prefix: str) -> None:
        """With weights or not, a layer is the next `layer_with_weights` if the file has anything for its number."""
        number, operation = 0, 0
        for i, layer in enumerate(model.layers.values()):
            place = f"{prefix}layer-{i}/"
            if self.is_newer:
                place, operation = f"{prefix}_operations/{operation}/", operation + 1
            elif _has_weights(layer):
                place, number = f"{prefix}layer_with_weights-{number}/", number + 1
            self.places[(*path, layer.name)] = place
            if layer.model is not None:
                self._place(layer.model, (*path, layer.name), place)

    def find(self, path: Sequence[str], inside: Sequence[str], field: str, layer: Layer) -> Found:
        """By attributes; Keras 3 keeps a layer's variables in lists."""
        place = self.places.get(tuple(path), "")
        parts = [f"_{part}_dense" if layer.kind == "MultiHeadAttention" and part in HEADS else part for part in inside]
        tail = "/".join("_output_dense" if part == "_attention_output_dense" else part for part in parts)
        base = f"{place}{tail}/" if tail else place
        names = [self._name(f"{base}{prefix}{field}") for prefix in ("", "_")]
        return [(name, self.tensors[name]) for name in names if name is not None][:1]

    def _name(self, path: str) -> str | None:
        """The name of what attributes lead to: as they say, or under the first path that the file found it by."""
        if path in self.plain:
            return self.plain[path]
        name = self.tensors.key(path) if isinstance(self.tensors, Checkpoint) else None
        return name if name in self.tensors else None


WITH_WEIGHTS = frozenset(
    (
        *(*ORDERS, "Dense", "Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
        *("DepthwiseConv1D", "DepthwiseConv2D", "LocallyConnected1D", "LocallyConnected2D", "LSTM", "GRU", "SimpleRNN"),
        *("Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "MultiHeadAttention", "RNN", "EinsumDense"),
        *("BatchNormalizationV1", "BatchNormalizationV2", "LSTMV2", "GRUV2", "CuDNNLSTM", "CuDNNGRU"),
    )
)


def _has_weights(layer: Layer) -> bool:
    if layer.model is not None:
        return any(map(_has_weights, layer.model.layers.values()))
    inner = layer.config.get("layer")
    return layer.kind in WITH_WEIGHTS or isinstance(inner, dict) and inner.get("class_name") in WITH_WEIGHTS
