"""Keras' rarer layers as ONNX nodes: locally connected, further normalizations, preprocessing, einsum."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers.keras_config import Fault, Layer
from zoo.converters.readers.keras_graph import Builder, Laid, channels_shape, is_channels_first
from zoo.converters.readers.keras_layers import Table, activate, number, numbers, one, window

TABLE = layer = Table()
MAX_WINDOWS = 1 << 12  # of a locally connected layer, each of which is a Slice


@layer("LocallyConnected1D", "LocallyConnected2D")
def locally_connected(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """A convolution with a kernel of its own at each place: [places, k * I, O], channels last in the window.

    Keras' other implementations keep other kernels, and are refused.
    """
    x = one(inputs, layer)
    n = x.rank - 2
    if layer.get("implementation", 1) != 1 or layer.get("padding", "valid") != "valid":
        raise Fault(f"layer {layer.name!r}: a locally connected layer of another implementation", is_refusal=True)
    kernel, strides = numbers(layer["kernel_size"], n), numbers(layer.get("strides", 1), n)
    shape = channels_shape(x, layer)
    if None in shape[1:]:
        raise Fault(f"layer {layer.name!r}: a locally connected layer over free sizes", is_refusal=True)
    _, after = window(layer, shape, kernel, strides, [1] * n)
    places = [m or 0 for m in after]
    count, width = prod(places), prod(kernel) * (shape[1] or 0)
    if count > MAX_WINDOWS:
        raise Fault(f"layer {layer.name!r}: {count:,} places of a locally connected layer", is_refusal=True)
    weights, sizes = b.weight("kernel", rank=3), b.weight_shape("kernel", rank=3)
    if sizes[:2] != (count, width):
        raise Fault(f"layer {layer.name!r}: kernels of shape {sizes} for {count} places of {width}")
    first = is_channels_first(layer)
    value, axes = b.author(x), list(range(2, n + 2)) if first else list(range(1, n + 1))
    parts = []
    for place in product(*(range(m) for m in places)):
        starts = [p * s for p, s in zip(place, strides, strict=True)]
        ends = [s + k for s, k in zip(starts, kernel, strict=True)]
        parts.append(
            b.op("Reshape", b.op("Slice", value, b.ints(*starts), b.ints(*ends), b.ints(*axes)), b.ints(1, -1, width))
        )
    rows = b.op("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]  # [places, N, k * I]
    y = b.op("Transpose", b.op("MatMul", rows, weights), perm=[1, 0, 2])
    y = b.op("Reshape", y, b.ints(-1, *places, sizes[2]))
    made = Laid((x.shape[0], *places, sizes[2]), author=y)
    if layer.get("use_bias", True):
        bias_shape = b.weight_shape("bias")
        bias = (
            b.op("Reshape", b.weight("bias"), b.ints(*places, sizes[2]))
            if prod(bias_shape) == count * sizes[2]
            else b.weight("bias")
        )
        made = Laid(made.shape, author=b.op("Add", y, bias))
    if first:
        moved = b.op("Transpose", b.author(made), perm=[0, n + 1, *range(1, n + 1)])
        made = Laid((x.shape[0], sizes[2], *places), author=moved)
    return activate(b, made, layer.get("activation"), layer)


# -- normalizations ---------------------------------------------------------------------------------------------------


@layer("GroupNormalization")
def group_normalization(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Over groups of channels and all places, then gamma and beta."""
    x = one(inputs, layer)
    axis, groups = layer.get("axis", -1), layer.get("groups", 32)
    if not isinstance(axis, int) or axis % x.rank not in (1, x.rank - 1):
        raise Fault(f"layer {layer.name!r}: a group normalization of axis {axis}", is_refusal=True)
    last = axis % x.rank == x.rank - 1
    channels = x.shape[axis]
    if channels is None:
        raise Fault(f"layer {layer.name!r}: a group normalization of free channels", is_refusal=True)
    groups = channels if groups == -1 else groups
    gamma = b.weight("gamma", rank=1) if layer.get("scale", True) else b.full(1, channels)
    beta = b.weight("beta", rank=1) if layer.get("center", True) else b.full(0, channels)
    value = b.moved(x) if last and x.rank > 2 else b.author(x)
    epsilon = number(layer.get("epsilon", 1e-3))
    y = b.op("GroupNormalization", value, gamma, beta, epsilon=epsilon, num_groups=groups)
    return Laid(x.shape, moved=y) if last and x.rank > 2 else Laid(x.shape, author=y)


