"""What makes tensors, and changes their shapes."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.converters.writers.source.operators import lowers
from zoo.converters.writers.source.sizes import Size, Sizes, as_sizes, number, product
from zoo.converters.writers.source.traced import literal
from zoo.converters.writers.source.unwritable import Unwritable

Value = Any


@lowers("Identity")
def identity(w: Any, input: Value) -> Value:  # noqa: A002
    """The value itself."""
    return input


@lowers("Shape")
def shape(w: Any, data: Value, *, end: int | None = None, start: int = 0) -> Value:
    """The sizes."""
    return Sizes(tuple(w.size(data, i) for i in range(w.rank(data))[start:end]))


@lowers("Size")
def size(w: Any, data: Value) -> Value:
    """The number of elements."""
    return Sizes((product([w.size(data, i) for i in range(w.rank(data))]),), True)


def items_of(w: Any, x: Value, what: str) -> list[Size]:
    """A shape as sizes, known or read. Raises Unwritable for one that is computed otherwise."""
    found = as_sizes(x)
    if found is None:
        raise Unwritable(f"its {what} is computed from other things than sizes")
    return list(found.items)


@lowers("Reshape")
def reshape(w: Any, data: Value, shape: Value, *, allowzero: int = 0) -> Value:
    """The same elements in another shape; 0 copies a size of the input unless allowzero."""
    wanted = items_of(w, shape, "shape")
    made: list[Size] = [w.size(data, i) if n == 0 and not allowzero else n for i, n in enumerate(wanted)]
    known = w.output_shape(0)
    if known is not None and len(known) == len(made):
        made = [n if k is None else k for n, k in zip(made, known, strict=True)]
    free = [i for i, n in enumerate(made) if not isinstance(n, int)]
    if free and -1 not in made:
        made[free[0] if len(free) == 1 else free[-1]] = -1
    return w.reshape(data, made)


@lowers("Flatten")
def flatten(w: Any, input: Value, *, axis: int = 1) -> Value:  # noqa: A002
    """A matrix: the axes before `axis`, and the rest."""
    sizes = [w.size(input, i) for i in range(w.rank(input))]
    axis = axis + len(sizes) if axis < 0 else axis
    first, rest = product(sizes[:axis]), product(sizes[axis:])
    return w.reshape(input, [-1, rest] if isinstance(rest, int) and rest else [first, -1])


@lowers("Transpose")
def transpose(w: Any, data: Value, *, perm: Sequence[int] | None = None) -> Value:
    """Axes in another order; reversed without one."""
    return w.transpose(data, tuple(perm or reversed(range(w.rank(data)))))


@lowers("Concat")
def concat(w: Any, *inputs: Value, axis: int) -> Value:
    """Tensors, one behind the other along an axis."""
    return w.f("concatenate", [tensor(w, x) for x in inputs], axis=axis)


def tensor(w: Any, x: Value) -> Value:
    """A value that must be a tensor, whatever it is made of."""
    if isinstance(x, Sizes):
        return w.array(x)
    if isinstance(x, np.ndarray) and x.ndim == 0:
        return w.f("array", literal(x))
    return x


@lowers("Split")
def split(w: Any, input: Value, split: Value = None, *, axis: int = 0, num_outputs: int | None = None) -> Value:  # noqa: A002
    """Parts along an axis: of given sizes, or as many as there are outputs, the last one smaller if need be."""
    n = len(w.node.outputs)
    whole = w.shape(input)[axis]
    if split is not None:
        sizes = w.ints(split, "sizes")
    elif whole is None or whole % n:
        raise Unwritable("parts of unlike or unknown sizes have no plain form")
    else:
        sizes = [whole // n] * n
    places: Any = n if len(set(sizes)) == 1 else [int(i) for i in np.cumsum(sizes)[:-1]]
    made = w.f("split", input, places, axis=axis)
    return tuple(w.item(made, i) for i in range(n))


@lowers("Slice")
def slice_(w: Any, data: Value, starts: Value, ends: Value, axes: Value = None, steps: Value = None) -> Value:
    """data[start:end:step] along the named axes."""
    begins, limits = items_of(w, starts, "start"), items_of(w, ends, "end")
    rank = w.rank(data)
    along = [a % rank for a in (range(len(begins)) if axes is None else w.ints(axes, "axes"))]
    strides = [1] * len(begins) if steps is None else w.ints(steps, "steps")
    index: list[Any] = [slice(None)] * rank
    turned = []
    for axis, begin, end, step in zip(along, begins, limits, strides, strict=True):
        last = 1 << 31
        if (
            step == -1
            and (begin == -1 or isinstance(begin, int) and begin >= last - 1)
            and isinstance(end, int)
            and end <= -last + 1
        ):
            turned.append(axis)
            continue
        if step < 0:
            raise Unwritable("a part that is read from behind has no plain form")
        stop = None if isinstance(end, int) and end >= last - 1 else end
        stop = None if isinstance(end, int) and end == w.shape(data)[axis] else stop
        index[axis] = slice(None if begin == 0 else begin, stop, None if step == 1 else step)
    x = w.f("flip", data, axis=turned[0] if len(turned) == 1 else tuple(turned)) if turned else data
    while index and index[-1] == slice(None):
        index.pop()
    return w.index(x, index) if index else x


@lowers("Squeeze")
def squeeze(w: Any, data: Value, axes: Value = None) -> Value:
    """Without axes of size one."""
    along = w.ints(axes, "axes") if axes is not None else [i for i, n in enumerate(w.shape(data)) if n == 1]
    return w.f("squeeze", data, axis=along[0] if len(along) == 1 else tuple(along)) if along else data


@lowers("Unsqueeze")
def unsqueeze(w: Any, data: Value, axes: Value) -> Value:
    """With axes of size one."""
    along = w.ints(axes, "axes")
    return w.expand_dims(tensor(w, data), sorted(a % (w.rank(data) + len(along)) for a in along))


@lowers("Expand")
def expand(w: Any, input: Value, shape: Value) -> Value:  # noqa: A002
    """Repeated along axes of size one, without a copy; a 1 of the shape leaves the input's size."""
    wanted, have = items_of(w, shape, "shape"), w.shape(input)
    shift = len(wanted) - len(have)
    made: list[Size] = [*wanted[: max(shift, 0)]]
    made += [w.size(input, i) for i in range(-shift)]
    for i in range(max(-shift, 0), len(have)):
        n = wanted[i + shift]
        made.append(w.size(input, i) if n == 1 and have[i] != 1 else n)
    return w.f("broadcast_to", tensor(w, input), tuple(w.given(made)))


