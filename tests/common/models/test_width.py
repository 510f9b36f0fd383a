"""Narrower ResNets: shapes, names, and what cannot be narrowed."""

from __future__ import annotations

import pytest
import torch

from common.errors import InputError
from common.models.backbones import build_backbone, rebuild_backbone
from common.models.width import narrowed


def test_channels_are_rounded_and_never_none() -> None:
    assert narrowed((16, 24, 40, 64), 0.5) == (8, 12, 20, 32)
    assert narrowed((16, 24, 40, 64), 0.01) == (1, 1, 1, 1)
    steps = [narrowed((16, 64), step / 100) for step in range(1, 101)]
    assert steps == sorted(steps)
    assert steps[-1] == (16, 64)


@pytest.mark.parametrize("name", ["resnet_digits", "resnet20", "resnet20_a", "resnet18", "resnet26"])
def test_a_narrower_resnet(name: str) -> None:
    own, model = build_backbone(name), build_backbone(name, width=0.5, seed=3)
    assert model.arch == {**own.arch, "variant": "width0.5"}  # type: ignore[dict-item]
    assert model.num_features * 2 == own.num_features
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, model.num_features)
    here, there = (network.get_parameter("layer2.0.conv2.weight").shape for network in (model, own))
    assert (2 * here[0], 2 * here[1]) == (there[0], there[1])
    again = rebuild_backbone(model.arch, seed=3, stream="init", size=32)  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_a_width_of_four_decimals_is_found_again_in_its_name() -> None:
    model = build_backbone("resnet_digits", width=0.6625)
    again = rebuild_backbone(model.arch, seed=0, stream="init", size=16)  # type: ignore[arg-type]
    assert [tensor.shape for tensor in again.parameters()] == [tensor.shape for tensor in model.parameters()]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pixels", "model.width: got 0.5, expected 1"),
        ("mobilenetv1_100", "model.width: got 0.5 for mobilenetv1_100, expected 1"),
        ("resnext50_32x4d", "resnext50_32x4d cannot be built at 0.01.*give a greater width"),
    ],
)
def test_what_cannot_be_narrowed(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        build_backbone(name, size=16, width=0.01 if name.startswith("resnext") else 0.5)
    assert "\n" not in str(error.value)
