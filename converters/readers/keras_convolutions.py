"""Keras' convolutions as ONNX nodes; kernels stay as the author has them and are transposed by nodes."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from zoo.converters.readers.keras_config import Fault, Layer
from zoo.converters.readers.keras_graph import Builder, Laid, Shape, channels_shape, is_channels_first
from zoo.converters.readers.keras_layers import Table, activate, numbers, one, window

TABLE = layer = Table()


def kernel(b: Builder, name: str, layer: Layer, perm: Sequence[int]) -> ir.Value:
    """A kernel [*k, I, O] in the order of ONNX."""
    n = len(perm) - 2
    return b.op("Transpose", flipped(b, laid_kernel(b, name, layer, n)[0], n), perm=list(perm))


def laid_kernel(b: Builder, name: str, layer: Layer, n: int) -> tuple[ir.Value, tuple[int, ...]]:
    """A kernel and its sizes as [*k, I, O]. Keras 1 has it channels first where the layer has, and 1D ones as 2D."""
    if b.origin.version >= (2, 0):
        return b.weight(name, rank=n + 2), b.weight_shape(name, rank=n + 2)
    if n == 1:
        length, _, width, out = b.weight_shape(name, rank=4)
        return b.op("Reshape", b.weight(name), b.ints(length, width, out)), (length, width, out)
    value, sizes = b.weight(name, rank=n + 2), b.weight_shape(name, rank=n + 2)
    if not is_channels_first(layer):
        return value, sizes
    perm = [*range(2, n + 2), 1, 0]
    return b.op("Transpose", value, perm=perm), tuple(sizes[p] for p in perm)


def flipped(b: Builder, value: ir.Value, n: int) -> ir.Value:
    """A kernel [*k, I, O] as it slides: Theano turns it round, which is a convolution in the strict sense."""
    if b.origin.backend != "theano":
        return value
    ends = b.ints(*[-((1 << 63) - 1)] * n)
    return b.op("Slice", value, b.ints(*[-1] * n), ends, b.ints(*range(n)), b.ints(*[-1] * n))


def cut(b: Builder, layer: Layer, y: ir.Value, kernel: Sequence[int], after: Sequence[int | None]) -> ir.Value:
    """A window's output as far as it goes: Theano pads both sides alike, and cuts off what is more than SAME gives."""
    if b.origin.backend != "theano" or layer.get("padding", "valid") != "same" or all(k % 2 for k in kernel):
        return y
    if any(n is None for n in after):
        raise Fault(f"layer {layer.name!r}: even windows over free sizes on Theano", is_refusal=True)
    n = len(kernel)
    return b.op("Slice", y, b.ints(*[0] * n), b.ints(*(m or 0 for m in after)), b.ints(*range(2, n + 2)))


def check_channels(layer: Layer, have: int | None, want: int) -> None:
    """A kernel for as many channels as come in; Fault when not."""
    if have not in (None, want):
        raise Fault(f"layer {layer.name!r}: a kernel for {want} channels on {have}")


def finish(b: Builder, layer: Layer, y: ir.Value, shape: Shape) -> Laid:
    """A value [N, C, ...] as the layer's output, activated."""
    return activate(b, b.from_channels(y, shape, layer), layer.get("activation"), layer)


def bias(b: Builder, layer: Layer) -> ir.Value | None:
    """The layer's bias [O], if it has one."""
    return b.weight("bias", rank=1) if layer.get("use_bias", True) else None


