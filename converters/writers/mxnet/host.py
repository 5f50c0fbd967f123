"""What MXNet has no operator for and numpy has: its inputs are read, so that no symbol can hold it."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.converters.writers.mxnet import lowers
from zoo.converters.writers.mxnet.types import mxnet_dtype
from zoo.converters.writers.numbers import decoded_image, tf_idf

Value = Any


@lowers("ImageDecoder")
def image_decoder(w: Any, encoded_stream: Value, *, pixel_format: str = "RGB") -> Value:
    """The bytes of an image file, uint8 [n] -> uint8 [height, width, 3], or [height, width, 1] for Grayscale."""
    return w.array(np.ascontiguousarray(decoded_image(w.concrete(encoded_stream), pixel_format)))


@lowers("BitCast")
def bit_cast(w: Any, input: Value, *, to: int) -> Value:  # noqa: A002
    """The same bits in a dtype of the same width."""
    return w.array(w.concrete(input).view(mxnet_dtype(to)))


@lowers("CumProd")
def cum_prod(w: Any, x: Value, axis: Value, *, exclusive: int = 0, reverse: int = 0) -> Value:
    """The product of what stands up to each place along an axis, with or without the place itself, from either end."""
    values, along = w.concrete(x), w.number(axis)
    values = np.flip(values, along) if reverse else values
    made = np.cumprod(values, along, dtype=values.dtype)
    if exclusive:
        made = np.roll(made, 1, along)
        made[tuple(slice(0, 1) if a == along % made.ndim else slice(None) for a in range(made.ndim))] = 1
    return w.array(np.ascontiguousarray(np.flip(made, along) if reverse else made))


@lowers("TfIdfVectorizer")
def tf_idf_vectorizer(
    w: Any,
    X: Value,
    *,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: Sequence[int],
    ngram_indexes: Sequence[int],
    pool_int64s: Sequence[int] | None = None,
    pool_strings: Sequence[str] | None = None,
    weights: Sequence[float] | None = None,
) -> Value:
    """How often n-grams of a pool of numbers occur in each row of X [C] or [N, C]."""
    made = tf_idf(
        w.concrete(X),
        list(pool_int64s or ()),
        max_gram_length=max_gram_length,
        max_skip_count=max_skip_count,
        min_gram_length=min_gram_length,
        mode=mode,
        ngram_counts=ngram_counts,
        ngram_indexes=ngram_indexes,
        weights=weights,
    )
    return w.array(np.asarray(made, np.float32))


@lowers("BitShift")
def bit_shift(w: Any, X: Value, Y: Value, *, direction: str) -> Value:
    """The bits of X moved by Y places; by none of its places all that is left is the sign of what goes right."""
    x, by = np.broadcast_arrays(w.concrete(X), w.concrete(Y))
    inside = (by >= 0) & (by < 8 * x.dtype.itemsize)
    by = np.where(inside, by, 0).astype(by.dtype)
    if direction == "LEFT":
        moved, beyond = np.left_shift(x, by), np.zeros_like(x)
    else:
        moved, beyond = np.right_shift(x, by), np.where(x < 0, -1, 0).astype(x.dtype)
    return w.array(np.where(inside, moved, beyond).astype(x.dtype))
