"""Keras' layers as ONNX nodes: one function a layer, and the table of them.

Each takes (builder, layer, inputs) and gives the output; shapes in the docstrings are Keras', channels last. What a
layer computes is said by keras/layers and, where the versions differ, by the version that wrote the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import onnx_ir as ir

from zoo.converters.readers.keras_config import Fault, Layer
from zoo.converters.readers.keras_graph import Builder, Emit, Laid, Shape, channels_shape, is_channels_first


class Table(dict[str, Emit]):
    """Keras' class of a layer -> the function that writes its nodes."""

    def __call__(self, *kinds: str) -> Callable[[Emit], Emit]:
        """Enter a function under Keras' names for a layer."""

        def enter(function: Emit) -> Emit:
            self.update(dict.fromkeys(kinds, function))
            return function

        return enter


TABLE = layer = Table()
END = (1 << 63) - 1  # of a Slice: to the end
LARGEST = 3.4e38  # of float32


def one(inputs: Sequence[Laid], layer: Layer) -> Laid:
    """The only input of a layer that has one."""
    if len(inputs) != 1:
        raise Fault(f"layer {layer.name!r} ({layer.kind}) is called on {len(inputs)} tensors")
    return inputs[0]


def number(value: Any) -> float:
    """A number of a configuration, also as old versions write numpy's."""
    if isinstance(value, dict):
        value = value.get("value", (value.get("config") or {}).get("value"))
    if not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise Fault(f"{str(value)[:40]!r} is no number of float32")
    return float(value)


def numbers(value: Any, count: int) -> tuple[int, ...]:
    """One positive int for all axes, or one for each."""
    many = (value,) * count if isinstance(value, int) else tuple(value)
    if len(many) != count or any(type(n) is not int or n < 1 for n in many):
        raise Fault(f"{str(value)[:40]} for {count} axes")
    return many


# -- activations ------------------------------------------------------------------------------------------------------

Activate = Callable[[Builder, ir.Value], ir.Value]
ACTIVATIONS: dict[str, Activate] = {
    "relu": lambda b, x: b.op("Relu", x),
    "relu6": lambda b, x: b.op("Clip", x, b.number(0), b.number(6)),
    "sigmoid": lambda b, x: b.op("Sigmoid", x),
    "tanh": lambda b, x: b.op("Tanh", x),
    "softplus": lambda b, x: b.op("Softplus", x),
    "softsign": lambda b, x: b.op("Softsign", x),
    "elu": lambda b, x: b.op("Elu", x),
    "selu": lambda b, x: b.op("Selu", x, alpha=1.6732632423543772, gamma=1.0507009873554805),
    "exponential": lambda b, x: b.op("Exp", x),
    "gelu": lambda b, x: b.op("Gelu", x),
    "swish": lambda b, x: b.op("Mul", x, b.op("Sigmoid", x)),
    "silu": lambda b, x: b.op("Mul", x, b.op("Sigmoid", x)),
    "mish": lambda b, x: b.op("Mish", x),
    "leaky_relu": lambda b, x: b.op("LeakyRelu", x, alpha=0.2),
    "hard_silu": lambda b, x: b.op("HardSwish", x),
    "hard_swish": lambda b, x: b.op("HardSwish", x),
    "celu": lambda b, x: b.op("Celu", x),
    "hard_tanh": lambda b, x: b.op("Clip", x, b.number(-1), b.number(1)),
    "tanh_shrink": lambda b, x: b.op("Sub", x, b.op("Tanh", x)),
    "soft_shrink": lambda b, x: b.op("Shrink", x, lambd=0.5, bias=0.5),
    "hard_shrink": lambda b, x: b.op("Shrink", x, lambd=0.5, bias=0.0),
    "log_sigmoid": lambda b, x: b.op("Neg", b.op("Softplus", b.op("Neg", x))),
    "squareplus": lambda b, x: b.op(
        "Mul", b.op("Add", x, b.op("Sqrt", b.op("Add", b.op("Mul", x, x), b.number(4)))), b.number(0.5)
    ),
    "sparse_sigmoid": lambda b, x: b.op("HardSigmoid", x, alpha=0.5, beta=0.5),
}


