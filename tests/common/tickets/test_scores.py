"""Scores come from the parameters as they stand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from common.tickets.allocation import keep_global
from common.tickets.errors import TicketError
from common.tickets.hold import hold
from common.tickets.mask import Mask
from common.tickets.schedule import kept_counts
from common.tickets.scope import find_scope
from common.tickets.scores import magnitude, random


class Cached(nn.Conv2d):
    """A convolution that computes with a product of weight and mask which it refreshes only in `forward`, as torch does."""

    def __init__(self) -> None:
        super().__init__(2, 2, 1, bias=False)
        self.register_buffer("product", self.weight.detach().clone())

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        self.product = self.weight.detach().clone()
        return super().forward(x_NCHW)


def test_magnitude_ranks_the_parameter_and_not_a_stale_product() -> None:
    """Emulates a replica: the copy runs `forward`, the original's parameter trains, the original's product never moves."""
    layer = Cached()
    replica = copy.deepcopy(layer)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]])[:, :, None, None])
    layer.product.copy_(torch.tensor([[4.0, 3.0], [2.0, 1.0]])[:, :, None, None])
    replica(torch.ones(1, 2, 1, 1))
    scope = find_scope(layer, exclude=())
    mask = keep_global(magnitude(scope.parameters(layer)), Mask.dense({"weight": (2, 2, 1, 1)}), 2)
    assert mask["weight"].flatten().tolist() == [False, False, True, True]


def test_a_model_under_torch_pruning_is_refused_instead_of_ranked_by_its_cache() -> None:
    """There `weight` is a cached product and the parameter is named `weight_orig`."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1))
    prune.l1_unstructured(model[1], "weight", amount=0.5)
    with pytest.raises(TicketError, match=r"1\.weight"):
        find_scope(model).parameters(model)


def test_magnitude_after_training_is_of_the_trained_weights(little: nn.Module, little_mask: Mask) -> None:
    optimizer = torch.optim.SGD(little.parameters(), lr=0.5, momentum=0.9)
    with hold(little, optimizer, little_mask):
        for _ in range(3):
            optimizer.zero_grad()
            little(torch.randn(4, 1, 6, 6)).square().sum().backward()
            optimizer.step()
    scores = magnitude(find_scope(little).parameters(little))
    for name, score in scores.items():
        expected = little.get_parameter(name).detach().numpy()
        assert (score.numpy() == abs(expected)).all()


def test_magnitude_is_a_float32_copy() -> None:
    weight = nn.Parameter(torch.tensor([-2.0, -0.0, 3.0], dtype=torch.float64))
    score = magnitude({"a": weight})["a"]
    assert score.dtype == torch.float32
    assert score.tolist() == [2.0, 0.0, 3.0]
    assert not score.requires_grad
    plain = nn.Parameter(torch.tensor([1.0]))
    magnitude({"a": plain})["a"].fill_(7)
    assert plain.item() == 1.0


def test_random_scores_give_nested_masks_that_ignore_the_weights() -> None:
    shapes = {"a": (40, 5), "b": (300,)}
    counts = kept_counts(500, 0.2, 8)
    mask, seen = Mask.dense(shapes), []
    for round_ in range(1, 9):
        weights = {name: torch.full(shape, float(round_)) for name, shape in shapes.items()}
        smaller = keep_global(random(weights, seed=4, round=round_), mask, counts[round_])
        assert (smaller.flat().numpy() <= mask.flat().numpy()).all()
        assert int(smaller.flat().numpy().sum()) == counts[round_]
        mask = smaller
        seen.append(random(weights, seed=4, round=round_)["a"])
    assert len({tuple(score.flatten().tolist()) for score in seen}) == 8  # every round draws anew
    again = random({name: torch.zeros(shape) for name, shape in reversed(shapes.items())}, seed=4, round=1)
    assert torch.equal(again["a"], seen[0])
    assert not torch.equal(random({"a": torch.zeros(40, 5), "b": torch.zeros(300)}, seed=5, round=1)["a"], seen[0])


def test_scores_leave_torchs_generator_alone() -> None:
    before = torch.random.get_rng_state()
    random({"a": torch.zeros(10)}, seed=0, round=0)
    assert torch.equal(before, torch.random.get_rng_state())
