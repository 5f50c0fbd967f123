"""ONNX's tensor operators that make and change shapes. In a symbol a size may be free (sizes.py)."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.converters.writers.mxnet import lowers
from zoo.converters.writers.mxnet.sizes import Size, reshape_codes, sizes
from zoo.converters.writers.mxnet.trace import Untraceable
from zoo.errors import HubError

Value = Any
FAR = 2**31 - 1  # MXNet's slices end at 32 bits


@lowers("Identity")
def identity(w: Any, input: Value) -> Value:  # noqa: A002
    """The value itself."""
    return input


@lowers("Constant")
def constant(
    w: Any,
    *,
    sparse_value: Any = None,
    value: Any = None,
    value_float: float | None = None,
    value_floats: Sequence[float] | None = None,
    value_int: int | None = None,
    value_ints: Sequence[int] | None = None,
    value_string: str | None = None,
    value_strings: Sequence[str] | None = None,
) -> Value:
    """A constant that is an output of its graph, most often of a branch; every other one is folded."""
    if value is not None:
        return value.numpy()
    for given, dtype in (((value_float, value_floats), np.float32), ((value_int, value_ints), np.int64)):
        for number in given:
            if number is not None:
                return np.array(number, dtype=dtype)
    raise HubError("a Constant without a value, with a sparse one, or of strings")


@lowers("Shape")
def shape(w: Any, data: Value, *, end: int | None = None, start: int = 0) -> Value:
    """The sizes."""
    return sizes(w.dims(0)[start:end])


@lowers("Size")
def size(w: Any, data: Value) -> Value:
    """The number of elements."""
    return sizes([math.prod(w.dims(0))], ())


@lowers("Reshape")
def reshape(w: Any, data: Value, shape: Value, *, allowzero: int = 0) -> Value:
    """The same elements in another shape; 0 copies a size of the input unless allowzero."""
    target = w.sizes(shape)
    if not w.is_symbolic:
        return w.np.reshape(data, tuple(data.shape[i] if n == 0 and not allowzero else n for i, n in enumerate(target)))
    if not target:
        return w.reshape(data, ())
    if not any(isinstance(n, Size) for n in target) and (not allowzero or 0 not in target):
        return w.F.reshape(data, shape=tuple(target))  # ONNX's codes are MXNet's
    have = w.dims(0)
    wanted = [have[i] if _is_copy(n) and not allowzero else n for i, n in enumerate(target)]
    codes = reshape_codes(have, wanted)
    if codes is None and (like := w.symbol_of(wanted)) is not None:
        return w.F.reshape_like(data, like)
    if codes is None:
        raise Untraceable(f"{w.name}: several free sizes come out, and MXNet works out one")
    return w.F.reshape(data, shape=tuple(codes))


def _is_copy(n: Any) -> bool:
    return not isinstance(n, Size) and n == 0


@lowers("Flatten")
def flatten(w: Any, input: Value, *, axis: int = 1) -> Value:  # noqa: A002
    """A matrix: the axes before `axis`, and the rest."""
    have = w.dims(0)
    axis = axis + len(have) if axis < 0 else axis
    if axis == 1 and len(have) > 1 and w.is_symbolic:
        return w.F.flatten(input)
    rows, columns = math.prod(have[:axis]), math.prod(have[axis:])
    if not isinstance(rows, Size) or not isinstance(columns, Size):
        return w.reshape(input, [-1 if isinstance(n, Size) else n for n in (rows, columns)])
    for _ in range(axis - 1):  # -3 is the product of two sizes, -2 what follows
        input = w.F.reshape(input, shape=(-3, -2))  # noqa: A001
    for _ in range(len(have) - axis - 1):
        input = w.F.reshape(input, shape=(0, -3, -2))  # noqa: A001
    return input


@lowers("Transpose")
def transpose(w: Any, data: Value, *, perm: Sequence[int] | None = None) -> Value:
    """Axes in another order; reversed without one."""
    if not w.rank(0):
        return data
    return w.F.transpose(data) if perm is None else w.F.transpose(data, axes=tuple(perm))


@lowers("Concat")
def concat(w: Any, *inputs: Value, axis: int) -> Value:
    """Tensors, one behind the other along an axis."""
    return w.F.concat(*inputs, dim=axis % w.rank(0)) if len(inputs) > 1 else inputs[0]


def part_sizes(length: int, count: int) -> list[int]:
    """The sizes of `count` parts of one size, of which the last are smaller, or empty."""
    step = -(-length // count)
    return [min(step, max(length - i * step, 0)) for i in range(count)]


@lowers("Split")
def split(w: Any, input: Value, split: Value = None, *, axis: int = 0, num_outputs: int | None = None) -> Value:  # noqa: A002
    """Parts along an axis: of given sizes, or as many as there are outputs, the last ones smaller if need be."""
    n, along = len(w.node.outputs), axis % w.rank(0)
    lengths = w.ints(split) if split is not None else part_sizes(_known(w, along), num_outputs or n)
    return tuple(parts(w, input, lengths, along))


def _known(w: Any, axis: int) -> int:
    found = w.dims(0)[axis]
    if isinstance(found, Size):
        raise Untraceable(f"{w.name}: the size along axis {axis} has to be known")
    return int(found)


def parts(w: Any, x: Value, lengths: Sequence[int], axis: int) -> list[Value]:
    """What lies one behind the other along an axis."""
    ends = np.cumsum(lengths).tolist()
    return [
        w.F.slice_axis(x, axis=axis, begin=end - n, end=end) if n else _empty(w, x, axis, w.dims(0))
        for n, end in zip(lengths, ends, strict=True)
    ]


@lowers("Slice")
def slice_(w: Any, data: Value, starts: Value, ends: Value, axes: Value = None, steps: Value = None) -> Value:
    """data[start:end:step] along the named axes."""
    begins, limits = w.ints(starts), w.sizes(ends)
    have = w.dims(0)
    along = [a % len(have) for a in (range(len(begins)) if axes is None else w.ints(axes))]
    strides = [1] * len(begins) if steps is None else w.ints(steps)
    begin: list[Any] = [None] * len(have)
    end: list[Any] = [None] * len(have)
    step = [1] * len(have)
    for axis, b, e, s in zip(along, begins, limits, strides, strict=True):
        if isinstance(e, Size):
            data = _slice_to(w, data, axis, b, e, s, len(have))
        elif isinstance(have[axis], Size):
            begin[axis], end[axis], step[axis] = _bound(b, s), _bound(e, s), s
        else:
            first, last, step[axis] = slice(b, e, s).indices(have[axis])
            if len(range(first, last, step[axis])) == 0:
                return _empty(w, data, axis, have)
            begin[axis], end[axis] = first, None if last < 0 else last
    if begin == end == [None] * len(have) and set(step) <= {1}:
        return data
    return w.F.slice(data, begin=tuple(begin), end=tuple(end), step=tuple(step))


def _bound(n: int, step: int) -> int | None:
    """A place in an axis of any size; None for one that lies beyond its ends."""
    return None if abs(n) >= FAR or (n == 0 and step > 0) else n


def _slice_to(w: Any, x: Value, axis: int, begin: int, end: Size, step: int, rank: int) -> Value:
    """The first elements along an axis, as many as a free size says."""
    if begin != 0 or step != 1 or len(end.axes) != 1 or end.factor != 1:
        raise Untraceable(f"{w.name}: its end is computed from a free size")
    like, at = end.axes[0]
    if at != axis:
        line = w.F.contrib.arange_like(like, axis=at)
        like = w.F.reshape(line, shape=(*[1] * axis, -1))
    return w.F.slice_like(x, like, axes=(axis,))


def _empty(w: Any, x: Value, axis: int, have: Sequence[Any]) -> Value:
    if any(isinstance(n, Size) for n in have):
        raise Untraceable(f"{w.name}: nothing is left of an axis, and another is free")
    shape = [0 if i == axis else n for i, n in enumerate(have)]
    return w.array(np.zeros(shape, w.computed_in(0)))


@lowers("Squeeze")
def squeeze(w: Any, data: Value, axes: Value = None) -> Value:
    """Without axes of size one."""
    have = w.dims(0)
    along = [i for i, n in enumerate(have) if n == 1] if axes is None else [a % len(have) for a in w.ints(axes)]
    if len(along) == len(have):
        return w.reshape(data, ())
    return w.F.squeeze(data, axis=tuple(sorted(along))) if along else data


@lowers("Unsqueeze")
def unsqueeze(w: Any, data: Value, axes: Value) -> Value:
    """With new axes of size one, counted in the output."""
    given = w.ints(axes)
    rank = w.rank(0) + len(given)
    if not w.rank(0):
        return w.reshape(data, (1,) * rank)
    for axis in sorted(a % rank for a in given):
        data = w.F.expand_dims(data, axis=axis)
    return data


@lowers("Expand")
def expand(w: Any, input: Value, shape: Value) -> Value:  # noqa: A002
    """Broadcast with a shape, in both directions."""
    return broadcast_to(w, input, w.dims(0), w.sizes(shape))


def broadcast_to(w: Any, x: Value, have: Sequence[Any], shape: Sequence[Any]) -> Value:
    """A value of sizes `have`, broadcast with `shape`; a free size is that of the symbol it comes from."""
    rank = max(len(have), len(shape))
    if not w.is_symbolic:
        return w.np.broadcast_to(x, np.broadcast_shapes(tuple(have), tuple(shape)))
    if not rank:
        return x
    if len(have) < rank:
        x = w.reshape(x, (*[1] * (rank - len(have)), *(_code(n) for n in have)))
    have = [1] * (rank - len(have)) + list(have)
    for axis, n in enumerate([1] * (rank - len(shape)) + list(shape)):
        if have[axis] == n or (not isinstance(n, Size) and n == 1):
            continue
        if not isinstance(n, Size):
            x = w.F.broadcast_axis(x, axis=axis, size=n)
        elif isinstance(have[axis], Size) and len(n.axes) == 1 and n.factor == 1:  # it may be 1, or the same size
            line = w.F.ones_like(w.F.contrib.arange_like(n.axes[0][0], axis=n.axes[0][1]))
            line = w.F.reshape(line, shape=(*[1] * axis, -1, *[1] * (rank - axis - 1)))
            x = w.F.broadcast_mul(x, w.cast(line, w.computed_in(0)))
        elif len(n.axes) == 1 and n.factor == 1:
            x = w.F.broadcast_like(x, n.axes[0][0], lhs_axes=(axis,), rhs_axes=(n.axes[0][1],))
        else:
            raise Untraceable(f"{w.name}: it expands to a product of free sizes")
    return x


def _code(n: Any) -> int:
    return -1 if isinstance(n, Size) else n


@lowers("Tile")
def tile(w: Any, input: Value, repeats: Value) -> Value:  # noqa: A002
    """Repeated along each axis."""
    for axis, count in enumerate(w.ints(repeats)):  # MXNet's tile takes few axes at once
        if count != 1:
            input = w.F.concat(*[input] * count, dim=axis) if count else _empty(w, input, axis, w.dims(0))
    return input


@lowers("ConstantOfShape")
def constant_of_shape(w: Any, input: Value, *, value: Any = None) -> Value:  # noqa: A002
    """One value everywhere; 0.0 without one."""
    fill = np.zeros((), np.float32) if value is None else value.numpy().reshape(())
    target = w.sizes(input)
    if not any(isinstance(n, Size) for n in target):
        return w.array(np.broadcast_to(fill, tuple(target)))
    return broadcast_to(w, w.array(fill.reshape([1] * len(target))), [1] * len(target), target)


@lowers("Range")
def range_(w: Any, start: Value, limit: Value, delta: Value, *, stash_type: int = 1) -> Value:
    """start, start + delta, ... below limit; nothing where the limit lies the other way."""
    ends = w.sizes(limit) if w.type_in(1).is_integer() else [None]
    if isinstance(ends[0], Size):
        first, step, free = w.number(start), w.number(delta), ends[0]
        if (first, step, free.factor, len(free.axes)) != (0, 1, 1, 1):
            raise Untraceable(f"{w.name}: it ends at a free size, and does not count from 0 by 1")
        return w.cast(w.F.contrib.arange_like(free.axes[0][0], axis=free.axes[0][1]), w.type_in(0))
    first, last, by = (w.concrete(x).reshape(-1)[0] for x in (start, limit, delta))
    is_whole = first.dtype.kind in "iu"
    first_n, last_n, by_n = (int(n) if is_whole else float(n) for n in (first, last, by))
    count = -(-(last_n - first_n) // by_n) if is_whole else math.ceil((last_n - first_n) / by_n)
    steps = np.arange(max(int(count), 0), dtype=np.int64 if is_whole else np.float64)
    return w.array((first_n + by_n * steps).astype(first.dtype))


@lowers("EyeLike")
def eye_like(w: Any, input: Value, *, dtype: int | None = None, k: int = 0) -> Value:  # noqa: A002
    """Ones on the k-th diagonal of a matrix of the input's shape, zeros elsewhere."""
    rows, columns = w.whole(0)
    made = w.array(np.eye(rows, columns, k, np.float32))
    return w.cast(made, dtype or w.type_in(0))