def activate(b: Builder, x: Laid, function: Any, owner: Layer) -> Laid:
    """An activation by its name in a configuration; None is none."""
    if isinstance(function, dict):  # Keras 3 wraps a function's name
        function = function.get("config") if function.get("class_name") == "function" else function.get("class_name")
    if function in (None, "linear"):
        return x
    if function in ("softmax", "log_softmax"):
        return softmax(b, x, -1, "Softmax" if function == "softmax" else "LogSoftmax")
    if function == "hard_sigmoid":  # 0.2 x + 0.5 until Keras 3, which took torch's x / 6 + 0.5
        slope = 1 / 6 if b.origin.version >= (3, 0) else 0.2
        return b.same(x, lambda v: b.op("HardSigmoid", v, alpha=slope, beta=0.5))
    if function not in ACTIVATIONS:
        raise Fault(f"layer {owner.name!r} has the activation {str(function)[:80]!r}", is_refusal=True)
    return b.same(x, lambda v: ACTIVATIONS[function](b, v))


def softmax(b: Builder, x: Laid, axis: int, kind: str = "Softmax") -> Laid:
    """Softmax over one axis of the author's layout."""
    if axis in (-1, x.rank - 1) and x.moved is not None:
        return Laid(x.shape, moved=b.op(kind, x.moved, axis=1))
    return Laid(x.shape, author=b.op(kind, b.author(x), axis=axis))


