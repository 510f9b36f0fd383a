from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils import prune

from common.tickets.errors import TicketError
from common.tickets.schedule import gradual_counts, kept_counts


@given(st.integers(10, 3000), st.floats(0.01, 0.6))
def test_counts_are_those_of_torch(size: int, rate: float) -> None:
    """The oracle prunes a vector of `size` random values with torch, round after round."""
    values = torch.rand(size, generator=torch.Generator().manual_seed(size))
    mask = torch.ones(size)
    expected = [size]
    method = prune.PruningContainer()
    method._tensor_name = "weight"  # torch asks for it before it adds a method
    for _ in range(3):
        step = prune.L1Unstructured(amount=rate)
        step._tensor_name = "weight"
        method.add_pruning_method(step)
        mask = method.compute_mask(values, mask)
        expected.append(int(mask.sum()))
    assert kept_counts(size, rate, 3) == expected


def test_half_rounds_to_even() -> None:
    assert kept_counts(5, 0.5, 2) == [5, 3, 1]  # 2.5 -> 2, 1.5 -> 2
    assert kept_counts(7, 0.5, 1) == [7, 3]  # 3.5 -> 4


def test_the_densities_of_the_paper() -> None:
    """Chen et al. 2021 list 18 rounds at 20%: 80, 64, 51.2 ... 1.80 per cent of ResNet-50's weights."""
    counts = kept_counts(23_445_504, 0.2, 18)
    percent = [100 * count / counts[0] for count in counts]
    published = [
        100,
        80,
        64,
        51.2,
        40.96,
        32.77,
        26.21,
        20.97,
        16.78,
        13.42,
        10.74,
        8.59,
        6.87,
        5.50,
        4.40,
        3.52,
        2.81,
        2.25,
        1.80,
    ]
    assert percent == pytest.approx(published, abs=0.006)


@pytest.mark.parametrize(
    ("size", "rate", "rounds"), [(0, 0.2, 1), (10, 0.0, 1), (10, 1.0, 1), (10, 0.2, -1), (10, float("nan"), 1)]
)
def test_arguments_out_of_range(size: int, rate: float, rounds: int) -> None:
    with pytest.raises(TicketError, match="a schedule needs"):
        kept_counts(size, rate, rounds)


def test_a_round_that_keeps_nothing_is_named() -> None:
    with pytest.raises(TicketError, match="round 2 would keep none of 4"):
        kept_counts(4, 0.7, 5)


def test_gradual_pruning_by_hand() -> None:
    """Distiller's example: sparsity .01 to .85 over epochs 0 to 44."""
    counts = gradual_counts(1_000_000, 0.99, 0.15, start=0, end=45, every=1)
    assert list(counts) == list(range(45))
    by_hand = {0: 0.01, 5: 0.265, 10: 0.462, 15: 0.609, 22: 0.745, 30: 0.823, 44: 0.85}
    assert {time: round(1 - counts[time] / 1_000_000, 3) for time in by_hand} == by_hand
    assert counts[44] == 150_000
    assert all(counts[time] >= counts[time + 1] for time in range(44))
    assert list(gradual_counts(10, 0.99, 0.15, start=2, end=45, every=3)) == list(range(2, 45, 3))
    assert gradual_counts(3, 1.0, 0.5, start=0, end=2, every=1) == {0: 3, 1: 2}  # int(1.5) are removed


@pytest.mark.parametrize(
    ("size", "first", "last", "end", "every"),
    [
        (0, 0.9, 0.1, 9, 1),
        (5, 0.1, 0.9, 9, 1),
        (5, 1.1, 0.9, 9, 1),
        (5, 0.9, 0.0, 9, 1),
        (5, 0.9, 0.1, 1, 1),
        (5, 0.9, 0.1, 9, 0),
    ],
)
def test_gradual_pruning_refuses(size: int, first: float, last: float, end: int, every: int) -> None:
    with pytest.raises(TicketError, match="gradual pruning needs"):
        gradual_counts(size, first, last, start=0, end=end, every=every)
