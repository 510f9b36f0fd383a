"""2:4 projection against a naive loop, and against the rule of the pattern itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from common.exchange.semi_structured import project
from common.tickets.errors import TicketError
from common.tickets.mask import Mask


def naive(weight: Tensor, kept: Tensor) -> Tensor:
    """Go through every output, kernel position and group; keep the two largest of what is kept, the earlier among equals."""
    flat_w, flat_k = weight.flatten(2) if weight.dim() > 2 else weight[..., None], kept.reshape(*kept.shape[:2], -1)
    out = torch.zeros_like(flat_k)
    for o in range(flat_w.shape[0]):
        for k in range(flat_w.shape[2]):
            for start in range(0, flat_w.shape[1], 4):
                group = [i for i in range(start, min(start + 4, flat_w.shape[1])) if flat_k[o, i, k]]
                for i in sorted(group, key=lambda i: (-abs(float(flat_w[o, i, k])), i))[:2]:
                    out[o, i, k] = True
    return out.reshape(kept.shape)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from([(3, 8), (2, 7), (4, 4, 3, 3), (2, 10, 1, 1), (5, 1, 3, 3), (2, 3, 2, 2), (2, 6, 3)]),
    density=st.sampled_from([0.2, 0.6, 1.0]),
    levels=st.integers(1, 6),
    seed=st.integers(0, 10**6),
)
def test_a_projection_by_a_naive_loop(shape: tuple[int, ...], density: float, levels: int, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    weight = torch.randint(-levels, levels + 1, shape, generator=draws).float()  # many equal magnitudes, and zeros that are kept
    kept = torch.rand(shape, generator=draws) < density
    done = project(Mask({"w": kept}), {"w": weight})
    expected = naive(weight, kept)
    assert torch.equal(done.mask["w"], expected)
    before, after = float(weight.abs()[kept].sum()), float(weight.abs()[expected].sum())
    assert done.magnitude["w"] == (before, after)
    assert done.kept_magnitude == pytest.approx(after / before if before else 1.0)
    groups = torch.nn.functional.pad(done.mask["w"].movedim(1, -1), (0, -shape[1] % 4)).reshape(-1, 4)
    assert int(groups.sum(1).max()) <= 2
    again = project(done.mask, {"w": weight})
    assert again.mask == done.mask


def test_short_groups_by_hand() -> None:
    """Six inputs: 2 of the first four, and both that are left over; a depthwise weight keeps its only input."""
    weight = torch.tensor([[1.0, -4.0, 3.0, 2.0, 0.5, 0.1]])
    kept = torch.ones(1, 6, dtype=torch.bool)
    done = project(Mask({"w": kept}), {"w": weight})
    assert done.mask["w"].tolist() == [[False, True, True, False, True, True]]
    assert done.kept_magnitude == pytest.approx(7.6 / 10.6)
    depthwise = torch.ones(3, 1, 3, 3)
    assert project(Mask({"w": depthwise.bool()}), {"w": depthwise}).mask == Mask({"w": depthwise.bool()})


def test_bad_weights() -> None:
    mask = Mask({"w": torch.ones(2, 4, dtype=torch.bool)})
    for weights in ({}, {"w": torch.ones(4, 2)}, {"w": torch.full((2, 4), float("nan"))}):
        with pytest.raises(TicketError, match="weights of 'w'"):
            project(mask, weights)
