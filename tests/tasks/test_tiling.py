"""Tiles cover a picture, and what is found in them is what is found on the whole: each object once, each pixel once."""

import itertools

import numpy as np
import pytest

from densebone.errors import UserError
from densebone.tasks.extras import Extras
from densebone.tasks.tiling import (
    GRID,
    PIXEL_GRID,
    Tile,
    find_boxes_in_tiles,
    find_labels_in_tiles,
    merge_boxes,
    starts,
    tiles_of,
)  # fmt: skip

SIZE = (800, 560)


def found_by_colour(image):
    """A detector that makes no mistake: boxes (M, 6) around the pixels of each value of the first channel.

    The second channel is the class; the score is less for an object of which less is seen.
    """
    rows = []
    for value in np.flatnonzero(np.bincount(image[..., 0].ravel()))[1:]:
        here = image[..., 0] == value
        x, y = np.flatnonzero(here.any(0)), np.flatnonzero(here.any(1))
        share = len(x) * len(y) / here.size
        rows.append([image[y[0], x[0], 1], 0.5 + 0.4 * share, x[0], y[0], x[-1] + 1, y[-1] + 1])
    return np.array(rows, float).reshape(-1, 6)


def scene(seed, count=30, sides=(12, 240)):
    """(picture of rectangles that do not touch, its boxes (M, 4)) ."""
    random = np.random.default_rng(seed)
    image, boxes = np.zeros((SIZE[1], SIZE[0], 3), np.uint8), []
    for _ in range(20 * count):
        width, height = random.integers(*sides, 2)
        left, top = random.integers(0, SIZE[0] - width), random.integers(0, SIZE[1] - height)
        if image[max(0, top - 3) : top + height + 3, max(0, left - 3) : left + width + 3, 0].any():
            continue
        boxes.append([left, top, left + width, top + height])
        image[top : top + height, left : left + width] = len(boxes), random.integers(0, 3), 0
        if len(boxes) == count:
            break
    return image, np.array(boxes)


@pytest.mark.parametrize("tile", [(256, 256), (320, 200), (170, 300)])
@pytest.mark.parametrize("overlap", [0, 0.2, 0.5])
def test_objects_are_found_once_and_whole(tile, overlap):
    for seed in range(2):
        image, boxes = scene(seed)
        found = find_boxes_in_tiles(found_by_colour, image, tile, overlap)
        assert sorted(map(tuple, found[:, 2:].astype(int).tolist())) == sorted(map(tuple, boxes.tolist()))
        assert (np.diff(found[:, 1]) <= 0).all()


def test_without_the_whole_picture_objects_larger_than_a_tile_are_put_together():
    image, boxes = scene(1, sides=(12, 400))
    tiles = tiles_of(SIZE, (256, 256), 0.2)
    found = [found_by_colour(t.of(image)) + np.array((0, 0, t.left, t.top, t.left, t.top)) for t in tiles]
    merged = merge_boxes(found, tiles, SIZE)
    assert sorted(map(tuple, merged[:, 2:].astype(int).tolist())) == sorted(map(tuple, boxes.tolist()))


def test_neighbours_of_one_class_and_objects_of_two_classes_in_one_place_stay():
    tiles = [Tile(0, 0, 100, 100), Tile(80, 0, 180, 100)]
    left = np.array([[0, 0.9, 10, 10, 60, 60], [0, 0.8, 20, 10, 70, 60], [1, 0.7, 82, 10, 98, 60]])
    right = np.array([[2, 0.6, 82, 10, 98, 60], [1, 0.9, 83, 11, 97, 60]])
    merged = merge_boxes([left, right], tiles, (180, 100))
    assert merged[:, :2].tolist() == [[0, 0.9], [1, 0.9], [0, 0.8], [2, 0.6]]  # of one tile, both; of two, the better


def test_nothing_found_is_nothing():
    empty = np.zeros((0, 6))
    assert find_boxes_in_tiles(lambda image: empty, np.zeros((300, 300, 3), np.uint8), (100, 100), 0.2).shape == (0, 6)


