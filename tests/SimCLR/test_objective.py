"""NT-Xent against a naive loop from the paper, a closed form, and another library."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from SimCLR.objective import nt_xent


def naive(z_a: torch.Tensor, z_b: torch.Tensor, temperature: float) -> float:
    """Chen et al. 2020, eq. 1 and algorithm 1, one anchor, one other view and one coordinate at a time."""
    views = [row.tolist() for pair in zip(z_a, z_b, strict=True) for row in pair]

    def similarity(u: list[float], v: list[float]) -> float:
        dot = norm_u = norm_v = 0.0
        for x, y in zip(u, v, strict=True):
            dot, norm_u, norm_v = dot + x * y, norm_u + x * x, norm_v + y * y
        return dot / math.sqrt(norm_u * norm_v)

    total = 0.0
    for i, anchor in enumerate(views):
        partner = i + 1 if i % 2 == 0 else i - 1
        denominator = sum(math.exp(similarity(anchor, other) / temperature) for k, other in enumerate(views) if k != i)
        total -= math.log(math.exp(similarity(anchor, views[partner]) / temperature) / denominator)
    return total / len(views)


@settings(max_examples=40, deadline=None)
@given(count=st.integers(2, 7), width=st.integers(1, 6), temperature=st.floats(0.1, 5), seed=st.integers(0, 10**6))
def test_equals_the_naive_loop(count: int, width: int, temperature: float, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    z_a, z_b = (torch.randn(count, width, generator=draws) for _ in range(2))
    assert nt_xent(z_a, z_b, temperature=temperature).item() == pytest.approx(
        naive(z_a.double(), z_b.double(), temperature), abs=2e-4
    )


@pytest.mark.parametrize("count", [2, 5, 128])
def test_all_projections_parallel_gives_log_2n_minus_1(count: int) -> None:
    z = torch.full((count, 8), 0.3)
    assert nt_xent(z, 7 * z, temperature=0.2).item() == pytest.approx(math.log(2 * count - 1), rel=1e-5)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_equals_lightly_with_its_gradient(temperature: float) -> None:
    from lightly.loss import NTXentLoss

    draws = torch.Generator().manual_seed(3)
    ours = [torch.randn(16, 10, generator=draws, requires_grad=True) for _ in range(2)]
    theirs = [part.detach().clone().requires_grad_() for part in ours]
    loss = nt_xent(*ours, temperature=temperature)
    expected = NTXentLoss(temperature=temperature)(*theirs)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def test_is_the_mean_of_logs_not_the_log_of_the_mean() -> None:
    draws = torch.Generator().manual_seed(0)
    z_a, z_b = (torch.randn(8, 4, generator=draws) for _ in range(2))
    z = torch.nn.functional.normalize(torch.cat([z_a, z_b]), dim=1)
    similar = (z @ z.T / 0.5).exp()
    partner = torch.arange(16).roll(8)
    share = similar[torch.arange(16), partner] / (similar.sum(1) - similar.diagonal())
    published_bug = -share.mean().log()
    assert abs(nt_xent(z_a, z_b, temperature=0.5) - published_bug) > 0.05
    torch.testing.assert_close(nt_xent(z_a, z_b, temperature=0.5), -share.log().mean())


def test_scale_and_swap_of_views_change_nothing() -> None:
    draws = torch.Generator().manual_seed(1)
    z_a, z_b = (torch.randn(6, 5, generator=draws) for _ in range(2))
    loss = nt_xent(z_a, z_b, temperature=0.3)
    torch.testing.assert_close(nt_xent(100 * z_a, 0.01 * z_b, temperature=0.3), loss)
    torch.testing.assert_close(nt_xent(z_b, z_a, temperature=0.3), loss)


@pytest.mark.parametrize(
    ("z_a", "z_b", "temperature"),
    [
        (torch.ones(3, 2), torch.ones(2, 2), 1.0),
        (torch.ones(1, 2), torch.ones(1, 2), 1.0),
        (torch.ones(3, 2), torch.ones(3, 2), 0.0),
    ],
)
def test_refuses_shapes_and_temperatures(z_a: torch.Tensor, z_b: torch.Tensor, temperature: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        nt_xent(z_a, z_b, temperature=temperature)
