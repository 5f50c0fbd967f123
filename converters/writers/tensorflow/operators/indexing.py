"""Picking and finding by tf.*: how many come out is known when it runs, in a traced graph too."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from zoo.converters.writers import strings
from zoo.converters.writers.keras.operators.indexing import from_front
from zoo.converters.writers.keras.operators.sizes import rank, sizes
from zoo.converters.writers.tensorflow import lowers

Tensor = Any


@lowers("Gather")
def gather(w: Any, data: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """data[..., indices, ...] along an axis; negative indices count from the end."""
    numbers = w.known(indices)
    is_plain = numbers is not None and (not numbers.size or numbers.min() >= 0)
    return tf.gather(data, indices if is_plain else from_front(indices, sizes(data)[axis]), axis=axis % rank(data))


@lowers("NonZero")
def non_zero(w: Any, X: Tensor) -> Tensor:
    """The places of what is not zero: [rank, count]."""
    x = X if rank(X) else tf.reshape(X, [1])
    return tf.transpose(tf.where(x if x.dtype == tf.bool else tf.not_equal(x, tf.zeros_like(x))))


@lowers("Compress")
def compress(w: Any, input: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:  # noqa: A002
    """What stands where the condition holds, along an axis or of all elements; a short one holds nowhere else."""
    data = tf.reshape(input, [-1]) if axis is None else input
    return tf.gather(data, tf.where(condition)[:, 0], axis=(axis or 0) % rank(data))


@lowers("Unique")
def unique(w: Any, X: Tensor, *, axis: int | None = None, sorted: int = 1) -> Tensor:  # noqa: A002
    """The elements or slices that differ, where each stands first, which of them each is, how often each is there."""
    x = tf.reshape(X, [-1]) if axis is None else X
    along = (axis or 0) % rank(x)
    found, inverse, counts = tf.raw_ops.UniqueWithCountsV2(x=x, axis=[along], out_idx=tf.int64)
    count = tf.shape(found, tf.int64)[along]
    first = tf.math.unsorted_segment_min(tf.range(tf.size(inverse, tf.int64)), inverse, count)
    if not sorted:
        return found, first, inverse, counts
    order = _order(w, found, along)
    places = tf.scatter_nd(order[:, None], tf.range(count), [count])
    return (
        tf.gather(found, order, axis=along),
        tf.gather(first, order),
        tf.gather(places, inverse),
        tf.gather(counts, order),
    )


def _order(w: Any, x: Tensor, axis: int) -> Tensor:
    """The places of a tensor's slices along an axis in the order of their elements, the first of which counts most."""
    if x.dtype == tf.string:
        raise w.refused("TensorFlow can't put strings in order in a traced graph")
    rows = tf.reshape(tf.transpose(x, [axis, *(i for i in range(rank(x)) if i != axis)]), [sizes(x)[axis], -1])
    rows = tf.cast(rows, tf.int32) if x.dtype == tf.bool else rows
    start = tf.range(tf.shape(rows, tf.int64)[0])

    def by_column(i: Tensor, order: Tensor) -> Any:
        return i - 1, tf.gather(order, tf.argsort(tf.gather(rows[:, i], order), stable=True))

    last = tf.shape(rows)[1] - 1
    return tf.while_loop(lambda i, order: i >= 0, by_column, (last, start))[1]


assert lowers.of_strings is not None  # what a table that is no such table itself always has


@lowers.of_strings("Unique")
def unique_strings(w: Any, X: Tensor, *, axis: int | None = None, sorted: int = 1) -> Tensor:  # noqa: A002
    """The strings that differ; in order only where they are at hand, since TensorFlow has no order of strings."""
    if w.is_traced(X):
        return unique(w, X, axis=axis, sorted=sorted)
    words = np.vectorize(lambda word: word if isinstance(word, str) else word.decode(), otypes=[object])(w.numbers(X))
    return strings.unique(words, axis, bool(sorted))


@lowers("NonMaxSuppression")
def non_max_suppression(
    w: Any,
    boxes: Tensor,
    scores: Tensor,
    max_output_boxes_per_class: Tensor = None,
    iou_threshold: Tensor = None,
    score_threshold: Tensor = None,
    *,
    center_point_box: int = 0,
) -> Tensor:
    """(batch, class, box) of each box that no better one of its class overlaps by more than the threshold, best first.

    boxes [batch, boxes, 4] as (y1, x1, y2, x2), corners in any order, or (x, y, width, height) about the centre; scores
    [batch, classes, boxes]. Returns int64 [count, 3].
    """
    if center_point_box:
        x, y, width, height = tf.unstack(boxes, axis=-1)
        boxes = tf.stack([y - height / 2, x - width / 2, y + height / 2, x + width / 2], -1)
    count = tf.shape(boxes)[1]
    most = tf.constant(0) if max_output_boxes_per_class is None else max_output_boxes_per_class
    most = tf.cast(tf.minimum(tf.cast(tf.reshape(most, []), tf.int64), tf.cast(count, tf.int64)), tf.int32)
    overlap = tf.constant(0.0) if iou_threshold is None else tf.reshape(iou_threshold, [])
    least = tf.constant(-np.inf) if score_threshold is None else tf.reshape(score_threshold, [])
    batches, classes = tf.shape(scores)[0], tf.shape(scores)[1]

    def of_class(i: Tensor) -> Tensor:
        batch, kind = i // classes, i % classes
        kept = tf.raw_ops.NonMaxSuppressionV3(
            boxes=boxes[batch],
            scores=scores[batch, kind],
            max_output_size=most,
            iou_threshold=overlap,
            score_threshold=least,
        )
        points = tf.stack([tf.fill(tf.shape(kept), batch), tf.fill(tf.shape(kept), kind), kept], 1)
        return tf.cast(points, tf.int64)

    start = (tf.constant(0), tf.zeros([0, 3], tf.int64))
    return tf.while_loop(
        lambda i, found: i < batches * classes,
        lambda i, found: (i + 1, tf.concat([found, of_class(i)], 0)),
        start,
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, 3])),
    )[1]
