"""A probability map to rectangles: the geometry of Differentiable Binarization (Liao et al. 2020, arXiv:1911.08947).

Points are (x, y) with the centre of pixel [y, x] at (x, y), as in OpenCV, whose functions PaddleOCR strings together.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from zoo.converters.runner import Array


def dilated(mask: Array) -> Array:
    """A mask [H, W] grown by one pixel to the right and down: OpenCV's dilate by a 2 x 2 square, anchored at (1, 1)."""
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    wide = grown.copy()
    wide[:, 1:] |= grown[:, :-1]
    return wide


def components(mask: Array) -> list[Array]:
    """The 8-connected parts of bool [H, W], each as the ends of its rows, int [P, 2]: all that a convex hull needs.

    By runs: each row's stretches of pixels are found at once, then joined where they touch one of the row above.
    Largest number of pixels first.
    """
    row, start, stop = _runs(mask)
    if not len(row):
        return []
    label = _joined(len(row), *_touching(row, start, stop, mask.shape[1] + 2))
    _, part = np.unique(label, return_inverse=True)
    order = np.argsort(part, kind="stable")
    ends = np.stack([np.stack([start, row], 1), np.stack([stop - 1, row], 1)], 1)[order].reshape(-1, 2)
    points = np.split(ends, 2 * np.cumsum(np.bincount(part))[:-1])
    return [points[i] for i in np.argsort(-np.bincount(part, stop - start), kind="stable")]


def _runs(mask: Array) -> tuple[Array, Array, Array]:
    """Row, first column and the column after the last of each stretch, in reading order."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, start = np.nonzero(edges == 1)
    return row, start, np.nonzero(edges == -1)[1]


def _touching(row: Array, start: Array, stop: Array, stride: int) -> tuple[Array, Array]:
    """Pairs of runs of which one touches the other from the row above, also by a corner."""
    above = (row - 1) * stride
    first = np.searchsorted(row * stride + stop, above + start, "left")
    last = np.searchsorted(row * stride + start, above + stop, "right")
    counts = np.maximum(last - first, 0)
    below = np.repeat(np.arange(len(row)), counts)
    offset = np.arange(len(below)) - np.repeat(np.cumsum(counts) - counts, counts)
    return below, np.repeat(first, counts) + offset


def _joined(count: int, a: Array, b: Array) -> Array:
    """The smallest member of each one's connected set: labels sink along the pairs, then jump to their own labels."""
    label = np.arange(count)
    while True:
        low = np.minimum(label[a], label[b])
        sunk = label.copy()
        for members in (a, b, label[a], label[b]):
            np.minimum.at(sunk, members, low)
        while not np.array_equal(jumped := sunk[sunk], sunk):
            sunk = jumped
        if np.array_equal(sunk, label):
            return label
        label = sunk


def hull(points: Array) -> Array:
    """The convex hull of [P, 2], without points on its edges: Andrew's monotone chain."""
    ordered = sorted(set(map(tuple, points.tolist())))
    if len(ordered) < 3:
        return np.array(ordered, float)

    def chain(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        kept: list[tuple[float, float]] = []
        for x, y in points:
            while len(kept) > 1:
                (ax, ay), (bx, by) = kept[-2:]
                if (bx - ax) * (y - ay) > (by - ay) * (x - ax):
                    break
                kept.pop()
            kept.append((x, y))
        return kept[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]), float)


def rectangle(points: Array) -> tuple[Array, float, float]:
    """The rectangle of least area around [P, 2]: corners [4, 2] and the lengths of two neighbouring sides.

    One side of it lies on an edge of the hull (Freeman and Shapira 1975), so every edge is tried.
    """
    corners = hull(points)
    if len(corners) == 1:
        return np.repeat(corners, 4, 0), 0.0, 0.0
    edge = np.roll(corners, -1, 0) - corners
    along = edge / np.linalg.norm(edge, axis=1, keepdims=True)
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    u, v = corners @ along.T, corners @ across.T
    low, high = np.stack([u.min(0), v.min(0)]), np.stack([u.max(0), v.max(0)])
    best = int(np.argmin((high - low).prod(0)))
    (u0, v0), (u1, v1) = low[:, best], high[:, best]
    axes = np.stack([along[best], across[best]])
    return np.array([(u0, v0), (u1, v0), (u1, v1), (u0, v1)]) @ axes, float(u1 - u0), float(v1 - v0)


def grown(box: Array, ratio: float) -> Array:
    """A rectangle [4, 2] whose outline moved out by area * ratio / perimeter: the paper's unclipping.

    In whole pixels and round the corners, as PaddleOCR's clipping library does it: fractions are cut off the corners
    that it is given, so boxes begin half a pixel further to the top left. Without that the classifier of directions
    errs more often (of 105 lines, 3 more were lost).
    """
    long, wide = np.linalg.norm(box[1] - box[0]), np.linalg.norm(box[3] - box[0])
    by = long * wide * ratio / (2 * (long + wide))
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    edge = np.roll(box, -1, 0) - box
    turn = np.concatenate([turn, np.arctan2(-edge[:, 0], edge[:, 1])])
    circle = by * np.stack([np.cos(turn), np.sin(turn)], 1)
    return rectangle(np.rint(np.trunc(box)[:, None] + circle).reshape(-1, 2))[0]


def mean_inside(values: Array, box: Array) -> float:
    """The mean of [H, W] over the pixels of a rectangle, its outline included, as far as it lies inside."""
    height, width = values.shape
    left, top = np.clip(np.floor(box.min(0)), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(box.max(0)), 0, (width - 1, height - 1)).astype(int)
    mask = Image.new("L", (int(right - left + 1), int(bottom - top + 1)))
    ImageDraw.Draw(mask).polygon([(int(x - left), int(y - top)) for x, y in box], fill=1, outline=1)
    inside = np.asarray(mask, bool)
    return float(values[top : bottom + 1, left : right + 1][inside].mean()) if inside.any() else 0.0


def clockwise(box: Array) -> Array:
    """Corners from the top left: of the two leftmost the upper is the first, of the two others the upper the second."""
    by_x = box[np.argsort(box[:, 0], kind="stable")]
    left, right = by_x[:2], by_x[2:]
    (tl, bl), (tr, br) = left[np.argsort(left[:, 1], kind="stable")], right[np.argsort(right[:, 1], kind="stable")]
    return np.stack([tl, tr, br, bl])


def in_reading_order(boxes: Array) -> list[list[int]]:
    """Rows from top to bottom, each a list of indices into [N, 4, 2] from left to right.

    A box belongs to a row if its centre is within the height of the row's first box, and that one's within its own.
    """
    if not len(boxes):
        return []
    top, bottom = boxes[..., 1].min(1), boxes[..., 1].max(1)
    middle, left = (top + bottom) / 2, boxes[..., 0].min(1)
    rows: list[list[int]] = []
    for i in np.argsort(middle, kind="stable").tolist():
        first = rows[-1][0] if rows else None
        if first is not None and top[first] <= middle[i] <= bottom[first] and top[i] <= middle[first] <= bottom[i]:
            rows[-1].append(i)
        else:
            rows.append([i])
    return [sorted(row, key=lambda i: left[i]) for row in rows]
