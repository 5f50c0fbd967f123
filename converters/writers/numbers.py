"""What ONNX computes of numbers that decide over a shape, in numpy alone: for writers whose frameworks trace.

Strings have the like in strings.py.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from zoo.converters.writers.strings import n_gram_counts
from zoo.errors import HubError

Array = np.ndarray[Any, np.dtype[Any]]
HANN, HAMMING, BLACKMAN = (0.5, -0.5), (25 / 46, -21 / 46), (0.42, -0.5, 0.08)


def unique(x: Array, axis: int | None = None, ordered: bool = True) -> tuple[Array, Array, Array, Array]:
    """The elements (or slices along an axis) that differ, where each stands first, which of them each is, how many.

    Sorted, or in the order in which they first appear.
    """
    found, first, inverse, counts = np.unique(x, True, True, True, axis=axis)
    inverse = inverse.reshape(-1)
    if not ordered:
        order = np.argsort(first)
        found, first, counts = np.take(found, order, axis or 0), first[order], counts[order]
        inverse = np.argsort(order)[inverse]
    return found, first.astype(np.int64), inverse.astype(np.int64), counts.astype(np.int64)


def non_max_suppression(
    boxes: Array, scores: Array, most: int, overlap: float, least: float | None, *, is_centered: bool
) -> Array:
    """(batch, class, box) of each box that no better one of its class overlaps by more than `overlap`, best first.

    boxes [batch, boxes, 4] as (y1, x1, y2, x2), corners in any order, or (x, y, width, height) about the centre; scores
    [batch, classes, boxes], of which those above `least` count. At most `most` of a class. Returns int64 [count, 3].
    """
    if is_centered:
        begin, end = boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2
    else:
        begin, end = np.minimum(boxes[..., :2], boxes[..., 2:]), np.maximum(boxes[..., :2], boxes[..., 2:])
    found = [
        (batch, kind, box)
        for batch, kind in np.ndindex(scores.shape[:2])
        for box in _kept(begin[batch], end[batch], scores[batch, kind], most, overlap, least)
    ]
    return np.array(found, dtype=np.int64).reshape(-1, 3)


def _kept(low: Array, high: Array, marks: Array, most: int, overlap: float, least: float | None) -> list[int]:
    """The boxes of one class that stay, best first."""
    area = (high - low).prod(-1)
    order = np.argsort(-marks, kind="stable")
    if least is not None:
        order = order[marks[order] > least]
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, order = order[0], order[1:]
        kept.append(int(best))
        sides = np.minimum(high[best], high[order]) - np.maximum(low[best], low[order])
        common = sides.clip(0).prod(-1)
        with np.errstate(invalid="ignore", divide="ignore"):  # two boxes without an area share 0 / 0, which is no more
            order = order[~(common / (area[best] + area[order] - common) > overlap)]
    return kept


def decoded_image(stream: Array, pixel_format: str) -> Array:
    """The bytes of an image file, uint8 [n] -> uint8 [height, width, 3], or [height, width, 1] for Grayscale.

    Raises HubError for an unknown format, and what Pillow raises for bytes that are no image, or one of an absurd size.
    """
    if pixel_format not in ("RGB", "BGR", "Grayscale"):
        raise HubError(f"ImageDecoder with pixel format {pixel_format!r}; there are RGB, BGR and Grayscale")
    with Image.open(io.BytesIO(stream.tobytes())) as image:
        pixels = np.array(image.convert("L" if pixel_format == "Grayscale" else "RGB"))
    pixels = pixels[:, :, ::-1] if pixel_format == "BGR" else pixels
    return pixels.reshape(*pixels.shape[:2], -1)


def cosine_window(n: int, is_periodic: bool, factors: Sequence[float]) -> Array:
    """A sum of cosines over n places: HANN, HAMMING, BLACKMAN. A periodic one is all but the last of one more."""
    if n == 1 and not is_periodic:
        return np.ones(1)
    turn = 2 * math.pi * np.arange(n) / max(n if is_periodic else n - 1, 1)
    return np.asarray(sum(factor * np.cos(k * turn) for k, factor in enumerate(factors)))


def mel_triangles(bands: int, dft_length: int, sample_rate: int, lowest: float, highest: float) -> Array:
    """Triangles [dft_length // 2 + 1, bands] over the frequencies of a transform, evenly apart on the mel scale.

    A band's begins at the peak of the one before and ends at the peak of the one behind. The step is the standard's: of
    as many parts as there are edges, so that the last band ends below `highest`, in Hertz as `lowest` is.
    """
    low, high = (2595 * math.log10(1 + edge / 700) for edge in (lowest, highest))
    edges = np.arange(bands + 2) * ((high - low) / (bands + 2)) + low
    hertz = 700 * np.expm1(edges / 2595 * math.log(10))
    places = np.floor((dft_length + 1) * hertz / sample_rate)
    begin, peak, end = places[:-2], places[1:-1], places[2:]
    at = np.arange(dft_length // 2 + 1)[:, None]
    rising = np.where(peak > begin, (at - begin) / np.maximum(peak - begin, 1), 1)
    falling = (end - at) / np.maximum(end - peak, 1)
    weights = np.where((at >= begin) & (at <= peak), rising, 0)
    return np.where((at >= peak) & (at < end), falling, weights)


def tf_idf(
    tokens: Array,
    pool: Sequence[int],
    *,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: Sequence[int],
    ngram_indexes: Sequence[int],
    weights: Sequence[float] | None,
) -> Array:
    """How often n-grams of a pool occur in each row of tokens [C] or [N, C]: counts (TF), the weight of what occurs
    (IDF), or the count times the weight (TFIDF). The attributes are ONNX's. Raises HubError.
    """
    if mode not in ("TF", "IDF", "TFIDF"):
        raise HubError(f"TfIdfVectorizer has no mode {mode!r}")
    starts = [*ngram_counts, len(pool)]
    grams = [
        tuple(pool[at : at + n])
        for n, (start, end) in enumerate(zip(starts[:-1], starts[1:], strict=True), 1)
        for at in range(start, end, n)
    ]
    if len(grams) != len(ngram_indexes) or (weights and len(weights) != len(grams)):
        raise HubError(f"{len(grams)} n-grams, {len(ngram_indexes)} indexes and {len(weights or grams)} weights")
    lengths = range(min_gram_length, max_gram_length + 1)
    made = n_gram_counts(np.atleast_2d(tokens), grams, ngram_indexes, lengths, max_skip_count)
    if mode != "TF":
        weight = np.ones(made.shape[1], np.float32)
        weight[list(ngram_indexes)] = weights or 1
        made = (made if mode == "TFIDF" else (made > 0).astype(np.float32)) * weight
    return made if tokens.ndim == 2 else made[0]


def source_places(size: int, have: int, scale: float, coordinates: str, begin: float, end: float) -> Array:
    """Where the places of an output of `size` lie along an axis of `have` elements."""
    at = np.arange(size, dtype=np.float64)
    length = scale * have  # ONNX counts with the size before it is rounded
    if coordinates == "align_corners":
        return at * (have - 1) / (length - 1) if length != 1 else at * 0
    if coordinates == "asymmetric":
        return at / scale
    if coordinates == "tf_crop_and_resize":
        if length == 1:
            return at * 0 + (begin + end) * (have - 1) / 2
        return begin * (have - 1) + at * (end - begin) * (have - 1) / (length - 1)
    if coordinates == "pytorch_half_pixel" and length == 1:
        return at * 0 - 0.5
    shift = have / 2 * (1 - size / length) if coordinates == "half_pixel_symmetric" else 0.0
    return np.asarray(shift + (at + 0.5) / scale - 0.5)


def weighted_neighbours(at: Array, radius: int, shrink: float, cubic_coeff_a: float) -> tuple[Array, Array]:
    """Which elements each place reads and how much of each, [n, count] both: a triangle of radius 1, a cubic of 2.

    `shrink` below 1 widens the kernel, so that an image that becomes smaller is smoothed (antialias).
    """
    first = math.floor(-radius / shrink) + 1
    base = np.floor(at)
    offsets = np.arange(first, 2 - first)
    distance = np.abs((offsets - (at - base)[:, None]) * shrink)
    if radius == 1:
        weights = np.maximum(1 - distance, 0)
    else:
        a = cubic_coeff_a
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
    if shrink != 1.0:
        weights = weights / weights.sum(-1, keepdims=True)
    return (base[:, None] + offsets).astype(np.int64), weights
