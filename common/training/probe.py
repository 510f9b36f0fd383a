"""What every paradigm's rounds are judged by: the same metrics, on the same views of the same images, of backbone features."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from common.config import require
from common.data.catalogue import entry_of
from common.data.datasets import Dataset
from common.data.inputs import InputSpec
from common.data.loaders import Loader, ViewDraws
from common.data.splits import labelled_subset
from common.metrics.knn import knn_accuracy
from common.metrics.rankme import rankme
from common.metrics.retrieval import retrieval_accuracy
from common.models.features import extract_features
from common.training.frozen import BATCH, features_of
from common.training.pretraining_config import EvaluationConfig

VIEW_SEED = 0
LEAST_RANK = 1.5
"""Features whose effective rank is below this have collapsed to a point or a line."""


class Probe:
    """Judge a backbone by its features, in eval mode; labels judge, they never move a weight.

    Args:
        dataset: its validation images are the queries, its `bank` or training images the bank; its catalogue entry has the views.
        images: what reads the splits `train`, `validation` and, where the data set has one, `bank`.
        config: how many images retrieval and k-NN look at.
        device: where features are computed.

    Raises:
        InputError: an option asks for more images than there are.
    """

    def __init__(self, dataset: Dataset, images: Mapping[str, Loader], config: EvaluationConfig, device: torch.device) -> None:
        self.input: InputSpec = dataset.input
        self.views = entry_of(dataset.name).views
        self.images, self.config, self.device = images, config, device
        bank = "bank" if "bank" in images else "train"
        for name, wanted, split in (
            ("retrieval_batch", config.retrieval_batch, "validation"),
            ("neighbours", config.neighbours, bank),
        ):
            there = len(images[split])
            require(wanted <= there, f"evaluation.{name}", wanted, f"no more than the {there} {split} images")
        self._bank = images[bank].subset(_bank_of(images[bank].labels.cpu(), config.bank))

    def measure(self, backbone: nn.Module, split: str) -> dict[str, float]:
        """Return {"retrieval_accuracy", "knn_accuracy"} in [0, 1] and {"rankme"}, an effective rank >= 1."""
        images = self.images[split]
        features_ND = features_of(backbone, images, self.input, self.device)
        bank_MD = features_of(backbone, self._bank, self.input, self.device)
        return {
            "retrieval_accuracy": retrieval_accuracy(*self._view_features(backbone, images), batch=self.config.retrieval_batch),
            "knn_accuracy": knn_accuracy(features_ND, images.labels, bank_MD, self._bank.labels, k=self.config.neighbours),
            "rankme": rankme(features_ND),
        }

    def alarms(self, metrics: Mapping[str, float], split: str) -> tuple[str, ...]:
        """Return ("at_chance",) where a backbone is ruined, else ().

        Ruined is one whose k-NN accuracy lies within two standard errors of always naming the largest class, or whose features
        have an effective rank below 1.5. An untrained network is well above both.
        """
        labels = self.images[split].labels
        chance = int(labels.bincount().max()) / len(labels)
        highest = chance + 2 * math.sqrt(chance * (1 - chance) / len(labels))
        one_class = chance == 1
        ruined = (metrics["knn_accuracy"] <= highest and not one_class) or metrics["rankme"] < LEAST_RANK
        return ("at_chance",) if ruined else ()

    def _view_features(self, backbone: nn.Module, images: Loader) -> tuple[Tensor, Tensor]:
        batches = list(images.fixed_batches(BATCH))
        pairs = images.view_batches(batches, ViewDraws(self.views, self.input, 2, VIEW_SEED, "retrieval_views"))
        features = extract_features(backbone, (view for views, _ in pairs for view in views))
        in_turn = features.split([len(batch) for batch in batches for _ in range(2)])
        return torch.cat(in_turn[::2]), torch.cat(in_turn[1::2])


def _bank_of(labels_N: Tensor, most: int | None) -> Tensor | slice:
    """Choose the bank's images, evenly over the classes; the choice has a seed of its own, the same for every run."""
    if most is None or most >= len(labels_N):
        return slice(None)
    return labelled_subset(labels_N, most, VIEW_SEED)
