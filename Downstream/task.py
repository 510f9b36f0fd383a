"""Protocol `full`: the classification task that the loop trains."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.data.datasets import Dataset, Images
from common.data.file_images import FileImages
from common.data.loaders import loader_of
from common.metrics.accuracy import accuracies
from common.models.features import evaluating
from common.models.heads import Network
from common.training.frozen import normalised_batches
from common.training.selecting import SelectingTask
from common.training.views import Batch, TrainViews
from Downstream.config import DownstreamConfig
from Downstream.labels import Labelled


class ClassificationTask(SelectingTask):
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
        super().__init__(config, network)
        self.dataset, self.device = dataset, device
        self.choosing, self.main_metric = labelled.validation, str(dataset.metric)
        images = loader_of(labelled.train, device)
        self.views = TrainViews(
            images, dataset.input, config.augment, config.train, seed=seed, views=1, order="task_order", stream="task_views"
        )
        self.steps_per_epoch = self.views.steps_per_epoch

    def train_batches(self, round: int, epoch: int, first: int) -> Iterator[Batch]:
        """Yield ((images,), labels) from step `first` on; see `TrainViews.batches`. Every rate of a sweep sees the same."""
        return self.views.batches(0 if self.config.optim.sweep else round, epoch, first)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return {"total": cross-entropy}."""
        (images,), labels = batch
        return {"total": functional.cross_entropy(self.forward(images), labels)}

    def evaluate(self, split: str) -> dict[str, float]:
        """Return top-1 and mean per-class accuracy on a split of the target: of the best network, if the recipe selects it."""
        with self.best():
            return classify(self.network, self.dataset.split(split), self.dataset, self.device)

    def validate(self) -> dict[str, float] | None:
        """Return the same on the labels that choose; None where there are none."""
        return classify(self.network, self.choosing, self.dataset, self.device) if self.choosing is not None else None


def classify(network: nn.Module, images: Images | FileImages, dataset: Dataset, device: torch.device) -> dict[str, float]:
    """Return top-1 and mean per-class accuracy of a network's logits, in eval mode, fractions."""
    with evaluating(network):
        logits = [network(batch) for batch in normalised_batches(images, dataset.input, device)]
    return accuracies(torch.cat(logits), images.labels.to(device))
