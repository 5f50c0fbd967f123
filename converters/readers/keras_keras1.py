"""Keras 1's configurations in Keras 2's words, and the layers that Keras 2 no longer has.

What was renamed is a table (keras/legacy/interfaces.py says the same from the other side); weights keep their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from zoo.converters.readers.keras_config import Fault, Layer
from zoo.converters.readers.keras_graph import Builder, Laid
from zoo.converters.readers.keras_layers import Table, activate, one
from zoo.converters.readers.keras_merges import TABLE as MERGES
from zoo.converters.readers.keras_merges import cosine

TABLE = layer = Table()
MAX_DEPTH = 32
CLASSES = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "AtrousConv1D": "Conv1D",
    "AtrousConv2D": "Conv2D",
    "SeparableConvolution2D": "SeparableConv2D",
    "SeparableConv2D": "SeparableConv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "TimeDistributedDense": "Dense",
}
FIELDS = {
    "output_dim": "units",
    "nb_filter": "filters",
    "border_mode": "padding",
    "subsample": "strides",
    "subsample_length": "strides",
    "atrous_rate": "dilation_rate",
    "bias": "use_bias",
    "inner_activation": "recurrent_activation",
    "p": "rate",
    "pool_length": "pool_size",
    "stride": "strides",
    "sigma": "stddev",
}
# what a class calls otherwise than the rest
OWN_FIELDS = {
    "UpSampling1D": {"length": "size"},
    "Embedding": {"output_dim": "output_dim"},
    "MaxoutDense": {"output_dim": "output_dim"},
}
FORMATS = {"th": "channels_first", "tf": "channels_last"}
MERGE_MODES = {
    "sum": "Add",
    "mul": "Multiply",
    "ave": "Average",
    "max": "Maximum",
    "concat": "Concatenate",
    "dot": "Dot",
}


def modern(entry: Any, depth: int = 0) -> Any:
    """A configuration of Keras 1, the models and layers in it too, in Keras 2's words."""
    if depth > MAX_DEPTH:
        raise Fault("models inside each other without end", is_refusal=True)
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict | list):
        return entry
    kind, config = str(entry.get("class_name", "")), entry["config"]
    if kind == "Sequential":
        return {**entry, "config": [modern(part, depth + 1) for part in _layers(config)]}
    if kind in ("Model", "Functional"):
        return {**entry, "config": {**config, "layers": [modern(part, depth + 1) for part in _layers(config)]}}
    return {**entry, "class_name": CLASSES.get(kind, kind), "config": _fields(kind, config, depth)}


def _layers(config: Any) -> Sequence[Any]:
    layers = config.get("layers") if isinstance(config, dict) else config
    if not isinstance(layers, list):
        raise Fault("a model without layers")
    return layers


def _fields(kind: str, config: Any, depth: int) -> dict[str, Any]:
    if not isinstance(config, dict):
        raise Fault(f"a layer of class {kind[:80]!r} without a configuration")
    names = FIELDS | OWN_FIELDS.get(kind, {})
    made: dict[str, Any] = {str(names.get(key, key)): value for key, value in config.items()}
    if "dim_ordering" in made:
        made["data_format"] = FORMATS.get(str(made["dim_ordering"]), "channels_last")
    if "nb_row" in made and "nb_col" in made:
        made["kernel_size"] = [made["nb_row"], made["nb_col"]]
    if isinstance(made.get("layer"), dict):
        made["layer"] = modern(made["layer"], depth + 1)
    if "input_dtype" in made and "dtype" not in made:
        made["dtype"] = made["input_dtype"]
    return made


# -- layers of Keras 1 alone ------------------------------------------------------------------------------------------


@layer("Merge")
def merge(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Any:
    """The sum, product, mean, largest, dot product or cosine of tensors, or tensors side by side."""
    mode = layer.get("mode", "sum")
    if layer.get("mode_type", "raw") != "raw" or mode not in (*MERGE_MODES, "cos"):
        raise Fault(f"layer {layer.name!r} merges by code", is_refusal=True)
    config: Mapping[str, Any] = {"axis": layer.get("concat_axis", -1), "axes": layer.get("dot_axes", 1)}
    if mode == "cos":
        return cosine(b, inputs)
    return MERGES[MERGE_MODES[mode]](b, Layer(MERGE_MODES[mode], layer.name, config), inputs)


@layer("MaxoutDense")
def maxout_dense(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """The largest over features of x [N, I] by W [features, I, O] + b [features, O]."""
    x = one(inputs, layer)
    _, _, out = b.weight_shape("kernel", rank=3)
    rows = b.op("Unsqueeze", b.author(x), b.ints(1, 2))  # [N, 1, 1, I]
    y = b.op("Squeeze", b.op("MatMul", rows, b.weight("kernel")), b.ints(2))
    if layer.get("use_bias", True):
        y = b.op("Add", y, b.weight("bias", rank=2))
    return Laid((x.shape[0], out), author=b.op("ReduceMax", y, b.ints(1), keepdims=0))


@layer("Highway")
def highway(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """T act(x W + b) + (1 - t) x, where t is the sigmoid of x W_carry + b_carry."""
    x = one(inputs, layer)
    has_bias = bool(layer.get("use_bias", True))

    def product(kernel: str, bias: str) -> ir.Value:
        y = b.op("MatMul", b.author(x), b.weight(kernel))
        return b.op("Add", y, b.weight(bias)) if has_bias else y

    gate = b.op("Sigmoid", product("W_carry", "b_carry"))
    new = activate(b, Laid(x.shape, author=product("kernel", "bias")), layer.get("activation"), layer)
    kept = b.op("Mul", b.op("Sub", b.number(1), gate), b.author(x))
    return Laid(x.shape, author=b.op("Add", b.op("Mul", gate, b.author(new)), kept))


@layer("ParametricSoftplus")
def parametric_softplus(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Alpha log(1 + exp(beta x)), both learned."""
    x = one(inputs, layer)
    y = b.op("Softplus", b.op("Mul", b.author(x), b.weight("betas")))
    return Laid(x.shape, author=b.op("Mul", y, b.weight("alphas")))


@layer("SReLU")
def s_relu(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Three straight lines: by learned slopes below t_left and above t_right, which is t_left + |t_right|."""
    x = one(inputs, layer)
    value, left = b.author(x), b.weight("t_left")
    right = b.op("Add", left, b.op("Abs", b.weight("t_right")))
    low = b.op("Add", left, b.op("Mul", b.weight("a_left"), b.op("Sub", value, left)))
    high = b.op("Add", right, b.op("Mul", b.weight("a_right"), b.op("Sub", value, right)))
    inner = b.op("Where", b.op("GreaterOrEqual", value, right), high, value)
    return Laid(x.shape, author=b.op("Where", b.op("LessOrEqual", value, left), low, inner))
