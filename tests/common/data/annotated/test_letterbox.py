"""Letter-boxing: places against hand-worked ones, inverses by hypothesis, nearest resizing against a loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.annotated.letterbox import FILL, Place, letterboxed, letterboxed_map, paste, paste_map, place_in, resized_map
from common.data.annotated.sets import IGNORE

SIDES = st.tuples(st.integers(1, 700), st.integers(1, 700))


def test_places_by_hand() -> None:
    place = place_in((50, 100), (64, 64))
    assert (place.scale, place.left, place.top, place.height, place.width) == (0.64, 0, 16, 32, 64)
    place = place_in((20, 10), (40, 60))
    assert (place.scale, place.left, place.top, place.height, place.width) == (2.0, 20, 0, 40, 20)
    boxes = np.array([[0, 0, 10, 20], [1, 2, 3, 4]], dtype=np.float32)
    assert place.onto(boxes).tolist() == [[20, 0, 40, 40], [22, 4, 26, 8]]
    points = np.array([[[1, 2, 2], [0, 0, 0]]], dtype=np.float32)
    assert place.points_onto(points).tolist() == [[[22, 4, 2], [20, 0, 0]]]


@settings(max_examples=60, deadline=None)
@given(image=SIDES, canvas=SIDES)
def test_an_image_fits_and_boxes_come_back(image: tuple[int, int], canvas: tuple[int, int]) -> None:
    place = place_in(image, canvas)
    assert 0 <= place.left <= place.left + place.width <= canvas[1]
    assert 0 <= place.top <= place.top + place.height <= canvas[0]
    assert place.width == canvas[1] or place.height == canvas[0]
    whole = np.array([[0, 0, image[1], image[0]]], dtype=np.float32)
    np.testing.assert_allclose(place.back(place.onto(whole)), whole, rtol=1e-4, atol=1e-3)
    # The lower right corner of the pixels is where the box says, rounding aside.
    np.testing.assert_allclose(
        place.onto(whole)[0], [place.left, place.top, place.left + place.width, place.top + place.height], atol=1.0
    )


def test_pixels_lie_at_their_place() -> None:
    image = np.full((10, 20, 3), 7, dtype=np.uint8)
    place = place_in((10, 20), (40, 40))
    out = letterboxed(image, place, (40, 40))
    assert (out[10:30] == 7).all()
    assert (out[:10] == FILL).all()
    assert (out[30:] == FILL).all()
    labels = letterboxed_map(np.ones((10, 20), dtype=np.uint8), place, (40, 40))
    assert (labels[10:30] == 1).all()
    assert (labels[:10] == IGNORE).all()
    masks = letterboxed_map(np.ones((2, 10, 20), dtype=np.uint8), place, (40, 40), fill=0)
    assert masks.shape == (2, 40, 40)
    assert masks[:, :10].sum() == 0


@pytest.mark.parametrize("size", [(7, 5), (3, 11), (14, 10), (1, 1)])
def test_label_maps_are_resized_to_the_nearest_pixel(size: tuple[int, int]) -> None:
    labels = np.random.default_rng(0).integers(0, 255, (7, 5), dtype=np.uint8)
    expected = np.empty(size, dtype=np.uint8)
    for row in range(size[0]):
        for column in range(size[1]):
            expected[row, column] = labels[int((row + 0.5) * 7 / size[0]), int((column + 0.5) * 5 / size[1])]
    assert (resized_map(labels, *size) == expected).all()
    assert (resized_map(np.stack([labels, labels]), *size) == expected).all()


@pytest.mark.parametrize(("left", "top"), [(-3, 2), (5, -4), (-20, 0), (0, 30), (0, 0), (9, 9)])
def test_what_lies_outside_a_canvas_is_cut_off(left: int, top: int) -> None:
    image = np.random.default_rng(0).integers(1, 255, (8, 9, 3), dtype=np.uint8)
    canvas, expected = np.zeros((10, 12, 3), dtype=np.uint8), np.zeros((10, 12, 3), dtype=np.uint8)
    for row in range(8):
        for column in range(9):
            if 0 <= row + top < 10 and 0 <= column + left < 12:
                expected[row + top, column + left] = image[row, column]
    place = Place(1.0, left, top, 8, 9)
    paste(canvas, image, place)
    assert (canvas == expected).all()
    masks = np.zeros((2, 10, 12), dtype=np.uint8)
    paste_map(masks, np.moveaxis(image, 2, 0)[:2], place)
    assert (masks == np.moveaxis(expected, 2, 0)[:2]).all()
