"""ONNX's tensor operators that make and change shapes. A shape is known wherever its sizes are: it is numpy's then."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.dtypes import available, held_array
from zoo.converters.writers.keras.operators.precision import to
from zoo.converters.writers.keras.operators.sizes import Size, broadcast, is_known, parts, places, product, rank, sizes

Tensor = Any
FAR = (1 << 31) - 1  # "as far as it goes"; TensorFlow slices by 32 bits


@lowers("Identity")
def identity(w: Any, input: Tensor) -> Tensor:  # noqa: A002
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
) -> Tensor:
    """A constant that is an output of its graph, most often of a branch; every other one is folded."""
    if value is not None:
        return held_array(value)
    for given, dtype in (((value_float, value_floats), np.float32), ((value_int, value_ints), np.int64)):
        for number in given:
            if number is not None:
                return np.array(number, dtype=dtype)
    raise w.refused("a constant without a value, or of strings, or a sparse one")


@lowers("Shape")
def shape(w: Any, data: Tensor, *, end: int | None = None, start: int = 0) -> Tensor:
    """The sizes."""
    return vector(sizes(data)[start:end])


@lowers("Size")
def size(w: Any, data: Tensor) -> Tensor:
    """The number of elements."""
    n = product(sizes(data))
    return np.array(n, dtype=np.int64) if is_known(n) else to(n, "int64")


def vector(found: Sequence[Size]) -> Tensor:
    """Sizes as a vector: known if all of them are."""
    if is_known(*found):
        return np.array(found, dtype=np.int64)
    return ops.stack([to(ops.convert_to_tensor(n), "int64") for n in found])


@lowers("Reshape")
def reshape(w: Any, data: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    """The same elements in another shape; 0 copies a size of the input unless allowzero."""
    target, have = w.ints(shape), sizes(data)
    copies = [isinstance(n, int) and n == 0 and not allowzero for n in target]
    target = [have[i] if copied else n for i, (n, copied) in enumerate(zip(target, copies, strict=True))]
    if -1 in [n for n in target if isinstance(n, int)] and 0 in [n for n in have if isinstance(n, int)]:
        rest = math.prod(n for n in target if not isinstance(n, int) or n != -1)  # no backend guesses a size of nothing
        target = [product(have) // rest if isinstance(n, int) and n == -1 and rest else n for n in target]
    return ops.reshape(data, target)


@lowers("Flatten")
def flatten(w: Any, input: Tensor, *, axis: int = 1) -> Tensor:  # noqa: A002
    """A matrix: the axes before `axis`, and the rest."""
    axis = axis + rank(input) if axis < 0 else axis
    have = sizes(input)
    return ops.reshape(input, [product(have[:axis]), product(have[axis:])])


@lowers("Transpose")
def transpose(w: Any, data: Tensor, *, perm: Sequence[int] | None = None) -> Tensor:
    """Axes in another order; reversed without one."""
    return ops.transpose(data, tuple(reversed(range(rank(data)))) if perm is None else tuple(perm))


@lowers("Concat")
def concat(w: Any, *inputs: Tensor, axis: int) -> Tensor:
    """Tensors, one behind the other along an axis."""
    return ops.concatenate(inputs, axis)


def part_sizes(length: Size, count: int) -> list[Size]:
    """The sizes of `count` parts of one size, of which the last are smaller, or empty."""
    step = -(-length // count)
    if not is_known(length):
        return [ops.minimum(step, ops.maximum(length - i * step, 0)) for i in range(count)]
    return [min(step, max(length - i * step, 0)) for i in range(count)]


@lowers("Split")
def split(w: Any, input: Tensor, split: Tensor = None, *, axis: int = 0, num_outputs: int | None = None) -> Tensor:  # noqa: A002
    """Parts along an axis: of given sizes, or as many as there are outputs, the last ones smaller if need be."""
    n, have = len(w.step.outputs), sizes(input)[axis]
    lengths = w.ints(split) if split is not None else part_sizes(have, num_outputs or n)
    if len(lengths) != n or (is_known(have, *lengths) and sum(lengths) != have):
        raise w.refused(f"{have} elements in parts of the sizes {lengths}, for {n} outputs")
    return tuple(parts(input, lengths, axis))


@lowers("Slice")
def slice_(w: Any, data: Tensor, starts: Tensor, ends: Tensor, axes: Tensor = None, steps: Tensor = None) -> Tensor:
    """data[start:end:step] along the named axes."""
    begins, limits = w.ints(starts), w.ints(ends)
    along = range(len(begins)) if axes is None else w.ints(axes)
    strides = [1] * len(begins) if steps is None else w.ints(steps)
    index, backward, have = [slice(None)] * rank(data), [], sizes(data)
    for axis, begin, end, step in zip(along, begins, limits, strides, strict=True):
        if is_known(begin, end, step, have[axis]):
            first, last, step = slice(begin, end, step).indices(have[axis])
            if step < 0:  # not every backend goes backwards: the same places from the other end, then turned around
                backward.append(axis)
                count = max(-(-(last - first) // step), 0)
                first, last, step = first + (count - 1) * step, first + 1, -step
                first, last = (first, last) if count else (0, 0)
            index[axis] = slice(first, last, step)
        else:
            begin, end = (max(min(n, FAR), -FAR) if is_known(n) else n for n in (begin, end))
            index[axis] = slice(begin, end, step)
    y = data[tuple(index)] if index else data
    return ops.flip(y, tuple(backward)) if backward else y


@lowers("Squeeze")
def squeeze(w: Any, data: Tensor, axes: Tensor = None) -> Tensor:
    """Without axes of size one."""
    have = sizes(data)
    ones = [i for i, n in enumerate(have) if is_known(n) and n == 1]
    gone = ones if axes is None else [axis % rank(data) for axis in w.ints(axes)]
    return ops.reshape(data, [n for i, n in enumerate(have) if i not in gone])


@lowers("Unsqueeze")
def unsqueeze(w: Any, data: Tensor, axes: Tensor) -> Tensor:
    """With new axes of size one, counted in the output."""
    given = w.ints(axes)
    n = rank(data) + len(given)
    new, have = {axis % n for axis in given}, iter(sizes(data))
    return ops.reshape(data, [1 if i in new else next(have) for i in range(n)])


@lowers("Expand")
def expand(w: Any, input: Tensor, shape: Tensor) -> Tensor:  # noqa: A002
    """Broadcast with a shape, in both directions."""
    return ops.broadcast_to(input, broadcast(sizes(input), w.ints(shape)))


@lowers("Tile")
def tile(w: Any, input: Tensor, repeats: Tensor) -> Tensor:  # noqa: A002
    """Repeated along each axis."""
    return ops.tile(input, w.ints(repeats)) if rank(input) else input


@lowers("ConstantOfShape")
def constant_of_shape(w: Any, input: Tensor, *, value: Any = None) -> Tensor:  # noqa: A002
    """One value everywhere; 0.0 without one."""
    fill = np.zeros(1, np.float32) if value is None else held_array(value)
    return ops.broadcast_to(ops.convert_to_tensor(fill.reshape(())), w.ints(input))


@lowers("Range")
def range_(w: Any, start: Tensor, limit: Tensor, delta: Tensor, *, stash_type: int = 1) -> Tensor:
    """start, start + delta, ... below limit; nothing where the limit lies the other way."""
    numbers = [w.numbers(x) for x in (start, limit, delta)]
    dtype = w.dtype_out()
    if any(x is None for x in numbers):
        return ops.arange(*(ops.reshape(x, ()) for x in (start, limit, delta)), dtype=available(dtype))
    first, last, step = (x.reshape(-1)[0].item() for x in numbers)
    count = math.ceil((last - first) / step) if "float" in dtype else -(-(last - first) // step)
    steps = np.arange(max(count, 0), dtype=np.float64 if "float" in dtype else np.int64)
    return to(first + step * steps, dtype)


@lowers("EyeLike")
def eye_like(w: Any, input: Tensor, *, dtype: int | None = None, k: int = 0) -> Tensor:  # noqa: A002
    """Ones on the k-th diagonal of a matrix of the input's shape, zeros elsewhere."""
    rows, columns = (places(n, i, 2) for i, n in enumerate(sizes(input)))
    return ops.equal(rows + k, columns)