@layer("Conv1D", "Conv2D", "Conv3D")
def conv(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """[N, ..., I] * kernel [*k, I / groups, O] + bias [O]."""
    x = one(inputs, layer)
    n = x.rank - 2
    *sizes, width, out = laid_kernel(b, "kernel", layer, n)[1]
    shape, groups = channels_shape(x, layer), layer.get("groups", 1)
    if type(groups) is not int or groups < 1:
        raise Fault(f"layer {layer.name!r}: {str(groups)[:40]} groups")
    check_channels(layer, shape[1], width * groups)
    strides, dilations = numbers(layer.get("strides", 1), n), numbers(layer.get("dilation_rate", 1), n)
    pads, after = window(layer, shape, sizes, strides, dilations, b.origin.backend)
    moved = kernel(b, "kernel", layer, [n + 1, n, *range(n)])
    y = b.op(
        "Conv",
        b.channels(x, layer),
        moved,
        bias(b, layer),
        kernel_shape=sizes,
        strides=list(strides),
        dilations=list(dilations),
        group=groups,
        **pads,
    )
    y = cut(b, layer, y, sizes, after)
    return finish(b, layer, y, (shape[0], out, *after))


def _depthwise(b: Builder, layer: Layer, x: Laid, add: ir.Value | None) -> tuple[ir.Value, list[int | None]]:
    """[N, I, ...] and the sizes of each channel convolved by its own kernels [*k, I, M]: [N, I * M, ...]."""
    n = x.rank - 2
    field = "depthwise_kernel" if b.has_weight("depthwise_kernel") else "kernel"  # DepthwiseConv2D's name since Keras 3
    *sizes, width, many = b.weight_shape(field, rank=n + 2)
    shape = channels_shape(x, layer)
    check_channels(layer, shape[1], width)
    strides, dilations = numbers(layer.get("strides", 1), n), numbers(layer.get("dilation_rate", 1), n)
    pads, after = window(layer, shape, sizes, strides, dilations, b.origin.backend)
    moved = kernel(b, field, layer, [n, n + 1, *range(n)])
    y = b.op(
        "Conv",
        b.channels(x, layer),
        b.op("Reshape", moved, b.ints(width * many, 1, *sizes)),
        add,
        kernel_shape=sizes,
        strides=list(strides),
        dilations=list(dilations),
        group=width,
        **pads,
    )
    return y, [shape[0], width * many, *after]


@layer("DepthwiseConv1D", "DepthwiseConv2D")
def depthwise_conv(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Each channel by its own kernels [*k, I, M], channels of one input side by side."""
    y, shape = _depthwise(b, layer, one(inputs, layer), bias(b, layer))
    return finish(b, layer, y, tuple(shape))


@layer("SeparableConv1D", "SeparableConv2D")
def separable_conv(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """A depthwise convolution, then a convolution of one point, [*1, I * M, O]."""
    x = one(inputs, layer)
    n = x.rank - 2
    y, shape = _depthwise(b, layer, x, None)
    *_, width, out = b.weight_shape("pointwise_kernel", rank=n + 2)
    check_channels(layer, shape[1], width)
    pointwise = kernel(b, "pointwise_kernel", layer, [n + 1, n, *range(n)])
    y = b.op("Conv", y, pointwise, bias(b, layer), kernel_shape=[1] * n)
    return finish(b, layer, y, (shape[0], out, *shape[2:]))


@layer("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
def conv_transpose(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """[N, ..., I] by the gradient of a convolution with kernel [*k, O, I].

    The output's size s (n - 1) + r, where r is the kernel's span (`valid`), the stride (`same`), or what
    `output_padding` makes of them (keras/utils/conv_utils.py, deconv_output_length); of what the gradient gives more,
    TensorFlow cuts the smaller half at the beginning.
    """
    x = one(inputs, layer)
    n = x.rank - 2
    *sizes, out, width = b.weight_shape("kernel", rank=n + 2)
    shape, padding = channels_shape(x, layer), layer.get("padding", "valid")
    check_channels(layer, shape[1], width)
    if padding not in ("valid", "same"):
        raise Fault(f"layer {layer.name!r}: padding {str(padding)[:40]!r}", is_refusal=True)
    strides, dilations = numbers(layer.get("strides", 1), n), numbers(layer.get("dilation_rate", 1), n)
    spans = [(k - 1) * d + 1 for k, d in zip(sizes, dilations, strict=True)]
    extra = layer.get("output_padding")
    if extra is None:
        rest = [s if padding == "same" else max(k, s) for k, s in zip(spans, strides, strict=True)]
    else:
        many = [extra] * n if isinstance(extra, int) else list(extra)
        rest = [k - (k // 2 * 2 if padding == "same" else 0) + p for k, p in zip(spans, many, strict=True)]
    is_half = b.origin.backend == "theano" and padding == "same"  # which begins at half a window, whatever the strides
    before = [k // 2 if is_half else max(k - r, 0) // 2 for k, r in zip(spans, rest, strict=True)]
    behind = [k - r - f for k, r, f in zip(spans, rest, before, strict=True)]
    y = b.op(
        "ConvTranspose",
        b.channels(x, layer),
        kernel(b, "kernel", layer, [n + 1, n, *range(n)]),
        bias(b, layer),
        kernel_shape=sizes,
        strides=list(strides),
        dilations=list(dilations),
        pads=[*before, *(max(c, 0) for c in behind)],
        output_padding=[max(-c, 0) for c in behind],
    )
    after = [None if m is None else s * (m - 1) + r for m, s, r in zip(shape[2:], strides, rest, strict=True)]
    return finish(b, layer, y, (shape[0], out, *after))
