"""What TensorFlow and TFLite do to shapes, places and order, as ONNX nodes: one function for both readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers.tf_nodes import Fault, Nodes, rank_of, shape_of, sizes_known
from zoo.converters.readers.tf_windows import as_int64

END = (1 << 63) - 1  # of a Slice: to the end
INTEGERS = (ir.DataType.INT32, ir.DataType.INT64, ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16)


def vector(b: Nodes, value: ir.Value) -> ir.Value:
    """Sizes as ONNX wants them: [n] of int64, also where TensorFlow takes a scalar."""
    made = as_int64(b, value)
    return b.op("Reshape", made, b.ints(-1)) if shape_of(made) != () else b.op("Unsqueeze", made, b.ints(0))


def ints_of(b: Nodes, value: ir.Value | None, what: str) -> list[int]:
    """Numbers that ONNX has as an attribute. Raises Fault where they are computed."""
    known = b.known(value)
    if known is None:
        raise Fault(f"{what} that are computed when the model runs")
    if known.dtype.kind not in "iub":
        raise Fault(f"{what} of dtype {known.dtype}", is_refusal=False)
    return [int(n) for n in known.reshape(-1)]


def place(axis: int, rank: int) -> int:
    """An axis counted from the front. Raises Fault for one that there is not."""
    if not -rank <= axis < rank:
        raise Fault(f"axis {axis} of {rank}", is_refusal=False)
    return axis % rank


def strided_slice(
    b: Nodes, x: ir.Value, begin: ir.Value, end: ir.Value, strides: ir.Value, masks: dict[str, int]
) -> ir.Value:
    """x[begin:end:strides], as masks change its parts (`begin`, `end`, `ellipsis`, `new_axis`, `shrink_axis`).

    Bounds may be computed where neither an ellipsis nor a new axis stands among them.
    """
    count = len(b.sizes(begin) or b.sizes(end) or b.sizes(strides) or ())
    if count == 0:
        raise Fault("a strided slice whose number of axes is computed")
    rank = rank_of(x, "a strided slice")
    steps = ints_of(b, strides, "strides")
    bit = {key: [bool(mask >> i & 1) for i in range(count)] for key, mask in masks.items()}
    starts, ends = b.sizes(begin) or [None] * count, b.sizes(end) or [None] * count
    spent = sum(1 for i in range(count) if not bit["new_axis"][i] and not bit["ellipsis"][i])
    axis, axes, firsts, lasts, by, news, gone, out = 0, [], [], [], [], [], [], 0
    for i in range(count):
        if bit["ellipsis"][i]:
            skipped = max(rank - spent, 0)
            axis, out = axis + skipped, out + skipped
        elif bit["new_axis"][i]:
            news.append(out)
            out += 1
        else:
            if axis >= rank or steps[i] == 0:
                raise Fault(f"a strided slice of {count} parts over {rank} axes", is_refusal=False)
            is_one = bit["shrink_axis"][i]
            start = None if bit["begin"][i] and not is_one else i
            stop = None if bit["end"][i] and not is_one else i
            if start is not None or stop is not None or steps[i] != 1:
                axes.append(axis)
                by.append(1 if is_one else steps[i])
                firsts.append(_bound(b, begin, starts, start, 0 if steps[i] > 0 else END))
                lasts.append(
                    _behind(b, firsts[-1]) if is_one else _bound(b, end, ends, stop, END if steps[i] > 0 else -END)
                )
            if is_one:
                gone.append(out)
            out += 1
            axis += 1
    y = x
    if axes:
        y = b.op("Slice", y, _joined(b, firsts), _joined(b, lasts), b.ints(*axes), b.ints(*by))
    if gone:
        drop = [g - sum(1 for n in news if n < g) for g in gone]  # counted before new axes are put in
        y = b.op("Squeeze", y, b.ints(*drop))
    if news:
        y = b.op("Unsqueeze", y, b.ints(*(n - sum(1 for g in gone if g < n) for n in news)))
    return y if y is not x else b.op("Identity", x)


def _bound(b: Nodes, source: ir.Value, known: Sequence[Any], i: int | None, default: int) -> int | ir.Value:
    if i is None:
        return default
    if isinstance(known[i], int):
        return int(known[i])
    return b.op("Slice", as_int64(b, source), b.ints(i), b.ints(i + 1), b.ints(0))


def _behind(b: Nodes, start: int | ir.Value) -> int | ir.Value:
    if isinstance(start, int):
        return start + 1 if start != -1 else END
    end = b.op("Add", start, b.ints(1))  # of the last, -1, there is no number behind
    return b.op("Where", b.op("Equal", end, b.ints(0)), b.ints(END), end)


def _joined(b: Nodes, parts: Sequence[int | ir.Value]) -> ir.Value:
    numbers = [n for n in parts if isinstance(n, int)]
    if len(numbers) == len(parts):
        return b.ints(*numbers)
    return b.op("Concat", *(b.ints(n) if isinstance(n, int) else n for n in parts), axis=0)


def slice_(b: Nodes, x: ir.Value, begin: ir.Value, size: ir.Value) -> ir.Value:
    """From `begin`, of each axis `size` members, -1 for all that are left."""
    rank = rank_of(x, "a slice")
    start, sizes = vector(b, begin), b.sizes(size)
    if sizes is not None and all(isinstance(n, int) for n in sizes):
        starts = b.known(start)
        if starts is not None:
            pairs = zip(starts.reshape(-1), sizes, strict=True)
            return b.op("Slice", x, start, b.ints(*(END if n == -1 else int(s) + int(n) for s, n in pairs)))  # type: ignore[arg-type]
        ends = b.op("Add", start, b.ints(*(int(n) for n in sizes)))  # type: ignore[arg-type]
        if -1 in sizes:
            ends = b.op("Where", b.constant(np.array([n == -1 for n in sizes])), b.ints(*[END] * rank), ends)
        return b.op("Slice", x, start, ends)
    wanted = vector(b, size)
    ends = b.op("Where", b.op("Less", wanted, b.ints(0)), b.ints(END), b.op("Add", start, wanted))
    return b.op("Slice", x, start, ends)


def gather(b: Nodes, x: ir.Value, indices: ir.Value, axis: int, batch_dims: int) -> ir.Value:
    """Members of x along an axis; with `batch_dims`, each by its own indices."""
    rank = rank_of(x, "Gather")
    axis = place(axis, rank)
    if batch_dims == 0:
        return b.op("Gather", x, indices, axis=axis)
    depth = rank_of(indices, "Gather")
    batch_dims = batch_dims if batch_dims >= 0 else batch_dims + depth
    if axis == batch_dims and depth == batch_dims + 1:  # one index for each member: GatherElements of rows
        ones = [1] * (rank - axis - 1)
        wide = (
            b.op("Reshape", as_int64(b, indices), b.op("Concat", b.op("Shape", indices), b.ints(*ones), axis=0))
            if ones
            else as_int64(b, indices)
        )
        if ones:
            tail = b.op("Shape", x, start=axis + 1)
            wide = b.op("Expand", wide, b.op("Concat", b.op("Shape", indices), tail, axis=0))
        return b.op("GatherElements", x, wide, axis=axis)
    if axis == batch_dims == 1 or axis == batch_dims:
        return b.op("GatherND", x, b.op("Unsqueeze", as_int64(b, indices), b.ints(-1)), batch_dims=batch_dims)
    raise Fault(f"a gather along axis {axis} with {batch_dims} batch axes")


def gather_nd(b: Nodes, x: ir.Value, indices: ir.Value, batch_dims: int = 0) -> ir.Value:
    """Members of x at the places that the last axis of `indices` names."""
    return b.op("GatherND", x, as_int64(b, indices), batch_dims=batch_dims)


def concat(b: Nodes, values: Sequence[ir.Value], axis: int) -> ir.Value:
    """Tensors side by side."""
    if not values:
        raise Fault("nothing is concatenated", is_refusal=False)
    if len(values) == 1:
        return b.op("Identity", values[0])
    return b.op("Concat", *values, axis=place(axis, rank_of(values[0], "Concat")))


def pack(b: Nodes, values: Sequence[ir.Value], axis: int) -> ir.Value:
    """Tensors of one shape along a new axis."""
    return (
        concat(b, [b.op("Unsqueeze", v, b.ints(axis)) for v in values], axis) if axis >= 0 else _packed(b, values, axis)
    )


def _packed(b: Nodes, values: Sequence[ir.Value], axis: int) -> ir.Value:
    return pack(b, values, axis + rank_of(values[0], "Pack") + 1)


def unpack(b: Nodes, x: ir.Value, count: int, axis: int) -> Sequence[ir.Value]:
    """Each member along an axis."""
    axis = place(axis, rank_of(x, "Unpack"))
    return [b.op("Gather", x, b.constant(np.array(i, np.int64)), axis=axis) for i in range(count)]


def split(b: Nodes, x: ir.Value, axis: int, count: int) -> Sequence[ir.Value]:
    """Equal parts along an axis."""
    axis = place(axis, rank_of(x, "Split"))
    return b.ops("Split", count, x, axis=axis, num_outputs=count) if count > 1 else [b.op("Identity", x)]


def split_v(b: Nodes, x: ir.Value, sizes: ir.Value, axis: int, count: int) -> Sequence[ir.Value]:
    """Parts of stated sizes along an axis; one may be -1, what is left."""
    wanted, shape = ints_of(b, sizes, "sizes of parts"), sizes_known(x)
    axis = place(axis, rank_of(x, "SplitV"))
    if -1 in wanted:
        total = shape[axis] if shape is not None else None
        if total is None:
            raise Fault("parts of an axis of a free size, of which one is what is left")
        wanted[wanted.index(-1)] = total - sum(n for n in wanted if n != -1)
    if len(wanted) != count or min(wanted) < 0:
        raise Fault(f"{len(wanted)} parts for {count}", is_refusal=False)
    return b.ops("Split", count, x, b.ints(*wanted), axis=axis) if count > 1 else [b.op("Identity", x)]


def pad(b: Nodes, x: ir.Value, pads: ir.Value, value: ir.Value | None = None, mode: str = "constant") -> ir.Value:
    """[rank, 2] members before and behind each axis."""
    rank, known = rank_of(x, "Pad"), b.known(pads)
    if known is not None:
        if known.shape != (rank, 2):
            raise Fault(f"padding of shape {known.shape} for {rank} axes", is_refusal=False)
        wanted = b.ints(*(int(n) for n in known[:, 0]), *(int(n) for n in known[:, 1]))
    else:
        wanted = b.op("Reshape", b.op("Transpose", as_int64(b, pads), perm=[1, 0]), b.ints(-1))
    return b.op("Pad", x, wanted, value, mode=mode)


def mirror_pad(b: Nodes, x: ir.Value, pads: ir.Value, *, is_symmetric: bool) -> ir.Value:
    """What stands at a border mirrored behind it, itself included if symmetric."""
    if not is_symmetric:
        return pad(b, x, pads, mode="reflect")
    known, shape = b.known(pads), sizes_known(x)
    if known is None or shape is None or known.shape != (len(shape), 2):
        raise Fault("symmetric padding that is computed")
    for axis, (before, behind) in enumerate(known.tolist()):
        parts = [x]
        if before:
            parts.insert(0, b.op("Slice", x, b.ints(before - 1), b.ints(-END), b.ints(axis), b.ints(-1)))
        if behind:
            parts.append(b.op("Slice", x, b.ints(-1), b.ints(-behind - 1), b.ints(axis), b.ints(-1)))
        x = concat(b, parts, axis) if len(parts) > 1 else x
    return x


def one_hot(b: Nodes, indices: ir.Value, depth: ir.Value, on: ir.Value, off: ir.Value, axis: int) -> ir.Value:
    """`on` at each index along a new axis of `depth`, else `off`; also `off` where an index is out of range."""
    values = b.op("Concat", b.op("Unsqueeze", off, b.ints(0)), b.op("Unsqueeze", on, b.ints(0)), axis=0)
    numbers, limit = as_int64(b, indices), as_int64(b, depth)
    below = b.op("Less", numbers, b.constant(np.array(0, np.int64)))  # ONNX counts negative ones from the end
    return b.op("OneHot", b.op("Where", below, limit, numbers), limit, values, axis=axis)


def reverse(b: Nodes, x: ir.Value, axes: Sequence[int]) -> ir.Value:
    """The other way round along the axes."""
    rank, n = rank_of(x, "Reverse"), len(axes)
    if not n:
        return b.op("Identity", x)
    places = [place(a, rank) for a in axes]
    return b.op("Slice", x, b.ints(*[-1] * n), b.ints(*[-END] * n), b.ints(*places), b.ints(*[-1] * n))


def reverse_sequence(b: Nodes, x: ir.Value, lengths: ir.Value, seq: int, batch: int) -> ir.Value:
    """The first `lengths[n]` members of each row n the other way round."""
    rank = rank_of(x, "ReverseSequence")
    seq, batch = place(seq, rank), place(batch, rank)
    if {seq, batch} == {0, 1}:
        return b.op("ReverseSequence", x, as_int64(b, lengths), time_axis=seq, batch_axis=batch)
    perm = [batch, seq, *(i for i in range(rank) if i not in (seq, batch))]
    back = [perm.index(i) for i in range(rank)]
    moved = b.op("Transpose", x, perm=perm)
    moved = b.op("ReverseSequence", moved, as_int64(b, lengths), time_axis=1, batch_axis=0)
    return b.op("Transpose", moved, perm=back)


def matmul(b: Nodes, left: ir.Value, right: ir.Value, *, flip_left: bool, flip_right: bool) -> ir.Value:
    """Matrix products over the last two axes, either side transposed."""
    return b.op("MatMul", _flipped(b, left) if flip_left else left, _flipped(b, right) if flip_right else right)


def _flipped(b: Nodes, x: ir.Value) -> ir.Value:
    rank = rank_of(x, "a matrix product")
    return b.op("Transpose", x, perm=[*range(rank - 2), rank - 1, rank - 2])


def reduce_(b: Nodes, kind: str, x: ir.Value, axes: ir.Value, *, keep: bool) -> ir.Value:
    """A sum, a mean, ... over axes; over none of them x as it is."""
    if b.sizes(axes) == []:
        return b.op("Identity", x)
    return b.op(kind, x, vector(b, axes), keepdims=int(keep))


def reduce_bool(b: Nodes, kind: str, x: ir.Value, axes: ir.Value, *, keep: bool) -> ir.Value:
    """Any or All."""
    numbers = b.op("Cast", x, to=ir.DataType.INT32)
    y = reduce_(b, "ReduceMax" if kind == "Any" else "ReduceMin", numbers, axes, keep=keep)
    return b.op("Cast", y, to=ir.DataType.BOOL)


def select(b: Nodes, condition: ir.Value, yes: ir.Value, no: ir.Value) -> ir.Value:
    """Rows of the one or the other: a condition of one axis is for the first axis of what it chooses from."""
    rank, depth = rank_of(condition, "Select"), rank_of(yes, "Select")
    if rank == 1 and depth > 1:
        condition = b.op("Unsqueeze", condition, b.ints(*range(1, depth)))
    return b.op("Where", condition, yes, no)


def arg(b: Nodes, kind: str, x: ir.Value, axis: int, dtype: ir.DataType) -> ir.Value:
    """The place of the largest or the least along an axis."""
    y = b.op(kind, x, axis=place(axis, rank_of(x, kind)), keepdims=0)
    return y if dtype == ir.DataType.INT64 else b.op("Cast", y, to=dtype)


def top_k(b: Nodes, x: ir.Value, k: ir.Value) -> Sequence[ir.Value]:
    """The k largest of the last axis, and their places."""
    values, places = b.ops("TopK", 2, x, vector(b, k), axis=-1, largest=1, sorted=1)
    return values, b.op("Cast", places, to=ir.DataType.INT32)


def scatter_nd(b: Nodes, indices: ir.Value, updates: ir.Value, shape: ir.Value) -> ir.Value:
    """Zeros of a shape with updates added at places."""
    zero = b.op("ConstantOfShape", vector(b, shape), value=ir.tensor(np.zeros(1, updates.dtype.numpy())))  # type: ignore[union-attr]
    return b.op("ScatterND", zero, as_int64(b, indices), updates, reduction="add")


def fill(b: Nodes, shape: ir.Value, value: ir.Value) -> ir.Value:
    """A tensor of one value."""
    return b.op("Expand", value, vector(b, shape))


def cumulative(b: Nodes, x: ir.Value, axis: ir.Value, *, exclusive: bool, reverse: bool) -> ir.Value:
    """Sums of all members up to each."""
    known = ints_of(b, axis, "axes of a running sum")
    at = b.constant(np.array(known[0], np.int64))
    return b.op("CumSum", x, at, exclusive=int(exclusive), reverse=int(reverse))


def square(b: Nodes, x: ir.Value) -> ir.Value:
    """X * x."""
    return b.op("Mul", x, x)


def floor_div(b: Nodes, x: ir.Value, y: ir.Value) -> ir.Value:
    """The quotient rounded down."""
    if x.dtype not in INTEGERS:
        return b.op("Floor", b.op("Div", x, y))
    rest = b.op("Mod", x, y)  # of the divisor's sign, so that what is left divides
    return b.op("Div", b.op("Sub", x, rest), y)


def floor_mod(b: Nodes, x: ir.Value, y: ir.Value) -> ir.Value:
    """What is left of it, of the divisor's sign."""
    if x.dtype in INTEGERS:
        return b.op("Mod", x, y)
    return b.op("Sub", x, b.op("Mul", y, b.op("Floor", b.op("Div", x, y))))


