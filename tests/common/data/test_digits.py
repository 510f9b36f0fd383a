"""The embedded digits: split, composition, no leak between splits or subsets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from common.data.datasets import load_data
from common.data.digits import clutter, digit_images, digit_split
from common.errors import InputError


def test_the_split_is_frozen_and_shared_by_both_versions() -> None:
    cluttered, clean = load_data("digits"), load_data("digits_clean")
    assert cluttered.split_hash == clean.split_hash == "15d895cddcd4ab76"
    assert [len(cluttered.split(name)) for name in ("train", "validation", "test")] == [1078, 288, 431]
    assert torch.equal(cluttered.train.labels, clean.train.labels)
    assert cluttered.fingerprint != clean.fingerprint


def test_clean_digits_are_sklearns() -> None:
    images, labels = digit_images()
    data = load_data("digits_clean:3,8")
    index = digit_split(labels)["test"].numpy()
    index = index[np.isin(labels[index], [3, 8])]
    assert data.name == "digits_clean:3,8"
    assert data.classes == ("3", "8")
    assert np.array_equal(data.test.labels.numpy(), (labels[index] == 8).astype(int))
    for channel in range(3):
        assert np.array_equal(data.test.images[:, channel].numpy(), np.rint(images[index] * 255))
    assert data.test.images.max() == 255


def test_a_subset_is_part_of_the_same_split() -> None:
    _, labels = digit_images()
    low, high = load_data("digits:0-5"), load_data("digits:6-9")
    for name, index in digit_split(labels).items():
        assert len(low.split(name)) + len(high.split(name)) == len(index)
    assert len(low.split("train")) + len(low.split("validation")) + len(low.split("test")) == 1083
    assert high.train.labels.unique().tolist() == [0, 1, 2, 3]


def test_fragments_come_from_the_same_split_and_subset_alone() -> None:
    images, labels = digit_images()
    split = digit_split(labels)
    chosen = split["train"].numpy()
    chosen = chosen[labels[chosen] <= 5]
    altered = images.copy()
    altered[labels > 5] = 1 - altered[labels > 5]
    altered[split["test"].numpy()] = 0
    altered[split["validation"].numpy()] = 1
    assert np.array_equal(clutter(images, chosen), clutter(altered, chosen))
    inside = images.copy()
    inside[chosen[0]] = 1 - inside[chosen[0]]
    assert (clutter(inside, chosen) != clutter(images, chosen)).any(axis=(1, 2)).sum() > 1


def test_no_fragment_of_the_image_itself() -> None:
    """With two images, every fragment is the other's: with that one black, no background is left outside the digit."""
    images = np.zeros((2, 8, 8))
    images[0, 2:6, 2:6] = 1.0
    canvas = clutter(images, np.array([0, 1]))
    assert canvas[0].max() >= 0.5
    outside = canvas[0][canvas[0] > 0]
    rows, columns = np.nonzero(canvas[0])
    assert rows.max() - rows.min() < 13
    assert columns.max() - columns.min() < 13
    assert len(outside) > 16
    assert 0 < canvas[1].max() <= 0.3 + 1e-12


def test_the_digit_is_bilinear_of_9_to_13_px() -> None:
    """Background digits are black, so each canvas holds one resized digit: torch's interpolation finds its size and place."""
    images, _ = digit_images()
    sizes = set()
    for index in range(60):
        alone = np.zeros_like(images)
        alone[index] = images[index]
        canvas = torch.from_numpy(clutter(alone, np.array([index, (index + 1) % 1797]))[0])
        fits = []
        for size in range(9, 14):
            patch = functional.interpolate(torch.from_numpy(images[index])[None, None], size=(size, size), mode="bilinear")[0, 0]
            patch = patch * (canvas.max() / patch.max())
            windows = canvas.unfold(0, size, 1).unfold(1, size, 1)
            difference = (windows - patch).abs().amax((2, 3))
            if difference.min() < 1e-9:
                fits.append((size, (canvas.max() / patch.max()).item()))
        assert len(fits) == 1
        sizes.add(fits[0][0])
    assert sizes == {9, 10, 11, 12, 13}


def test_contrast_lies_between_a_half_and_one() -> None:
    images, _ = digit_images()
    largest = clutter(np.ones_like(images), np.arange(len(images))).max(axis=(1, 2))
    assert 0.5 <= largest.min() < 0.51
    assert 0.99 < largest.max() <= 1


def test_composition_is_deterministic() -> None:
    first, second = load_data("digits:0-5"), load_data("digits:0-5")
    assert first.fingerprint == second.fingerprint == "1083-f88da854f10d944e"
    assert first.input.size == 16
    assert first.train.images.dtype == torch.uint8
    assert torch.equal(first.train.images[:, 0], first.train.images[:, 2])


def test_wrong_names_and_sizes_are_refused() -> None:
    with pytest.raises(InputError, match=r"out of range"):
        load_data("digits:8-12")
    with pytest.raises(InputError, match=r"images of 16 px, got 32"):
        load_data("digits", size=32)
    assert load_data("digits:1", size=16).classes == ("1",)
