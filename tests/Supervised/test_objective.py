"""Cross-entropy against a naive loop from the paper, scikit-learn, and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from Supervised.objective import cross_entropy


def naive(logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> float:
    """Szegedy et al. 2016, equation 9 and section 7, one image and one class at a time."""
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        normaliser = sum(math.exp(x) for x in row)
        for k, x in enumerate(row):
            target = (1 - smoothing) * (k == label) + smoothing / len(row)
            total -= target * math.log(math.exp(x) / normaliser)
    return total / len(labels)


def batch(count: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(count, classes, generator=draws), torch.randint(classes, (count,), generator=draws)


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 7), classes=st.integers(1, 6), smoothing=st.floats(0, 0.99), seed=st.integers(0, 10**6))
def test_equals_the_naive_loop(count: int, classes: int, smoothing: float, seed: int) -> None:
    logits, labels = batch(count, classes, seed)
    assert cross_entropy(logits, labels, smoothing=smoothing).item() == pytest.approx(naive(logits, labels, smoothing), abs=1e-4)


def test_without_smoothing_it_is_scikit_learns_log_loss() -> None:
    from scipy.special import softmax
    from sklearn.metrics import log_loss

    logits, labels = batch(40, 5)
    expected = log_loss(labels.numpy(), softmax(logits.double().numpy(), axis=1), labels=np.arange(5))
    assert cross_entropy(logits, labels).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_equal_logits_give_the_logarithm_of_the_classes(classes: int, smoothing: float) -> None:
    logits = torch.full((4, classes), -7.0)
    assert cross_entropy(logits, torch.arange(4) % 2, smoothing=smoothing).item() == pytest.approx(math.log(classes), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.05, 0.3])
def test_with_smoothing_the_smallest_loss_is_the_entropy_of_the_target(smoothing: float) -> None:
    classes, high = 6, 1 - smoothing + smoothing / 6
    target = torch.full((1, classes), smoothing / classes)
    target[0, 2] = high
    best = cross_entropy(target.log(), torch.tensor([2]), smoothing=smoothing).item()
    entropy = -high * math.log(high) - (classes - 1) * smoothing / classes * math.log(smoothing / classes)
    assert best == pytest.approx(entropy, rel=1e-5)
    assert cross_entropy(100 * target, torch.tensor([2]), smoothing=smoothing).item() > best


def test_half_precision_logits_are_judged_in_single_precision() -> None:
    logits, labels = batch(16, 8)
    half = logits.bfloat16()
    loss = cross_entropy(half, labels, smoothing=0.1)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, cross_entropy(half.float(), labels, smoothing=0.1), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("logits", "labels", "smoothing"),
    [
        (torch.ones(3, 2), torch.zeros(2, dtype=torch.int64), 0.0),
        (torch.ones(3), torch.zeros(3, dtype=torch.int64), 0.0),
        (torch.ones(3, 2), torch.zeros(3, dtype=torch.int64), 1.0),
        (torch.ones(3, 2), torch.zeros(3, dtype=torch.int64), -0.1),
    ],
)
def test_refuses_shapes_and_smoothings(logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        cross_entropy(logits, labels, smoothing=smoothing)