def local_response(b: Nodes, x: ir.Value, radius: int, bias: float, alpha: float, beta: float) -> ir.Value:
    """Each number over the power `beta` of bias + alpha times the squares of its neighbours' channels."""
    size = 2 * radius + 1
    moved = b.op("Transpose", x, perm=[0, 3, 1, 2])
    y = b.op("LRN", moved, size=size, alpha=alpha * size, beta=beta, bias=bias)
    return b.op("Transpose", y, perm=[0, 2, 3, 1])


def unit(b: Nodes, x: ir.Value, axes: ir.Value, epsilon: float) -> ir.Value:
    """X over its length along axes."""
    total = b.op("ReduceSum", square(b, x), axes, keepdims=1)
    return b.op("Div", x, b.op("Sqrt", b.op("Max", total, b.number(epsilon, x))))


def roll(b: Nodes, x: ir.Value, shift: int, axis: int) -> ir.Value:
    """Members moved on along an axis, the last ones to the front."""
    axis = place(axis, rank_of(x, "Roll"))
    sizes = sizes_known(x)
    size = sizes[axis] if sizes is not None else None
    shift = shift % size if size else shift
    if shift == 0:
        return x
    front = b.op("Slice", x, b.ints(-shift), b.ints(END), b.ints(axis))
    return b.op("Concat", front, b.op("Slice", x, b.ints(0), b.ints(-shift), b.ints(axis)), axis=axis)


def fake_quant(b: Nodes, x: ir.Value, low: float, high: float, *, bits: int, is_narrow: bool) -> ir.Value:
    """Rounded to one of 2**bits steps between low and high (tensorflow/core/kernels/fake_quant_ops_functor.h)."""
    if not 2 <= bits <= 16 or not low < high:
        raise Fault(f"{bits} bits between {low} and {high}", is_refusal=False)
    least, most = int(is_narrow), 2**bits - 1
    scale = float(
        np.float32(high - low) / np.float32(most - least)
    )  # in float32, whose rounding tells which step is zero
    first = float(np.float32(least) - np.float32(low) / np.float32(scale))
    zero = math.floor(min(max(first, least), most) + 0.5)
    start = (least - zero) * scale
    limited = b.op("Clip", x, b.number(start, x), b.number((most - zero) * scale, x))
    steps = b.op("Div", b.op("Sub", limited, b.number(start, x)), b.number(scale, x))
    whole = b.op("Floor", b.op("Add", steps, b.number(0.5, x)))
    return b.op("Add", b.op("Mul", whole, b.number(scale, x)), b.number(start, x))
