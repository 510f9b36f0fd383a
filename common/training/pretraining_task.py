"""The part that all pre-training tasks share: batches of views, and what a round is judged by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from common.data.datasets import Dataset
from common.data.loaders import loader_of
from common.models.heads import Network
from common.training.pretraining_config import PretrainingConfig
from common.training.probe import Probe
from common.training.task import NetworkTask
from common.training.views import Batch, TrainViews


class PretrainingTask(NetworkTask):
    """Pre-training on views of images (implements `common.training.task.Task` but for `loss`, which an objective adds).

    Args:
        config: views, batch size, evaluation.
        network: backbone and head, on the device.
        dataset: images; of the labels, an objective uses what it says it does.
        device: where everything is computed.
        seed: the search's seed.
        views: views of every image in a batch.
    """

    main_metric = "retrieval_accuracy"

    def __init__(
        self,
        config: PretrainingConfig,
        network: Network,
        dataset: Dataset,
        device: torch.device,
        seed: int,
        *,
        views: int,
    ) -> None:
        super().__init__(network)
        self.config, self.seed = config, seed
        used = [name for name in ("train", "validation", "bank") if name in dataset.splits]
        self.images = {name: loader_of(dataset.split(name), device) for name in used}
        self.views = TrainViews(self.images["train"], dataset.input, config.augment, config.train, seed=seed, views=views)
        self.probe = Probe(dataset, self.images, config.evaluation, device)
        self.steps_per_epoch = self.views.steps_per_epoch

    def train_batches(self, round: int, epoch: int, first: int) -> Iterator[Batch]:
        """Yield ((view, ...), labels) from step `first` on; see `TrainViews.batches`."""
        return self.views.batches(round, epoch, first)

    def evaluate(self, split: str) -> dict[str, float]:
        """Return the probe's metrics of the backbone: retrieval and k-NN accuracy, RankMe."""
        return self.probe.measure(self.backbone, split)

    def alarms(self, metrics: Mapping[str, float], split: str) -> tuple[str, ...]:
        """Return ("at_chance",) where the probe says that the backbone is ruined."""
        return self.probe.alarms(metrics, split)
