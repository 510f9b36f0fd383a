"""Protocol `full`: the classification task that the loop trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.data.datasets import Dataset, Images
from common.data.file_images import FileImages
from common.data.loaders import loader_of
from common.metrics.accuracy import accuracies
from common.models.features import evaluating
from common.models.heads import Network
from common.tickets.rewind import capture, restore_
from common.training.frozen import normalised_batches
from common.training.task import NetworkTask
from common.training.views import Batch, TrainViews
from Downstream.config import DownstreamConfig
from Downstream.labels import Labelled


class ClassificationTask(NetworkTask):
    """Cross-entropy on labelled images (implements `common.training.task.Task`).

    Args:
        config: batch size, augmentation, which epoch is selected.
        network: backbone and linear head, on the device.
        dataset: the target, for evaluation.
        labelled: the images whose labels may be used.
        device: where everything is computed.
        seed: the task's seed.
    """

    def __init__(
        self, config: DownstreamConfig, network: Network, dataset: Dataset, labelled: Labelled, device: torch.device, seed: int
    ) -> None:
        super().__init__(network)
        self.config, self.dataset, self.device = config, dataset, device
        self.choosing, self.main_metric = labelled.validation, str(dataset.metric)
        images = loader_of(labelled.train, device)
        self.views = TrainViews(
            images, dataset.input, config.augment, config.train, seed=seed, views=1, order="task_order", stream="task_views"
        )
        self.steps_per_epoch = self.views.steps_per_epoch
        self._best: dict[str, Any] = {}

    def train_batches(self, round: int, epoch: int, first: int) -> Iterator[Batch]:
        """Yield ((images,), labels) from step `first` on; see `TrainViews.batches`."""
        return self.views.batches(round, epoch, first)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return {"total": cross-entropy}."""
        (images,), labels = batch
        return {"total": functional.cross_entropy(self.forward(images), labels)}

    def evaluate(self, split: str) -> dict[str, float]:
        """Return top-1 and mean per-class accuracy on a split of the target: of the best network, if the recipe selects it.

        The network stays the last one, whose weights are ranked, as in the search of Chen et al. 2021.
        """
        last = capture(self.network) if self._best else {}
        self.take_best()
        measured = classify(self.network, self.dataset.split(split), self.dataset, self.device)
        if last:
            restore_(self.network, last)
        return measured

    def at_step(self, done: int) -> None:
        """At the end of an epoch, remember the network if it is better on the labels that choose than every one before."""
        if self.config.select != "best" or self.choosing is None or done % self.steps_per_epoch:
            return
        value = classify(self.network, self.choosing, self.dataset, self.device)[self.main_metric]
        if value > self._best.get("value", -1.0):
            self._best = {"value": value, "step": done, "network": capture(self.network)}

    def take_best(self) -> None:
        """Bring back the best network, if the recipe selects it."""
        if self._best:
            restore_(self.network, self._best["network"])

    def rewound(self) -> None:
        """A round begins: no epoch of it is the best yet."""
        self._best = {}

    def details(self) -> dict[str, float]:
        """Return the epoch that was chosen, if the recipe selects one."""
        if not self._best:
            return {}
        return {"selected_epoch": self._best["step"] / self.steps_per_epoch, "selected_value": self._best["value"]}

    def state_dict(self) -> Mapping[str, Any]:
        """The best network so far."""
        return self._best

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back the best network so far."""
        self._best = dict(state)


def classify(network: nn.Module, images: Images | FileImages, dataset: Dataset, device: torch.device) -> dict[str, float]:
    """Return top-1 and mean per-class accuracy of a network's logits, in eval mode, fractions."""
    with evaluating(network):
        logits = [network(batch) for batch in normalised_batches(images, dataset.input, device)]
    logits_NK, labels_N = torch.cat(logits), images.labels.to(device)
    return accuracies(logits_NK, labels_N)
