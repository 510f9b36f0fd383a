"""Digit scenes: everything that is annotated is recomputed from the masks, by loops; no digit leaks."""

from __future__ import annotations

import numpy as np
import torch
from pycocotools import mask as run_lengths

from common.data.annotated import digit_scenes
from common.data.annotated.sets import AnnotatedImages, AnnotatedSet
from common.data.datasets import load_data
from common.data.digits import digit_images, digit_split


def decoded(split: AnnotatedImages, index: int) -> list[np.ndarray]:
    assert split.objects is not None
    assert split.objects[index].masks is not None
    return [run_lengths.decode(dict(mask)) for mask in split.objects[index].masks]


def test_splits_and_classes(scenes: AnnotatedSet) -> None:
    assert {name: len(split) for name, split in scenes.splits.items()} == {"train": 600, "validation": 150, "test": 250}
    assert scenes.name == "digit_scenes:6-9"
    assert scenes.classes == ("6", "7", "8", "9")
    objects = scenes.train.objects
    assert objects is not None
    counts = np.bincount([len(one) for one in objects], minlength=5)
    assert counts[0] == 0
    assert counts[1:].min() > 50
    assert set(np.concatenate([one.labels for one in objects])) == {0, 1, 2, 3}
    assert scenes.split_hash == load_data("digits:6-9").split_hash
    pixels = scenes.train.read(3)
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == pixels[..., :1]).all()


def test_boxes_areas_and_keypoints_are_those_of_the_masks(scenes: AnnotatedSet) -> None:
    split = scenes.split("validation")
    assert split.objects is not None
    for index in range(0, 150, 10):
        objects = split.objects[index]
        assert objects.keypoints is not None
        for mask, box, area, points in zip(decoded(split, index), objects.boxes, objects.areas, objects.keypoints, strict=True):
            inside = [(x, y) for y in range(64) for x in range(64) if mask[y, x]]
            xs, ys = [x for x, _ in inside], [y for _, y in inside]
            assert box.tolist() == [min(xs), min(ys), max(xs) + 1, max(ys) + 1]
            assert area == len(inside)
            for (x, y, flag), (row, value) in zip(points, ((1, min(ys)), (1, max(ys)), (0, min(xs)), (0, max(xs))), strict=True):
                extreme = [pixel for pixel in inside if pixel[row] == value]
                expected = np.mean(extreme, axis=0) + 0.5
                np.testing.assert_allclose((x, y), expected, atol=1e-5)
                assert flag == 2


def test_label_maps_are_the_masks_with_the_background_at_0(scenes: AnnotatedSet) -> None:
    split = scenes.split("test")
    assert split.objects is not None
    assert split.read_labels is not None
    for index in range(20):
        expected = np.zeros((64, 64), dtype=np.uint8)
        masks = decoded(split, index)
        assert np.sum(masks, axis=0).max() == 1
        for mask, label in zip(masks, split.objects[index].labels, strict=True):
            expected[mask == 1] = 1 + label
        assert (split.read_labels(index) == expected).all()


def test_digits_of_other_splits_and_classes_never_appear() -> None:
    images, labels = digit_images()
    own = digit_split(labels)["validation"].numpy()
    members = own[np.isin(labels[own], (6, 7))]
    spoilt = 1 - images
    spoilt[members] = images[members]
    first, second = (digit_scenes._compose_split(one, labels, members, "validation") for one in (images, spoilt))
    assert all((first.read(index) == second.read(index)).all() for index in range(150))
    spoilt[members[0]] = 1 - images[members[0]]
    third = digit_scenes._compose_split(spoilt, labels, members, "validation")
    assert any((first.read(index) != third.read(index)).any() for index in range(150))


def test_a_digit_that_would_cover_another_is_left_out() -> None:
    images, _ = digit_images()
    draws = torch.full((2, 3 + 2 * digit_scenes._TRIES), 0.5, dtype=torch.float64).numpy()
    owner, placed = digit_scenes._paste_digits(np.zeros((64, 64)), images, np.arange(10), draws)
    assert len(placed) == 1
    assert set(np.unique(owner)) == {0, 1}
    draws[1, -2:] = 0.0
    owner, placed = digit_scenes._paste_digits(np.zeros((64, 64)), images, np.arange(10), draws)
    assert len(placed) == 2
    assert (owner == 1).sum() == (owner == 2).sum()
