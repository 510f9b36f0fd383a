"""Joint augmentation: boxes, keypoints and label maps against what the varied masks say."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.data.annotated.config import JointAugmentConfig
from common.data.annotated.joint_augment import JointAugment
from common.data.annotated.samples import Kinds, Sample, letterboxed_sample, read_sample
from common.data.annotated.sets import IGNORE, AnnotatedSet

SEEDS = range(12)
ROOT = Path(__file__).parents[4]


def scene(scenes: AnnotatedSet, index: int) -> Sample:
    return read_sample(scenes.train, index, Kinds(maps=True, masks=True, keypoints=True), trains=True)


def varied(sample: Sample, seed: int, size: tuple[int, int] = (64, 64), **config: object) -> Sample:
    return JointAugment(JointAugmentConfig(**config), size)(sample, seed, ((2, 3),))  # type: ignore[arg-type]


CASES = [
    ({"flip": 1.0}, (64, 64)),
    ({"crop": 1.0}, (64, 64)),
    ({"translate": 1.0}, (64, 64)),
    ({"scale": (0.5, 1.0)}, (64, 64)),
    ({"scale": (1.0, 2.0)}, (64, 64)),
    ({"window": True, "scale": (0.5, 1.5)}, (48, 56)),
    ({"flip": 0.5, "crop": 0.5, "translate": 0.5, "scale": (0.8, 1.3)}, (40, 80)),
]


@pytest.mark.parametrize(("config", "size"), CASES)
def test_boxes_keypoints_and_maps_agree_with_the_masks(
    scenes: AnnotatedSet, config: dict[str, object], size: tuple[int, int]
) -> None:
    seen = 0
    for seed in SEEDS:
        before = scene(scenes, seed)
        after = varied(before, seed, size, **config)
        assert after.pixels.shape == (*size, 3)
        assert after.labels_map is not None
        assert after.masks is not None
        assert after.keypoints is not None
        assert after.labels_map.shape == size
        assert after.masks.shape == (len(after.labels), *size)
        assert len(after.labels) + after.dropped == len(before.labels)
        for mask, box, label, points in zip(after.masks, after.boxes, after.labels, after.keypoints, strict=True):
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
            if (box > 0).all() and (box < [size[1], size[0], size[1], size[0]]).all():
                np.testing.assert_allclose(box, found, atol=1.01)
            else:  # cut by the border: what is left of the digit may be smaller than what is left of its box
                assert (box[:2] < found[:2] + np.float32(1.01)).all()
                assert (box[2:] > found[2:] - np.float32(1.01)).all()
            assert (after.labels_map[mask == 1] == 1 + label).all()
            if (points[:, 2] == 2).all():  # none was cut off; half of the largest magnified pixel
                edges = [points[2, 0], points[0, 1], points[3, 0], points[1, 1]]
                np.testing.assert_allclose(edges, np.add(found, [0.5, 0.5, -0.5, -0.5]), atol=2.01)
            seen += 1
    assert seen > 15


def test_a_mirror_is_exact_and_swaps_left_and_right(scenes: AnnotatedSet) -> None:
    for index in range(5):
        before = scene(scenes, index)
        after = varied(before, 0, flip=1.0)
        assert (after.pixels == before.pixels[:, ::-1]).all()
        assert before.masks is not None
        assert before.keypoints is not None
        assert after.keypoints is not None
        assert (after.masks == before.masks[:, :, ::-1]).all()
        assert (after.labels_map == before.labels_map[:, ::-1]).all()  # type: ignore[index]
        np.testing.assert_allclose(
            after.boxes,
            np.stack([64 - before.boxes[:, 2], before.boxes[:, 1], 64 - before.boxes[:, 0], before.boxes[:, 3]], 1),
            atol=1e-3,
        )
        mirrored = before.keypoints[:, [0, 1, 3, 2]] * [-1, 1, 1] + [64, 0, 0]
        np.testing.assert_allclose(after.keypoints, mirrored, atol=1e-3)


def test_a_safe_crop_and_shift_cut_no_box(scenes: AnnotatedSet) -> None:
    moved = 0
    for seed in range(40):
        before = scene(scenes, seed)
        # Fractions of pixels, which albumentations' own crop cuts off.
        before = replace(before, boxes=(before.boxes + np.float32([-0.4, 0.3, 0.4, 0.3])).clip(0, 64).astype(np.float32))
        after = varied(before, seed, crop=1.0)
        assert after.dropped == 0
        sides = lambda boxes: (boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1])
        np.testing.assert_allclose(sides(after.boxes), sides(before.boxes), rtol=1e-3)
        after = varied(before, seed, translate=1.0)
        shift = after.boxes - before.boxes
        np.testing.assert_allclose(shift, np.tile(shift[:1, :2], (len(shift), 2)), atol=1e-3)
        np.testing.assert_allclose(shift, shift.round(), atol=1e-3)
        moved += bool(np.abs(shift).max() > 1)
    assert moved > 20


def test_objects_keep_their_class_whichever_are_dropped(scenes: AnnotatedSet) -> None:
    dropped = 0
    for seed in range(30):
        before = scene(scenes, seed)
        numbered = replace(before, labels=np.arange(len(before.labels)) + 3, weights=np.linspace(0.1, 0.9, len(before.labels)))
        after = varied(numbered, seed, (32, 32), window=True)
        dropped += after.dropped
        kept = after.labels - 3
        assert (after.weights == numbered.weights[kept]).all()
        widths, whole = (boxes[:, 2] - boxes[:, 0] for boxes in (after.boxes, before.boxes[kept]))
        assert (widths <= whole + 1e-3).all()
    assert dropped > 5


def test_one_draw_does_not_decide_another(scenes: AnnotatedSet) -> None:
    # albumentations' own seeding applies all transforms of one probability together.
    sample = scene(scenes, 0)
    augment = JointAugment(JointAugmentConfig(flip=0.5, blur=0.5), (64, 64))
    seen = set()
    for seed in range(24):
        after = augment(sample, seed)
        mirrored = bool(after.boxes[0, 0] != sample.boxes[0, 0])
        plain = sample.pixels[:, ::-1] if mirrored else sample.pixels
        seen.add((mirrored, bool((after.pixels != plain).any())))
    assert len(seen) == 4


def test_a_sample_depends_on_its_seed_alone(scenes: AnnotatedSet) -> None:
    config = {"flip": 0.5, "crop": 0.5, "translate": 0.5, "colour": 0.5, "blur": 0.5, "scale": (0.5, 2.0)}
    augment = JointAugment(JointAugmentConfig(**config), (64, 64))  # type: ignore[arg-type]
    first = [augment(scene(scenes, 1), seed) for seed in range(6)]
    again = [varied(scene(scenes, 1), seed, **config) for seed in reversed(range(6))][::-1]
    for one, two in zip(first, again, strict=True):
        assert (one.pixels == two.pixels).all()
        assert (one.boxes == two.boxes).all()
    assert any((first[0].pixels != other.pixels).any() for other in first[1:])


def test_colours_change_and_nothing_else(scenes: AnnotatedSet) -> None:
    before = scene(scenes, 0)
    after = varied(before, 0, colour=1.0, blur=1.0)
    assert (after.pixels != before.pixels).any()
    assert (after.boxes == before.boxes).all()
    assert (after.labels_map == before.labels_map).all()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kinds", [Kinds(), Kinds(maps=True), Kinds(masks=True, keypoints=True)])
def test_an_image_without_objects(scenes: AnnotatedSet, kinds: Kinds) -> None:
    nothing = read_sample(scenes.train, 0, kinds, trains=True).some(np.zeros(0, dtype=np.int64))
    after = varied(nothing, 3, (48, 80), flip=1.0, crop=1.0, translate=1.0, scale=(0.5, 2.0), colour=1.0)
    assert after.pixels.shape == (48, 80, 3)
    assert after.boxes.shape == (0, 4)
    assert after.boxes.dtype == np.float32
    assert after.labels.dtype == np.int64
    assert (after.masks is None) == (not kinds.masks)
    if kinds.masks:
        assert after.masks is not None
        assert after.keypoints is not None
        assert after.masks.shape == (0, 48, 80)
        assert after.keypoints.shape == (0, 4, 3)
    if kinds.maps:
        assert after.labels_map is not None
        assert IGNORE in after.labels_map


def test_a_letterbox_is_the_one_of_evaluation(scenes: AnnotatedSet) -> None:
    before = scene(scenes, 2)
    after, expected = varied(before, 0, (40, 100), flip=0.0), letterboxed_sample(before, (40, 100))
    assert (after.pixels == expected.pixels).all()
    assert (after.masks == expected.masks).all()  # type: ignore[attr-defined]
    assert (after.labels_map == expected.labels_map).all()  # type: ignore[attr-defined]
    np.testing.assert_allclose(after.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(after.keypoints, expected.keypoints, atol=1e-3)


def test_what_a_window_does_not_cover_is_gray_and_ignored(scenes: AnnotatedSet) -> None:
    after = varied(scene(scenes, 0), 0, (96, 96), window=True)
    assert (after.pixels[:16] == 128).all()
    assert after.labels_map is not None
    assert (after.labels_map[:16] == IGNORE).all()
    assert (after.labels_map[16:80, 16:80] != IGNORE).all()


def test_one_module_alone_imports_albumentations() -> None:
    files = [path for top in ("common", "Detection", "Segmentation") for path in (ROOT / top).rglob("*.py")]
    importing = [path.name for path in files if re.search(r"^\s*(import|from) albumentations", path.read_text(), re.MULTILINE)]
    assert importing == ["joint_augment.py"]
