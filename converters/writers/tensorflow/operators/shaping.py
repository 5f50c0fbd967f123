"""Shapes, axes and bounds that come with the data: TensorFlow's own operators take them as tensors.

Where they are known, the lowerings of Keras' table count with them.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from zoo.converters.writers.keras import ops
from zoo.converters.writers.keras.operators import tensor as keras_tensor
from zoo.converters.writers.keras.operators.reduction import REDUCTIONS
from zoo.converters.writers.keras.operators.sizes import rank
from zoo.converters.writers.tensorflow import lowers

Tensor = Any


def from_front(axes: Tensor, n: int) -> Tensor:
    """Axes of a tensor of n, in int32, the negative ones counted from the end."""
    axes = tf.cast(tf.reshape(axes, [-1]), tf.int32)
    return tf.where(axes < 0, axes + n, axes)


def is_among(axes: Tensor, n: int) -> Tensor:
    """For each of n axes whether it is one of these: [n]."""
    return tf.reduce_any(tf.equal(tf.range(n)[:, None], from_front(axes, n)), 1)


def spread(values: Tensor, axes: Tensor, others: Tensor) -> Tensor:
    """A number for each axis: those given for some, and what stands in `others` [n] for the rest."""
    n = others.shape[0]
    return tf.tensor_scatter_nd_update(others, from_front(axes, n)[:, None], tf.cast(values, others.dtype))


@lowers("Slice")
def slice_(w: Any, data: Tensor, starts: Tensor, ends: Tensor, axes: Tensor = None, steps: Tensor = None) -> Tensor:
    """data[start:end:step] along the named axes."""
    if not w.is_traced(starts, ends, axes, steps):
        return keras_tensor.slice_(w, data, starts, ends, axes, steps)
    n, count = rank(data), tf.size(starts)
    along = tf.range(count) if axes is None else axes
    begin = spread(starts, along, tf.zeros([n], tf.int64))
    end = spread(ends, along, tf.shape(data, tf.int64))
    step = spread(tf.ones([count], tf.int64) if steps is None else steps, along, tf.ones([n], tf.int64))
    return tf.strided_slice(data, begin, end, step)


@lowers("Reshape")
def reshape(w: Any, data: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    """The same elements in another shape; 0 copies a size of the input unless allowzero.

    Sizes that the graph knows are constants, also where it computes them: TFLite takes a convolution only of a known
    number of channels.
    """
    if not w.is_traced(shape):
        return keras_tensor.reshape(w, data, shape, allowzero=allowzero)
    inferred = w.spec_out().shape
    if inferred is not None and 0 not in inferred and inferred.count(None) <= 1:
        return tf.reshape(data, [-1 if n is None else n for n in inferred])
    target, have = tf.cast(shape, tf.int32), tf.shape(data)
    if not allowzero:
        count = tf.size(target)
        copied = tf.concat([have, tf.zeros([tf.maximum(count - rank(data), 0)], tf.int32)], 0)[:count]
        target = tf.where(tf.equal(target, 0), copied, target)
    rest = tf.reduce_prod(tf.where(tf.equal(target, -1), 1, target))  # of nothing TensorFlow guesses no size
    missing = tf.where(tf.equal(rest, 0), 0, tf.size(data) // tf.maximum(rest, 1))
    target = tf.where(tf.equal(target, -1), missing, target)
    if inferred is not None:
        target = tf.stack([target[i] if n is None else n for i, n in enumerate(inferred)])
    return tf.reshape(data, target)


@lowers("Squeeze")
def squeeze(w: Any, data: Tensor, axes: Tensor = None) -> Tensor:
    """Without axes of size one."""
    if not w.is_traced(axes):
        return keras_tensor.squeeze(w, data, axes)
    n = rank(data)
    y = tf.reshape(data, tf.boolean_mask(tf.shape(data), tf.logical_not(is_among(axes, n))))
    return tf.ensure_shape(y, [None] * (n - axes.shape[0]))


@lowers("Unsqueeze")
def unsqueeze(w: Any, data: Tensor, axes: Tensor) -> Tensor:
    """With new axes of size one, counted in the output."""
    if not w.is_traced(axes):
        return keras_tensor.unsqueeze(w, data, axes)
    n = rank(data) + (axes.shape[0] if rank(axes) else 1)
    is_new = is_among(axes, n)
    at = tf.maximum(tf.cumsum(tf.cast(tf.logical_not(is_new), tf.int32)) - 1, 0)
    have = tf.concat([tf.shape(data), [1]], 0)  # a scalar has no size to be read
    return tf.reshape(data, tf.ensure_shape(tf.where(is_new, 1, tf.gather(have, at)), [n]))


@lowers("Pad")
def pad(
    w: Any, data: Tensor, pads: Tensor, constant_value: Tensor = None, axes: Tensor = None, *, mode: str = "constant"
) -> Tensor:
    """Padded along each axis, or cut where a number is negative."""
    if not w.is_traced(pads, axes):
        return padded_by_keras(w, data, pads, constant_value, axes, mode=mode)
    n = rank(data)
    along = tf.range(n) if axes is None else axes
    begins, ends = (spread(part, along, tf.zeros([n], tf.int64)) for part in tf.split(pads, 2))
    outside = None
    for axis in range(n):
        size = tf.shape(data, tf.int64)[axis]
        at = tf.range(-begins[axis], size + ends[axis])
        beyond = tf.reshape((at < 0) | (at >= size), [-1 if i == axis else 1 for i in range(n)])
        outside = beyond if outside is None else outside | beyond
        data = tf.gather(data, _source(w, at, size, mode), axis=axis)
    if mode != "constant" or outside is None:
        return data
    fill = tf.zeros([], data.dtype) if constant_value is None else tf.reshape(constant_value, [])
    return tf.where(outside, fill, data)


def padded_by_keras(w: Any, *inputs: Tensor, mode: str) -> Tensor:
    """The lowering of Keras' table."""
    return ops["", "Pad"](w, *inputs, mode=mode)


def _source(w: Any, at: Tensor, size: Tensor, mode: str) -> Tensor:
    """Which element stands at each place along a padded axis."""
    if mode == "wrap":
        return at % size
    if mode == "reflect":
        period = tf.maximum(2 * (size - 1), 1)
        return size - 1 - tf.abs(at % period - (size - 1))
    if mode not in ("constant", "edge"):
        raise w.refused(f"unknown mode {mode!r}")
    return tf.clip_by_value(at, 0, size - 1)


def _of_known_axes(op: str, lowering: Callable[..., Tensor]) -> None:
    """Register a reduction of Keras' table: over which axes it goes has to be known in a graph."""

    @lowers(op)
    def lowered(
        w: Any, data: Tensor, axes: Tensor = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Tensor:
        if w.is_traced(axes):
            raise w.untraceable("over which axes it goes")
        return lowering(w, data, axes, keepdims=keepdims, noop_with_empty_axes=noop_with_empty_axes)


for _op in REDUCTIONS:
    _of_known_axes(_op, ops["", _op])


@lowers("CumSum")
def cum_sum(w: Any, x: Tensor, axis: Tensor, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """Sums of all that stands before along an axis."""
    return tf.cumsum(x, tf.reshape(axis, []), exclusive=bool(exclusive), reverse=bool(reverse))


@lowers("CumProd")
def cum_prod(w: Any, x: Tensor, axis: Tensor, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """Products of all that stands before along an axis."""
    return tf.math.cumprod(x, tf.reshape(axis, []), exclusive=bool(exclusive), reverse=bool(reverse))
