"""Convolutions, pooling, resizing and blocks of channels-last tensors as ONNX nodes, for TensorFlow and TFLite.

Tensors are [N, *spatial, C], and ONNX's operators stand between two transposes, of which those that meet are not
written. Kernels come in ONNX's order, by a Transpose of the author's.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers.keras_layers import same_pads
from zoo.converters.readers.tf_nodes import Fault, Nodes, rank_of, shape_of, sizes_known

Pads = str | Sequence[tuple[int, int]]  # SAME, VALID, or zeros before and behind along each spatial axis


def first(b: Nodes, x: ir.Value) -> ir.Value:
    """[N, ..., C] as [N, C, ...]."""
    if x in b.firsts:
        return b.firsts[x]
    rank = rank_of(x, "a window")
    moved = b.op("Transpose", x, perm=[0, rank - 1, *range(1, rank - 1)])
    b.firsts[x] = moved
    return moved


def last(b: Nodes, x: ir.Value) -> ir.Value:
    """[N, C, ...] as [N, ..., C]."""
    rank = rank_of(x, "a window")
    moved = b.op("Transpose", x, perm=[0, *range(2, rank), 1])
    b.firsts[moved] = x
    return moved


def padding(
    sizes: Sequence[int | None], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], pads: Pads
) -> dict[str, Any]:
    """ONNX's attributes for a padding of TensorFlow's."""
    if not isinstance(pads, str):
        return {"pads": [*(p[0] for p in pads), *(p[1] for p in pads)]}
    if pads == "VALID":
        return {}
    if pads != "SAME":
        raise Fault(f"padding {pads[:40]!r}")
    found = same_pads(sizes, [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)], strides)
    if found is None and max(dilations) > 1:
        raise Fault("a dilated convolution with strides over a free size")
    return {"auto_pad": "SAME_UPPER"} if found is None else {"pads": found}


def conv(
    b: Nodes,
    x: ir.Value,
    kernel: ir.Value,
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Pads,
    *,
    bias: ir.Value | None = None,
) -> ir.Value:
    """[N, ..., I] * kernel [O, I / groups, *k] + bias [O], in groups where the kernel has fewer inputs than x."""
    out, width, *spatial = kernel_sizes(kernel)
    n, shape = len(spatial), sizes_known(x)
    if shape is None or len(shape) != n + 2:
        raise Fault(f"a convolution of {n} spatial axes over {shape}", is_refusal=False)
    channels = shape[-1] if shape[-1] is not None else width
    if width == 0 or channels % width or out % (channels // width):
        raise Fault(f"a kernel for {width} channels on {channels}", is_refusal=False)
    attributes = padding(shape[1:-1], spatial, strides, dilations, pads)
    y = b.op(
        "Conv",
        first(b, x),
        kernel,
        bias,
        kernel_shape=spatial,
        strides=list(strides),
        dilations=list(dilations),
        group=channels // width,
        **attributes,
    )
    return last(b, y)


def kernel_sizes(kernel: ir.Value) -> list[int]:
    """The sizes of a kernel. Raises Fault where they are free."""
    sizes = sizes_known(kernel)
    if sizes is None or any(n is None for n in sizes):
        raise Fault("a convolution whose kernel's sizes the file leaves open")
    return [n or 0 for n in sizes]


def conv_transpose(
    b: Nodes,
    x: ir.Value,
    kernel: ir.Value,
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Pads,
    wanted: Sequence[int | None],
    *,
    bias: ir.Value | None = None,
) -> ir.Value:
    """The gradient of a convolution, kernel [I, O, *k], to an image of the `wanted` spatial sizes.

    Where they aren't known they are taken for what such a gradient gives by itself: with SAME the strides times x's.
    """
    _, _, *spatial = kernel_sizes(kernel)
    n, shape = len(spatial), sizes_known(x)
    if shape is None or len(shape) != n + 2 or len(wanted) != n:
        raise Fault(f"a transposed convolution of {n} spatial axes over {shape}", is_refusal=False)
    before, behind, extra = [], [], []
    for i, (m, k, s, d, w) in enumerate(zip(shape[1:-1], spatial, strides, dilations, wanted, strict=True)):
        span = (k - 1) * d + 1
        if m is None or w is None:
            cut = span - s if pads == "SAME" else min(span - s, 0)
        else:
            cut = (m - 1) * s + span - w
        if not isinstance(pads, str):
            start = pads[i][0]
        else:
            start = max(cut, 0) // 2 if pads == "SAME" else 0
        before.append(start)
        behind.append(max(cut - start, 0))
        extra.append(max(start - cut, 0))
    reach = [max(s, d) for s, d in zip(strides, dilations, strict=True)]
    more = [e if e >= r else 0 for e, r in zip(extra, reach, strict=True)]  # ONNX's output_padding is less than those
    y = b.op(
        "ConvTranspose",
        first(b, x),
        kernel,
        None if any(more) else bias,
        kernel_shape=spatial,
        strides=list(strides),
        dilations=list(dilations),
        pads=[*before, *behind],
        output_padding=[0 if m else e for e, m in zip(extra, more, strict=True)],
    )
    if any(more):  # rows that no input reaches: zeros, and the bias
        y = b.op("Pad", y, b.ints(*[0] * (n + 2), 0, 0, *more))
        y = y if bias is None else b.op("Add", y, b.op("Reshape", bias, b.ints(-1, *[1] * n)))
    return last(b, y)


def pool(b: Nodes, x: ir.Value, kind: str, kernel: Sequence[int], strides: Sequence[int], pads: Pads) -> ir.Value:
    """MaxPool, or AveragePool of what lies inside the image."""
    shape = sizes_known(x)
    if shape is None or len(shape) != len(kernel) + 2:
        raise Fault(f"pooling of {len(kernel)} spatial axes over {shape}", is_refusal=False)
    attributes = padding(shape[1:-1], kernel, strides, [1] * len(kernel), pads)
    if kind == "AveragePool":
        attributes["count_include_pad"] = 0
    y = b.op(kind, first(b, x), kernel_shape=list(kernel), strides=list(strides), **attributes)
    return last(b, y)


def resize(b: Nodes, x: ir.Value, sizes: ir.Value, mode: str, *, align_corners: bool, half_pixel: bool) -> ir.Value:
    """[N, H, W, C] to the `sizes` [2], by `nearest`, `linear` or `cubic` (tensorflow/core/kernels/image)."""
    how: dict[str, Any] = {"mode": mode}
    how["coordinate_transformation_mode"] = (
        "align_corners" if align_corners else "half_pixel" if half_pixel else "asymmetric"
    )
    if mode == "nearest":  # of half pixels floor(x + 0.5), which is what rounding up means
        how["nearest_mode"] = "round_prefer_ceil" if align_corners or half_pixel else "floor"
    if mode == "cubic":
        how |= {"cubic_coeff_a": -0.5 if half_pixel else -0.75, "exclude_outside": int(half_pixel)}
    wanted = as_int64(b, sizes)
    value = first(b, x)
    # ONNX Runtime 1.32 moves transposes through a Resize by axes, and gets its sizes wrong
    y = b.op("Resize", value, None, None, b.op("Concat", b.op("Shape", value, end=2), wanted, axis=0), **how)
    shape, known = shape_of(x), b.sizes(wanted)
    if shape is not None and known is not None and len(known) == 2:
        y.shape = ir.Shape([shape[0], shape[3], *known])
    return last(b, y)


def depth_to_space(b: Nodes, x: ir.Value, block: int) -> ir.Value:
    """[N, H, W, C] to [N, H * block, W * block, C / block²]."""
    return last(b, b.op("DepthToSpace", first(b, x), blocksize=block, mode="DCR"))


def space_to_depth(b: Nodes, x: ir.Value, block: int) -> ir.Value:
    """[N, H, W, C] to [N, H / block, W / block, C * block²]."""
    return last(b, b.op("SpaceToDepth", first(b, x), blocksize=block))


def space_to_batch(b: Nodes, x: ir.Value, blocks: ir.Value, pads: ir.Value) -> ir.Value:
    """SpaceToBatchND: blocks [M], zeros around [M, 2]; what each block holds goes into the batch, in front of it."""
    block, around = b.known(blocks), b.known(pads)
    if block is None or around is None:
        raise Fault("SpaceToBatchND with blocks that are computed")
    m, rank = block.size, rank_of(x, "SpaceToBatchND")
    sizes = [int(n) for n in block.reshape(-1)]
    if m > rank - 1 or any(n < 1 for n in sizes) or around.shape != (m, 2):
        raise Fault(f"SpaceToBatchND of {m} axes over {rank}", is_refusal=False)
    rest = [0] * (rank - 1 - m)
    padded = x
    if around.any():
        padded = b.op(
            "Pad", x, b.ints(0, *(int(n) for n in around[:, 0]), *rest, 0, *(int(n) for n in around[:, 1]), *rest)
        )
    shape = b.op("Shape", padded)
    parts = [b.op("Slice", shape, b.ints(0), b.ints(1), b.ints(0))]
    for i, n in enumerate(sizes, 1):
        parts += [b.op("Div", b.op("Slice", shape, b.ints(i), b.ints(i + 1), b.ints(0)), b.ints(n)), b.ints(n)]
    tail = [b.op("Slice", shape, b.ints(m + 1), b.ints(rank), b.ints(0))] if rest else []
    y = b.op("Reshape", padded, b.op("Concat", *parts, *tail, axis=0))
    spatial, inner = [1 + 2 * i for i in range(m)], [2 + 2 * i for i in range(m)]
    y = b.op("Transpose", y, perm=[*inner, 0, *spatial, *range(1 + 2 * m, rank + m)])
    batch = b.op("Mul", parts[0], b.ints(prod(sizes)))
    return b.op("Reshape", y, b.op("Concat", batch, *parts[1::2], *tail, axis=0))


def batch_to_space(b: Nodes, x: ir.Value, blocks: ir.Value, crops: ir.Value) -> ir.Value:
    """BatchToSpaceND: the reverse, with `crops` [M, 2] taken off."""
    block, around = b.known(blocks), b.known(crops)
    if block is None or around is None:
        raise Fault("BatchToSpaceND with blocks that are computed")
    m, rank = block.size, rank_of(x, "BatchToSpaceND")
    sizes = [int(n) for n in block.reshape(-1)]
    if m > rank - 1 or any(n < 1 for n in sizes) or around.shape != (m, 2):
        raise Fault(f"BatchToSpaceND of {m} axes over {rank}", is_refusal=False)
    shape = b.op("Shape", x)
    batch = b.op("Div", b.op("Slice", shape, b.ints(0), b.ints(1), b.ints(0)), b.ints(prod(sizes)))
    rest = b.op("Slice", shape, b.ints(1), b.ints(rank), b.ints(0))
    y = b.op("Reshape", x, b.op("Concat", b.ints(*sizes), batch, rest, axis=0))
    perm = [m]
    for i in range(m):
        perm += [m + 1 + i, i]
    y = b.op("Transpose", y, perm=[*perm, *range(2 * m + 1, rank + m)])
    parts = [batch]
    for i, n in enumerate(sizes, 1):
        parts.append(b.op("Mul", b.op("Slice", shape, b.ints(i), b.ints(i + 1), b.ints(0)), b.ints(n)))
    tail = [b.op("Slice", shape, b.ints(m + 1), b.ints(rank), b.ints(0))] if m + 1 < rank else []
    y = b.op("Reshape", y, b.op("Concat", *parts, *tail, axis=0))
    if around.any():
        ends = [-int(n) if n else np.iinfo(np.int64).max for n in around[:, 1]]
        y = b.op("Slice", y, b.ints(*(int(n) for n in around[:, 0])), b.ints(*ends), b.ints(*range(1, m + 1)))
    return y


def as_int64(b: Nodes, value: ir.Value) -> ir.Value:
    """Sizes or indices as ONNX wants them."""
    if value.dtype == ir.DataType.INT64:
        return value
    if (known := b.known(value)) is not None:
        return b.constant(known.astype(np.int64))
    made = value.producer()
    source = made.inputs[0] if made is not None and made.op_type == "Cast" else None
    if source is not None and source.dtype == ir.DataType.INT64 and value.dtype == ir.DataType.INT32:
        return source
    return b.op("Cast", value, to=ir.DataType.INT64)
