"""Numbers that follow from shapes alone: what published schedules and tickets leave of detectors. torchvision has the shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from common.tickets.schedule import gradual_counts
from common.tickets.scope import find_scope


def _shapes(build: Callable[[], nn.Module]) -> nn.Module:
    pytest.importorskip("torchvision")
    with torch.device("meta"):
        return build()


def _mask_rcnn_50() -> nn.Module:
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    return maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)


TRANSPOSED = "roi_heads.mask_predictor.conv5_mask.weight"  # in the middle group; scopes take no transposed convolutions
GROUPS = {  # Distiller's four pruners of Mask R-CNN: kept density, first epoch, last, every; patterns in and out
    "early": (0.25, 1, ["backbone.body.layer1.*", "backbone.body.layer2.0.conv?.weight"], []),
    "middle": (
        0.15,
        1,
        [
            "backbone.body.layer2.*",
            "backbone.body.layer3.*",
            "backbone.body.layer4.2.conv3.weight",
            "backbone.fpn.*",
            "rpn.head.conv.*",
            "roi_heads.mask_head.*",
        ],
        ["backbone.body.layer2.0.conv?.weight"],
    ),
    "late": (0.1, 1, ["backbone.body.layer4.*"], ["backbone.body.layer4.2.conv3.weight"]),
    "box head": (0.15, 3, ["Linear:roi_heads.box_head.*"], []),
}


def test_distillers_schedule_on_mask_rcnn() -> None:
    """AGP from density .99 at epochs 0 to 45, per tensor (the shipped schedule; its result: 6,437,593 of 44,395,200 weights)."""
    model = _shapes(_mask_rcnn_50)
    weights = {name: tensor for name, tensor in model.named_parameters() if tensor.dim() in (2, 4)}
    sizes = {name: tensor.numel() for name, tensor in weights.items()}
    assert sum(sizes.values()) == 44_395_200
    kept: dict[str, int] = {}
    for density, every, include, exclude in GROUPS.values():
        names = set(find_scope(model, include, exclude).names) | ({TRANSPOSED} if "roi_heads.mask_head.*" in include else set())
        assert not names & set(kept)
        for name in names:
            counts = gradual_counts(sizes[name], 0.99, density, start=0, end=45, every=every)
            assert max(counts) == (44 if every == 1 else 42)
            kept[name] = counts[max(counts)]
    assert len(kept) == 68
    assert len(weights) - len(kept) == 6
    left = sum(kept.get(name, size) for name, size in sizes.items())
    assert left == 6_437_593
    assert 100 * (1 - left / 44_395_200) == pytest.approx(85.50, abs=0.005)


def _detector(depth: int, task: str) -> nn.Module:
    from torchvision.models.detection import KeypointRCNN, MaskRCNN
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    backbone = resnet_fpn_backbone(backbone_name=f"resnet{depth}", weights=None, trainable_layers=5)
    return MaskRCNN(backbone, 81) if task == "mask" else KeypointRCNN(backbone, 2)


def _detectron2s_size(model: nn.Module, task: str) -> int:
    """Count all parameters; detectron2's box and mask predictors have no background class for boxes and masks."""
    box = 4 * (1024 + 1)
    mask = 256 + 1 if task == "mask" else 0
    return sum(parameter.numel() for parameter in model.parameters()) - box - mask


@pytest.mark.parametrize(
    ("depth", "task", "percents"),
    [
        (18, "mask", {90: 31.6, 80: 28.1, 50: 17.6}),
        (18, "keypoint", {90: 21.5, 80: 19.1, 50: 11.9}),
        (50, "mask", {90: 42.0, 80: 37.3}),
        (50, "keypoint", {90: 31.5, 80: 28.0}),
    ],
)
def test_network_sparsity_of_transferred_tickets(depth: int, task: str, percents: dict[int, float]) -> None:
    """Girish et al. 2021 (arXiv:2012.04643, tables 1 and 2): ImageNet tickets prune stem and blocks, not shortcuts, of detectors.

    Network sparsity is over all parameters, frozen ones too; norms are frozen buffers there.
    """
    model: Any = _shapes(lambda: _detector(depth, task))
    for norm in [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]:
        norm.weight = norm.bias = None  # detectron2's are buffers
    scope = find_scope(model, ["Conv2d:backbone.body.*"], ["*.downsample.*"])
    prunable = sum(parameter.numel() for parameter in scope.parameters(model).values())
    assert prunable == {18: 10_994_880, 50: 20_686_016}[depth]
    for pruned, percent in percents.items():
        sparsity = 100 * round(prunable * pruned / 100) / _detectron2s_size(model, task)
        assert round(sparsity, 1) == percent
