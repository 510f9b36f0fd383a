"""Contact sheets: where boxes, maps and errors are drawn, images of any size, and what cannot be drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.data.annotated.sets import IGNORE
from common.errors import InputError
from common.training.contact_sheet import (
    CELL,
    GAP,
    IGNORED,
    LINE,
    WRONG,
    detection_sheet,
    palette,
    save_sheet,
    segmentation_sheet,
    sheet_tensor,
)
from common.training.logs import Log
from tests.common.metrics.box_scenes import found_of, objects_of

TOP = LINE + GAP


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 128, dtype=np.uint8)


def test_boxes_are_drawn_where_they_are_in_an_enlarged_image() -> None:
    """64 px are shown at 5 times their size; the box 10, 20, 40, 50 has its corners at 50, 100 and 200, 250 less one."""
    truth = objects_of([[10, 20, 40, 50]], [1])
    found = found_of([[10, 20, 40, 50], [2, 2, 60, 60]], [0.9, 0.1], [0, 0])
    sheet = detection_sheet([grey(64, 64)], [truth], [found], ["one", "two"])
    assert sheet.dtype == np.uint8
    assert sheet.shape == (TOP + CELL + GAP, 2 * CELL + 3 * GAP, 3)
    for column, label in enumerate((1, 0)):
        cell = sheet[TOP : TOP + CELL, GAP + column * (CELL + GAP) :][:, :CELL]
        same = (cell == palette(2)[label]).all(axis=2)
        assert same[100:250, 50].all()
        assert same[100:250, 199].all()
        assert same[249, 50:200].all()
        assert not same[101:249, 51:199].any()
        assert (cell[101:249, 51:199] == 128).all()
        assert not same[260:].any()  # the box that nobody is sure of is not there


def test_difficult_objects_and_crowds_are_grey() -> None:
    truth = objects_of([[10, 20, 40, 50], [10, 20, 40, 50]], [0, 0], difficult=[True, False], crowd=[False, True])
    sheet = detection_sheet([grey(64, 64)], [truth], [found_of([], [], [])], ["one"])
    assert not (sheet == palette(1)[0]).all(axis=2).any()
    assert (sheet == 170).all(axis=2).any()


def test_images_of_every_size_and_boxes_past_the_border_find_a_place() -> None:
    images = [grey(1, 1), grey(2000, 30), grey(48, 700), grey(64, 64), grey(333, 500)]
    boxes = [[-50, -20, 900, 3000], [0, 0, 0, 0]]
    truth, found = objects_of(boxes, [0, 1]), found_of(boxes, [1.0, 0.3], [1, 0])
    sheet = detection_sheet(images, [truth] * 5, [found] * 5, ["a name that is much longer than any cell is wide" * 3, "b"])
    wide = round(48 * CELL / 700)  # rows are as high as their highest image: 1 and 2,000 px fill a cell
    assert sheet.shape == (TOP + CELL + GAP + CELL + GAP + round(333 * CELL / 500) + GAP, 4 * CELL + 5 * GAP, 3)
    assert detection_sheet(images[2:3], [truth], [found], ["a", "b"]).shape[0] == TOP + wide + GAP


def test_maps_have_the_classes_colours_and_errors_are_red() -> None:
    truth = np.array([[0, 1], [IGNORE, 1]], dtype=np.uint8)
    predicted = np.array([[0, 1], [0, 0]])
    sheet = segmentation_sheet([grey(2, 2)], [truth], [predicted], ["zero", "one"])
    half, colours = CELL // 2, palette(2).tolist()
    cells = [
        sheet[TOP + half // 2 :: half, left + half // 2 :: half][:2, :2].tolist() for left in range(GAP, 4 * CELL, CELL + GAP)
    ]
    assert cells[0] == [[[128] * 3] * 2] * 2
    assert cells[1] == [colours, [list(IGNORED), colours[1]]]
    assert cells[2] == [colours, [colours[0], colours[0]]]
    assert cells[3] == [[[124] * 3, [124] * 3], [list(IGNORED), list(WRONG)]]
    own = segmentation_sheet([grey(2, 2)], [truth], [predicted], ["zero", "one"], np.array([[1, 2, 3], [4, 5, 6]]))
    assert own[TOP + 5, GAP + CELL + GAP + 5].tolist() == [1, 2, 3]


def test_a_legend_of_many_classes_takes_more_lines() -> None:
    maps = [np.zeros((2, 2), dtype=np.int64)]
    few, many = (segmentation_sheet([grey(2, 2)], maps, maps, [f"class {k}" for k in range(n)]) for n in (3, 150))
    assert many.shape[0] > few.shape[0] + 100
    assert len({tuple(colour) for colour in palette(150).tolist()}) == 150


def test_a_saved_sheet_is_the_sheet_and_goes_to_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sheet = detection_sheet([grey(8, 8)], [objects_of([], [])], [found_of([], [], [])], [])
    save_sheet(tmp_path / "new" / "sheet.png", sheet)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / "sheet.png")), sheet)
    log = Log(tmp_path, resumed_at=(0, 0), every=1, tensorboard=True)
    log.image(2, 7, "sheet", sheet_tensor(sheet))
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    (image,) = events.Images("round_02/sheet")
    assert (image.step, image.height, image.width) == (7, *sheet.shape[:2])


def test_what_cannot_be_drawn_is_refused() -> None:
    image, nothing, empty = grey(4, 4), found_of([], [], []), objects_of([], [])
    with pytest.raises(InputError, match=r"1 images and 2 of truth"):
        detection_sheet([image], [empty] * 2, [nothing], ["a"])
    with pytest.raises(InputError, match=r"0 images"):
        detection_sheet([], [], [], ["a"])
    with pytest.raises(InputError, match=r"float64 \(4, 4, 3\), expected uint8"):
        detection_sheet([image / 2], [empty], [nothing], ["a"])
    with pytest.raises(InputError, match=r"with class 1, expected 0 to 0"):
        detection_sheet([image], [objects_of([[0, 0, 2, 2]], [1])], [nothing], ["a"])
    flat = np.zeros((4, 4), dtype=np.int64)
    with pytest.raises(InputError, match=r"predicted label map of \(4, 3\), expected its image's size"):
        segmentation_sheet([image], [flat], [flat[:, :3]], ["a"])
    with pytest.raises(InputError, match=r"with class 255, expected 0 to 0"):
        segmentation_sheet([image], [flat], [flat + IGNORE], ["a"])
