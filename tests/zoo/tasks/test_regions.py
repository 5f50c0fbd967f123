from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from zoo.tasks.ocr import crop
from zoo.tasks.regions import clockwise, components, dilated, grown, hull, in_reading_order, mean_inside, rectangle
from zoo.tasks.text_detection import Thresholds, _scaled, regions

RNG = np.random.default_rng(0)
LIMITS = Thresholds(pixel=0.3, box=0.5, unclip=1.6, dilate=True, max_boxes=1000)


def flooded(mask: np.ndarray) -> set[frozenset[tuple[int, int]]]:
    """The 8-connected parts, each as all of its pixels (x, y): by the definition, one neighbour after the other."""
    left = {(int(x), int(y)) for y, x in np.argwhere(mask)}
    parts = set()
    while left:
        part, front = set(), {left.pop()}
        while front:
            part |= front
            front = {(x + i, y + j) for x, y in front for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= front
        parts.add(frozenset(part))
    return parts


def row_ends(part) -> set[tuple[int, int]]:
    """The pixels of a part that have none to their left, or none to their right."""
    return {(x, y) for x, y in part if (x - 1, y) not in part or (x + 1, y) not in part}


@pytest.mark.parametrize("density", [0.02, 0.2, 0.4, 0.6, 0.9, 1.0])
def test_parts_are_the_connected_ones_largest_first(density):
    for height, width in [(1, 1), (1, 40), (40, 1), (23, 31)]:
        mask = RNG.random((height, width)) < density
        found = [frozenset(map(tuple, points.tolist())) for points in components(mask)]
        assert len(found) == len(set(found))
        assert {frozenset(row_ends(part)) for part in flooded(mask)} == set(found)


def test_a_spiral_is_one_part_and_nothing_is_none():
    spiral = np.zeros((41, 41), bool)
    for ring in range(0, 20, 2):
        spiral[ring, ring : 41 - ring] = spiral[ring : 41 - ring, 40 - ring] = spiral[40 - ring, ring : 41 - ring] = (
            True
        )
        spiral[ring + 2 : 41 - ring, ring] = spiral[ring + 2, ring : ring + 3] = True
    assert 1 == len(components(spiral)) == len(flooded(spiral))
    assert [] == components(np.zeros((5, 5), bool))


def test_the_hull_is_convex_and_holds_every_point():
    for count in (1, 2, 3, 5, 200):
        points = RNG.integers(0, 30, (count, 2))
        corners = hull(points)
        if len(corners) < 3:
            continue
        edge = np.roll(corners, -1, 0) - corners
        to = points[:, None] - corners
        assert (edge[:, 0] * to[..., 1] - edge[:, 1] * to[..., 0] >= 0).all()
    assert [[0, 0], [3, 3]] == hull(np.array([[1, 1], [0, 0], [3, 3], [2, 2]])).tolist()


def test_the_rectangle_is_the_smallest_over_all_angles():
    for _ in range(20):
        points = RNG.integers(0, 40, (12, 2)).astype(float)
        box, width, height = rectangle(points)
        angles = np.linspace(0, np.pi / 2, 2000)
        u = points @ np.stack([np.cos(angles), np.sin(angles)])
        v = points @ np.stack([-np.sin(angles), np.cos(angles)])
        assert width * height <= (np.ptp(u, 0) * np.ptp(v, 0)).min() + 1e-9
        edge = np.roll(box, -1, 0) - box
        np.testing.assert_allclose(0, (edge * np.roll(edge, -1, 0)).sum(1), atol=1e-9)
        np.testing.assert_allclose([width, height], np.linalg.norm(edge, axis=1)[:2])
    assert (0.0, 0.0) == rectangle(np.array([[3, 4]]))[1:]
    assert pytest.approx([5, 0], abs=1e-9) == rectangle(np.array([[0, 0], [3, 4]]))[1:]


def test_a_box_grows_by_its_area_over_its_perimeter():
    box = np.array([(10, 20), (110, 20), (110, 40), (10, 40)], float)
    by = 100 * 20 * 1.6 / 240
    expected = [(10 - by, 20 - by), (110 + by, 20 - by), (110 + by, 40 + by), (10 - by, 40 + by)]
    assert np.abs(clockwise(grown(box, 1.6)) - expected).max() <= 0.5
    np.testing.assert_array_equal(box, clockwise(grown(box, 0)))


def test_dilating_closes_a_gap_of_one_pixel():
    mask = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 0, 0]], bool)
    assert [[1, 1, 1, 1, 0], [1, 1, 1, 1, 0]] == dilated(mask).astype(int).tolist()


