"""The loader of annotated images: exact resumption, parts, processes, and what batches carry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from common.data.annotated.batch import AnnotatedBatch
from common.data.annotated.catalogue import open_annotated
from common.data.annotated.config import AnnotatedDataConfig, JointAugmentConfig
from common.data.annotated.loader import AnnotatedLoader
from common.data.annotated.pixels import PixelsInMemory, some_images
from common.data.annotated.sets import AnnotatedSet
from common.errors import InputError

EVERYTHING = JointAugmentConfig(
    mosaic=0.5, mixup=0.5, scale=(0.7, 1.3), crop=0.5, translate=0.5, flip=0.5, colour=0.5, blur=0.5, sizes=(32, 48, 64)
)


def batches(loader: AnnotatedLoader, *, epoch: int = 0, first: int = 0, part: slice = slice(None)) -> list[AnnotatedBatch]:
    indices = loader.order(1, "order", 0, epoch).split(5)[first:4]
    return list(loader.train_batches(indices, seed=1, stream="views", round=0, epoch=epoch, first=first, part=part))


def assert_same(one: AnnotatedBatch, two: AnnotatedBatch) -> None:
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.indices, two.indices)
    assert one.targets is not None
    assert two.targets is not None
    for name in ("boxes", "labels", "images", "weights"):
        assert torch.equal(getattr(one.targets, name), getattr(two.targets, name))


@pytest.fixture(scope="module")
def loader(scenes: AnnotatedSet) -> AnnotatedLoader:
    return AnnotatedLoader(scenes.train, scenes.input, (64, 64), "cpu", augment=EVERYTHING)


def test_resumption_is_exact_and_epochs_differ(loader: AnnotatedLoader) -> None:
    whole = batches(loader)
    for one, two in zip(whole[2:], batches(loader, first=2), strict=True):
        assert_same(one, two)
    other = batches(loader, epoch=1)
    assert any(one.images.shape != two.images.shape or not torch.equal(one.images, two.images) for one, two in zip(whole, other))
    assert len({batch.images.shape[-1] for batch in whole + other}) > 1


def test_a_part_is_the_same_images(loader: AnnotatedLoader) -> None:
    for whole, part in zip(batches(loader), batches(loader, part=slice(1, 3)), strict=True):
        assert torch.equal(whole.images[1:3], part.images)
        assert torch.equal(whole.indices[1:3], part.indices)
        assert whole.targets is not None
        assert part.targets is not None
        own = (whole.targets.images >= 1) & (whole.targets.images < 3)
        assert torch.equal(whole.targets.boxes[own], part.targets.boxes)
        assert torch.equal(whole.targets.images[own] - 1, part.targets.images)


@pytest.mark.slow
def test_processes_make_the_same_batches(scenes: AnnotatedSet, loader: AnnotatedLoader) -> None:
    apart = AnnotatedLoader(scenes.train, scenes.input, (64, 64), "cpu", augment=EVERYTHING, workers=2)
    for epoch in range(2):
        for one, two in zip(batches(loader, epoch=epoch), batches(apart, epoch=epoch), strict=True):
            assert_same(one, two)
    assert apart.dropped > 0


def test_evaluation_is_letter_boxed_in_order(voc: Path) -> None:
    dataset = open_annotated(AnnotatedDataConfig("voc", str(voc)))
    loader = AnnotatedLoader(dataset.train, dataset.input, (60, 96), "cpu", workers=0)
    made = list(loader.evaluation_batches(2))
    assert [batch.indices.tolist() for batch in made] == [[0, 1], [2]]
    assert made[0].images.shape == (2, 3, 60, 96)
    assert made[0].places is not None
    assert made[0].places.tolist() == [[1.5, 12, 0], [1.5, 12, 0]]
    assert made[0].targets is not None
    assert dataset.train.objects is not None
    expected = torch.from_numpy(dataset.train.objects[0].boxes) * 1.5 + torch.tensor([12, 0, 12, 0])
    assert torch.equal(made[0].targets.boxes, expected)
    assert made[0].targets.images.tolist() == [0, 0]
    assert [batch.indices.tolist() for batch in loader.evaluation_batches(2, slice(1, 3))] == [[1, 2]]
    pixels = torch.from_numpy(np.array(dataset.train.read(0))).permute(2, 0, 1)[None]
    small = AnnotatedLoader(dataset.train, dataset.input, (40, 48), "cpu", workers=0)
    assert torch.equal(next(small.evaluation_batches(1)).images, dataset.input.normalise(pixels))


def test_difficult_objects_do_not_train(voc: Path) -> None:
    dataset = open_annotated(AnnotatedDataConfig("voc", str(voc)))
    loader = AnnotatedLoader(dataset.train, dataset.input, (40, 48), "cpu", workers=0, memory=True)
    (made,) = loader.train_batches([torch.tensor([2, 1, 0])], seed=0, stream="views", round=0, epoch=0)
    assert made.targets is not None
    assert made.targets.images.tolist() == [0, 0, 2]
    assert made.targets.labels.tolist() == [0, 1, 1]
    assert made.targets.weights.tolist() == [1, 1, 1]
    assert made.places is None
    assert isinstance(loader.images.read, PixelsInMemory)
    assert (loader.kept, loader.dropped) == (3, 0)
    plain = AnnotatedLoader(dataset.train, dataset.input, (40, 48), "cpu", workers=0)
    (again,) = plain.train_batches([torch.tensor([2, 1, 0])], seed=0, stream="views", round=0, epoch=0)
    assert_same(made, again)


def test_maps_masks_and_keypoints_come_along(scenes: AnnotatedSet) -> None:
    loader = AnnotatedLoader(
        scenes.train, scenes.input, (48, 64), "cpu", augment=JointAugmentConfig(flip=0.5, window=True, mosaic=0.5),
        with_maps=True, with_masks=True, with_keypoints=True, keypoint_swaps=scenes.keypoint_swaps,
    )  # fmt: skip
    for batch in [*batches(loader), next(loader.evaluation_batches(11))]:
        assert batch.maps is not None
        assert batch.maps.dtype == torch.int64
        assert batch.maps.shape == (len(batch.images), 48, 64)
        assert batch.targets is not None
        assert batch.targets.masks is not None
        assert batch.targets.keypoints is not None
        assert batch.targets.masks.shape == (len(batch.targets.labels), 48, 64)
        assert batch.targets.keypoints.shape == (len(batch.targets.labels), 4, 3)
        for mask, label, image in zip(batch.targets.masks, batch.targets.labels, batch.targets.images, strict=True):
            assert (batch.maps[image][mask == 1] == 1 + label).all()


def test_label_maps_alone(scenes: AnnotatedSet) -> None:
    loader = AnnotatedLoader(
        replace(scenes.train, objects=None),
        scenes.input,
        (64, 64),
        "cpu",
        augment=JointAugmentConfig(flip=1.0, crop=1.0),
        with_maps=True,
    )
    batch = batches(loader)[0]
    assert batch.targets is None
    assert batch.maps is not None
    assert scenes.train.read_labels is not None
    assert (batch.maps[0].numpy() == scenes.train.read_labels(int(batch.indices[0]))[:, ::-1]).all()


def test_images_and_label_maps_are_read_once_where_they_are_kept(scenes: AnnotatedSet) -> None:
    read: list[int] = []

    def counting(kept: PixelsInMemory) -> Callable[[int], np.ndarray]:
        return lambda index: (read.append(index), kept(index))[1]

    some = some_images(scenes.train, [5, 3])
    images = replace(some, read=counting(some.read), read_labels=counting(some.read_labels))  # type: ignore[arg-type]
    loader = AnnotatedLoader(images, scenes.input, (64, 64), "cpu", workers=0, with_maps=True, memory=True)
    for _ in range(2):
        list(loader.evaluation_batches(2))
    assert sorted(read) == [0, 0, 1, 1]


def test_some_images_and_batches_on_a_device(scenes: AnnotatedSet) -> None:
    some = some_images(scenes.train, [5, 3])
    loader = AnnotatedLoader(some, scenes.input, (64, 64), "cpu")
    assert len(loader) == 2
    (batch,) = loader.evaluation_batches(8)
    assert some.objects is not None
    moved = batch.to(torch.device("meta"))
    assert moved.images.device.type == "meta"
    assert moved.targets is not None
    assert moved.targets.boxes.device.type == "meta"
    assert torch.equal(batch.images[1], scenes.input.normalise(torch.from_numpy(scenes.train.read(3)).permute(2, 0, 1)[None])[0])


def test_bad_input_is_one_clear_line(voc: Path, scenes: AnnotatedSet) -> None:
    dataset = open_annotated(AnnotatedDataConfig("voc", str(voc)))
    for words, message in (
        ({"with_maps": True}, "no label maps"),
        ({"with_masks": True}, "no masks"),
        ({"with_keypoints": True}, "no keypoints"),
    ):
        with pytest.raises(InputError, match=message):
            AnnotatedLoader(dataset.train, dataset.input, (40, 48), "cpu", **words)
    with pytest.raises(InputError, match=r"augment\.mixup: got 0.5, expected 0 with label maps"):
        AnnotatedLoader(scenes.train, scenes.input, (64, 64), "cpu", augment=EVERYTHING, with_maps=True)
    with pytest.raises(InputError, match="batch size: got 0"):
        AnnotatedLoader(dataset.train, dataset.input, (40, 48), "cpu").evaluation_batches(0)
    with pytest.raises(InputError, match="a batch has no image for one of the processes"):
        next(
            AnnotatedLoader(scenes.train, scenes.input, (64, 64), "cpu").train_batches(
                [torch.arange(3)], seed=0, stream="views", round=0, epoch=0, part=slice(3, 6)
            )
        )
    (voc / "VOCdevkit/VOC2012/JPEGImages/train_1.jpg").write_bytes(b"no image")
    loader = AnnotatedLoader(dataset.train, dataset.input, (40, 48), "cpu", workers=0)
    with pytest.raises(InputError, match=r"cannot read the image .*train_1\.jpg"):
        list(loader.evaluation_batches(3))
