"""Mosaics and mixed images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from common.data.annotated.mixup import mixed
from common.data.annotated.mosaic import VISIBLE, mosaic_of
from common.data.annotated.samples import Kinds, Sample, read_sample
from common.data.annotated.sets import AnnotatedSet


def read(scenes: AnnotatedSet, index: int) -> Sample:
    return read_sample(scenes.train, index, Kinds(maps=True, masks=True, keypoints=True), trains=True)


def test_a_mosaic_agrees_with_its_masks(scenes: AnnotatedSet) -> None:
    dropped = whole = 0
    for start in range(0, 40, 4):
        samples = [read(scenes, start + at) for at in range(4)]
        made = mosaic_of(samples, (64, 96), torch.Generator().manual_seed(start))
        assert made.pixels.shape == (64, 96, 3)
        assert made.masks is not None
        assert made.labels_map is not None
        assert len(made.labels) + made.dropped == sum(len(sample.labels) for sample in samples)
        dropped += made.dropped
        for mask, box, label in zip(made.masks, made.boxes, made.labels, strict=True):
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
            if (box > 0).all() and (box < [96, 64, 96, 64]).all():
                np.testing.assert_allclose(box, found, atol=1.01)
                whole += 1
            else:
                assert (box[:2] < found[:2] + 1.01).all()
                assert (box[2:] > found[2:] - 1.01).all()
            assert (made.labels_map[mask == 1] == 1 + label).all()
    assert dropped > 3
    assert whole > 10


def test_four_images_meet_at_a_centre() -> None:
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32)
    samples = [Sample(np.full((50, 50, 3), gray, np.uint8), *nothing) for gray in (10, 20, 30, 40)]
    made = mosaic_of(samples, (50, 50), torch.Generator().manual_seed(1))
    gray = made.pixels[..., 0]
    centres = [
        (y, x)
        for y in range(1, 50)
        for x in range(1, 50)
        if gray[y - 1 : y + 1, x - 1 : x + 1].ravel().tolist() == [10, 20, 30, 40]
    ]
    assert len(centres) == 1
    (y, x) = centres[0]
    assert 15 <= y <= 35
    assert 15 <= x <= 35


def test_little_remains_are_dropped() -> None:
    box = np.array([[0, 0, 10, 10]], np.float32)
    sample = Sample(np.zeros((50, 50, 3), np.uint8), box, np.zeros(1, np.int64), np.ones(1, np.float32))
    for seed in range(20):
        made = mosaic_of([sample] * 4, (50, 50), torch.Generator().manual_seed(seed))
        areas = (made.boxes[:, 2] - made.boxes[:, 0]) * (made.boxes[:, 3] - made.boxes[:, 1])
        assert (areas >= VISIBLE * 25 - 1e-3).all()  # resized to half of its size at least
        assert (made.boxes >= 0).all()
        assert (made.boxes <= 50).all()
        assert made.dropped + len(made.boxes) == 4


def test_two_images_are_mixed_by_their_shares(scenes: AnnotatedSet) -> None:
    shares = []
    for seed in range(200):
        first, second = (replace(read(scenes, at), labels_map=None) for at in (0, 1))
        made = mixed(first, second, seed)
        share = float(made.weights[0])
        count = len(first.labels)
        assert made.weights.tolist() == [np.float32(share)] * count + [np.float32(1) - np.float32(share)] * len(
            second.labels
        ) or np.allclose(made.weights[count:], 1 - share)
        if seed < 5:
            expected = share * first.pixels + (1 - share) * second.pixels
            assert np.abs(made.pixels - expected).max() <= 0.5 + 1e-4
            assert made.labels.tolist() == [*first.labels, *second.labels]
            assert len(made.boxes) == len(made.labels) == len(made.masks) == len(made.keypoints)  # type: ignore[arg-type]
        shares.append(share)
    # Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1)).
    assert abs(np.mean(shares) - 0.5) < 0.06
    assert abs(np.var(shares) - 1 / 16) < 0.015
