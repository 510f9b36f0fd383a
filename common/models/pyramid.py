"""Feature maps of a backbone at several strides, for heads that are dense in space.

The backbone stays the module that it is, under its own names of weights, so that a ticket's mask fits. What it computes behind
the deepest map asked for (its pooling, and in some models of timm's a last 1x1 convolution) does not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import InputError
from common.models.features import evaluating
from common.models.resnet import SmallResNet

PROBE = 128
"""Side in pixels of the image that a backbone of any size is run on: a multiple of every stride of the field."""


@dataclass(frozen=True)
class PyramidInfo:
    """The feature maps that a backbone can give, the finest first.

    Attributes:
        strides: pixels of the input from one place of a map to the next, ascending; of maps of one stride the deepest.
        channels: of each map.
        indices: of each map among all that the backbone computes.
    """

    strides: tuple[int, ...]
    channels: tuple[int, ...]
    indices: tuple[int, ...]

    def channels_at(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return the channels of the maps at these strides.

        Raises:
            InputError: the backbone has no map of such a stride.
        """
        return tuple(self.channels[at] for at in self._places(strides))

    def indices_at(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return which of the backbone's maps these strides are; errors as `channels_at`."""
        return tuple(self.indices[at] for at in self._places(strides))

    def _places(self, strides: Sequence[int]) -> list[int]:
        if not strides or list(strides) != sorted(set(strides)) or not set(strides) <= set(self.strides):
            have = ", ".join(f"{stride} ({width} channels)" for stride, width in zip(self.strides, self.channels, strict=True))
            raise InputError(f"feature maps at strides {list(strides)}: the backbone has {have}; choose among them, ascending")
        return [self.strides.index(stride) for stride in strides]


def pyramid_of(backbone: nn.Module, size: int | tuple[int, int] | None = None) -> PyramidInfo:
    """Find the feature maps of a backbone by running it once, in eval mode, without gradients; nothing of it changes.

    A map whose sides do not divide those of the image is left out: places in it have no certain position.

    Args:
        backbone: of `build_backbone`, or any model of timm's.
        size: side, or height and width, in pixels of the images, for models of one size; None: the size that they are made for.

    Raises:
        InputError: the backbone has no feature maps (`pixels`, models of timm's without `forward_intermediates`).
    """
    height, width = _probe_size(backbone, size)
    parameter = next(backbone.parameters(), torch.zeros(()))
    image = torch.zeros(1, _in_chans(backbone), height, width, dtype=parameter.dtype, device=parameter.device)
    with evaluating(backbone):
        maps = _maps(backbone, image, None)
    found: dict[int, tuple[int, int]] = {}
    for index, x_NCHW in enumerate(maps):
        rows, columns = x_NCHW.shape[-2:]
        stride = max(1, height // rows)
        if (rows * stride, columns * stride) == (height, width):
            found[stride] = (x_NCHW.shape[1], index)
    strides = tuple(sorted(found))
    return PyramidInfo(strides, tuple(found[stride][0] for stride in strides), tuple(found[stride][1] for stride in strides))


def feature_maps(backbone: nn.Module, x_NCHW: Tensor, strides: Sequence[int], pyramid: PyramidInfo | None = None) -> list[Tensor]:
    """Return feature maps (N, C_l, ceil(H / s_l), ceil(W / s_l)) at the strides asked for; gradients flow into the backbone.

    Args:
        backbone: as `pyramid_of`.
        x_NCHW: float images (N, C, H, W), normalised.
        strides: ascending, of those that the backbone has.
        pyramid: what `pyramid_of` found; None: it is found first, which costs one more pass over one small image.

    Raises:
        InputError: as `pyramid_of`, or the backbone has no such stride.
    """
    if pyramid is None:
        pyramid = pyramid_of(backbone, (int(x_NCHW.shape[-2]), int(x_NCHW.shape[-1])))
    return _maps(backbone, x_NCHW, list(pyramid.indices_at(strides)))


def _maps(backbone: Any, x_NCHW: Tensor, indices: list[int] | None) -> list[Tensor]:
    """Return the maps of these indices, or all of them, in order of depth."""
    if isinstance(backbone, SmallResNet):
        maps = backbone.stage_maps(x_NCHW)
        return maps if indices is None else [maps[index] for index in indices]
    if not hasattr(backbone, "forward_intermediates"):
        name = getattr(backbone, "arch", {}).get("name", type(backbone).__name__)
        raise InputError(
            f"backbone {name} gives no feature maps; choose a ResNet, or a model of timm's with forward_intermediates"
        )
    return backbone.forward_intermediates(x_NCHW, indices=indices, stop_early=True, intermediates_only=True)


def _probe_size(backbone: Any, size: int | tuple[int, int] | None) -> tuple[int, int]:
    """Return a size that the backbone takes: its own, or the images', where it takes one alone."""
    if isinstance(backbone, SmallResNet) or not _takes_one_size(backbone):
        return PROBE, PROBE
    if size is None:
        size = getattr(getattr(backbone, "patch_embed", None), "img_size", None) or backbone.pretrained_cfg["input_size"][1:]
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def _takes_one_size(backbone: Any) -> bool:
    config = getattr(backbone, "pretrained_cfg", None) or {}
    return bool(config.get("fixed_input_size", False))


def _in_chans(backbone: Any) -> int:
    arch = getattr(backbone, "arch", None)
    if arch is not None:
        return int(arch["in_chans"])
    stem = next((module for module in backbone.modules() if isinstance(module, nn.Conv2d)), None)
    return 3 if stem is None else stem.in_channels * stem.groups
