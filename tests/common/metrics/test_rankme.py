"""RankMe against the definition in numpy, and against features whose rank is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from common.errors import InputError, RunError
from common.metrics.rankme import rankme


def test_it_is_the_definition() -> None:
    features = np.random.default_rng(0).normal(size=(50, 12)) * np.linspace(0.1, 3, 12)
    values = np.linalg.svd(features, compute_uv=False)
    shares = values / values.sum() + 1e-7
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert rankme(torch.from_numpy(features).float()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_orthogonal_features_of_equal_length_have_their_rank(rank: int) -> None:
    features = torch.eye(8)[torch.arange(rank).repeat(5)]
    assert rankme(features) == pytest.approx(rank, rel=1e-4)


def test_scale_and_order_do_not_matter() -> None:
    features = torch.randn(30, 7, generator=torch.Generator().manual_seed(1))
    assert rankme(1e3 * features.flip(0)) == pytest.approx(rankme(features), rel=1e-5)


def test_constant_features_have_rank_one_and_nothing_at_all_not_more() -> None:
    assert rankme(torch.ones(20, 6)) == pytest.approx(1, rel=1e-4)
    assert rankme(torch.zeros(20, 6)) == pytest.approx(1, rel=1e-4)


def test_what_is_no_matrix_or_not_finite_is_refused() -> None:
    with pytest.raises(InputError, match="shape"):
        rankme(torch.ones(3))
    with pytest.raises(RunError, match="not finite"):
        rankme(torch.tensor([[1.0, float("nan")]]))