@lowers("Tile")
def tile(w: Any, input: Value, repeats: Value) -> Value:  # noqa: A002
    """Repeated along each axis."""
    return w.f("tile", input, tuple(w.given(items_of(w, repeats, "repeats"))))


@lowers("ConstantOfShape")
def constant_of_shape(w: Any, input: Value, *, value: Any = None) -> Value:  # noqa: A002
    """One number throughout."""
    array = np.zeros((), np.float32) if value is None else value.numpy().reshape(())
    return w.f("full", tuple(w.given(items_of(w, input, "shape"))), literal(array), **w.dtype_argument(array.dtype))


@lowers("Range")
def range_(w: Any, start: Value, limit: Value, delta: Value) -> Value:
    """Numbers from start to limit, delta apart."""
    first, last, step = (w.operand(x, 0) for x in (start, limit, delta))
    bounds = [last] if (first, step) == (0, 1) else [first, last] if step == 1 else [first, last, step]
    return w.f("arange", *bounds, **(w.dtype_argument(w.dtype(start)) if w.dtype(start).kind == "f" else {}))


@lowers("EyeLike")
def eye_like(w: Any, input: Value, *, dtype: int | None = None, k: int = 0) -> Value:  # noqa: A002
    """Ones on a diagonal of a matrix of that shape."""
    import onnx_ir as ir

    kind = w.dtype(input) if dtype is None else np.dtype(ir.DataType(dtype).numpy())
    return w.f("eye", w.given(w.size(input, 0)), w.given(w.size(input, 1)), k=k, **w.dtype_argument(kind))