@lowers("DepthToSpace")
def depth_to_space(w: Any, input: Value, *, blocksize: int, mode: str = "DCR") -> Value:  # noqa: A002
    """Blocks of channels as blocks of pixels: [N, C b b, H, W] -> [N, C, H b, W b]; depth before columns, or behind."""
    if mode == "DCR":
        return w.F.depth_to_space(input, block_size=blocksize)
    x = w.F.reshape(input, shape=(0, -4, -1, blocksize * blocksize, 0, 0))
    x = w.F.reshape(x, shape=(0, 0, -4, blocksize, blocksize, 0, 0))
    x = w.F.transpose(x, axes=(0, 1, 4, 2, 5, 3))
    return w.F.reshape(x, shape=(0, 0, -3, -3))


@lowers("SpaceToDepth")
def space_to_depth(w: Any, input: Value, *, blocksize: int, mode: str = "DCR") -> Value:  # noqa: A002
    """Blocks of pixels as blocks of channels: [N, C, H b, W b] -> [N, C b b, H, W]."""
    if mode == "DCR":
        return w.F.space_to_depth(input, block_size=blocksize)
    x = w.F.reshape(input, shape=(0, 0, -4, -1, blocksize, 0))
    x = w.F.reshape(x, shape=(0, 0, 0, 0, -4, -1, blocksize))
    x = w.F.transpose(x, axes=(0, 1, 3, 5, 2, 4))
    return w.F.reshape(w.F.reshape(x, shape=(0, -3, 0, 0, 0)), shape=(0, -3, 0, 0))


