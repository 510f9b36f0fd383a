"""The segmentation task: a decoder on a backbone's maps, trained on label maps, judged by mean intersection over union."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.data.annotated.batch import AnnotatedBatch
from common.data.annotated.catalogue import size_of
from common.data.annotated.sets import AnnotatedImages, AnnotatedSet
from common.errors import InputError, RunError
from common.metrics.miou import ConfusionMatrix
from common.models.features import evaluating
from common.randomness import seeded
from common.training.annotated_epochs import epoch_batches, groups_at_two_rates, loader_of_split
from common.training.annotated_setting import AnnotatedTask, Kind, Setting
from common.training.contact_sheet import segmentation_sheet
from common.training.distributed import follow_first_, gather_objects, share
from common.training.task import steps_per_epoch
from Segmentation.config import view_of
from Segmentation.dilation import dilate_
from Segmentation.evaluate_maps import Predictor, View, judged_part
from Segmentation.head import SegmentationHead, SegmentationNetwork
from Segmentation.losses import cross_entropy, dice, focal
from Segmentation.norms import set_momentum_

_READERS = 8


class SegmentationTask(AnnotatedTask):
    """The class of every pixel (implements `common.training.task.Task`).

    Args:
        setting: configuration, images, backbone, device. The backbone is dilated in place, under its own names of weights.

    Attributes:
        classes: names of what a pixel can be, in the order of the labels.

    Raises:
        InputError: a set without label maps, a decoder or output stride that the backbone cannot have, or fewer training images
            than a batch.
    """

    main_metric = "miou"

    def __init__(self, setting: Setting) -> None:
        config, self.dataset, self.device = setting.config, setting.dataset, setting.device
        self.classes = pixel_classes(setting.dataset)
        set_momentum_(setting.backbone, config.model.norm_momentum)
        self.stages = dilate_(setting.backbone, config.model.output_stride)
        head = SegmentationHead(self.stages, len(self.classes), config.decoder, seed=config.seed.task)
        network = SegmentationNetwork(setting.backbone, head)
        super().__init__(config, network.to(setting.device), config.train.average)
        evaluation = config.evaluation
        self.view = View(view_of(config), size_of(config.data), evaluation.scales, evaluation.flip, evaluation.overlap)
        self.images = loader_of_split(config, self.dataset, "train", self.device, varied=True, with_maps=True)
        self.steps_per_epoch = steps_per_epoch(self.images, config.train)
        self._epoch = (0, 0)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The backbone's parameters at their own rate, and the head's."""
        return groups_at_two_rates(self.network, self.config.optim.backbone_scale)

    def train_batches(self, round: int, epoch: int, first: int) -> Iterator[AnnotatedBatch]:
        """Yield an epoch's varied batches from step `first` on; this process's part of each."""
        self._epoch = (round, epoch)
        return epoch_batches(self.images, self.config, round, epoch, first)

    def loss(self, batch: AnnotatedBatch) -> dict[str, Tensor]:
        """Return the parts that the recipe weighs; "total" is their weighted sum."""
        if batch.maps is None:
            raise RunError("a batch has no label maps; this is a bug, please report it")
        weights, first = self.config.loss, int(batch.indices[0])  # an image comes once an epoch: it tells the batch, and the part
        with seeded(self.config.seed.task, "dropout", *self._epoch, first, device=self.device):
            logits_BKHW = self.forward(batch.images)
        parts: dict[str, Tensor] = {}
        if weights.cross_entropy:
            parts["cross_entropy"] = cross_entropy(logits_BKHW, batch.maps)
        if weights.focal:
            parts["focal"] = focal(logits_BKHW, batch.maps, weights.gamma)
        if weights.dice:
            parts["dice"] = dice(logits_BKHW, batch.maps)
        total = torch.stack([getattr(weights, name) * value for name, value in parts.items()]).sum()
        return {"total": total, **(parts if len(parts) > 1 else {})}

    def validate(self) -> dict[str, float]:
        """Return mIoU, pixel and class accuracy on validation, of the network as it is."""
        return self.confusion("validation").metrics()

    def evaluate(self, split: str) -> dict[str, float]:
        """Return mIoU, pixel and class accuracy and, as iou_<class>, the IoU of every class that is there, on a split.

        Of the network that is judged; the processes share the images, and each is counted once.
        """
        with self.best():
            matrix = self.confusion(split)
        named = zip(self.classes, matrix.per_class(), strict=True)
        return {**matrix.metrics(), **{f"iou_{name.replace(' ', '_')}": iou for name, iou in named if iou is not None}}

    def confusion(self, split: str) -> ConfusionMatrix:
        """Return the confusion matrix of a split, of all processes together."""
        images, matrix = self.dataset.split(split), ConfusionMatrix(len(self.classes))
        follow_first_(self.network)  # on CPUs every process has norm statistics of its own, and a result is of one network
        for index, predicted_hw in self.predictions(images, share(len(images))):
            labels_hw = judged_part(_labels(images, index), self.view)
            matrix.update(torch.from_numpy(predicted_hw), torch.from_numpy(np.ascontiguousarray(labels_hw)))
        merged = ConfusionMatrix(len(self.classes))
        for part in gather_objects(matrix):
            merged.merge(part)
        return merged

    def predictions(self, images: AnnotatedImages, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the index and the predicted label map, uint8 (h, w), of some images of a split, in eval mode."""
        predictor = Predictor(self._logits, self.dataset.input, self.view, self.device)
        size = self.config.evaluation.batch_size
        batches = [list(indices[start : start + size]) for start in range(0, len(indices), size)]
        with evaluating(self.network), ThreadPoolExecutor(min(_READERS, os.cpu_count() or 1)) as pool:
            ahead = [pool.submit(images.read, index) for index in batches[0]] if batches else []
            for number, batch in enumerate(batches):
                pixels = [reading.result() for reading in ahead]
                following = batches[number + 1] if number + 1 < len(batches) else []
                ahead = [pool.submit(images.read, index) for index in following]
                yield from zip(batch, predictor.predict(pixels), strict=True)

    def _logits(self, images_BCHW: Tensor) -> Tensor:
        return self.network(self.laid_out(images_BCHW))

    def draw(self, split: str, count: int) -> np.ndarray:
        """Return image, truth, prediction and errors of the first images of a split, in rows."""
        images = self.dataset.split(split)
        chosen = range(min(count, len(images)))
        predicted = dict(self.predictions(images, chosen))
        pixels = [judged_part(images.read(index), self.view) for index in chosen]
        truth = [judged_part(_labels(images, index), self.view) for index in chosen]
        return segmentation_sheet(pixels, truth, [predicted[index] for index in chosen], self.classes)

    def facts(self) -> Mapping[str, Any]:
        """Return the stages' strides, pixels, and how images are judged."""
        view: dict[str, Any] = {
            "view": self.view.kind,
            "size": list(self.view.size),
            "scales": list(self.view.scales),
            "flip": self.view.flip,
        }
        if self.view.kind == "slide":
            view["overlap"] = self.view.overlap
        return {"strides": [stage.stride for stage in self.stages], "evaluation": view}


def pixel_classes(dataset: AnnotatedSet) -> tuple[str, ...]:
    """Return the names of what a pixel can be: where a set has objects, its label maps are 0 beside them and 1 + class on them.

    Raises:
        InputError: the set has no label maps.
    """
    if dataset.train.read_labels is None:
        raise InputError(
            f"data.name: {dataset.name} has no label maps, which segmentation needs; expected a set of --list with them"
        )
    return dataset.classes if dataset.train.objects is None else ("background", *dataset.classes)


def _labels(images: AnnotatedImages, index: int) -> np.ndarray:
    assert images.read_labels is not None, "whoever builds the task sees to it"
    return images.read_labels(index)


KIND = Kind("segmentation", SegmentationTask)