def test_the_mean_is_of_the_box_alone():
    values = np.zeros((20, 20))
    values[5:11, 4:16] = 1
    assert 1.0 == mean_inside(values, np.array([(4, 5), (15, 5), (15, 10), (4, 10)], float))
    assert 0.5 == mean_inside(values, np.array([(4, 5), (15, 5), (15, 16), (4, 16)], float))
    assert 1.0 == mean_inside(values, np.array([(4.0, 5), (4, 5), (4, 5), (4, 5)]))
    assert 0.0 == mean_inside(values, np.array([(-9, -9), (-5, -9), (-5, -5), (-9, -5)], float))


def test_rows_are_read_from_the_top_and_from_the_left():
    boxes = [(200, 12, 260, 32), (10, 60, 90, 80), (10, 10, 90, 30), (100, 64, 150, 78), (10, 33, 300, 58)]
    corners = np.array([[(a, b), (c, b), (c, d), (a, d)] for a, b, c, d in boxes], float)
    assert [[2, 0], [4], [1, 3]] == in_reading_order(corners)
    assert [] == in_reading_order(np.zeros((0, 4, 2)))


def map_of(*quads, size=(200, 300), likely=0.9) -> np.ndarray:
    picture = Image.new("L", size[::-1])
    for quad in quads:
        ImageDraw.Draw(picture).polygon(quad, fill=255)
    return np.asarray(picture).astype(np.float32) / 255 * likely


def test_a_map_becomes_boxes_in_the_pixels_of_the_picture():
    found = regions(map_of([(20, 40), (120, 40), (120, 60), (20, 60)]), (400, 900), LIMITS)
    (region,) = found
    assert region.score == pytest.approx(0.9, abs=0.05)
    # dilated by a pixel to the right and down, grown by 101 * 21 * 1.6 / 244 = 14; 3 times as wide, 2 times as high
    assert np.abs(np.array([(18, 52), (405, 52), (405, 150), (18, 150)]) - region.box).max() <= 3


def test_a_slanted_line_has_a_slanted_box():
    (region,) = regions(map_of([(20, 120), (200, 60), (206, 78), (26, 138)]), (200, 300), LIMITS)
    (x0, y0), (x1, y1), *_ = region.box
    assert np.arctan2(y1 - y0, x1 - x0) == pytest.approx(np.arctan2(-60, 180), abs=0.03)


def test_what_is_unlikely_thin_or_outside_is_no_text():
    assert () == regions(np.zeros((64, 64), np.float32), (64, 64), LIMITS)
    assert () == regions(map_of([(20, 40), (120, 40), (120, 60), (20, 60)], likely=0.4), (200, 300), LIMITS)
    assert () == regions(map_of([(20, 40), (120, 40), (120, 41), (20, 41)]), (200, 300), LIMITS)
    (whole,) = regions(np.ones((64, 64), np.float32), (32, 32), LIMITS)
    assert ((0, 0), (31, 0), (31, 31), (0, 31)) == whole.box


def test_a_box_of_which_the_picture_leaves_no_area_is_no_text():
    for slanted in ([(-30, 25), (25, -30), (30, -25), (-25, 30)], [(-40, 33), (33, -40), (36, -37), (-37, 36)]):
        box = np.array(slanted, float)
        found = _scaled(box, (200, 300), (200, 300))
        assert (
            found is None or np.abs(crop(Image.new("RGB", (300, 200), "white"), np.array(found, float)).size).min() > 0
        )
    assert _scaled(np.array([(-50, 10), (10, -50), (10, -50), (-50, 10)], float), (200, 300), (200, 300)) is None


def test_noise_ends_with_the_largest_boxes():
    noise = RNG.random((300, 400)).astype(np.float32) ** 4
    assert len(regions(noise, (300, 400), Thresholds(0.3, 0.0, 1.6, False, 20))) <= 20
