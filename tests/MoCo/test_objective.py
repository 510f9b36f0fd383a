"""InfoNCE against a naive loop from the paper, a closed form, and another library."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from MoCo.objective import info_nce


def naive(q: torch.Tensor, k: torch.Tensor, queue: torch.Tensor, temperature: float) -> float:
    """He et al. 2020, eq. 1, one query, one key and one coordinate at a time."""

    def unit(row: list[float]) -> list[float]:
        norm = math.sqrt(sum(x * x for x in row))
        return [x / norm for x in row]

    total = 0.0
    for query, positive in zip(q.tolist(), k.tolist(), strict=True):
        scores = [
            math.exp(sum(x * y for x, y in zip(unit(query), key, strict=True)) / temperature)
            for key in [unit(positive), *queue.tolist()]
        ]
        total -= math.log(scores[0] / sum(scores))
    return total / len(q)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 6), keys=st.integers(1, 9), width=st.integers(1, 6), tau=st.floats(0.1, 5), seed=st.integers(0, 10**6)
)
def test_equals_the_naive_loop(count: int, keys: int, width: int, tau: float, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    q, k = (torch.randn(count, width, generator=draws, dtype=torch.float64) for _ in range(2))
    queue = normalize(torch.randn(keys, width, generator=draws, dtype=torch.float64), dim=1)
    assert info_nce(q, k, queue.float(), temperature=tau).item() == pytest.approx(naive(q, k, queue, tau), abs=2e-4)


@pytest.mark.parametrize("keys", [1, 7, 4096])
def test_everything_parallel_gives_log_of_1_plus_k(keys: int) -> None:
    z = torch.full((5, 16), 0.3)
    queue = torch.full((keys, 16), 0.25)
    assert info_nce(z, 9 * z, queue, temperature=0.2).item() == pytest.approx(math.log(1 + keys), rel=1e-5)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_equals_lightly_with_its_gradient(temperature: float) -> None:
    from lightly.loss import NTXentLoss

    draws = torch.Generator().manual_seed(3)
    ours = [torch.randn(16, 10, generator=draws, requires_grad=True) for _ in range(2)]
    theirs = [part.detach().clone().requires_grad_() for part in ours]
    lightly = NTXentLoss(temperature=temperature, memory_bank_size=(50, 10))
    queue = lightly.memory_bank.bank.clone()
    loss = info_nce(*ours, queue, temperature=temperature)
    expected = lightly(*theirs)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def test_is_computed_in_float32_under_autocast() -> None:
    draws = torch.Generator().manual_seed(0)
    q, k = (torch.randn(8, 16, generator=draws) for _ in range(2))
    queue = normalize(torch.randn(100, 16, generator=draws), dim=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = info_nce(q, k, queue, temperature=0.07)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, info_nce(q, k, queue, temperature=0.07))


@pytest.mark.parametrize(
    ("q", "k", "queue", "temperature"),
    [
        (torch.ones(3, 2), torch.ones(2, 2), torch.ones(4, 2), 1.0),
        (torch.ones(0, 2), torch.ones(0, 2), torch.ones(4, 2), 1.0),
        (torch.ones(3, 2), torch.ones(3, 2), torch.ones(4, 3), 1.0),
        (torch.ones(3, 2), torch.ones(3, 2), torch.ones(0, 2), 1.0),
        (torch.ones(3, 2), torch.ones(3, 2), torch.ones(4, 2), 0.0),
    ],
)
def test_refuses_shapes_and_temperatures(q: torch.Tensor, k: torch.Tensor, queue: torch.Tensor, temperature: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        info_nce(q, k, queue, temperature=temperature)
