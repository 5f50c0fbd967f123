"""MXNet's operators that move numbers: shapes, slices, joins, indices, sorting, constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers.mxnet_graph import lowers
from zoo.converters.readers.mxnet_symbol import Params
from zoo.converters.readers.scribe import Fault, Scribe

MAX_SIZES = 1 << 28  # elements of a tensor that a symbol makes of nothing
FAR = 2**62  # beyond the end of any axis


def dtype_of(name: str) -> ir.DataType:
    """The dtype that a parameter names. Raises Fault."""
    if name in ("bfloat16", "bool") or (name[:1] in "fiu" and name[-1:].isdigit()):
        try:
            return ir.DataType.BFLOAT16 if name == "bfloat16" else ir.DataType.from_numpy(np.dtype(name))
        except TypeError:
            pass
    raise Fault(f"the dtype {name[:40]!r}", is_refusal=True)


@lowers("Flatten", "flatten")
def flatten(op: Scribe, p: Params, x: ir.Value) -> Any:
    """[N, all else]."""
    return op.Flatten(x, axis=1)


@lowers("Reshape", "reshape")
def reshape(op: Scribe, p: Params, x: ir.Value) -> Any:
    """To a shape with codes: 0 copies, -1 is inferred, -2 copies the rest, -3 joins two, -4 splits one into two."""
    codes = list(p.ints("shape"))
    if not codes:
        codes = [-1 if n == 0 else n for n in p.ints("target_shape")]  # before 0.9
        if p.flag("keep_highest"):
            codes[:1] = [0]
    if not codes:
        raise Fault("a shape is not given")
    if not p.flag("reverse") and all(n >= -1 for n in codes):
        return op.Reshape(x, op.const(codes))
    rank, is_reverse = op.rank(x), p.flag("reverse")
    sizes: list[int | ir.Value] = [_size(op, x, i) for i in range(rank)]
    made = _resolved(op, sizes[::-1], codes[::-1]) if is_reverse else _resolved(op, sizes, codes)
    return op.reshape(x, made[::-1] if is_reverse else made)


def _size(op: Scribe, x: ir.Value, axis: int) -> int | ir.Value:
    known = op.sizes_of(x)[axis]
    return known if known is not None else op.size(x, axis)


def _resolved(op: Scribe, sizes: list[int | ir.Value], codes: Sequence[int]) -> list[int | ir.Value]:
    """The sizes that the codes stand for."""
    made: list[int | ir.Value] = []
    at, i = 0, 0
    while i < len(codes):
        code = codes[i]
        if code == -2:
            made += sizes[at:]
            at = len(sizes)
        elif code == -3:
            a, b = sizes[at : at + 2]
            made.append(a * b if isinstance(a, int) and isinstance(b, int) else op.Mul(op.vector([a]), op.vector([b])))
            at += 2
        elif code == -4:
            whole, a, b = sizes[at], codes[i + 1], codes[i + 2]
            made += _parts(op, whole, a, b)
            at, i = at + 1, i + 2
        else:
            made.append(sizes[at] if code == 0 else code)
            at += 1
        i += 1
    return made


def _parts(op: Scribe, whole: int | ir.Value, a: int, b: int) -> list[int | ir.Value]:
    """Two sizes, of which one may be -1, out of one."""
    known = a if b == -1 else b
    other = whole // known if isinstance(whole, int) else op.Div(whole, op.const([known]))
    return [a if a != -1 else other, b if b != -1 else other]


@lowers("reshape_like")
def reshape_like(op: Scribe, p: Params, x: ir.Value, like: ir.Value) -> Any:
    """Axes lhs_begin ... lhs_end of x get the sizes of axes rhs_begin ... rhs_end of the other."""
    if not any(name in p for name in ("lhs_begin", "lhs_end", "rhs_begin", "rhs_end")):
        return op.Reshape(x, op.Shape(like))
    begin, end = p.maybe_int("lhs_begin") or 0, p.maybe_int("lhs_end")
    middle = op.Shape(like, start=p.maybe_int("rhs_begin") or 0, end=p.maybe_int("rhs_end"))
    parts = [op.Shape(x, end=begin)] if begin else []
    parts.append(middle)
    if end is not None:
        parts.append(op.Shape(x, start=end))
    return op.Reshape(x, op.Concat(*parts, axis=0) if len(parts) > 1 else middle)


@lowers("transpose")
def transpose(op: Scribe, p: Params, x: ir.Value) -> Any:
    """By `axes`, or turned round."""
    axes = p.ints("axes")
    if axes:
        op.learn(x, len(axes))
    return op.Transpose(x, perm=[axis % len(axes) for axis in axes] or None)


@lowers("SwapAxis", "swapaxes")
def swap_axis(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Two axes change places."""
    perm = list(range(op.rank(x)))
    a, b = p.integer("dim1", 0), p.integer("dim2", 0)
    perm[a], perm[b] = perm[b], perm[a]
    return op.Transpose(x, perm=perm)


