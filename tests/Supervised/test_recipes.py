"""The recipes say what their comments say."""

from __future__ import annotations

from typing import Any

import pytest

from common.cli import resolve
from common.config import OptimConfig
from common.durations import steps
from common.tickets.schedule import kept_counts
from common.training.optim import build_schedule
from Supervised.main import COMMAND

RESNET18, RESNET50 = 11_157_504, 23_445_504  # prunable weights of the default scope


def recipe(name: str) -> Any:
    return resolve(COMMAND, [f"--recipe={name}"]).config


def densities(name: str, size: int) -> list[float]:
    prune = recipe(name).prune
    return [kept / size for kept in kept_counts(size, prune.rate, prune.rounds)]


def test_rounds_3_7_and_10_are_the_levels_of_the_object_recognition_paper() -> None:
    found = densities("imagenet_resnet18_scratch", RESNET18)
    assert [found[3], found[7], found[10]] == pytest.approx([0.5, 0.2, 0.1], rel=0.003)
    assert len(found) == 11


@pytest.mark.parametrize(("name", "size"), [("cifar10_resnet18", RESNET18), ("imagenet_resnet50", RESNET50)])
def test_eighteen_rounds_end_at_the_sparsities_of_chen_et_al(name: str, size: int) -> None:
    found = densities(name, size)
    assert [round(1 - found[k], 4) for k in (3, 5, 8, 18)] == [0.488, 0.6723, 0.8322, 0.982]


@pytest.mark.parametrize(
    ("name", "peaks"),
    [
        ("cifar10_resnet18", {1: 0.1, 90: 0.1, 91: 0.01, 135: 0.01, 136: 0.001, 181: 0.001}),
        ("imagenet_resnet18_scratch", {0: 0.1, 29: 0.1, 30: 0.01, 59: 0.01, 60: 0.001, 89: 0.001}),
    ],
)
def test_learning_rates_by_epoch(name: str, peaks: dict[int, float]) -> None:
    config = recipe(name)
    optim: OptimConfig = config.optim
    rate = build_schedule(optim, config.train.epochs * 10, 10)
    assert {epoch: rate(epoch * 10) for epoch in peaks} == pytest.approx(peaks)


def test_resnet50_keeps_one_small_rate_for_ten_epochs_from_given_weights() -> None:
    config = recipe("imagenet_resnet50")
    rate = build_schedule(config.optim, 50_000, 5_000)
    assert {rate(step) for step in (0, 25_000, 49_999)} == {1e-4}
    assert (config.prune.epochs, config.train.batch_size, config.start.weights) == (10, 256, "torchvision:IMAGENET1K_V1")


def test_the_rewind_step_lies_in_the_3_to_7_percent_that_are_cited() -> None:
    config = recipe("imagenet_resnet18_scratch")
    assert 0.03 <= steps(config.rewind.step, 100) / (100 * config.train.epochs) <= 0.07


@pytest.mark.parametrize("name", ["digits", "cifar10_resnet18", "imagenet_resnet50", "imagenet_resnet18_scratch"])
def test_supervised_recipes_jitter_no_colour_but_digits(name: str) -> None:
    augment = recipe(name).augment
    assert augment.gray_probability == augment.blur_probability == 0
    assert augment.jitter_probability == 0 or name == "digits"
