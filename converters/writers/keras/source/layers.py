"""The layers that a Keras source may use beside Keras' own: their code goes into the file.

Pictures are [N, ..., C]. Padding is counted in pixels where its author does: "same" is another in steps of two.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops


class Padded(layers.Layer):
    """Beside a layer of Keras' that slides a window: `padding` may be pixels, at both ends or (begin, end) per axis."""

    fill = 0.0

    def __init__(self, *args: Any, padding: Any = 0, **kwargs: Any) -> None:
        super().__init__(*args, padding=padding if isinstance(padding, str) else "valid", **kwargs)
        n = len(self.strides)
        each = (0 if isinstance(padding, str) else padding,) * n if not isinstance(padding, tuple) else padding
        self.pads = tuple((p, p) if isinstance(p, int) else p for p in each)
        window = getattr(self, "kernel_size", None)
        if window is None or max(self.strides) > 1:
            return
        spans = [(k - 1) * d for k, d in zip(window, self.dilation_rate, strict=True)]
        if all(begin == end == span / 2 for (begin, end), span in zip(self.pads, spans, strict=True)):
            self.padding, self.pads = "same", ((0, 0),) * n

    def around(self, shape: Any) -> tuple[Any, ...]:
        """The shape of what is padded."""
        sizes = (n if n is None else n + sum(pair) for n, pair in zip(shape[1:-1], self.pads, strict=True))
        return (shape[0], *sizes, shape[-1])

    def build(self, input_shape: Any) -> None:
        """Build for what is padded."""
        super().build(self.around(input_shape))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of what is made of what is padded."""
        return super().compute_output_shape(self.around(input_shape))

    def call(self, x: Any) -> Any:
        """Pad, and do what Keras' layer does."""
        if any(map(any, self.pads)):
            x = ops.pad(x, ((0, 0), *self.pads, (0, 0)), constant_values=self.fill)
        return super().call(x)


class Conv1D(Padded, layers.Conv1D):
    """Keras' own, with padding in pixels."""


class Conv2D(Padded, layers.Conv2D):
    """Keras' own, with padding in pixels."""


class Conv3D(Padded, layers.Conv3D):
    """Keras' own, with padding in pixels."""


class DepthwiseConv1D(Padded, layers.DepthwiseConv1D):
    """Keras' own, with padding in pixels."""


class DepthwiseConv2D(Padded, layers.DepthwiseConv2D):
    """Keras' own, with padding in pixels."""


class MaxPooling1D(Padded, layers.MaxPooling1D):
    """Keras' own, with padding in pixels, which are never the largest."""

    fill = float("-inf")


class MaxPooling2D(Padded, layers.MaxPooling2D):
    """Keras' own, with padding in pixels, which are never the largest."""

    fill = float("-inf")


class MaxPooling3D(Padded, layers.MaxPooling3D):
    """Keras' own, with padding in pixels, which are never the largest."""

    fill = float("-inf")


class AveragePooling1D(Padded, layers.AveragePooling1D):
    """Keras' own, with padding in pixels, which count as zeros."""


class AveragePooling2D(Padded, layers.AveragePooling2D):
    """Keras' own, with padding in pixels, which count as zeros."""


class AveragePooling3D(Padded, layers.AveragePooling3D):
    """Keras' own, with padding in pixels, which count as zeros."""


class StochasticDepth(layers.Layer):
    """In training, zeros in the place of a share of the samples, or with mode "batch" of all of them."""

    def __init__(self, rate: float, mode: str = "row", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate, self.mode = rate, mode
        self.seed = keras.random.SeedGenerator()

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Drop, and scale up the rest."""
        if not training or self.rate == 0:
            return x
        shape = (ops.shape(x)[0] if self.mode == "row" else 1, *[1] * (len(x.shape) - 1))
        kept = keras.random.uniform(shape, seed=self.seed) >= self.rate
        return ops.where(kept, x / (1 - self.rate), 0.0)


class LocalResponseNormalization(layers.Layer):
    """Over the power beta of k + alpha times the mean square of `size` channels around."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def call(self, x: Any) -> Any:
        """Normalise."""
        before, channels = (self.size - 1) // 2, x.shape[-1]
        squares = ops.pad(ops.square(x), [(0, 0)] * (len(x.shape) - 1) + [(before, self.size - 1 - before)])
        total = sum(squares[..., i : i + channels] for i in range(self.size))
        return x / (self.k + self.alpha / self.size * total) ** self.beta


def attention(
    query: Any, key: Any, value: Any, mask: Any = None, scale: float | None = None, is_causal: bool = False
) -> Any:
    """softmax(query @ key.T * scale + mask) @ value over [N, heads, T, size]; a mask of booleans says what is seen."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = ops.matmul(query, ops.swapaxes(key, -1, -2)) * scale
    if is_causal:
        scores = ops.where(ops.tril(ops.ones_like(scores)) > 0, scores, float("-inf"))
    if mask is not None:
        is_bool = keras.backend.standardize_dtype(mask.dtype) == "bool"
        scores = ops.where(mask, scores, float("-inf")) if is_bool else scores + mask
    weights = ops.softmax(scores, axis=-1)
    return ops.matmul(ops.where(ops.isnan(weights), 0.0, weights), value)


def gather_nd(x: Any, indices: Any) -> Any:
    """The elements of x at places whose coordinates stand along the last axis."""
    shape, count = ops.shape(x), indices.shape[-1]
    place = indices[..., 0]
    for i in range(1, count):
        place = place * shape[i] + indices[..., i]
    return ops.take(ops.reshape(x, (-1, *shape[count:])), place, axis=0)


def resize(x: Any, size: Any, method: str = "bilinear") -> Any:
    """A picture [N, H, W, C] at another height and width."""
    return ops.image.resize(x, size, interpolation=method, data_format="channels_last")