@layer("RMSNormalization")
def rms_normalization(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Over the root of the mean square of the last axis, then by scale."""
    x, axis = one(inputs, layer), layer.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if axis not in (-1, x.rank - 1):
        raise Fault(f"layer {layer.name!r}: a normalization of axis {axis}", is_refusal=True)
    epsilon = number(layer.get("epsilon", 1e-6))
    return Laid(x.shape, author=b.op("RMSNormalization", b.author(x), b.weight("scale"), epsilon=epsilon))


@layer("UnitNormalization")
def unit_normalization(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Over its length along axes (at least 1e-12 squared, as tf.nn.l2_normalize has it)."""
    x, axes = one(inputs, layer), layer.get("axis", -1)
    axes = axes if isinstance(axes, list) else [axes]
    square = b.op("ReduceSumSquare", b.author(x), b.ints(*axes), keepdims=1)
    length = b.op("Sqrt", b.op("Max", square, b.number(1e-12)))
    return Laid(x.shape, author=b.op("Div", b.author(x), length))


@layer("Normalization")
def normalization(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """(x - mean) / sqrt(variance) of the axes that are kept, or the reverse; numbers of the file or of the options."""
    x, axes = one(inputs, layer), layer.get("axis", -1)
    kept = [a % x.rank for a in ([axes] if isinstance(axes, int) else axes or ())]
    shape = [n if i in kept else 1 for i, n in enumerate(x.shape)]
    if any(n is None for n in shape):
        raise Fault(f"layer {layer.name!r}: a normalization of a free size", is_refusal=True)
    mean, variance = (_statistic(b, layer, field, [n or 1 for n in shape]) for field in ("mean", "variance"))
    deviation = b.op("Max", b.op("Sqrt", variance), b.number(1e-7))
    value = b.author(x)
    if layer.get("invert", False):
        return Laid(x.shape, author=b.op("Add", mean, b.op("Mul", value, deviation)))
    return Laid(x.shape, author=b.op("Div", b.op("Sub", value, mean), deviation))


def _statistic(b: Builder, layer: Layer, field: str, shape: Sequence[int]) -> ir.Value:
    stated = layer.config.get(field)
    if stated is not None:
        return b.constant(np.broadcast_to(np.asarray(stated, np.float32).reshape(-1), (prod(shape),)).reshape(shape))
    return b.op("Reshape", b.weight(field), b.ints(*shape))


# -- preprocessing ----------------------------------------------------------------------------------------------------


@layer("Rescaling")
def rescaling(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """X * scale + offset."""
    x = one(inputs, layer)
    scale, offset = (np.asarray(layer.get(key, d), np.float32) for key, d in (("scale", 1.0), ("offset", 0.0)))
    value = b.author(x)
    if x.dtype != ir.DataType.FLOAT:
        value = b.op("Cast", value, to=ir.DataType.FLOAT)
    return Laid(x.shape, author=b.op("Add", b.op("Mul", value, b.constant(scale)), b.constant(offset)))


@layer(
    *("RandomFlip", "RandomRotation", "RandomZoom", "RandomContrast", "RandomBrightness", "RandomTranslation"),
    *("RandomHue", "RandomSaturation", "RandomColorJitter", "RandomErasing", "RandomShear", "RandomGrayscale"),
    *("RandomGaussianBlur", "RandomInvert", "RandomPosterization", "RandomSharpness", "RandomPerspective"),
)
def augmentation(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Nothing: these change images in training alone."""
    return b.same(one(inputs, layer), lambda v: b.op("Identity", v))


@layer("Resizing")
def resizing(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """[N, H, W, C] to `height` and `width`."""
    x, mode = one(inputs, layer), layer.get("interpolation", "bilinear")
    if (
        layer.get("crop_to_aspect_ratio", False)
        or layer.get("pad_to_aspect_ratio", False)
        or mode not in ("bilinear", "nearest")
    ):
        raise Fault(f"layer {layer.name!r}: resizing by {str(mode)[:40]!r} or to a ratio", is_refusal=True)
    size = [*numbers(layer["height"], 1), *numbers(layer["width"], 1)]
    how: dict[str, Any] = {"mode": "linear" if mode == "bilinear" else "nearest"}
    how["coordinate_transformation_mode"] = "half_pixel"
    if mode == "nearest":
        how["nearest_mode"] = "round_prefer_ceil"
    shape = channels_shape(x, layer)
    value = b.channels(x, layer)
    # ONNX Runtime 1.32 moves transposes through a Resize by axes, and gets its sizes wrong
    sizes = b.op("Concat", b.op("Shape", value, end=2), b.ints(*size), axis=0)
    y = b.op("Resize", value, None, None, sizes, **how)
    return b.from_channels(y, (*shape[:2], *size), layer)


@layer("CenterCrop")
def center_crop(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """The middle of an image that is no smaller."""
    x = one(inputs, layer)
    size, shape = [*numbers(layer["height"], 1), *numbers(layer["width"], 1)], channels_shape(x, layer)
    if any(n is None or n < m for n, m in zip(shape[2:], size, strict=True)):
        raise Fault(f"layer {layer.name!r}: a crop of {size} of {shape[2:]}", is_refusal=True)
    starts = [((n or 0) - m) // 2 for n, m in zip(shape[2:], size, strict=True)]
    ends = [s + m for s, m in zip(starts, size, strict=True)]
    y = b.op("Slice", b.channels(x, layer), b.ints(*starts), b.ints(*ends), b.ints(2, 3))
    return b.from_channels(y, (*shape[:2], *size), layer)


# -- einsum, further attention ----------------------------------------------------------------------------------------


@layer("EinsumDense")
def einsum_dense(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """An einsum of x and the kernel, plus a bias along `bias_axes`."""
    x, equation = one(inputs, layer), str(layer["equation"]).replace(" ", "")
    operands, _, out = equation.partition("->")
    left, _, right = operands.partition(",")
    named = out.replace("...", "")
    if not right or not out or "." in right:
        raise Fault(f"layer {layer.name!r}: the equation {equation[:80]!r}")
    sizes = dict(zip(right, b.weight_shape("kernel"), strict=True))
    front = x.rank - len(left.replace("...", ""))
    shape: list[int | None] = list(x.shape[:front]) if "..." in out else []
    known = dict(zip(left.replace("...", ""), x.shape[front:], strict=True))
    shape += [sizes.get(axis, known.get(axis)) for axis in named]
    y = b.op("Einsum", b.author(x), b.weight("kernel"), equation=equation)
    axes = layer.config.get("bias_axes")
    if axes:
        bias = [sizes.get(axis, 1) if axis in axes else 1 for axis in named[named.index(min(axes, key=named.index)) :]]
        y = b.op("Add", y, b.op("Reshape", b.weight("bias"), b.ints(*(n or 1 for n in bias))))
    return activate(b, Laid(tuple(shape), author=y), layer.get("activation"), layer)


@layer("AdditiveAttention")
def additive_attention(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """softmax(sum of scale tanh(q + k)) V of [N, T, D] tensors given as (query, value) or (query, value, key)."""
    query, value, key = inputs[0], inputs[1], inputs[-1]
    if len(inputs) not in (2, 3) or any(x.rank != 3 for x in inputs) or layer.get("causal", False) or b.given:
        raise Fault(f"layer {layer.name!r}: attention over {[x.rank for x in inputs]} axes, or masked", is_refusal=True)
    rows, columns = b.op("Unsqueeze", b.author(query), b.ints(2)), b.op("Unsqueeze", b.author(key), b.ints(1))
    scores = b.op("Tanh", b.op("Add", rows, columns))
    if layer.get("use_scale", True):
        scores = b.op("Mul", scores, b.weight("scale"))
    weights = b.op("Softmax", b.op("ReduceSum", scores, b.ints(-1), keepdims=0), axis=-1)
    return Laid((*query.shape[:2], value.shape[2]), author=b.op("MatMul", weights, b.author(value)))
