"""Schedules against torch's own."""

from __future__ import annotations

import pytest
import torch

from common.config import OptimConfig
from common.errors import InputError
from common.training.optim import build_optimizer, build_schedule, set_rate


def torch_rates(make, total: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    schedule = make(optimizer)
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def ours(total: int, **settings) -> list[float]:
    rate = build_schedule(OptimConfig(lr=0.4, **settings), total, 10)
    return [rate(step) for step in range(total)]


def test_cosine_equals_torch() -> None:
    expected = torch_rates(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 30), 30)
    assert ours(30, schedule="cosine") == pytest.approx(expected)


def test_multistep_equals_torch() -> None:
    expected = torch_rates(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [10, 25], 0.1), 30)
    assert ours(30, schedule="multistep", milestones=("1ep", "25it")) == pytest.approx(expected)


def test_warmup_equals_torch_linear_warmup_then_constant() -> None:
    expected = torch_rates(lambda o: torch.optim.lr_scheduler.LinearLR(o, start_factor=1 / 5, total_iters=4), 12)
    assert ours(12, schedule="constant", warmup="5it") == pytest.approx(expected)


def test_set_rate_scales_groups_and_optimizer_takes_every_option() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = build_optimizer(
        [{"params": [weight], "lr_scale": 0.1}], OptimConfig(momentum=0.8, nesterov=True, weight_decay=0.3)
    )
    set_rate(optimizer, 0.5)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.05, 0.8, True, 0.3)


@pytest.mark.parametrize("text", ["5", "5 epochs", "ep", "-1ep", "1.5ep"])
def test_ill_typed_durations_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected a duration"):
        build_schedule(OptimConfig(warmup=text), 10, 5)
