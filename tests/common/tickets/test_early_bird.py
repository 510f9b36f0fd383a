"""The early-bird criterion against masks worked by hand and a naive loop."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.tickets.allocation import keep_global
from common.tickets.early_bird import EarlyBird, mask_distance
from common.tickets.errors import TicketError
from common.tickets.mask import Mask

SIZE = 10


def mask(*kept: int) -> Mask:
    """Ten weights in two tensors, of which the numbered ones are kept."""
    flat = torch.tensor([i in kept for i in range(SIZE)])
    return Mask({"a": flat[:4].reshape(2, 2), "b": flat[4:]})


def test_the_distance_is_the_share_of_weights_that_changed_sides() -> None:
    assert mask_distance(mask(0, 1, 2, 3), mask(0, 1, 2, 3)) == 0
    assert mask_distance(mask(0, 1, 2, 3), mask(0, 1, 2, 9)) == 0.2  # 3 left, 9 joined
    assert mask_distance(mask(0, 1), mask(8, 9)) == 0.4
    assert mask_distance(mask(*range(SIZE)), mask()) == 1
    with pytest.raises(TicketError):
        mask_distance(mask(0), Mask({"a": torch.ones(2, dtype=torch.bool)}))


def test_a_case_worked_by_hand() -> None:
    """Distances .4, .2, .0, .2, .0, .0 with a window of 2 and a bound of .2: only the last two both lie below it."""
    bird = EarlyBird(bound=0.2, window=2, kept=SIZE)
    masks = [(0, 1, 2), (0, 3, 4), (0, 3, 5), (0, 3, 5), (0, 3, 6), (0, 3, 6), (0, 3, 6)]
    settled = []
    for kept in masks:
        bird.see(mask(*kept))
        settled.append(bird.has_settled)
    assert bird.distances == [0.4, 0.2, 0.0, 0.2, 0.0, 0.0]
    assert settled == [False, False, False, False, False, False, True]


def test_a_distance_at_the_bound_does_not_lie_below_it() -> None:
    bird = EarlyBird(bound=0.2, window=1, kept=SIZE)
    bird.see(mask(0))
    bird.see(mask(1))
    assert bird.distances == [0.2]
    assert not bird.has_settled


def test_distances_are_fractions_of_what_the_round_keeps() -> None:
    bird = EarlyBird(bound=0.5, window=1, kept=4)
    bird.see(mask(0, 1, 2))
    bird.see(mask(0, 1, 3))
    assert bird.distances == [0.5]
    assert not bird.has_settled


def test_unrelated_scores_do_not_settle_in_a_late_round() -> None:
    """Two random 4/5 of the kept weights differ by 2 (4/5) (1/5) = .32 of them, and by .064 of the scope at density .2."""
    size, density = 20_000, 0.2
    kept = round(size * density)
    current = Mask({"a": torch.arange(size) < kept})
    generator = torch.Generator().manual_seed(0)
    bird = EarlyBird(bound=0.1, window=5, kept=current.kept)
    masks = [keep_global({"a": torch.rand(size, generator=generator)}, current, kept * 4 // 5) for _ in range(8)]
    for drawn in masks:
        bird.see(drawn)
        assert not bird.has_settled
    assert bird.distances == pytest.approx([0.32] * 7, abs=0.03)
    assert all(mask_distance(one, other) < bird.bound for one, other in pairwise(masks)), "over the scope it would have settled"


MASKS = st.lists(st.sets(st.integers(0, SIZE - 1)), min_size=1, max_size=9)


@settings(deadline=None, max_examples=60)
@given(MASKS, st.sampled_from([0.1, 0.2, 0.35, 1.0]), st.integers(1, 5), st.integers(0, 8))
def test_a_naive_loop_agrees_and_a_killed_one_goes_on(sets: list[set[int]], bound: float, window: int, killed_after: int) -> None:
    expected, queue = [], []
    for before, now in pairwise(sets):
        queue.append(len(before ^ now) / SIZE)
        expected.append(len(queue) >= window and all(distance < bound for distance in queue[-window:]))
    bird, found = EarlyBird(bound, window, SIZE), []
    for number, kept in enumerate(sets):
        if number == killed_after:
            state, bird = bird.state_dict(), EarlyBird(bound, window, SIZE)
            bird.load_state_dict(state)
        bird.see(mask(*kept))
        found.append(bird.has_settled)
    assert found == [False, *expected]
    assert bird.distances == pytest.approx(queue)
