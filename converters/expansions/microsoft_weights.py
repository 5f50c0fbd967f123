"""com.microsoft's operators whose weights are packed, several to a byte, in ONNX's words.

The weights stay packed; each call unpacks what it needs. Values stand in a byte low bits first.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from zoo.converters.expansions import Builder, Unknown, dtype, expands, given
from zoo.converters.expansions.microsoft import MS
from zoo.errors import HubError

# the 16 values of bitsandbytes' 4-bit types, as ONNX Runtime has them (Dettmers et al., QLoRA, 2023)
FP4 = (0.0, 5.208333333e-03, 2 / 3, 1.0, 1 / 3, 0.5, 1 / 6, 0.25)
BNB4 = (
    (*FP4, *(-value for value in FP4)),
    (
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635),
        *(-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725),
        *(0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941),
        *(0.7229568362236023, 1.0),
    ),
)


def unpacked(op: Builder, x: ir.Value | None, bits: int, *, high_first: bool = False) -> ir.Value:
    """Values of some bits out of bytes [..., n]: uint8 [..., n * 8 / bits]."""
    if bits == 8:
        return x  # type: ignore[return-value]
    if bits not in (2, 4):
        raise HubError(f"weights of {bits} bits; there are 2, 4 and 8")
    mask = op.const(2**bits - 1, np.uint8)
    shifts = list(range(0, 8, bits))
    shifts = shifts[::-1] if high_first else shifts
    shifted = [x if s == 0 else op.BitShift(x, op.const(s, np.uint8), direction="RIGHT") for s in shifts]
    parts = [op.Unsqueeze(op.BitwiseAnd(part, mask), op.const([-1])) for part in shifted]
    shape = op.Concat(op.Shape(x, end=-1), op.const([-1]), axis=0)
    made: ir.Value = op.Reshape(op.Concat(*parts, axis=-1), shape)
    return made


@expands("MatMulNBits", MS)
def matmul_nbits(op: Builder, node: ir.Node) -> list[ir.Value]:
    """A [..., K] times weights of 2, 4 or 8 bits [N, blocks, bytes], each block of K with its scale and zero point."""
    a, b, scales, zeros, groups, bias = (given(node, i) for i in range(6))
    get = node.attributes.get_int
    bits, size, n, k = get("bits", 4), node.attributes["block_size"].as_int(), get("N", 0), get("K", 0)
    if get("weight_prepacked", 0):
        raise HubError(f"MatMulNBits {node.name!r} with weights packed for one kernel")
    if size <= 0 or n <= 0 or k <= 0:
        raise HubError(f"MatMulNBits {node.name!r} of {n} by {k} in blocks of {size}")
    blocks = -(-k // size)
    weight = op.Reshape(op.CastLike(unpacked(op, b, bits), a), op.const([n, blocks, size]))
    each = op.Reshape(scales, op.const([n, blocks, 1]))
    if zeros is None:
        zero = op.scalar(2 ** (bits - 1), a)
    elif dtype(zeros) == ir.DataType.UINT8:
        points = unpacked(op, op.Reshape(zeros, op.const([n, -1])), bits)
        points = op.Slice(points, op.const([0]), op.const([blocks]), op.const([1]))
        zero = op.Reshape(op.CastLike(points, a), op.const([n, blocks, 1]))
    else:
        zero = op.Reshape(zeros, op.const([n, blocks, 1]))
    if groups is None:
        weight = op.Reshape(op.Mul(op.Sub(weight, zero), each), op.const([n, blocks * size]))
        weight = op.Slice(weight, op.const([0]), op.const([k]), op.const([1])) if blocks * size != k else weight
    else:  # the block of each column by number
        flat = op.Slice(op.Reshape(weight, op.const([n, -1])), op.const([0]), op.const([k]), op.const([1]))
        index = op.Slice(groups, op.const([0]), op.const([k]), op.const([0]))
        each, zero = (op.Squeeze(v, op.const([2])) if v is not zero or zeros is not None else v for v in (each, zero))
        zero = zero if zeros is None else op.Gather(zero, index, axis=1)
        weight = op.Mul(op.Sub(flat, zero), op.Gather(each, index, axis=1))
    y = op.MatMul(a, op.Transpose(weight, perm=[1, 0]))
    return [y if bias is None else op.Add(y, bias)]


@expands("MatMulBnb4", MS)
def matmul_bnb4(op: Builder, node: ir.Node) -> list[ir.Value]:
    """A [..., K] times weights [N, K] of bitsandbytes' 4 bits, each block of them in a row with its largest value."""
    a, b, largest = node.inputs[:3]
    get = node.attributes
    n, k, size, kind = (get[name].as_int() for name in ("N", "K", "block_size", "quant_type"))
    if kind not in (0, 1) or size <= 0:
        raise HubError(f"MatMulBnb4 {node.name!r} of type {kind} in blocks of {size}")
    table = op.CastLike(op.const(BNB4[kind], np.float32), a)
    places = op.Cast(unpacked(op, b, 4, high_first=True), to=ir.DataType.INT32)
    values = op.Slice(op.Gather(table, places), op.const([0]), op.const([n * k]), op.const([0]))
    scale = _repeated(op, largest, size, op.const([n * k]))
    weight = op.Reshape(op.Mul(values, scale), op.const([n, k]))
    return [op.MatMul(a, op.Transpose(weight, perm=[1, 0]) if get.get_int("transB", 1) else weight)]