@lowers("expand_dims")
def expand_dims(op: Scribe, p: Params, x: ir.Value) -> Any:
    """One more axis, of size 1."""
    return op.Unsqueeze(x, op.const([p.integer("axis")]))


@lowers("squeeze")
def squeeze(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Without axes of size 1."""
    axes = p.ints("axis")
    return op.Squeeze(x, op.const(list(axes)) if axes else None)


@lowers("depth_to_space", "space_to_depth")
def depth_to_space(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Blocks of channels to blocks of pixels, or back."""
    op.learn(x, 4)
    kind = "DepthToSpace" if p.node.op == "depth_to_space" else "SpaceToDepth"
    return getattr(op, kind)(x, blocksize=p.integer("block_size"))


@lowers("Concat", "concat")
def concat(op: Scribe, p: Params, *xs: ir.Value) -> Any:
    """Along `dim`."""
    return op.Concat(*xs, axis=p.integer("dim", 1))


@lowers("stack")
def stack(op: Scribe, p: Params, *xs: ir.Value) -> Any:
    """Along a new axis."""
    axis = op.const([p.integer("axis", 0)])
    return op.Concat(*(op.Unsqueeze(x, axis) for x in xs), axis=p.integer("axis", 0))


@lowers("SliceChannel", "split")
def slice_channel(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Into `num_outputs` equal parts."""
    n, axis = p.integer("num_outputs"), p.integer("axis", 1)
    if not 1 <= n <= 10_000:
        raise Fault(f"{n:,} outputs")
    found = op.Split(x, axis=axis, num_outputs=n, outputs=n) if n > 1 else op.Identity(x)
    parts = list(found) if isinstance(found, tuple) else [found]
    return [op.Squeeze(part, op.const([axis])) for part in parts] if p.flag("squeeze_axis") else parts


@lowers("_split_v2")
def split_v2(op: Scribe, p: Params, x: ir.Value) -> Any:
    """At `indices`, or into `sections`."""
    axis, sections = p.integer("axis", 1), p.integer("sections", 0)
    if sections > 0:
        found = op.Split(x, axis=axis, num_outputs=sections, outputs=sections) if sections > 1 else op.Identity(x)
        parts = list(found) if isinstance(found, tuple) else [found]
    else:
        cuts = [*p.ints("indices"), FAR]
        cuts = cuts if cuts[0] == 0 else [0, *cuts]
        along = op.const([axis])
        parts = [op.Slice(x, op.const([a]), op.const([b]), along) for a, b in zip(cuts, cuts[1:], strict=False)]
    return [op.Squeeze(part, op.const([axis])) for part in parts] if p.flag("squeeze_axis") else parts


@lowers("slice", "crop", "_slice")
def slice_(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Along the first axes, from begin to end by step; None is as far as it goes."""
    begin, end = p.maybe_ints("begin"), p.maybe_ints("end")
    step = p.maybe_ints("step") or (1,) * len(begin)
    if len({len(begin), len(end), len(step)}) != 1:
        raise Fault(f"begin={begin}, end={end}, step={step}")
    steps = [s or 1 for s in step]
    starts = [(0 if s > 0 else FAR) if b is None else b for b, s in zip(begin, steps, strict=True)]
    ends = [(FAR if s > 0 else -FAR) if e is None else e for e, s in zip(end, steps, strict=True)]
    return op.Slice(x, op.const(starts), op.const(ends), op.const(list(range(len(begin)))), op.const(steps))


@lowers("slice_axis")
def slice_axis(op: Scribe, p: Params, x: ir.Value) -> Any:
    """From begin to end of one axis."""
    end = p.maybe_int("end")
    ends = op.const([FAR if end is None else end])
    return op.Slice(x, op.const([p.integer("begin")]), ends, op.const([p.integer("axis")]))


@lowers("slice_like")
def slice_like(op: Scribe, p: Params, x: ir.Value, like: ir.Value) -> Any:
    """As large as another tensor along some axes, or all."""
    axes = list(p.ints("axes")) or list(range(op.rank(x, len(like.shape) if like.shape is not None else None)))
    sizes = [op.Shape(like, start=axis, end=axis + 1 if axis != -1 else None) for axis in axes]
    ends = sizes[0] if len(sizes) == 1 else op.Concat(*sizes, axis=0)
    return op.Slice(x, op.const([0] * len(axes)), ends, op.const(axes))


@lowers("Crop")
def crop(op: Scribe, p: Params, x: ir.Value, like: ir.Value | None = None) -> Any:
    """The last two axes as large as another tensor's or as h_w, from an offset or from the middle."""
    op.learn(x, 4)
    size = op.Shape(like, start=2) if like is not None else op.const(list(p.ints("h_w")))
    begin = op.const(list(p.ints("offset", (0, 0))))
    if p.flag("center_crop"):
        begin = op.Div(op.Sub(op.Shape(x, start=2), size), op.const([2, 2]))
    return op.Slice(x, begin, op.Add(begin, size), op.const([2, 3]))


@lowers("reverse", "flip")
def reverse(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Axes from their ends."""
    axes = list(p.ints("axis"))
    return op.Slice(
        x, op.const([-1] * len(axes)), op.const([-FAR] * len(axes)), op.const(axes), op.const([-1] * len(axes))
    )


@lowers("tile")
def tile(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Repeated along its last axes, or along new ones before them."""
    reps = list(p.ints("reps"))
    rank = op.rank(x)
    if len(reps) > rank:
        x = op.Unsqueeze(x, op.const(list(range(len(reps) - rank))))
    return op.Tile(x, op.const([1] * (rank - len(reps)) + reps))


@lowers("repeat")
def repeat(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Each element so many times."""
    axis, n = p.maybe_int("axis"), p.integer("repeats")
    if axis is None:
        x, axis = op.reshape(x, [-1]), 0
    rank = op.rank(x)
    axis %= rank
    apart = op.Unsqueeze(x, op.const([axis + 1]))
    tiled = op.Tile(apart, op.const([1] * (axis + 1) + [n] + [1] * (rank - axis - 1)))
    return op.reshape(tiled, [*([0] * axis), -1, *(op.size(x, i) for i in range(axis + 1, rank))])


@lowers("Pad", "pad")
def pad(op: Scribe, p: Params, x: ir.Value) -> Any:
    """pad_width is (before, after) for each axis."""
    width, mode = p.ints("pad_width"), p.text("mode", "constant")
    op.learn(x, len(width) // 2)
    if mode not in ("constant", "edge", "reflect"):
        raise Fault(f"padding of mode {mode[:40]!r}", is_refusal=True)
    value = op.scalar(p.number("constant_value", 0.0), x) if mode == "constant" else None
    return op.Pad(x, op.const([*width[::2], *width[1::2]]), value, mode=mode)


@lowers("broadcast_to")
def broadcast_to(op: Scribe, p: Params, x: ir.Value) -> Any:
    """To a shape of which 0 keeps."""
    shape = p.ints("shape")
    op.learn(x, len(shape))
    return op.Expand(x, op.const([n or 1 for n in shape]))


@lowers("broadcast_axis", "broadcast_axes")
def broadcast_axis(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Axes of size 1 to other sizes."""
    rank = op.rank(x)
    sizes = [1] * rank
    for axis, n in zip(p.ints("axis"), p.ints("size"), strict=True):
        sizes[axis] = n
    return op.Expand(x, op.const(sizes))


@lowers("broadcast_like")
def broadcast_like(op: Scribe, p: Params, x: ir.Value, like: ir.Value) -> Any:
    """To the shape of another tensor, or to its sizes along some axes."""
    if "lhs_axes" not in p or p.text("lhs_axes") == "None":
        return op.Expand(x, op.Shape(like))
    rank, other = op.rank(x), op.rank(like)
    sizes: list[int | ir.Value] = [1] * rank
    for a, b in zip(p.ints("lhs_axes"), p.ints("rhs_axes"), strict=True):
        sizes[a] = op.size(like, b % other)
    return op.Expand(x, op.vector(sizes))


@lowers("shape_array")
def shape_array(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Its sizes, int64."""
    return op.Shape(x)


@lowers("size_array")
def size_array(op: Scribe, p: Params, x: ir.Value) -> Any:
    """How many elements it has, [1]."""
    return op.Reshape(op.Size(x), op.const([1]))


@lowers("Cast", "cast", "amp_cast")
def cast(op: Scribe, p: Params, x: ir.Value) -> Any:
    """In another dtype."""
    return op.Cast(x, to=int(dtype_of(p.text("dtype"))))


@lowers("amp_multicast")
def amp_multicast(op: Scribe, p: Params, *xs: ir.Value) -> Any:
    """All in the widest of their dtypes, or the narrowest."""
    dtypes = sorted({x.dtype or ir.DataType.FLOAT for x in xs}, key=lambda d: d.itemsize)
    return [op.cast(x, dtypes[0 if p.flag("cast_narrow") else -1]) for x in xs]


def _sizes(p: Params) -> list[int]:
    """A shape that is made of nothing: a free size is 1, which goes with any."""
    sizes = [n if n > 0 else 1 for n in p.ints("shape")]
    if np.prod(sizes, dtype=float) > MAX_SIZES:
        raise Fault(f"a tensor of shape {sizes}", is_refusal=True)
    return sizes


def _filled(op: Scribe, p: Params, number: float) -> ir.Value:
    kind = dtype_of(p.text("dtype", "float32") if p.text("dtype", "None") not in ("None", "-1") else "float32")
    value = ir.tensor(np.array([number]).astype(kind.numpy()))
    return op.ConstantOfShape(op.const(_sizes(p)), value=value)  # type: ignore[no-any-return]


@lowers("_zeros", "_zeros_without_dtype")
def zeros(op: Scribe, p: Params) -> Any:
    """Of `shape`."""
    return _filled(op, p, 0)


@lowers("_ones")
def ones(op: Scribe, p: Params) -> Any:
    """Of `shape`."""
    return _filled(op, p, 1)


@lowers("_full")
def full(op: Scribe, p: Params) -> Any:
    """`value` in `shape`."""
    return _filled(op, p, p.number("value"))


@lowers("zeros_like", "ones_like")
def zeros_like(op: Scribe, p: Params, x: ir.Value) -> Any:
    """As large as a tensor."""
    return op.Expand(op.scalar(int(p.node.op == "ones_like"), x), op.Shape(x))


@lowers("_arange")
def arange(op: Scribe, p: Params) -> Any:
    """start, start + step ... below stop, each `repeat` times."""
    start, stop, step = p.number("start", 0.0), p.text("stop", "None"), p.number("step", 1.0)
    begin, end = (0.0, start) if stop == "None" else (start, p.number("stop"))
    if step == 0 or not 0 <= (end - begin) / step <= 1 << 20:
        raise Fault(f"a range from {begin} to {end} by {step}")
    times = p.integer("repeat", 1)
    if not 1 <= times <= 1 << 10:
        raise Fault(f"a range of which each number stands {times:,} times")
    numbers = np.repeat(np.arange(begin, end, step), times)
    return op.const(numbers, dtype_of(p.text("dtype", "float32")).numpy())


@lowers("_contrib_arange_like")
def arange_like(op: Scribe, p: Params, x: ir.Value) -> Any:
    """As many numbers as an axis is long, or as the tensor has elements, in its shape."""
    axis, times = p.maybe_int("axis"), p.integer("repeat", 1)
    if times != 1:
        raise Fault(f"a range of which each number stands {times} times", is_refusal=True)
    count = op.Size(x) if axis is None else op.Squeeze(op.size(x, axis))
    numbers = op.cast(op.Range(op.const(0), count, op.const(1)), x.dtype or ir.DataType.FLOAT)
    start, step = p.number("start", 0.0), p.number("step", 1.0)
    made = op.Add(op.Mul(numbers, op.scalar(step, numbers)), op.scalar(start, numbers))
    return made if axis is not None else op.Reshape(made, op.Shape(x))


@lowers("where")
def where(op: Scribe, p: Params, condition: ir.Value, x: ir.Value, y: ir.Value) -> Any:
    """One of two: x where the condition is not 0; a condition [N] chooses rows."""
    is_true = op.cast(condition, ir.DataType.BOOL)
    if condition.shape is not None and x.shape is not None and len(condition.shape) == 1 < len(x.shape):
        is_true = op.reshape(is_true, [-1] + [1] * (len(x.shape) - 1))
    return op.Where(is_true, x, y)


def _within(op: Scribe, indices: ir.Value, size: ir.Value, mode: str) -> ir.Value:
    """Indices as int64, brought inside by clipping or by going round."""
    indices = op.cast(indices, ir.DataType.INT64)
    if mode == "wrap":
        return op.Mod(indices, size)  # type: ignore[no-any-return]
    return op.Min(op.Max(indices, op.const([0])), op.Sub(size, op.const([1])))  # type: ignore[no-any-return]


@lowers("take")
def take(op: Scribe, p: Params, x: ir.Value, indices: ir.Value) -> Any:
    """Slices of x along an axis."""
    axis, mode = p.integer("axis", 0), p.text("mode", "clip")
    if mode == "raise":
        return op.Gather(x, op.cast(indices, ir.DataType.INT64), axis=axis)
    found = _within(op, indices, op.size(x, axis), mode)
    if indices.shape is not None and len(indices.shape) == 0:
        found = op.Squeeze(found)
    return op.Gather(x, found, axis=axis)


@lowers("pick", "choose_element_0index", "batch_take")
def pick(op: Scribe, p: Params, x: ir.Value, index: ir.Value) -> Any:
    """One element along an axis for each place of the others."""
    default = 1 if p.node.op == "batch_take" else -1
    axis = p.maybe_int("axis") if "axis" in p else default
    if axis is None:
        x, axis = op.reshape(x, [-1]), 0
    rank = op.rank(x)
    axis %= rank
    found = _within(op, index, op.size(x, axis), p.text("mode", "clip"))
    if index.shape is None or len(index.shape) != rank:
        found = op.Unsqueeze(found, op.const([axis]))
    made = op.GatherElements(x, found, axis=axis)
    return made if p.flag("keepdims") else op.Squeeze(made, op.const([axis]))


@lowers("gather_nd")
def gather_nd(op: Scribe, p: Params, x: ir.Value, indices: ir.Value) -> Any:
    """The indices [M, ...] hold an element's M first coordinates along their first axis."""
    rank = op.rank(indices)
    turned = op.Transpose(op.cast(indices, ir.DataType.INT64), perm=[*range(1, rank), 0])
    return op.GatherND(x, turned)


@lowers("scatter_nd")
def scatter_nd(op: Scribe, p: Params, x: ir.Value, indices: ir.Value) -> Any:
    """Zeros of `shape` with x at the indices."""
    rank = op.rank(indices)
    turned = op.Transpose(op.cast(indices, ir.DataType.INT64), perm=[*range(1, rank), 0])
    empty = op.Expand(op.scalar(0, x), op.const(_sizes(p)))
    return op.ScatterND(empty, turned, x)


@lowers("one_hot")
def one_hot(op: Scribe, p: Params, indices: ir.Value) -> Any:
    """`depth` numbers a place, one of which is on; none for an index outside."""
    kind = dtype_of(p.text("dtype", "float32"))
    values = op.const([p.number("off_value", 0.0), p.number("on_value", 1.0)], kind.numpy())
    ids = op.cast(indices, ir.DataType.INT64)
    if not 1 <= p.integer("depth") <= 1 << 20:
        raise Fault(f"one_hot of depth {p.integer('depth'):,}")
    places = op.const(np.arange(p.integer("depth")))
    is_on = op.Equal(op.Unsqueeze(ids, op.const([-1])), places)
    off, on = op.Gather(values, op.const(0), axis=0), op.Gather(values, op.const(1), axis=0)
    return op.Where(is_on, on, off)


def _sorted(op: Scribe, p: Params, x: ir.Value, k: int, *, ascends: bool) -> tuple[ir.Value, ir.Value, int]:
    axis = p.maybe_int("axis") if "axis" in p else -1
    if axis is None:
        x, axis = op.reshape(x, [-1]), 0
    size = op.const([k]) if k > 0 else op.size(x, axis)
    values, places = op.TopK(x, size, axis=axis, largest=int(not ascends), outputs=2)
    return values, places, axis


@lowers("topk")
def topk(op: Scribe, p: Params, x: ir.Value) -> Any:
    """The k largest, or the smallest: their indices, values, both, or a mask of where they are."""
    form = p.text("ret_typ", "indices")
    values, places, axis = _sorted(op, p, x, p.integer("k", 1), ascends=p.flag("is_ascend"))
    if form == "value":
        return values
    if form == "mask":
        zeros = op.Expand(op.scalar(0, x), op.Shape(x))
        ones = op.Expand(op.scalar(1, x), op.Shape(places))
        return op.ScatterElements(zeros, places, ones, axis=axis)
    indices = op.cast(places, dtype_of(p.text("dtype", "float32")))
    return [values, indices] if form == "both" else indices


@lowers("sort")
def sort(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Along an axis."""
    return _sorted(op, p, x, 0, ascends=p.flag("is_ascend", True))[0]


@lowers("argsort")
def argsort(op: Scribe, p: Params, x: ir.Value) -> Any:
    """The indices that sort it."""
    places = _sorted(op, p, x, 0, ascends=p.flag("is_ascend", True))[1]
    return op.cast(places, dtype_of(p.text("dtype", "float32")))


@lowers("diag")
def diag(op: Scribe, p: Params, x: ir.Value) -> Any:
    """The diagonal of a matrix of known sizes."""
    sizes, k = op.sizes_of(x), p.integer("k", 0)
    if len(sizes) != 2 or sizes[0] is None or sizes[1] is None:
        raise Fault("a diagonal of what is no matrix of known sizes", is_refusal=True)
    rows = range(max(0, -k), min(sizes[0], sizes[1] - k))
    return op.GatherND(x, op.const([[i, i + k] for i in rows]))
