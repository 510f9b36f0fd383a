"""Resident images: the order of an epoch, resuming inside one, evaluation."""

from __future__ import annotations

import pytest
import torch

from common.data.augment_config import AugmentConfig
from common.data.datasets import Images
from common.data.inputs import InputSpec
from common.data.loaders import DeviceImages, ViewDraws, loader_of
from common.errors import InputError

PIXELS = InputSpec(None, 3, (0.0, 1.0), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), None)


@pytest.fixture
def resident() -> DeviceImages:
    images = torch.arange(23, dtype=torch.uint8).view(23, 1, 1, 1).expand(-1, 3, 4, 4)
    return DeviceImages(Images(images, torch.arange(23)), "cpu")


def test_an_order_is_a_permutation_of_its_own_for_every_epoch_and_round(resident: DeviceImages) -> None:
    orders = [resident.order(1, "order", round, epoch) for round in range(2) for epoch in range(3)]
    assert all(order.sort().values.tolist() == list(range(23)) for order in orders)
    assert len({tuple(order.tolist()) for order in [*orders, resident.order(2, "order", 0, 0)]}) == 7
    assert torch.equal(orders[0], resident.order(1, "order", 0, 0))


@pytest.mark.parametrize(("drop_last", "sizes"), [(True, [5, 5, 5, 5]), (False, [5, 5, 5, 5, 3])])
def test_batches_follow_the_order_and_resume(resident: DeviceImages, drop_last: bool, sizes: list[int]) -> None:
    batches = list(resident.batches(1, "order", 0, 2, batch_size=5, drop_last=drop_last))
    assert [len(batch) for batch in batches] == sizes
    assert resident.steps_per_epoch(5, drop_last=drop_last) == len(sizes)
    assert torch.equal(torch.cat(batches), resident.order(1, "order", 0, 2)[: sum(sizes)])
    rest = list(resident.batches(1, "order", 0, 2, batch_size=5, drop_last=drop_last, first_batch=2))
    assert len(rest) == len(sizes) - 2
    assert all(torch.equal(a, b) for a, b in zip(rest, batches[2:], strict=True))


def test_evaluation_keeps_the_order_and_every_image(resident: DeviceImages) -> None:
    batches = list(resident.evaluation_batches(10))
    assert [labels.tolist() for _, labels in batches] == [list(range(10)), list(range(10, 20)), [20, 21, 22]]
    for images, labels in batches:
        assert images[:, 0, 0, 0].tolist() == labels.tolist()
        assert images.dtype == torch.uint8
    assert [batch.tolist() for batch in resident.fixed_batches(10)] == [labels.tolist() for _, labels in batches]


def test_a_loader_is_made_for_images_and_kept_as_it_is(resident: DeviceImages) -> None:
    made = loader_of(Images(resident.images, resident.labels), "cpu")
    assert isinstance(made, DeviceImages)
    assert made.size == 4
    assert loader_of(made, "cpu") is made


def test_a_part_of_a_batch_has_the_views_that_it_has_in_the_whole(resident: DeviceImages) -> None:
    draws = ViewDraws(AugmentConfig(), PIXELS, 2, seed=0, stream="views", indices=(1,))
    batches = [torch.arange(10), torch.arange(5, 20)]
    whole = list(resident.view_batches(batches, draws))
    assert [len(labels) for _, labels in whole] == [10, 15]
    for (views, labels), (part, few) in zip(whole, resident.view_batches(batches, draws, part=slice(3, 8)), strict=True):
        assert torch.equal(few, labels[3:8])
        assert all(torch.equal(a, b[3:8]) for a, b in zip(part, views, strict=True))
    (late,) = resident.view_batches(batches[1:], draws, first=1)
    assert all(torch.equal(a, b) for a, b in zip(late[0], whole[1][0], strict=True))


def test_a_set_smaller_than_a_batch_is_refused(resident: DeviceImages) -> None:
    with pytest.raises(InputError, match=r"train.batch_size 24 is more than the 23 training images"):
        resident.batches(0, "order", 0, 0, batch_size=24, drop_last=True)
    assert resident.steps_per_epoch(24, drop_last=False) == 1
    with pytest.raises(InputError, match=r"train.batch_size"):
        resident.steps_per_epoch(0, drop_last=False)
