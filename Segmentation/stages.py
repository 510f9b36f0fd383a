"""Feature maps of a backbone, stage by stage: after dilation, several stages have maps of one stride.

Stage 0 is the stem (before any pooling), stages 1, 2 ... are layer1, layer2 ... of a ResNet; of other models, what timm counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import InputError
from common.models.features import evaluating
from common.models.resnet import SmallResNet

_SIDE = 64
"""Side of the image that strides are measured on, pixels: a multiple of every stride."""


@dataclass(frozen=True)
class Stage:
    """One stage of a backbone.

    Attributes:
        channels: of its map.
        stride: side of the image over that of the map.
    """

    channels: int
    stride: int


def stage_maps(backbone: nn.Module, x_NCHW: Tensor) -> list[Tensor]:
    """Return the map of every stage, float (N, C_s, H_s, W_s), the stem's first.

    Args:
        backbone: a network of `common.models.backbones`.
        x_NCHW: normalised images.

    Raises:
        InputError: the backbone has no maps.
    """
    if isinstance(backbone, SmallResNet):
        x_NCHW = backbone.relu(backbone.bn1(backbone.conv1(x_NCHW)))
        maps = [x_NCHW]
        for name in backbone.stages:
            maps.append(getattr(backbone, name)(maps[-1]))
        return maps
    model: Any = backbone
    if not hasattr(model, "forward_intermediates"):
        raise InputError(f"{_name(backbone)} has no feature maps to segment by; expected a ResNet or another network of stages")
    return list(model.forward_intermediates(x_NCHW, intermediates_only=True))


def stages_of(backbone: nn.Module, in_chans: int = 3) -> tuple[Stage, ...]:
    """Return what the stages of a backbone are, measured on an image of zeros.

    Args:
        backbone: a network of `common.models.backbones`; it is not changed.
        in_chans: image channels.

    Raises:
        InputError: the backbone has no maps, or takes images of one size alone.
    """
    device = next(backbone.parameters(), torch.empty(0)).device
    with evaluating(backbone):
        try:
            maps = stage_maps(backbone, torch.zeros(1, in_chans, _SIDE, _SIDE, device=device))
        except (AssertionError, RuntimeError) as error:  # networks of one image size say so in many ways
            raise InputError(f"{_name(backbone)} cannot segment: {' '.join(str(error).split())}; expected a ResNet") from error
    return tuple(Stage(each.shape[1], _SIDE // each.shape[-1]) for each in maps)


def _name(backbone: nn.Module) -> str:
    arch: Any = getattr(backbone, "arch", {"name": type(backbone).__name__})
    return str(arch["name"])