def test_a_whole_box_wins_over_a_piece_with_a_higher_score():
    tiles = [Tile(0, 0, 100, 100), Tile(60, 0, 160, 100)]
    piece, whole = np.array([[0, 0.95, 70, 20, 100, 60]]), np.array([[0, 0.6, 70, 20, 130, 60]])
    assert merge_boxes([piece, whole], tiles, (160, 100)).tolist() == whole.tolist()


def test_a_box_that_reaches_beyond_its_tile_is_cut_by_it():
    tiles = [Tile(0, 0, 100, 100), Tile(60, 0, 160, 100)]
    beyond, whole = np.array([[0, 0.95, 70, 20, 109, 60]]), np.array([[0, 0.6, 70, 20, 130, 60]])
    assert merge_boxes([beyond, whole], tiles, (160, 100)).tolist() == whole.tolist()


def test_pieces_that_become_one_give_way_to_a_whole_box_in_their_place():
    tiles = [Tile(0, 0, 100, 100), Tile(60, 0, 160, 100), Tile(0, 0, 160, 100)]
    pieces = [np.array([[0, 0.9, 20, 20, 100, 60]]), np.array([[0, 0.8, 60, 20, 130, 60]])]
    whole = np.array([[0, 0.3, 10, 26, 150, 74]])
    assert merge_boxes([*pieces, whole], tiles, (160, 100)).tolist() == whole.tolist()
    joined = merge_boxes([*pieces, np.zeros((0, 6))], tiles, (160, 100))
    assert joined.tolist() == [[0, 0.9, 20, 20, 130, 60]]


@pytest.mark.parametrize("overlap", [0, 0.2, 0.5, 0.75])
@pytest.mark.parametrize("tile", [(64, 48), (100, 100), (500, 40)])
def test_each_pixel_comes_from_the_tile_whose_centre_is_nearest(tile, overlap):
    height, width = 130, 210
    y, x = np.mgrid[:height, :width]
    image = np.stack([x, y, 0 * x], -1).astype(np.uint8)

    def find(pixels, *_place):
        """The distance of each pixel from the nearest border of the tile, along the worse side."""
        h, w = pixels.shape[:2]
        return np.minimum(
            *(np.minimum(np.arange(n), np.arange(n)[::-1]).reshape(s) for n, s in ((h, (-1, 1)), (w, (1, -1))))
        )

    labels = find_labels_in_tiles(find, image, tile, overlap)
    best = np.zeros((height, width), int)
    for one in tiles_of((width, height), tile, overlap, PIXEL_GRID):
        part = best[one.top : one.bottom, one.left : one.right]
        np.maximum(part, find(one.of(image)), out=part)
    assert (labels >= best - 1).all()  # of two centres equally near, either
    told = []

    def own(pixels, place, size):
        told.append((size, (pixels == place.of(image)).all()))
        return pixels[..., 0]

    assert (find_labels_in_tiles(own, image, tile, overlap) == image[..., 0]).all()
    assert set(told) == {((height, width), True)}


def test_tiles_cover_the_picture_and_overlap_as_wanted():
    for length, tile, overlap in ((4000, 640, 0.2), (641, 640, 0.2), (640, 640, 0.2), (100, 640, 0), (7, 3, 0.5)):
        found = starts(length, tile, overlap)
        assert found[0] == 0 and (tile <= length - found[-1] < tile + GRID or length < tile)
        assert all(start % GRID == 0 for start in found) or tile == 3
        assert all(0 < b - a <= max(1, round(tile * (1 - overlap))) for a, b in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tile": (640, 16)}, "tile is 640 x 16 pixels, too small for a network; give 32 at least"),
        ({"tile": (640, 640), "overlap": 1}, "overlap is 1; give a share of the tile's sides, from 0 to below 1"),
        ({"tile": (640, 640), "overlap": -0.1}, r"overlap is -0\.1; give a share"),
        ({"tile": (640, 640), "overlap": float("nan")}, "overlap is nan; give a share"),
        ({"tile": (32, 32), "overlap": 0.99}, "do not move on; give less"),
        ({"save_as": "tfrecord"}, "save_as is 'tfrecord'; give one of coco, voc, yolo, labelme"),
        ({"every": 0}, "every is 0; 1 takes every frame"),
    ],
)  # fmt: skip
def test_what_is_not_allowed(given, words):
    with pytest.raises(UserError, match=words):
        Extras(**given)
