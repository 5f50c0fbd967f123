"""ONNX's operators that move pixels: Col2Im."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.converters.writers.mxnet import lowers

Value = Any


@lowers("Col2Im")
def col2im(
    w: Any,
    input: Value,  # noqa: A002
    image_shape: Value,
    block_shape: Value,
    *,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:
    """Blocks [N, C * prod(block), L] added up where they lay in images [N, C, ...], by a matrix of their places."""
    shape, block = w.ints(image_shape), w.ints(block_shape)
    n = len(shape)
    both, stride, dilation = list(pads or [0] * 2 * n), strides or [1] * n, dilations or [1] * n
    places, inside = np.zeros((1, 1), np.int64), np.ones((1, 1), bool)  # [element of a block, block]
    for i, (size, k, s, d) in enumerate(zip(shape, block, stride, dilation, strict=True)):
        count = (size + both[i] + both[n + i] - (k - 1) * d - 1) // s + 1
        along = d * np.arange(k)[:, None] + s * np.arange(count) - both[i]
        within = (along >= 0) & (along < size)
        places = places[:, None, :, None] * size + along.clip(0, size - 1)[None, :, None, :]
        inside = inside[:, None, :, None] & within[None, :, None, :]
        places, inside = (x.reshape(x.shape[0] * k, -1) for x in (places, inside))
    matrix = np.zeros((places.size, math.prod(shape)), w.computed_in(0))
    matrix[np.arange(places.size)[inside.reshape(-1)], places[inside]] = 1
    channels = w.whole(0)[1] // math.prod(block)
    blocks = w.F.reshape(input, shape=(0, channels, -1))
    return w.F.reshape(w.F.dot(blocks, w.array(matrix)), shape=(0, 0, *shape))
