"""k-NN against scikit-learn's neighbours with the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from common.errors import InputError, RunError
from common.metrics.knn import knn_accuracy, knn_predict


@pytest.fixture(scope="module")
def features() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 7, (400,), generator=random)
    centres = torch.randn(7, 16, generator=random)
    bank = centres[labels] + 1.5 * torch.randn(400, 16, generator=random)
    queries = 3 * torch.randn(101, 16, generator=random)
    return queries, bank, labels


@pytest.mark.parametrize(("k", "chunk"), [(1, 7), (20, 1024), (20, 13), (400, 64)])
def test_predictions_equal_sklearn(features: tuple[torch.Tensor, ...], k: int, chunk: int) -> None:
    queries, bank, labels = features
    oracle = KNeighborsClassifier(k, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07))
    expected = oracle.fit(bank.double().numpy(), labels.numpy()).predict(queries.double().numpy())
    assert knn_predict(queries, bank, labels, k=k, chunk=chunk).tolist() == expected.tolist()


def test_a_close_neighbour_outvotes_two_far_ones() -> None:
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    labels = torch.tensor([3, 1, 1])
    assert knn_predict(torch.tensor([[5.0, 1.0]]), bank, labels, k=3).tolist() == [3]
    assert knn_predict(torch.tensor([[5.0, 1.0]]), bank, labels, k=3, temperature=10.0).tolist() == [1]


def test_accuracy_on_the_bank_itself_with_one_neighbour(features: tuple[torch.Tensor, ...]) -> None:
    _, bank, labels = features
    assert knn_accuracy(bank, labels, bank, labels, k=1) == 1.0


@pytest.mark.parametrize("k", [0, 401])
def test_more_neighbours_than_bank_is_refused(features: tuple[torch.Tensor, ...], k: int) -> None:
    with pytest.raises(InputError, match=r"expected 1 to 400"):
        knn_predict(*features, k=k)


def test_features_that_are_not_finite_are_a_failed_run(features: tuple[torch.Tensor, ...]) -> None:
    queries, bank, labels = features
    with pytest.raises(RunError, match=r"not finite"):
        knn_predict(queries * float("nan"), bank, labels)
    with pytest.raises(InputError, match=r"shapes"):
        knn_predict(queries[:, :3], bank, labels)