def _repeated(op: Builder, x: ir.Value | None, times: int, length: ir.Value) -> ir.Value:
    """Each element of the last axis that often, the whole cut to a length [1]."""
    wide = op.Expand(op.Unsqueeze(x, op.const([-1])), op.Concat(op.Shape(x), op.const([times]), axis=0))
    flat = op.Reshape(wide, op.Concat(op.Shape(x, end=-1), op.const([-1]), axis=0))
    made: ir.Value = op.Slice(flat, op.const([0]), length, op.const([-1]))
    return made


@expands("GatherBlockQuantized", MS)
def gather_block_quantized(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Gather from a table whose last axis is quantised in blocks: rows are gathered first, and those dequantised."""
    data, indices, scales, zeros = (given(node, i) for i in range(4))
    if data is None or data.shape is None:
        raise Unknown
    get, n = node.attributes.get_int, len(data.shape)
    bits, size = get("bits", 4), get("block_size", 128)
    if get("gather_axis", 0) % n != 0 or get("quantize_axis", 1) % n != n - 1 or size <= 0:
        raise HubError(f"GatherBlockQuantized {node.name!r}, but of rows whose last axis is quantised in blocks")
    kind = dtype(data)
    if kind not in (ir.DataType.UINT8, ir.DataType.UINT4, ir.DataType.INT4):
        raise HubError(f"GatherBlockQuantized {node.name!r} of {kind.name}")
    rows, scale = op.Gather(data, indices), op.Gather(scales, indices)
    zero = None if zeros is None else op.Gather(zeros, indices)
    if kind == ir.DataType.UINT8:
        rows, zero = unpacked(op, rows, bits), None if zero is None else unpacked(op, zero, bits)
    length = op.Shape(rows, start=-1)
    values = op.CastLike(rows, scales)
    if zero is not None:
        zero = op.Slice(op.CastLike(zero, scales), op.const([0]), op.Shape(scale, start=-1), op.const([-1]))
        values = op.Sub(values, _repeated(op, zero, size, length))
    elif kind == ir.DataType.UINT8:
        values = op.Sub(values, op.scalar(2 ** (bits - 1), scales))
    return [op.Mul(values, _repeated(op, scale, size, length))]


@expands("DynamicQuantizeLSTM", MS)
def dynamic_quantize_lstm(op: Builder, node: ir.Node) -> list[ir.Value | None]:
    """LSTM whose weights [directions, I, 4 * H] are quantised.

    ONNX Runtime also rounds X and the state to 8 bits in each step, for the sake of speed; here they stay as they are.
    """
    x, w, r, b, lengths, h, c, p, w_scale, w_zero, r_scale, r_zero = (given(node, i) for i in range(12))
    weights = [_dequantised(op, *part) for part in ((w, w_scale, w_zero), (r, r_scale, r_zero))]
    made = op.LSTM(x, *weights, b, lengths, h, c, p, outputs=3, **dict(node.attributes))
    return list(made)


def _dequantised(op: Builder, w: ir.Value | None, scale: ir.Value | None, zero: ir.Value | None) -> ir.Value:
    """[D, I, N] as [D, N, I] in float32; scale and zero point are [D] or [D, N]."""
    parts = [op.Cast(v, to=ir.DataType.FLOAT) for v in (w, scale, zero)]
    if scale is None or scale.shape is None:
        raise Unknown
    axes = op.const([1, 2] if len(scale.shape) == 1 else [1])
    each, point = (op.Unsqueeze(v, axes) for v in parts[1:])
    made: ir.Value = op.Transpose(op.Mul(op.Sub(parts[0], point), each), perm=[0, 2, 1])
    return made
