"""What several processes found, brought together; detections that cannot be compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.errors import InputError, RunError
from common.metrics.coco import coco_box_metrics
from common.metrics.found_boxes import FoundBoxes, checked_objects, merge_found
from common.metrics.voc import voc_box_metrics
from tests.common.metrics.box_scenes import found_of, images_of, objects_of, random_scenes


def test_scores_of_three_processes_are_those_of_one() -> None:
    images, found = random_scenes(8, 13, 3)
    parts = [{i: found[i] for i in reversed(range(rank, 13, 3))} for rank in range(3)]
    merged = merge_found(parts, 13)
    assert all(ours is theirs for ours, theirs in zip(merged, found, strict=True))
    assert coco_box_metrics(merged, images, 3) == coco_box_metrics(found, images, 3)
    assert voc_box_metrics(merged, images, 3) == voc_box_metrics(found, images, 3)


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ([{0: 0, 1: 0}, {1: 0, 2: 0}], r"image 1 was evaluated twice"),
        ([{0: 0}, {2: 0}], r"1 of 3 images were not evaluated, the first is 1"),
        ([{0: 0, 1: 0, 2: 0, 3: 0}], r"image 3 was evaluated, the split has images 0 to 2"),
    ],
)
def test_every_image_must_be_there_once(parts: list[dict[int, int]], match: str) -> None:
    nothing = found_of([], [], [])
    with pytest.raises(InputError, match=match):
        merge_found([dict.fromkeys(part, nothing) for part in parts], 3)


def test_values_that_are_no_boxes_are_refused() -> None:
    boxes, scores, labels = np.array([[0.0, 0, 5, 5]]), np.array([0.5]), np.array([0])
    with pytest.raises(InputError, match=r"shapes \(1, 4\), \(1,\) and \(2,\)"):
        FoundBoxes(boxes, scores, np.array([0, 1]))
    with pytest.raises(InputError, match=r"x1 <= x2"):
        FoundBoxes(boxes[:, ::-1], scores, labels)
    with pytest.raises(InputError, match=r"expected integers"):
        FoundBoxes(boxes, scores, labels.astype(float))
    for wrong in ((boxes * np.nan, scores), (boxes, scores * np.inf)):
        with pytest.raises(RunError, match=r"not finite"):
            FoundBoxes(*wrong, labels)


def test_what_cannot_be_compared_is_refused() -> None:
    images = images_of([objects_of([[0, 0, 5, 5]], [2])])
    nothing = [found_of([], [], [])]
    with pytest.raises(InputError, match=r"0\.png: an object has label 2, expected 0 to 1"):
        checked_objects(nothing, images, 2)
    with pytest.raises(InputError, match=r"0\.png: a found box has label -1, expected 0 to 2"):
        checked_objects([found_of([[0, 0, 5, 5]], [0.5], [-1])], images, 3)
    with pytest.raises(InputError, match=r"detections of 2 images, expected one list for each of the 1"):
        checked_objects(nothing * 2, images, 3)
    with pytest.raises(InputError, match=r"label maps and no objects"):
        checked_objects(nothing, replace(images, objects=None), 3)
