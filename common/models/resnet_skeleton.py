"""The layers of torchvision's and timm's ResNets (He et al. 2016, table 1) under their names, without library and memory.

For work that needs names, shapes and kinds of layers and computes nothing, such as matching a file: the libraries take seconds to
import. The weights are on torch's meta device.
"""

from __future__ import annotations

import torch
from torch import nn

from common.models.resnet_form import DEPTHS

_WIDTHS = (64, 128, 256, 512)
_STEMS = {"native": "7x7", "7x7": "7x7", "3x3": "3x3"}


def resnet_skeleton(name: str, *, stem: str, in_chans: int) -> nn.Module | None:
    """Return the layers of a ResNet as modules, with the attributes `arch` and `num_features` of `build_backbone`'s.

    Args:
        name: resnet18, resnet34, resnet50, resnet101 or resnet152.
        stem: "native", "7x7" or "3x3".
        in_chans: image channels.

    Returns:
        A module without a forward pass; None for other names and stems.
    """
    found = [form for form, depth in DEPTHS.items() if name == f"resnet{depth}"]
    if not found or stem not in _STEMS:
        return None
    bottleneck, stages = found[0]
    side = int(_STEMS[stem][0])
    network, before = nn.Module(), 64
    with torch.device("meta"):
        network.conv1 = nn.Conv2d(in_chans, before, side, bias=False)
        network.bn1 = nn.BatchNorm2d(before)
        for number, (blocks, width) in enumerate(zip(stages, _WIDTHS, strict=True), 1):
            out = 4 * width if bottleneck else width
            layers = [_block(before if i == 0 else out, width, out, bottleneck) for i in range(blocks)]
            network.add_module(f"layer{number}", nn.Sequential(*layers))
            before = out
    network.num_features = before  # type: ignore[assignment]
    network.arch = {"name": name, "stem": _STEMS[stem], "in_chans": in_chans, "variant": None}  # type: ignore[assignment]
    return network


def _block(before: int, width: int, out: int, bottleneck: bool) -> nn.Module:
    block = nn.Module()
    shapes = [(before, width, 1), (width, width, 3), (width, out, 1)] if bottleneck else [(before, width, 3), (width, out, 3)]
    for number, (inner, outer, side) in enumerate(shapes, 1):
        block.add_module(f"conv{number}", nn.Conv2d(inner, outer, side, bias=False))
        block.add_module(f"bn{number}", nn.BatchNorm2d(outer))
    if before != out:
        block.add_module("downsample", nn.Sequential(nn.Conv2d(before, out, 1, bias=False), nn.BatchNorm2d(out)))
    return block