@lowers("Trilu")
def trilu(w: Any, input: Value, k: Value = None, *, upper: int = 1) -> Value:  # noqa: A002
    """The upper or lower triangle."""
    shift = {} if k is None or w.ints(k, "k")[0] == 0 else {"k": w.ints(k, "k")[0]}
    return w.f("triu" if upper else "tril", input, **shift)


@lowers("Gather")
def gather(w: Any, data: Value, indices: Value, *, axis: int = 0) -> Value:
    """What stands at places along an axis."""
    axis = axis % w.rank(data)
    if isinstance(indices, np.ndarray) and indices.ndim == 0:
        return w.index(data, [*[slice(None)] * axis, int(indices)])
    return w.f("take", data, tensor(w, indices), axis=axis)


@lowers("GatherElements")
def gather_elements(w: Any, data: Value, indices: Value, *, axis: int = 0) -> Value:
    """What stands at a place of its own along an axis."""
    return w.f("take_along_axis", data, indices, axis=axis)


@lowers("OneHot")
def one_hot(w: Any, indices: Value, depth: Value, values: Value, *, axis: int = -1) -> Value:
    """A one where the index says, and zeros."""
    off, on = (float(v) for v in w.known(values, "values"))
    if (off, on) != (0.0, 1.0):
        raise Unwritable("of other numbers than 0 and 1 it has no plain form")
    return w.neural("one_hot", indices, w.ints(depth, "depth")[0], axis=axis, **w.dtype_argument(w.dtype(values)))


PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge"}


@lowers("Pad")
def pad(
    w: Any, data: Value, pads: Value, constant_value: Value = None, axes: Value = None, *, mode: str = "constant"
) -> Value:
    """More at the ends of axes, or less by a negative number."""
    both, rank = w.ints(pads, "pads"), w.rank(data)
    along = range(rank) if axes is None else [a % rank for a in w.ints(axes, "axes")]
    pairs = [(0, 0)] * rank
    for i, axis in enumerate(along):
        pairs[axis] = both[i], both[len(both) // 2 + i]
    if mode not in PAD_MODES or mode == "edge" and not w.pads_edges:
        raise Unwritable(f"padding by {mode!r} has no plain form")
    value = 0 if constant_value is None else w.operand(constant_value, 0)
    y = data
    if any(n > 0 for pair in pairs for n in pair):
        how: dict[str, Any] = {} if mode == "constant" else {"mode": PAD_MODES[mode]}
        how |= {"constant_values": value} if mode == "constant" and value != 0 else {}
        y = w.f("pad", y, tuple((max(a, 0), max(b, 0)) for a, b in pairs), **how)
    if any(n < 0 for pair in pairs for n in pair):
        cut = [slice(-a if a < 0 else None, b if b < 0 else None) for a, b in pairs]
        y = w.index(y, cut)
    return y


@lowers("DepthToSpace")
def depth_to_space(w: Any, input: Value, *, blocksize: int, mode: str = "DCR") -> Value:  # noqa: A002
    """Channels spread over a block of places, X [N, C, H, W]."""
    b, channels = blocksize, w.shape(input)[1]
    if channels is None:
        raise Unwritable("the number of its channels is free")
    h, width = w.size(input, 2), w.size(input, 3)
    c = channels // b**2
    split_, perm = ([-1, b, b, c, h, width], (0, 3, 4, 1, 5, 2))
    if mode == "CRD":
        split_, perm = [-1, c, b, b, h, width], (0, 1, 4, 2, 5, 3)
    y = w.transpose(w.reshape(input, split_), perm)
    return w.reshape(y, [-1, c, number(operator.mul, h, b), number(operator.mul, width, b)])


@lowers("SpaceToDepth")
def space_to_depth(w: Any, input: Value, *, blocksize: int) -> Value:  # noqa: A002
    """A block of places as channels, X [N, C, H, W]."""
    b, channels = blocksize, w.shape(input)[1]
    h, width = (w.shape(input)[i] for i in (2, 3))
    if None in (channels, h, width):
        raise Unwritable("its sizes are free")
    y = w.reshape(input, [-1, channels, h // b, b, width // b, b])
    return w.reshape(w.transpose(y, (0, 3, 5, 1, 2, 4)), [-1, channels * b * b, h // b, width // b])
