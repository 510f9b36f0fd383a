"""Training views: the same for the same round, epoch and step; other ones else; torchvision's with the same parameters."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional

from common.config import TrainConfig
from common.data.augment_config import AugmentConfig
from common.data.augment_draw import draw
from common.data.datasets import load_data
from common.data.loaders import DeviceImages
from common.errors import InputError
from common.randomness import generator
from common.training.views import TrainViews

DATA = load_data("digits:0-2")
PLAIN = AugmentConfig(crop_scale=(0.4, 1.0), jitter_probability=0.0, gray_probability=0.0)


def train_views(views: int = 2, augment: AugmentConfig = PLAIN, **train: int) -> TrainViews:
    images = DeviceImages(DATA.train, "cpu")
    return TrainViews(images, DATA.input, augment, TrainConfig(batch_size=64, **train), seed=3, views=views)


def test_views_depend_on_round_epoch_and_batch_alone() -> None:
    one, other = train_views(), train_views()
    whole = list(one.batches(1, 2, 0))
    assert len(whole) == one.steps_per_epoch
    for (late, late_labels), (early, early_labels) in zip(other.batches(1, 2, 2), whole[2:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(late, early, strict=True))
        assert torch.equal(late_labels, early_labels)
    for round_, epoch in ((1, 3), (0, 2)):
        (again, _), _ = next(iter(one.batches(round_, epoch, 0)))
        assert not torch.equal(again, whole[0][0][0])
    assert not torch.equal(*whole[0][0])


def test_steps_are_counted_in_optimizer_steps() -> None:
    plain, accumulated = train_views(), train_views(accumulate=2)
    assert accumulated.steps_per_epoch == plain.steps_per_epoch // 2
    (late, _), _ = next(iter(accumulated.batches(0, 0, 2)))
    (same, _), _ = next(iter(plain.batches(0, 0, 4)))
    assert torch.equal(late, same)


@pytest.mark.parametrize("views", [1, 2, 3])
def test_views_are_torchvisions_crops_of_the_images_that_the_labels_name(views: int) -> None:
    made = train_views(views)
    batch, labels = next(iter(made.batches(0, 1, 0)))
    order = torch.randperm(len(DATA.train), generator=generator(3, "order", 0, 1))[:64]
    drawn = draw(PLAIN, views * 64, 16, 16, 16, generator(3, "views", 0, 1, 0))
    assert len(batch) == views
    assert torch.equal(labels, DATA.train.labels[order])
    for view in range(views):
        for row in range(0, 64, 7):
            top, left, height, width = drawn.box[view * 64 + row].tolist()
            image = DATA.train.images[order[row]].float() / 255
            expected = functional.resized_crop(image, top, left, height, width, [16, 16], antialias=True)
            if drawn.flip[view * 64 + row]:
                expected = expected.flip(-1)
            got = batch[view][row]  # the digits' input specification is [0, 1] without mean and deviation
            assert (got - expected).abs().max() < 2 / 255


def test_epochs_are_reshuffled_and_batches_mix_the_classes() -> None:
    labels = [torch.cat([part for _, part in train_views().batches(0, epoch, 0)]) for epoch in (0, 1)]
    assert not torch.equal(*labels)
    for order in labels:
        for batch in order.split(64):
            assert len(batch.unique()) == 3


def test_an_epoch_without_a_whole_batch_is_refused() -> None:
    with pytest.raises(InputError, match=r"train\.batch_size 4096"):
        TrainViews(DeviceImages(DATA.train, "cpu"), DATA.input, PLAIN, TrainConfig(batch_size=4096), seed=0, views=2)