@layer("Activation")
def activation(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """A function by name."""
    return activate(b, one(inputs, layer), layer["activation"], layer)


@layer("Softmax")
def softmax_layer(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Softmax over `axis`."""
    axis = layer.get("axis", -1)
    axes = axis if isinstance(axis, list) else [axis]
    if len(axes) != 1:
        raise Fault(f"layer {layer.name!r}: a softmax over {len(axes)} axes", is_refusal=True)
    return softmax(b, one(inputs, layer), axes[0])


@layer("ReLU")
def relu(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """`max_value` above, x above `threshold`, `negative_slope` (x - threshold) below."""
    x = one(inputs, layer)
    slope, threshold = number(layer.get("negative_slope", 0.0)), number(layer.get("threshold", 0.0))
    most = layer.config.get("max_value")

    def emit(v: ir.Value) -> ir.Value:
        if threshold == 0:
            y = b.op("LeakyRelu", v, alpha=slope) if slope else b.op("Relu", v)
        else:
            limit = b.number(threshold)
            below = b.op("Mul", b.op("Sub", v, limit), b.number(slope))
            y = b.op("Where", b.op("GreaterOrEqual", v, limit), v, below)
        return y if most is None else b.op("Min", y, b.number(number(most)))

    return b.same(x, emit)


@layer("LeakyReLU")
def leaky_relu(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Slope `alpha` (`negative_slope` in Keras 3) below zero."""
    slope = number(layer.get("alpha", layer.get("negative_slope", 0.3)))
    return b.same(one(inputs, layer), lambda v: b.op("LeakyRelu", v, alpha=slope))


@layer("ELU")
def elu(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """X, or alpha (exp(x) - 1) below zero."""
    return b.same(one(inputs, layer), lambda v: b.op("Elu", v, alpha=number(layer.get("alpha", 1.0))))


@layer("ThresholdedReLU")
def thresholded_relu(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """X above `theta`, else 0."""
    return b.same(one(inputs, layer), lambda v: b.op("ThresholdedRelu", v, alpha=number(layer.get("theta", 1.0))))


@layer("PReLU")
def prelu(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Slope `alpha` below zero, learned; its shape is the input's with 1 for `shared_axes`."""
    x = one(inputs, layer)
    return Laid(x.shape, author=b.op("PRelu", b.author(x), b.weight("alpha")))


# -- what changes nothing outside training ----------------------------------------------------------------------------


@layer("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
def dropout(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Dropout with its rate; an identity where nothing is trained."""
    rate = b.number(number(layer["rate"]))
    return b.same(one(inputs, layer), lambda v: b.op("Dropout", v, rate))


@layer("GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization")
def identity(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Nothing: ONNX has no operator for what these do in training."""
    return b.same(one(inputs, layer), lambda v: b.op("Identity", v))


# -- dense, embedding, normalization ----------------------------------------------------------------------------------


@layer("Dense")
def dense(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """[..., I] x kernel [I, O] + bias [O]."""
    x = one(inputs, layer)
    kernel, (width, units) = b.weight("kernel", rank=2), b.weight_shape("kernel", rank=2)
    if x.shape[-1] not in (None, width):
        raise Fault(f"layer {layer.name!r}: a kernel for {width} numbers on {x.shape[-1]}")
    bias = b.weight("bias", rank=1) if layer.get("use_bias", True) else None
    if x.rank == 2 and bias is not None:
        y = b.op("Gemm", b.author(x), kernel, bias)
    else:
        y = b.op("MatMul", b.author(x), kernel)
        y = y if bias is None else b.op("Add", y, bias)
    return activate(b, Laid((*x.shape[:-1], units), author=y), layer.get("activation"), layer)


@layer("Embedding")
def embedding(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Rows of `embeddings` [V, D] by integers [...]: [..., D]."""
    x = one(inputs, layer)
    ids = b.op("Cast", b.author(x), to=ir.DataType.INT64)
    width = b.weight_shape("embeddings", rank=2)[1]
    mask = b.op("Not", b.op("Equal", ids, b.index(0))) if layer.get("mask_zero", False) else None
    return Laid((*x.shape, width), author=b.op("Gather", b.weight("embeddings"), ids, axis=0), mask=mask)


@layer("BatchNormalization", "BatchNormalizationV1", "BatchNormalizationV2")
def batch_normalization(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """By the statistics of `axis`, then gamma and beta where the layer has them."""
    x = one(inputs, layer)
    axis = layer.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if not isinstance(axis, int) or not -x.rank <= axis < x.rank or axis % x.rank == 0:
        raise Fault(f"layer {layer.name!r}: a batch normalization of axis {axis}", is_refusal=True)
    check_mode(layer)
    mean, variance = b.weight("moving_mean", rank=1), b.weight("moving_variance", rank=1)
    (size,) = b.weight_shape("moving_mean", rank=1)
    gamma = b.weight("gamma", rank=1) if layer.get("scale", True) else b.full(1, size)
    beta = b.weight("beta", rank=1) if layer.get("center", True) else b.full(0, size)
    last = axis % x.rank == x.rank - 1
    value, back = b.moved(x) if last else b.author(x), None
    if axis % x.rank not in (1, x.rank - 1):
        perm = [0, axis % x.rank, *(i for i in range(1, x.rank) if i != axis % x.rank)]
        value, back = b.op("Transpose", value, perm=perm), [perm.index(i) for i in range(x.rank)]
    numbers = {"epsilon": number(layer.get("epsilon", 1e-3)), "momentum": number(layer.get("momentum", 0.99))}
    y = b.op("BatchNormalization", value, gamma, beta, mean, variance, **numbers)
    if back is not None:
        y = b.op("Transpose", y, perm=back)
    return Laid(x.shape, moved=y) if last and x.rank > 2 else Laid(x.shape, author=y)


def check_mode(layer: Layer) -> None:
    """Raise Fault for Keras 1's batch normalization by the statistics of the batch or of each sample."""
    if number(layer.get("mode", 0)) != 0:
        raise Fault(f"layer {layer.name!r}: a batch normalization of mode {layer['mode']}", is_refusal=True)


@layer("LayerNormalization")
def layer_normalization(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Over the last axes, then gamma and beta of their sizes where the layer has them."""
    x = one(inputs, layer)
    axes = layer.get("axis", -1)
    axes = sorted(a % x.rank for a in (axes if isinstance(axes, list) else [axes]))
    if layer.get("rms_scaling", False):
        raise Fault(f"layer {layer.name!r}: a layer normalization by scale alone", is_refusal=True)
    if axes != list(range(axes[0], x.rank)):
        return _inner_normalization(b, layer, x, axes)
    sizes = x.shape[axes[0] :]
    if layer.get("scale", True):
        gamma = b.weight("gamma")
    elif any(n is None for n in sizes):
        raise Fault(f"layer {layer.name!r}: a layer normalization over free sizes", is_refusal=True)
    else:
        gamma = b.full(1, *(n or 0 for n in sizes))
    beta = b.weight("beta") if layer.get("center", True) else None
    epsilon = number(layer.get("epsilon", 1e-3))
    return Laid(x.shape, author=b.op("LayerNormalization", b.author(x), gamma, beta, axis=axes[0], epsilon=epsilon))


def _inner_normalization(b: Builder, layer: Layer, x: Laid, axes: Sequence[int]) -> Laid:
    """Over axes that aren't the last, by its formula; gamma and beta have the sizes of these axes."""
    value = b.author(x)
    centred = b.op("Sub", value, b.op("ReduceMean", value, b.ints(*axes), keepdims=1))
    variance = b.op("ReduceMean", b.op("Mul", centred, centred), b.ints(*axes), keepdims=1)
    y = b.op("Div", centred, b.op("Sqrt", b.op("Add", variance, b.number(number(layer.get("epsilon", 1e-3))))))
    sizes = [x.shape[i] if i in axes else 1 for i in range(x.rank)]
    if None in sizes:
        raise Fault(f"layer {layer.name!r}: a layer normalization over free sizes", is_refusal=True)
    for field, option, kind in (("gamma", "scale", "Mul"), ("beta", "center", "Add")):
        if layer.get(option, True):
            y = b.op(kind, y, b.op("Reshape", b.weight(field), b.ints(*(n or 1 for n in sizes))))
    return Laid(x.shape, author=y)


# -- shapes -----------------------------------------------------------------------------------------------------------


@layer("InputLayer")
def input_layer(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """What a nested model is called on."""
    return one(inputs, layer)


@layer("Flatten")
def flatten(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """[N, ...] to [N, product], channels last also where the author has them first."""
    x = one(inputs, layer)
    value = b.author(x)
    if is_channels_first(layer) and x.rank > 2:
        value = b.op("Transpose", value, perm=[0, *range(2, x.rank), 1])
    size = None if None in x.shape[1:] else prod(n or 0 for n in x.shape[1:])
    return Laid((x.shape[0], size), author=b.op("Reshape", value, b.ints(0, -1 if size is None else size)))


@layer("Reshape")
def reshape(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """[N, ...] to [N, *target_shape], in which one size may be -1."""
    x, target = one(inputs, layer), list(layer["target_shape"])
    if any(type(n) is not int or n < -1 or n == 0 for n in target) or target.count(-1) > 1:
        raise Fault(f"layer {layer.name!r}: a target shape of {str(target)[:80]}")
    shape: list[int | None] = [None if n == -1 else n for n in target]
    if -1 in target and None not in x.shape[1:]:
        known = prod(n for n in target if n != -1)
        shape[target.index(-1)] = prod(n or 0 for n in x.shape[1:]) // known
    return Laid((x.shape[0], *shape), author=b.op("Reshape", b.author(x), b.ints(0, *target)))


@layer("Permute")
def permute(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Axes in the order of `dims`, which count from 1 behind the batch."""
    x, dims = one(inputs, layer), list(layer["dims"])
    if sorted(dims) != list(range(1, x.rank)):
        raise Fault(f"layer {layer.name!r}: dims {str(dims)[:80]} of {x.rank} axes")
    shape = (x.shape[0], *(x.shape[d] for d in dims))
    return Laid(shape, author=b.op("Transpose", b.author(x), perm=[0, *dims]), dtype=x.dtype)


@layer("RepeatVector")
def repeat_vector(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """[N, C] to [N, n, C]."""
    x, (n,) = one(inputs, layer), numbers(layer["n"], 1)
    rows = b.op("Unsqueeze", b.author(x), b.ints(1))
    return Laid((x.shape[0], n, x.shape[-1]), author=b.op("Expand", rows, b.ints(1, n, 1)))


def _pairs(value: Any, count: int) -> list[tuple[int, int]]:
    """`1`, `(1, 2)` (of one axis: before and behind; of more: both sides of each) or `((1, 2), ...)` as pairs."""
    if count == 1 and isinstance(value, list) and len(value) == 2 and all(isinstance(n, int) for n in value):
        value = [value]
    many = [value] * count if isinstance(value, int) else list(value)
    pairs = [(n, n) if isinstance(n, int) else tuple(n) for n in many]
    if len(pairs) != count or any(len(p) != 2 or min(p) < 0 for p in pairs):
        raise Fault(f"{str(value)[:80]} for {count} axes")
    return [(p[0], p[1]) for p in pairs]


def _resized(shape: Shape, change: Callable[[int, int], int]) -> list[int | None]:
    """A [N, C, ...] shape with each spatial size changed."""
    return [*shape[:2], *(None if n is None else change(i, n) for i, n in enumerate(shape[2:]))]


@layer("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Zeros around the spatial axes."""
    x = one(inputs, layer)
    pairs = _pairs(layer["padding"], x.rank - 2)
    pads = b.ints(0, 0, *(p[0] for p in pairs), 0, 0, *(p[1] for p in pairs))
    shape = _resized(channels_shape(x, layer), lambda i, n: n + sum(pairs[i]))
    return b.from_channels(b.op("Pad", b.channels(x, layer), pads), shape, layer)


@layer("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """The spatial axes without their borders."""
    x = one(inputs, layer)
    pairs = _pairs(layer["cropping"], x.rank - 2)
    starts, ends = b.ints(*(p[0] for p in pairs)), b.ints(*(-p[1] if p[1] else END for p in pairs))
    shape = _resized(channels_shape(x, layer), lambda i, n: max(n - sum(pairs[i]), 0))
    y = b.op("Slice", b.channels(x, layer), starts, ends, b.ints(*range(2, x.rank)))
    return b.from_channels(y, shape, layer)


@layer("UpSampling1D", "UpSampling2D", "UpSampling3D")
def up_sampling(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Each number `size` times along each spatial axis; in 2D also bilinear."""
    x = one(inputs, layer)
    size, mode = numbers(layer["size"], x.rank - 2), layer.get("interpolation", "nearest")
    # Before tf.keras, bilinear meant TensorFlow 1's, whose corners lie elsewhere.
    if mode != "nearest" and not (mode in ("bilinear", "bicubic") and b.origin.version >= (2, 4)):
        raise Fault(f"layer {layer.name!r}: upsampling by {str(mode)[:40]!r}", is_refusal=True)
    how: dict[str, Any] = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if mode == "bilinear":
        how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    if mode == "bicubic":
        how = {"mode": "cubic", "coordinate_transformation_mode": "half_pixel", "cubic_coeff_a": -0.5}
        how["exclude_outside"] = 1
    scales = b.op("Cast", b.ints(1, 1, *size), to=ir.DataType.FLOAT)
    shape = _resized(channels_shape(x, layer), lambda i, n: n * size[i])
    return b.from_channels(b.op("Resize", b.channels(x, layer), None, scales, **how), shape, layer)


# -- pooling ----------------------------------------------------------------------------------------------------------


def same_pads(sizes: Sequence[int | None], kernel: Sequence[int], strides: Sequence[int]) -> list[int] | None:
    """TensorFlow's SAME as ONNX's pads, what is odd at the end; None where it depends on a size that is free."""
    pads = []
    for n, k, s in zip(sizes, kernel, strides, strict=True):
        if n is None and s > 1:
            return None
        pads.append(max((-(-n // s) - 1) * s + k - n, 0) if n is not None else k - 1)
    return [*(p // 2 for p in pads), *(p - p // 2 for p in pads)]


def window(
    layer: Layer,
    shape: Shape,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    backend: str = "",
) -> tuple[dict[str, Any], list[int | None]]:
    """The attributes of a padding, and the spatial sizes behind a window that slides over [N, C, ...]."""
    sizes, padding = shape[2:], layer.get("padding", "valid")
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if padding == "valid":
        over = zip(sizes, spans, strides, strict=True)
        return {}, [None if n is None else max((n - k) // s + 1, 0) for n, k, s in over]
    after = [None if n is None else -(-n // s) for n, s in zip(sizes, strides, strict=True)]
    if padding == "same" and backend == "theano":  # half of the window on both sides, whatever the strides
        return {"pads": [k // 2 for k in spans] * 2}, after
    if padding == "same":
        pads = same_pads(sizes, spans, strides)
        return {"auto_pad": "SAME_UPPER"} if pads is None else {"pads": pads}, after
    if padding == "causal" and len(spans) == 1:
        return {"pads": [spans[0] - 1, 0]}, after
    raise Fault(f"layer {layer.name!r}: padding {str(padding)[:40]!r}", is_refusal=True)


def _pool(b: Builder, layer: Layer, x: Laid, kind: str, **attributes: Any) -> Laid:
    n = x.rank - 2
    kernel = numbers(layer.get("pool_size", layer.get("pool_length", 2)), n)
    strides = numbers(layer.get("strides", list(kernel)), n)
    shape = channels_shape(x, layer)
    pads, sizes = window(layer, shape, kernel, strides, [1] * n)
    if b.origin.backend == "theano" and layer.get("padding", "valid") == "same":
        return _theano_pool(b, layer, x, kind, kernel, strides, sizes)
    y = b.op(kind, b.channels(x, layer), kernel_shape=list(kernel), strides=list(strides), **pads, **attributes)
    return b.from_channels(y, (*shape[:2], *sizes), layer)


def _theano_pool(
    b: Builder,
    layer: Layer,
    x: Laid,
    kind: str,
    kernel: Sequence[int],
    strides: Sequence[int],
    after: Sequence[int | None],
) -> Laid:
    """The same padding on both sides, and what is more than SAME gives cut off (keras/backend/theano_backend.py)."""
    shape, n = channels_shape(x, layer), len(kernel)
    if None in after:
        raise Fault(f"layer {layer.name!r}: pooling of free sizes on Theano", is_refusal=True)
    pads = [k - 2 if k > 2 and k % 2 else k - 1 for k in kernel]
    value = b.channels(x, layer)
    how: dict[str, Any] = {"kernel_shape": list(kernel), "strides": list(strides), "pads": pads * 2}
    if kind == "AveragePool":
        how["count_include_pad"] = 0
    y = b.op(kind, value, **how)
    y = b.op("Slice", y, b.ints(*[0] * n), b.ints(*(m or 0 for m in after)), b.ints(*range(2, n + 2)))
    return b.from_channels(y, (*shape[:2], *after), layer)


@layer("MaxPooling1D", "MaxPooling2D", "MaxPooling3D")
def max_pooling(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """The largest of each window."""
    return _pool(b, layer, one(inputs, layer), "MaxPool")


@layer("AveragePooling1D", "AveragePooling2D", "AveragePooling3D")
def average_pooling(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """The mean of each window, of what is inside the image alone."""
    return _pool(b, layer, one(inputs, layer), "AveragePool", count_include_pad=0)


def _global(b: Builder, layer: Layer, x: Laid, kind: str) -> Laid:
    keep = bool(layer.get("keepdims", False))
    y = b.op(kind, b.channels(x, layer), b.ints(*range(2, x.rank)), keepdims=int(keep))
    shape = channels_shape(x, layer)
    return b.from_channels(y, (*shape[:2], *([1] * (x.rank - 2) if keep else [])), layer)


@layer("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D")
def global_average_pooling(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """The mean over the spatial axes: [N, ..., C] to [N, C]; of a masked sequence over the steps that count."""
    x = one(inputs, layer)
    if x.mask is not None and x.rank == 3 and not is_channels_first(layer):
        keep = int(bool(layer.get("keepdims", False)))
        counts = b.op("Unsqueeze", b.op("Cast", x.mask, to=ir.DataType.FLOAT), b.ints(2))
        total = b.op("ReduceSum", b.op("Mul", b.author(x), counts), b.ints(1), keepdims=keep)
        y = b.op("Div", total, b.op("ReduceSum", counts, b.ints(1), keepdims=keep))
        return Laid((x.shape[0], *([1] if keep else []), x.shape[2]), author=y)
    return _global(b, layer, one(inputs, layer), "ReduceMean")


@layer("GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D")
def global_max_pooling(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """The largest over the spatial axes: [N, ..., C] to [N, C]."""
    return _global(b, layer, one(inputs, layer), "ReduceMax")
