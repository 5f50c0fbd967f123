"""ONNX's tensor operators that make and change shapes. A shape is known when jax traces: it is numpy's."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.export import is_symbolic_dim

from zoo.converters.writers.jax import lowers
from zoo.converters.writers.jax.sizes import note_bound, sizes
from zoo.converters.writers.strings import decoded
from zoo.errors import HubError

Value = Any


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
        return decoded(value.numpy())
    floats, ints = (value_float, value_floats), (value_int, value_ints)
    for given, dtype in ((floats, np.float32), (ints, np.int64), ((value_string, value_strings), object)):
        for number in given:
            if number is not None:
                return np.array(number, dtype=dtype)
    raise HubError("a Constant without a value, or with a sparse one")


@lowers("Shape")
def shape(w: Any, data: Value, *, end: int | None = None, start: int = 0) -> Value:
    """The sizes."""
    return sizes(data.shape[start:end])


@lowers("Size")
def size(w: Any, data: Value) -> Value:
    """The number of elements."""
    return sizes([math.prod(data.shape)], ())


@lowers("Reshape")
def reshape(w: Any, data: Value, shape: Value, *, allowzero: int = 0) -> Value:
    """The same elements in another shape; 0 copies a size of the input unless allowzero."""
    target = w.ints(shape)
    return data.reshape([data.shape[i] if n == 0 and not allowzero else n for i, n in enumerate(target)])


@lowers("Flatten")
def flatten(w: Any, input: Value, *, axis: int = 1) -> Value:  # noqa: A002
    """A matrix: the axes before `axis`, and the rest."""
    axis = axis + input.ndim if axis < 0 else axis
    return input.reshape(math.prod(input.shape[:axis]), math.prod(input.shape[axis:]))


@lowers("Transpose")
def transpose(w: Any, data: Value, *, perm: Sequence[int] | None = None) -> Value:
    """Axes in another order; reversed without one."""
    return data.transpose(None if perm is None else tuple(perm))


@lowers("Concat")
def concat(w: Any, *inputs: Value, axis: int) -> Value:
    """Tensors, one behind the other along an axis."""
    return jnp.concatenate(inputs, axis)


def part_sizes(length: int, count: int) -> list[int]:
    """The sizes of `count` parts of one size, of which the last are smaller, or empty."""
    step = -(-length // count)
    return [min(step, max(length - i * step, 0)) for i in range(count)]


@lowers("Split")
def split(w: Any, input: Value, split: Value = None, *, axis: int = 0, num_outputs: int | None = None) -> Value:  # noqa: A002
    """Parts along an axis: of given sizes, or as many as there are outputs, the last ones smaller if need be."""
    n = len(w.node.outputs)
    sizes = w.ints(split) if split is not None else part_sizes(input.shape[axis], num_outputs or n)
    if len(sizes) != n or sum(sizes) != input.shape[axis]:
        raise HubError(f"Split of {input.shape[axis]} into the sizes {sizes} with {n} outputs")
    return tuple(parts(input, sizes, axis))


def parts(x: Value, sizes: Sequence[int], axis: int) -> list[Value]:
    """What lies one behind the other along an axis."""
    return list((np if isinstance(x, np.ndarray) else jnp).split(x, np.cumsum(sizes)[:-1], axis))


@lowers("Slice")
def slice_(w: Any, data: Value, starts: Value, ends: Value, axes: Value = None, steps: Value = None) -> Value:
    """data[start:end:step] along the named axes."""
    begins, limits = w.ints(starts), w.ints(ends)
    along = range(len(begins)) if axes is None else w.ints(axes)
    strides = [1] * len(begins) if steps is None else w.ints(steps)
    index = [slice(None)] * data.ndim
    for axis, begin, end, step in zip(along, begins, limits, strides, strict=True):
        note_bound(end, data.shape[axis])
        index[axis] = slice(begin, end, step)
    return data[tuple(index)]


@lowers("Squeeze")
def squeeze(w: Any, data: Value, axes: Value = None) -> Value:
    """Without axes of size one."""
    return data.squeeze(None if axes is None else tuple(w.ints(axes)))


@lowers("Unsqueeze")
def unsqueeze(w: Any, data: Value, axes: Value) -> Value:
    """With new axes of size one, counted in the output."""
    along = {axis % (data.ndim + axes.size) for axis in w.ints(axes)}
    sizes = iter(data.shape)
    return data.reshape([1 if i in along else next(sizes) for i in range(data.ndim + len(along))])


@lowers("Expand")
def expand(w: Any, input: Value, shape: Value) -> Value:  # noqa: A002
    """Broadcast with a shape, in both directions."""
    return jnp.broadcast_to(input, jnp.broadcast_shapes(input.shape, tuple(w.ints(shape))))


@lowers("Tile")
def tile(w: Any, input: Value, repeats: Value) -> Value:  # noqa: A002
    """Repeated along each axis."""
    return jnp.tile(input, w.ints(repeats))


@lowers("ConstantOfShape")
def constant_of_shape(w: Any, input: Value, *, value: Any = None) -> Value:  # noqa: A002
    """One value everywhere; 0.0 without one."""
    fill = np.zeros(1, np.float32) if value is None else value.numpy()
    return jnp.broadcast_to(w.array(fill.reshape(())), tuple(w.ints(input)))


@lowers("Range")
def range_(w: Any, start: Value, limit: Value, delta: Value, *, stash_type: int = 1) -> Value:
    """start, start + delta, ... below limit; nothing where the limit lies the other way."""
    numbers = [w.ints(x)[0] for x in (start, limit, delta) if jnp.issubdtype(x.dtype, jnp.integer)]
    if any(is_symbolic_dim(n) for n in numbers):
        first, last, step = numbers
        return jnp.arange(first, last, step, dtype=start.dtype)
    first, last, step = (w.concrete(x).reshape(-1)[0] for x in (start, limit, delta))
    is_whole = first.dtype.kind in "iu"
    first, last, step = (int(n) if is_whole else float(n) for n in (first, last, step))
    count = -(-(last - first) // step) if is_whole else math.ceil((last - first) / step)
    steps = np.arange(max(count, 0), dtype=np.int64 if is_whole else np.float64)
    return w.array((first + step * steps).astype(w.concrete(start).dtype))


@lowers("EyeLike")
def eye_like(w: Any, input: Value, *, dtype: int | None = None, k: int = 0) -> Value:  # noqa: A002
    """Ones on the k-th diagonal of a matrix of the input's shape, zeros elsewhere."""
    return jnp.eye(input.shape[0], input.shape[1], k, input.dtype if not dtype else w.dtype_of(dtype))
