"""The baselines of detection and segmentation: worked cases, a loop over pixels, one line for bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.detection_baseline import measure as measure_boxes
from benchmarks.detection_baseline import usual_boxes
from benchmarks.segmentation_baseline import main, measure, nearest, position_prior
from common.data.annotated.sets import IGNORE, AnnotatedImages, AnnotatedSet
from common.data.inputs import NORMALISATIONS, rgb
from common.errors import InputError
from tests.common.metrics.box_scenes import images_of, objects_of

INPUT = rgb(None, *NORMALISATIONS["unit"])


def labelled(maps: list[np.ndarray]) -> AnnotatedImages:
    """Return images with these label maps."""
    sizes = np.array([map_HW.shape for map_HW in maps])
    names = tuple(f"{i}.png" for i in range(len(maps)))
    return AnnotatedImages(
        names, np.arange(len(maps)), sizes, lambda index: np.zeros((1, 1, 3), np.uint8), None, maps.__getitem__
    )


def set_of(classes: int, **splits: AnnotatedImages) -> AnnotatedSet:
    return AnnotatedSet("own", tuple(map(str, range(classes))), INPUT, splits, "", "")


def test_usual_boxes_stand_where_training_boxes_are_most_often() -> None:
    """On 400 x 500 px: class 1 twice about (55, 45) and once about (255, 245), of 20 x 10; a difficult box is left aside."""
    there = objects_of(
        [[45, 40, 65, 50], [45, 40, 65, 50], [245, 240, 265, 250], [0, 0, 400, 400]], [1, 1, 1, 0], difficult=[0, 0, 0, 1]
    )
    usual = usual_boxes(images_of([there]), 3, positions=5)
    order = np.argsort(-usual.scores)
    expected = np.array([[45, 40, 65, 50], [245, 240, 265, 250]]) / [500, 400, 500, 400]
    assert usual.boxes[order] == pytest.approx(expected)
    assert usual.scores[order].tolist() == [1, 0.5]
    assert usual.labels.tolist() == [1, 1]
    with pytest.raises(InputError, match=r"none of the 1 training images has an object"):
        usual_boxes(images_of([objects_of([], [])]), 3, positions=5)


def test_positions_are_chosen_on_validation_and_fit_images_of_another_size() -> None:
    one, two = [[0, 0, 40, 40], [200, 200, 240, 240]], [[0, 0, 80, 80], [400, 400, 480, 480]]
    small, large = images_of([objects_of(one, [0, 0])], 400, 500), images_of([objects_of(two, [0, 0])], 800, 1000)
    metrics = measure_boxes(set_of(1, train=small, validation=small, test=large))
    assert metrics["positions"] == 2
    assert metrics["validation/AP50"] == metrics["test/AP50"] == metrics["test/VOC_AP50"] == pytest.approx(1)


def test_the_prior_is_each_pixels_most_frequent_class() -> None:
    random = np.random.default_rng(0)
    maps = [random.integers(0, 4, (6, 5)).astype(np.uint8) for _ in range(9)]
    maps = [np.where(random.random((6, 5)) < 0.2, np.uint8(IGNORE), map_HW) for map_HW in maps]
    for map_HW in maps:
        map_HW[0, 0] = IGNORE  # nobody says what is there
    prior, majority = position_prior(labelled(maps), 5)
    every = np.concatenate([map_HW[map_HW != IGNORE] for map_HW in maps]).tolist()
    frequency = [every.count(k) for k in range(5)]
    assert frequency[majority] == max(frequency)
    for row in range(6):
        for column in range(5):
            here = [int(map_HW[row, column]) for map_HW in maps]
            expected = max(range(5), key=lambda k, here=here: (here.count(k), frequency[k]))
            assert prior[row, column] == expected


def test_maps_are_resized_by_the_nearest_centre() -> None:
    map_HW = np.arange(6).reshape(2, 3)
    assert nearest(map_HW, (4, 6)).tolist() == map_HW.repeat(2, 0).repeat(2, 1).tolist()
    assert nearest(map_HW.repeat(3, 0).repeat(5, 1), (2, 3)).tolist() == map_HW.tolist()


def test_both_baselines_on_maps_by_hand() -> None:
    """Training: left half 0, right half 1, and one row more of 0; test at twice the size, its right column ignored."""
    left = np.array([[0, 1], [0, 1], [0, 0]], dtype=np.uint8)
    test = np.array([[0, 1], [0, 1], [0, 1]], dtype=np.uint8).repeat(2, 0).repeat(2, 1)
    test[:, 3] = IGNORE
    found = measure(set_of(2, train=labelled([left]), test=labelled([test])))
    # 18 pixels count, 12 of class 0 and 6 of class 1: the prior takes 2 of those 6 for 0; the majority, all.
    assert found["test/prior_miou"] == pytest.approx((12 / 14 + 4 / 6) / 2)
    assert found["test/prior_pixel_accuracy"] == pytest.approx(16 / 18)
    assert found["test/majority_miou"] == pytest.approx((12 / 18 + 0) / 2)


def test_labels_that_cannot_be_learned_from_are_refused() -> None:
    with pytest.raises(InputError, match=r"1\.png: its label map holds 7, expected 0 to 2, or 255"):
        position_prior(labelled([np.zeros((2, 2), np.uint8), np.full((2, 2), 7, np.uint8)]), 3)
    with pytest.raises(InputError, match=r"no pixel of the 1 training label maps has a class"):
        position_prior(labelled([np.full((2, 2), IGNORE, np.uint8)]), 3)
    with pytest.raises(InputError, match=r"without label maps"):
        position_prior(replace(labelled([np.zeros((2, 2), np.uint8)]), read_labels=None), 3)


def test_the_command_prints_writes_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data.name=digit_scenes:6-7", f"--json={tmp_path / 'figures.json'}"]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())["other"]
    assert 0 < figures["test/majority_miou"] <= figures["test/prior_miou"] < 1
    capsys.readouterr()
    assert main(["--data.name=unheard"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("benchmarks.segmentation_baseline: error: unknown set of annotated images 'unheard'; known: ")
    assert err.count("\n") == 1
