"""The presets: every one parses, and takes the steps that the papers' settings give by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from common.canonical import config_hash
from common.cli import resolve
from common.data.catalogue import CATALOGUE
from common.data.entries import Request
from common.data.inputs import NORMALISATIONS
from common.models.backbones import build_backbone
from common.recipes import recipe_names
from common.training.optim import build_optimizer, build_schedule
from Downstream.main import COMMAND

TWELVE = (
    "aircraft", "birdsnap", "caltech101", "caltech256", "cars", "cifar10", "cifar100", "dtd", "flowers", "food101", "pets",
    "sun397",
)  # fmt: skip
FIVE = ("cvpr2021", "cvpr2021_cifar100", "cvpr2021_svhn", "cvpr2021_fashion_mnist", "cvpr2021_visda")


def config_of(recipe: str, *words: str):  # type: ignore[no-untyped-def]
    return resolve(COMMAND, [f"--recipe={recipe}", *words]).config


def test_there_is_a_recipe_for_every_set_of_the_papers() -> None:
    names = set(recipe_names(COMMAND.recipes))
    assert set(FIVE) <= names
    for protocol, mark in (("full", ""), ("linear", "-linear")):
        for name in TWELVE:
            recipe = f"sparse-transfer-2022{mark}_{name}"
            assert recipe in names
            config = config_of(recipe)
            assert (config.data.name, config.protocol) == (name, protocol)


@pytest.mark.parametrize(
    ("recipe", "per_epoch", "expected"),
    [
        # 45,000 images in batches of 256 are 175 steps; one epoch of warm-up; a tenth from 91 * 175 and 136 * 175 on.
        (
            "cvpr2021",
            175,
            {0: 0.1 / 175, 87: 0.1 * 88 / 175, 174: 0.1, 15_924: 0.1, 15_925: 0.01, 23_799: 0.01, 23_800: 0.001, 31_849: 0.001},
        ),
        ("cvpr2021_visda", 1000, {0: 1e-3, 9_999: 1e-3, 10_000: 1e-4, 19_999: 1e-4}),
        # Stages of 51, 50 and 49 epochs.
        ("sparse-transfer-2022_pets", 51, {0: 1e-3, 2_600: 1e-3, 2_601: 1e-4, 5_150: 1e-4, 5_151: 1e-5, 7_649: 1e-5}),
        ("sparse-transfer-2022_aircraft", 10, {0: 0.01, 509: 0.01, 510: 1e-3, 1_009: 1e-3, 1_010: 1e-4, 1_499: 1e-4}),
        ("sparse-transfer-2022-linear_cars", 10, {0: 0.01, 509: 0.01, 510: 1e-3, 1_010: 1e-4}),
    ],
)
def test_learning_rates_by_hand(recipe: str, per_epoch: int, expected: dict[int, float]) -> None:
    config = config_of(recipe)
    total = config.train.epochs * per_epoch
    rate = build_schedule(config.optim, total, per_epoch)
    assert {step: rate(step) for step in expected} == pytest.approx(expected)
    assert max(expected) < total


@pytest.mark.parametrize(
    ("recipe", "decay", "batch"),
    [("cvpr2021", 2e-4, 256), ("cvpr2021_visda", 5e-4, 128), ("sparse-transfer-2022_dtd", 5e-4, 64)],
)
def test_weight_decay_is_on_everything_and_momentum_is_plain(recipe: str, decay: float, batch: int) -> None:
    config = config_of(recipe)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    groups = build_optimizer([{"params": list(module.parameters())}], config.optim).param_groups
    assert {(group["weight_decay"], group["momentum"], group["nesterov"]) for group in groups} == {(decay, 0.9, False)}
    assert config.train.batch_size == batch


@pytest.mark.parametrize("recipe", [*FIVE, *(f"sparse-transfer-2022_{name}" for name in TWELVE)])
def test_the_best_epoch_is_chosen_on_validation_and_measured_on_the_test_images(recipe: str) -> None:
    config = config_of(recipe)
    assert (config.protocol, config.select, config.evaluation.split) == ("full", "best", "test")


def test_rates_of_the_sets_and_the_two_normalisations() -> None:
    rates = {name: config_of(f"sparse-transfer-2022_{name}").optim.lr for name in TWELVE}
    assert rates == {name: 0.01 if name in ("aircraft", "cars") else 0.001 for name in TWELVE}
    assert {config_of(f"sparse-transfer-2022-linear_{name}").optim.lr for name in TWELVE} == {0.01}
    assert config_of("sparse-transfer-2022_pets").data.input == "own"
    linear = config_of("sparse-transfer-2022-linear_pets")
    assert linear.data.input == "imagenet"
    assert (linear.linear.solver, linear.linear.standardise) == ("sgd", False)
    assert linear.ticket.statistics("linear") == "stored"


def test_sets_with_validation_images_of_their_own_train_on_them_too() -> None:
    for mark in ("", "-linear"):
        tenth = {name for name in TWELVE if config_of(f"sparse-transfer-2022{mark}_{name}").data.validation == "tenth"}
        assert tenth == {"aircraft", "dtd", "flowers"} == {name for name in TWELVE if CATALOGUE[name].validates == "own"}


@pytest.mark.parametrize(
    "recipe", [*FIVE, *(f"sparse-transfer-2022{mark}_{name}" for mark in ("", "-linear") for name in TWELVE)]
)
def test_the_catalogue_takes_what_a_recipe_asks_of_its_set(recipe: str) -> None:
    data = config_of(recipe).data
    entry = CATALOGUE[data.name]
    entry.check(Request(data.name, entry.classes, entry.input, None, False, data.size, validation=data.validation))
    assert len(config_hash("Downstream", config_of(recipe))) == 12
    if recipe == "sparse-transfer-2022_cifar100":
        assert NORMALISATIONS[data.input] == ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))


def test_fashion_mnist_and_svhn_are_not_augmented() -> None:
    for name in ("svhn", "fashion_mnist"):
        augment = config_of(f"cvpr2021_{name}").augment
        assert (augment.pad, augment.flip, augment.jitter_probability, augment.gray_probability) == (0, 0, 0, 0)


@pytest.mark.parametrize(("recipe", "width"), [("cvpr2021", 2048), ("sparse-transfer-2022_mobilenetv1", 1024)])
def test_backbones(recipe: str, width: int) -> None:
    model = config_of(recipe).model
    backbone = build_backbone(model.name, stem=model.stem).eval()
    with torch.no_grad():
        assert backbone(torch.zeros(1, 3, 32, 32)).shape == (1, width)
