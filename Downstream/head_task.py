"""Protocol `linear` by SGD: a linear head trained on features that were extracted once.

Shapes: N images, B of a batch, D features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.config import TrainConfig
from common.data.loaders import loader_of
from common.metrics.accuracy import accuracies
from common.models.features import evaluating
from common.models.heads import Network
from common.training.distributed import share
from common.training.selecting import SelectingTask
from common.training.task import steps_per_epoch
from Downstream.config import DownstreamConfig
from Downstream.features import Features, Split, folded_head
from Downstream.labels import Labelled

Batch = tuple[Tensor, Tensor]


class HeadTask(SelectingTask):
    """Cross-entropy of a linear head on features (implements `common.training.task.Task`).

    The order of the images is that of protocol `full`, so that the head takes the very steps that it would take on the frozen
    network without augmentation.

    Args:
        config: batch size, which epoch is selected.
        head: the linear head, on the device.
        labelled: the images whose labels may be used.
        features: extracts features; first asked when training begins.
        device: where everything is computed.
        seed: the task's seed.
    """

    def __init__(
        self,
        config: DownstreamConfig,
        head: nn.Linear,
        labelled: Labelled,
        features: Features,
        device: torch.device,
        seed: int,
    ) -> None:
        super().__init__(config, Network(nn.Identity(), head))
        self.labelled, self.features, self.device, self.seed = labelled, features, device, seed
        self.main_metric = str(features.dataset.metric)
        self._images = loader_of(labelled.train, device)
        self.steps_per_epoch = steps_per_epoch(self._images, config.train)

    def prepare_(self, config: TrainConfig) -> None:
        """Extract the features, and distribute the head; layout and compilation are a backbone's."""
        super().prepare_(replace(config, channels_last=False, compile=False))
        self._train_ND = self.features.standardised(self.labelled.train)

    def train_batches(self, round: int, epoch: int, first: int) -> Iterator[Batch]:
        """Yield (features (B, D), labels (B,)) from step `first` on, this process's part of each batch.

        Every rate of a sweep sees the same.
        """
        total, accumulate = self.config.train.batch_size, self.config.train.accumulate
        number, own = 0 if self.config.optim.sweep else round, share(total)
        order = self._images.batches(
            self.seed, "task_order", number, epoch, batch_size=total, drop_last=True, first_batch=first * accumulate
        )
        for index_B in order:
            part = index_B[own.start : own.stop].to(self.device)
            yield self._train_ND[part], self._images.labels[part]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return {"total": cross-entropy}."""
        features_BD, labels_B = batch
        return {"total": functional.cross_entropy(self.forward(features_BD), labels_B)}

    def evaluate(self, split: str) -> dict[str, float]:
        """Return top-1 and mean per-class accuracy on a split of the target."""
        return self._accuracies(self.features.dataset.split(split))

    def validate(self) -> dict[str, float] | None:
        """Return the same on the labels that choose; None where there are none."""
        return self._accuracies(self.labelled.validation) if self.labelled.validation is not None else None

    def folded_head(self) -> nn.Linear:
        """Return the head as it is now for features that are not standardised."""
        head = self.network.head
        return folded_head(head.weight, head.bias, self.features.standard())

    def _accuracies(self, images: Split) -> dict[str, float]:
        with evaluating(self.network):
            return accuracies(self.network(self.features.standardised(images)), images.labels.to(self.device))
