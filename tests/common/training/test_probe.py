"""The probe: k-NN against scikit-learn with the training images as bank, the same views for every paradigm, its alarms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from common.data.datasets import Dataset, load_data
from common.data.loaders import DeviceImages
from common.errors import InputError
from common.training.pretraining_config import EvaluationConfig
from common.training.probe import Probe

DATA = load_data("digits:0-3")


def probe(dataset: Dataset = DATA, **options: int) -> Probe:
    images = {name: DeviceImages(part, "cpu") for name, part in dataset.splits.items() if name != "test"}
    return Probe(dataset, images, EvaluationConfig(**{"retrieval_batch": 64, **options}), torch.device("cpu"))


class Pixels(nn.Module):
    """Features that are the pixels themselves."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


def unit_pixels(split: str) -> tuple[np.ndarray, np.ndarray]:
    part = DATA.split(split)
    flat = part.images.flatten(1).double().numpy() / 255
    return flat / np.linalg.norm(flat, axis=1, keepdims=True), part.labels.numpy()


def weights_of(distances: np.ndarray) -> np.ndarray:
    return np.exp((1 - distances) / 0.07)


def test_the_bank_is_the_training_images_and_the_queries_are_validation() -> None:
    classifier = KNeighborsClassifier(20, metric="cosine", weights=weights_of, algorithm="brute")
    classifier.fit(*unit_pixels("train"))
    expected = classifier.score(*unit_pixels("validation"))
    assert probe().measure(Pixels(), "validation")["knn_accuracy"] == pytest.approx(expected, abs=1e-9)
    assert expected < 1, "a bank of the queries themselves would find each one"


def test_a_bank_split_takes_the_place_of_unlabelled_training_images() -> None:
    unlabelled = replace(DATA.train, labels=torch.zeros_like(DATA.train.labels))
    dataset = replace(DATA, splits={**DATA.splits, "train": unlabelled, "bank": DATA.train})
    assert probe(dataset).measure(Pixels(), "validation") == probe().measure(Pixels(), "validation")


def test_a_smaller_bank_is_even_over_the_classes_and_always_the_same() -> None:
    one, other = probe(bank=40), probe(bank=40)
    assert one._bank.labels.bincount().tolist() == [10, 10, 10, 10]
    assert torch.equal(one._bank.images, other._bank.images)


def test_asking_for_more_images_than_there_are_is_refused() -> None:
    with pytest.raises(InputError, match=r"evaluation\.retrieval_batch: got 9999"):
        probe(retrieval_batch=9999)
    with pytest.raises(InputError, match=r"evaluation\.neighbours: got 9999"):
        probe(neighbours=9999)


class Constant(nn.Module):
    """Features that are alike for every image, but for rounding."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(x), 16) + 1e-6 * x.flatten(1)[:, :16]


class Noise(nn.Module):
    """Features that have nothing to do with the image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.randn(len(x), 16, generator=torch.Generator().manual_seed(len(x)))


@pytest.mark.parametrize("backbone", [Constant(), Noise()])
def test_features_without_information_raise_an_alarm(backbone: nn.Module) -> None:
    p = probe()
    assert p.alarms(p.measure(backbone, "validation"), "validation") == ("at_chance",)


def test_pixels_raise_none() -> None:
    p = probe()
    assert p.alarms(p.measure(Pixels(), "validation"), "validation") == ()
