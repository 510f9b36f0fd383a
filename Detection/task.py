"""The detection task: a detector's head on a backbone's feature maps, trained on boxes, judged by average precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.data.annotated.batch import AnnotatedBatch
from common.data.annotated.catalogue import size_of
from common.data.annotated.loader import AnnotatedLoader
from common.data.annotated.sets import AnnotatedImages, AnnotatedSet
from common.errors import InputError
from common.metrics.found_boxes import FoundBoxes, merge_found
from common.models.dense_network import DenseNetwork
from common.models.features import evaluating
from common.models.pyramid import pyramid_of
from common.training.annotated_epochs import epoch_batches, groups_at_two_rates, loader_of_split
from common.training.annotated_setting import AnnotatedTask, Kind, Setting
from common.training.contact_sheet import detection_sheet
from common.training.distributed import follow_first_, gather_objects, share
from common.training.task import steps_per_epoch
from Detection.finding import in_pixels_of_images, measure
from Detection.yolo.anchors import anchors_of
from Detection.yolo.build import build_yolo
from Detection.yolo.config import LEVELS


class DetectionTask(AnnotatedTask):
    """Boxes and classes in images (implements `common.training.task.Task`).

    Args:
        setting: configuration, images, backbone, device.

    Raises:
        InputError: a backbone without three strides, no training box, or fewer training images than a batch.
    """

    def __init__(self, setting: Setting) -> None:
        config, dataset, backbone = setting.config, setting.dataset, setting.backbone
        self.dataset, self.device = dataset, setting.device
        self.size = size_of(config.data)
        self.main_metric = config.evaluation.metric
        pyramid = pyramid_of(backbone, self.size)
        self.strides = tuple(pyramid.strides[-LEVELS:])
        self.anchors = anchors_of(config.yolo, self.strides, training_sides(dataset.train, self.size), seed=config.seed.task)
        channels = pyramid.channels_at(self.strides)
        head = build_yolo(config.yolo, self.strides, channels, len(dataset.classes), config.seed.task, self.anchors)
        network = DenseNetwork(backbone, head, self.strides, pyramid)
        super().__init__(config, network.to(setting.device), config.train.average)
        _require_judged(config, dataset)
        self._judged: dict[str, AnnotatedLoader] = {}
        self.images = loader_of_split(config, dataset, "train", self.device, varied=True)
        self.steps_per_epoch = steps_per_epoch(self.images, config.train)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The backbone's parameters at their own rate, and the head's."""
        return groups_at_two_rates(self.network, self.config.optim.backbone_scale)

    def train_batches(self, round: int, epoch: int, first: int) -> Iterator[AnnotatedBatch]:
        """Yield an epoch's varied batches from step `first` on; this process's part of each."""
        return epoch_batches(self.images, self.config, round, epoch, first)

    def loss(self, batch: AnnotatedBatch) -> dict[str, Tensor]:
        """Return the detector's losses; "total" is their weighted sum."""
        return self._call(self.laid_out(batch.images), batch.targets)  # type: ignore[call-arg, return-value]

    def validate(self) -> dict[str, float]:
        """Return COCO's or VOC's metrics on validation, whichever the main metric is of."""
        images = self.dataset.split("validation")
        return measure(self.find("validation"), images, len(self.dataset.classes), by=self._main_kind)

    @property
    def _main_kind(self) -> Any:
        return "voc" if self.main_metric.startswith("VOC") else "coco"

    def evaluate(self, split: str) -> dict[str, float]:
        """Return all metrics on a split, of the network that is judged; the processes share its images."""
        with self.best():
            found = self.find(split)
        return measure(found, self.dataset.split(split), len(self.dataset.classes), by="both")

    def find(self, split: str, count: int | None = None, *, together: bool = True) -> list[FoundBoxes]:
        """Return what the network finds in the images of a split, in eval mode.

        Args:
            split: its name.
            count: of its first images; None: all.
            together: the processes share the images and have all of the findings; else this one looks at every image.
        """
        images = self.dataset.split(split)
        if split not in self._judged:  # once a run: a loader may keep decoded images
            self._judged[split] = loader_of_split(self.config, self.dataset, split, self.device, varied=False)
        total = len(images) if count is None else min(count, len(images))
        own = share(total) if together else range(total)
        if together:  # on CPUs every process has norm statistics of its own, and a result is of one network
            follow_first_(self.network)
        found: dict[int, FoundBoxes] = {}
        with evaluating(self.network):
            for batch in self._judged[split].evaluation_batches(
                self.config.evaluation.batch_size, part=slice(own.start, own.stop)
            ):
                found |= in_pixels_of_images(self.network(self.laid_out(batch.images)), batch, images)
        return merge_found(gather_objects(found) if together else [found], total)

    def draw(self, split: str, count: int) -> np.ndarray:
        """Return truth and findings of the first images of a split, side by side."""
        images = self.dataset.split(split)
        found = self.find(split, count, together=False)
        pixels = [images.read(index) for index in range(len(found))]
        return detection_sheet(pixels, (images.objects or ())[: len(found)], found, self.dataset.classes)

    def facts(self) -> Mapping[str, Any]:
        """Return anchors, those of a given head where it was taken, and strides, pixels."""
        anchors: Any = self.network.head.anchors
        pairs = [[round(side, 2) for side in pair] for pair in anchors.reshape(-1, 2).tolist()]
        return {"anchors": pairs, "strides": list(self.strides)}


def _require_judged(config: Any, dataset: AnnotatedSet) -> None:
    """Refuse splits that a run could not be measured on at its end, before it is trained.

    Raises:
        InputError: a split has no object that counts.
    """
    chooses = config.select == "best" or (config.searches and config.evaluation.split == "test")
    for name in dict.fromkeys([config.evaluation.split, *(["validation"] if chooses else [])]):
        if not any(there.trains.any() for there in dataset.split(name).objects or ()):
            raise InputError(
                f"data.name: no image of the {name} split of {dataset.name} has an object that counts (none, or all are "
                f"difficult or crowds), so average precision is not defined there; expected at least one"
            )


def training_sides(images: AnnotatedImages, size: tuple[int, int]) -> Tensor:
    """Return widths and heights of all boxes that train, letter-boxed to a network's size, float32 (T, 2), pixels.

    Raises:
        InputError: there are none.
    """
    height, width = size
    scales = np.minimum(height / images.sizes[:, 0], width / images.sizes[:, 1])
    sides = [
        (objects.boxes[:, 2:] - objects.boxes[:, :2])[objects.trains] * scale
        for objects, scale in zip(images.objects or (), scales, strict=False)
    ]
    if not sum(map(len, sides)):
        raise InputError("data.name: no training image has a box that trains, expected at least one; check the annotations")
    return torch.from_numpy(np.concatenate(sides).astype(np.float32))


KIND = Kind("detection", DetectionTask)
