"""Retrieval accuracy against a naive loop and a case worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from common.errors import InputError
from common.metrics.retrieval import retrieval_accuracy


def _naive(first: torch.Tensor, second: torch.Tensor, batch: int) -> float:
    right = total = 0
    for start in range(0, len(first) - batch + 1, batch):
        views = [*first[start : start + batch].tolist(), *second[start : start + batch].tolist()]
        for i, view in enumerate(views):
            cosines = {
                j: sum(a * b for a, b in zip(view, other, strict=True)) / math.hypot(*view) / math.hypot(*other)
                for j, other in enumerate(views)
                if j != i
            }
            right += max(cosines, key=cosines.__getitem__) == (i + batch) % (2 * batch)
            total += 1
    return right / total


@pytest.mark.parametrize(("count", "batch"), [(30, 30), (30, 8), (7, 1), (33, 16)])
def test_equals_a_naive_loop(count: int, batch: int) -> None:
    random = torch.Generator().manual_seed(count * 100 + batch)
    first = torch.randn(count, 6, generator=random)
    second = first + 0.8 * torch.randn(count, 6, generator=random)
    expected = _naive(first, second, batch)
    assert retrieval_accuracy(first, second, batch=batch) == pytest.approx(expected, abs=1e-12)
    assert batch == 1 or 0.1 < expected < 1


def test_case_worked_by_hand() -> None:
    """Views at angles 0, 10 (image 0) and 14, 60 (image 1) degrees: 0 finds 10; 10 finds 14; 14 finds 10; 60 finds 14."""
    first, second = ([[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in angles] for angles in ((0, 14), (10, 60)))
    assert retrieval_accuracy(torch.tensor(first), torch.tensor(second), batch=2) == 0.5


def test_length_of_features_does_not_count() -> None:
    views = torch.eye(4)
    assert retrieval_accuracy(views, views * torch.tensor([[0.1], [9.0], [3.0], [100.0]]), batch=4) == 1.0


def test_a_partial_batch_is_dropped() -> None:
    first = torch.eye(5)
    second = first.clone()
    second[4] = -first[4]
    assert retrieval_accuracy(first, second, batch=2) == 1.0


@pytest.mark.parametrize("batch", [0, 6])
def test_a_batch_of_more_images_than_there_are_is_refused(batch: int) -> None:
    with pytest.raises(InputError, match=r"set the retrieval batch to 1 to 5"):
        retrieval_accuracy(torch.eye(5), torch.eye(5), batch=batch)


def test_views_of_different_shapes_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected"):
        retrieval_accuracy(torch.eye(5), torch.eye(4), batch=2)
