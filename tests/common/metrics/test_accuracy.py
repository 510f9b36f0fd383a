"""Accuracy against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from common.errors import InputError
from common.metrics.accuracy import accuracies, mean_per_class, top1


def test_accuracy_equals_sklearn_on_unbalanced_classes() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 4], size=300, p=[0.7, 0.2, 0.1])
    logits = torch.from_numpy(rng.normal(size=(300, 5)))
    logits[torch.arange(150), torch.from_numpy(labels[:150])] += 5
    classes = logits.argmax(1).numpy()
    expected = [accuracy_score(labels, classes), np.mean([(classes[labels == k] == k).mean() for k in (0, 1, 4)])]
    for predictions in (logits, torch.from_numpy(classes)):
        assert top1(predictions, torch.from_numpy(labels)) == pytest.approx(expected[0], abs=1e-12)
        assert mean_per_class(predictions, torch.from_numpy(labels)) == pytest.approx(expected[1], abs=1e-12)


def test_mean_per_class_equals_balanced_accuracy() -> None:
    labels, predictions = torch.tensor([0, 0, 0, 1, 2, 2]), torch.tensor([0, 1, 0, 1, 0, 2])
    assert mean_per_class(predictions, labels) == pytest.approx(balanced_accuracy_score(labels, predictions))


def test_a_class_without_an_image_does_not_count() -> None:
    labels, predictions = torch.tensor([0, 0, 0, 0, 3, 3]), torch.tensor([0, 0, 0, 1, 3, 1])
    assert mean_per_class(predictions, labels) == pytest.approx((3 / 4 + 1 / 2) / 2), "of classes 0 and 3; 1 and 2 have no image"
    assert accuracies(predictions, labels) == {"top1": 4 / 6, "mean_per_class": (3 / 4 + 1 / 2) / 2}


@pytest.mark.parametrize(("shape", "count"), [((3,), 4), ((3, 2), 4), ((0,), 0)])
def test_shapes_that_do_not_match_are_refused(shape: tuple[int, ...], count: int) -> None:
    with pytest.raises(InputError, match=r"expected"):
        top1(torch.zeros(shape), torch.zeros(count, dtype=torch.int64))