@lowers("Pad")
def pad(
    w: Any,
    data: Value,
    pads: Value,
    constant_value: Value = None,
    axes: Value = None,
    *,
    mode: str = "constant",
) -> Value:
    """With elements before and behind along axes; negative numbers cut. Modes: constant, edge, reflect, wrap."""
    rank, given = w.rank(0), w.ints(pads)
    along = list(range(rank)) if axes is None else [a % rank for a in w.ints(axes)]
    n = len(along)
    widths = [(0, 0)] * rank
    for axis, begin, end in zip(along, given[:n], given[n:], strict=True):
        widths[axis] = (begin, end)
    for axis, (begin, end) in enumerate(widths):
        if begin < 0 or end < 0:
            data = w.F.slice_axis(data, axis=axis, begin=max(-begin, 0), end=min(end, 0) or None)
    widths = [(max(begin, 0), max(end, 0)) for begin, end in widths]
    if not any(map(any, widths)):
        return data
    if mode == "wrap":
        return _wrapped(w, data, widths)
    if mode != "constant":
        return w.np.pad(data, tuple(widths), mode=mode)
    fill = 0 if constant_value is None else w.number(constant_value)
    return w.pad(data, widths, fill)


def _wrapped(w: Any, x: Value, widths: Sequence[tuple[int, int]]) -> Value:
    for axis, (begin, end) in enumerate(widths):
        n = _known(w, axis)
        if begin or end:
            x = w.F.take(x, w.array(np.arange(-begin, n + end) % n), axis=axis)
    return x


@lowers("Trilu")
def trilu(w: Any, input: Value, k: Value = None, *, upper: int = 1) -> Value:  # noqa: A002
    """The upper or lower triangle of each matrix, the k-th diagonal with it; zeros elsewhere."""
    shift = 0 if k is None else w.number(k)
    *_, rows, columns = w.dims(0)
    if isinstance(rows, Size) or isinstance(columns, Size):
        return (w.np.triu if upper else w.np.tril)(input, shift)
    mask = np.tri(rows, columns, (shift - 1) if upper else shift, dtype=bool)
    kept = w.array(~mask if upper else mask)
    return w.np.where(kept, input, w.F.zeros_like(input))
