"""Detectors' names: detectron2's, written by a mapping in the other direction, and torchvision's own modules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection.backbone_utils import BackboneWithFPN

from common.errors import InputError
from common.models.backbones import build_backbone
from common.models.layouts.table import find_layout
from common.models.start import load_start_weights_, read_start_weights

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def original() -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.resnet50().eval()


def detectron2_name(name: str) -> str:
    """Rename a tensor of torchvision's ResNet as detectron2 names it (its converter does the same)."""
    if not name.startswith("layer"):
        return (
            {"conv1": "stem.conv1", "bn1": "stem.conv1.norm", "fc": "linear"}[name.partition(".")[0]]
            + "."
            + name.partition(".")[2]
        )
    name = re.sub(r"^layer(\d)", lambda match: f"res{int(match[1]) + 1}", name)
    name = re.sub(r"bn(\d)\.", r"conv\1.norm.", name)
    return name.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")


def trunk(original: nn.Module) -> State:
    return {name: tensor for name, tensor in original.state_dict().items() if not name.startswith("fc.")}


OTHERS = ("backbone.fpn_lateral2.weight", "backbone.fpn_output5.norm.bias", "proposal_generator.rpn_head.conv.weight",
          "roi_heads.box_head.fc1.weight", "pixel_mean", "pixel_std")  # fmt: skip


def c4(name: str) -> str:
    return f"roi_heads.{name}" if name.startswith("res5") else f"backbone.{name}"


@pytest.mark.parametrize("prefix", ["", "backbone.", "backbone.bottom_up.", "c4"])
def test_detectron2(prefix: str, original: nn.Module, tmp_path: Path) -> None:
    place = c4 if prefix == "c4" else lambda name: prefix + name
    state = {place(detectron2_name(name)): tensor for name, tensor in trunk(original).items()}
    others = {name: torch.ones(3) for name in OTHERS} if prefix else {}
    layout = find_layout({**state, **others}, "auto", "FILE")
    assert layout.name == "detectron2"
    parts = layout.read({**state, **others}, "FILE")
    assert set(parts.state) == set(trunk(original))
    assert all(torch.equal(parts.state[name], tensor) for name, tensor in trunk(original).items())
    assert parts.left_out == tuple(sorted(others))
    assert layout.input is None


def test_a_classifier_stays(original: nn.Module) -> None:
    state = {detectron2_name(name): tensor for name, tensor in original.state_dict().items()}
    parts = find_layout(state, "auto", "FILE").read(state, "FILE")
    assert set(parts.state) - set(trunk(original)) == {"linear.weight", "linear.bias"}


def test_two_of_one_name_are_refused(original: nn.Module) -> None:
    state = {detectron2_name(name): tensor for name, tensor in trunk(original).items()}
    with pytest.raises(InputError, match=r"two tensors that are 'layer1.0.conv1.weight' here"):
        find_layout(state, "auto", "FILE").read({**state, "backbone.res2.0.conv1.weight": torch.ones(1)}, "FILE")


def test_torchvision_detection(tmp_path: Path) -> None:
    torch.manual_seed(0)
    body = torchvision.models.resnet18(num_classes=3)
    detector = nn.Module()
    detector.backbone = BackboneWithFPN(body, {"layer3": "0", "layer4": "1"}, [256, 512], 8)
    detector.rpn = nn.Conv2d(8, 4, 1)
    detector.eval()
    torch.save({"model": detector.state_dict()}, tmp_path / "m.pth")
    start = read_start_weights(tmp_path / "m.pth")
    assert start.layout == "torchvision_detection"
    assert start.input is not None
    assert all(name.startswith(("backbone.fpn.", "rpn.")) for name in start.left_out)
    backbone = build_backbone("resnet18", seed=4).eval()
    load_start_weights_(backbone, start, "FILE")
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = detector.backbone.body(images)["1"].mean((2, 3))
        assert torch.allclose(backbone(images), expected, rtol=1e-4, atol=1e-5)
