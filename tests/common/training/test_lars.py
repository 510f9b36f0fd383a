"""LARS against another library's and by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from common.config import OptimConfig
from common.training.lars import LARS
from common.training.optim import build_optimizer


def parameters(seed: int = 0) -> list[nn.Parameter]:
    draws = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=draws)) for shape in ((4, 3), (5, 2, 3, 3), (6, 6))]


def gradients(step: int) -> list[torch.Tensor]:
    draws = torch.Generator().manual_seed(100 + step)
    return [torch.randn(p.shape, generator=draws) for p in parameters()]


@pytest.mark.parametrize(("momentum", "decay"), [(0.9, 1e-2), (0.0, 1e-2), (0.9, 0.3)])
def test_equals_lightly(momentum: float, decay: float) -> None:
    from lightly.utils import lars

    ours, theirs = parameters(), parameters()
    mine = LARS(ours, 0.3, momentum=momentum, weight_decay=decay, trust_coefficient=0.02)
    peer = lars.LARS(theirs, lr=0.3, momentum=momentum, weight_decay=decay, trust_coefficient=0.02, eps=1e-12)
    for step in range(8):
        for p, q, g in zip(ours, theirs, gradients(step), strict=True):
            p.grad, q.grad = g.clone(), g.clone()
        mine.step()
        peer.step()
        for p, q in zip(ours, theirs, strict=True):
            torch.testing.assert_close(p, q)


def test_the_first_step_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    weight.grad = torch.tensor([[0.0, 2.0]])
    LARS([weight], 0.5, weight_decay=0.1, trust_coefficient=0.01).step()
    ratio = 0.01 * 5 / (2 + 0.1 * 5)
    expected = torch.tensor([[3.0, 4.0]]) - 0.5 * ratio * torch.tensor([[0.3, 2.4]])
    torch.testing.assert_close(weight.detach(), expected)


@pytest.mark.parametrize("zero", ["weights", "gradients"])
def test_the_ratio_is_1_where_a_norm_is_0(zero: str) -> None:
    weight = nn.Parameter(torch.zeros(2, 2) if zero == "weights" else torch.ones(2, 2))
    weight.grad = torch.ones(2, 2) if zero == "weights" else torch.zeros(2, 2)
    before = weight.detach().clone()
    LARS([weight], 0.5, momentum=0.0, weight_decay=0.1, trust_coefficient=0.001).step()
    torch.testing.assert_close(weight.detach(), before - 0.5 * (weight.grad + 0.1 * before))


def test_norms_and_biases_are_neither_adapted_nor_decayed() -> None:
    layer = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    optimizer = build_optimizer(
        [{"params": list(layer.parameters())}], OptimConfig(name="lars", lr=0.5, weight_decay=0.2, momentum=0)
    )
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for name in ("0.bias", "1.weight", "1.bias"):
        torch.testing.assert_close(layer.get_parameter(name).detach(), before[name] - 0.5)
    assert (layer[0].weight - before["0.weight"]).abs().max() < 0.01


@pytest.mark.parametrize(("name", "expected"), [("sgd", 0.2), ("adamw", 0.0), ("lars", 0.0)])
def test_decay_of_norms(name: str, expected: float) -> None:
    layer = nn.BatchNorm2d(3)
    groups = [{"params": list(layer.parameters())}]
    (group,) = build_optimizer(groups, OptimConfig(name=name, weight_decay=0.2)).param_groups
    assert group["weight_decay"] == expected
    (group,) = build_optimizer(groups, OptimConfig(name=name, weight_decay=0.2, decay_norms=True)).param_groups
    assert group["weight_decay"] == 0.2
