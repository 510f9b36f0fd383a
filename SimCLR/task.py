"""The SimCLR task: network, views, loss and what a round is judged by."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from common.config import require
from common.data.augment import apply, draw, two_views
from common.data.datasets import Dataset
from common.data.loaders import DeviceImages
from common.metrics.knn import knn_accuracy
from common.metrics.retrieval import retrieval_accuracy
from common.models.features import extract_features
from common.models.heads import Network
from common.randomness import generator
from common.training.distributed import share
from common.training.frozen import features_of
from common.training.task import NetworkTask, steps_per_epoch
from SimCLR.config import SimCLRConfig
from SimCLR.objective import nt_xent

VIEW_SEED = 0
EVALUATION_BATCH = 256


class SimCLRTask(NetworkTask):
    """Contrastive pre-training on unlabelled images (implements `common.training.task.Task`).

    Args:
        config: objective, views, batch size.
        network: backbone and projection head, on the device.
        dataset: images; labels only judge the k-NN classifier, never the weights.
        device: where everything is computed.
        seed: the search's seed.
    """

    main_metric = "retrieval_accuracy"

    def __init__(self, config: SimCLRConfig, network: Network, dataset: Dataset, device: torch.device, seed: int) -> None:
        super().__init__(network)
        self.config, self.seed = config, seed
        self.input = dataset.input
        self.splits = {name: DeviceImages(dataset.split(name), device) for name in ("train", "validation")}
        self.size = self.splits["train"].images.shape[-1]
        self.steps_per_epoch = steps_per_epoch(self.splits["train"], config.train)
        self._check_evaluation()

    def _check_evaluation(self) -> None:
        """Refuse, before anything is trained, an evaluation that has too few images."""
        asked = self.config.evaluation
        for name, wanted, split in (
            ("retrieval_batch", asked.retrieval_batch, "validation"),
            ("neighbours", asked.neighbours, "train"),
        ):
            there = len(self.splits[split])
            require(wanted <= there, f"evaluation.{name}", wanted, f"no more than the {there} {split} images")

    def train_batches(self, round: int, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield pairs of views, (N, C, H, W) float each, drawn anew for every round, epoch and batch."""
        images, train = self.splits["train"], self.config.train
        height, width = images.images.shape[-2:]
        own = share(train.batch_size)
        start = first * train.accumulate
        order = images.batches(self.seed, "order", round, epoch, batch_size=train.batch_size, drop_last=True, first_batch=start)
        for number, indices in enumerate(order, start=start):
            draws = generator(self.seed, "views", round, epoch, number)
            drawn = draw(self.config.augment, 2 * train.batch_size, height, width, self.size, draws)
            pixels = images.take(indices[own.start : own.stop])[0]
            offsets = (0, train.batch_size)
            first_view, second_view = (apply(pixels, drawn.part(offset + own.start, offset + own.stop)) for offset in offsets)
            yield self.input.normalise(first_view), self.input.normalise(second_view)

    def loss(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Return {"total": NT-Xent} of this process's views among those of all processes."""
        first, second = self.forward(torch.cat(batch)).chunk(2)
        return {"total": nt_xent(first, second, temperature=self.config.objective.temperature)}

    def evaluate(self, split: str) -> dict[str, float]:
        """Return retrieval and k-NN accuracy of the backbone's features; the views' seed is the same for every run."""
        images = self.splits[split]
        config = self.config.evaluation
        return {
            "retrieval_accuracy": retrieval_accuracy(*self._view_features(images), batch=config.retrieval_batch),
            "knn_accuracy": knn_accuracy(
                self._features(images),
                images.labels,
                self._features(self.splits["train"]),
                self.splits["train"].labels,
                k=config.neighbours,
            ),
        }

    def _features(self, images: DeviceImages) -> Tensor:
        return features_of(self.backbone, images, self.input, images.device)

    def _view_features(self, images: DeviceImages) -> tuple[Tensor, Tensor]:
        pairs = [
            two_views(images.take(indices)[0], self.config.augment, self.size, generator(VIEW_SEED, "retrieval_views", number))
            for number, indices in enumerate(images.evaluation_batches(EVALUATION_BATCH))
        ]
        first, second = (extract_features(self.backbone, (self.input.normalise(pair[i]) for pair in pairs)) for i in (0, 1))
        return first, second
