"""Pools of pictures by tf.nn, which pads by itself; what it has no kernel for is computed as Keras' table does."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from zoo.converters.writers.keras.operators import pooling as keras_pooling
from zoo.converters.writers.keras.operators.layouts import pictures
from zoo.converters.writers.keras.operators.sizes import is_known, rank
from zoo.converters.writers.keras.operators.windows import Windows, spatial, windows_of
from zoo.converters.writers.tensorflow import lowers

Tensor = Any


@pictures("MaxPool", lowers)
def max_pool(
    w: Any,
    X: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The largest of each window, and where it stands in the whole tensor; what is padded counts as minus infinity.

    TFLite pads no pool: there a picture is padded with its own edge mirrored, which windows hold besides. Minus
    infinity would be in the range of the numbers that 8 bits have to tell apart.
    """
    at = windows_of(spatial(X), kernel_shape, auto_pad, pads, strides, dilations, ceil_mode=ceil_mode)
    if not w.is_read(1) and X.dtype == tf.float32 and rank(X) == 4 and _is_plain(at):
        pairs = [[0, 0], *map(list, at.padding), [0, 0]]
        if w.machine.is_lite and _is_mirrored(at):
            return tf.nn.max_pool2d(tf.pad(X, pairs, mode="SYMMETRIC"), at.kernel, at.stride, "VALID")
        if not w.machine.is_lite:
            return tf.nn.max_pool2d(X, at.kernel, at.stride, pairs)
    return keras_pooling.max_pool(
        w,
        X,
        auto_pad=auto_pad,
        ceil_mode=ceil_mode,
        dilations=dilations,
        kernel_shape=kernel_shape,
        pads=pads,
        storage_order=storage_order,
        strides=strides,
    )


def _is_plain(at: Windows) -> bool:
    """Whether the windows are of neighbours, and padded by known numbers."""
    return max(at.dilation) == 1 and all(is_known(*pair) and min(pair) >= 0 for pair in at.padding)


def _is_mirrored(at: Windows) -> bool:
    """Whether each window that reaches into the padding holds what is mirrored there as well."""
    return any(map(any, at.padding)) and all(2 * max(pair) <= k for pair, k in zip(at.padding, at.kernel, strict=True))
