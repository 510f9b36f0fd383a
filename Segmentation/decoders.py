"""Decoders of segmentation-models-pytorch by name, on the maps of our backbones, for images of any size.

That library takes images whose sides its strides divide, from encoders whose strides double. Here DeepLabv3+ resizes to the size
of the map that it refines (513 px give 33 and 129), and decoders that double the side from map to map are given maps that are
padded below and at the right by their last row and column, which are cut off again.

B images, C channels of a map, H and W its sides.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.option import require
from Segmentation.config import DecoderConfig
from Segmentation.stages import Stage


class Decoder(nn.Module):
    """What all decoders are to the head: a function of the stages' maps.

    Attributes:
        channels: of what it returns.
    """

    channels: int

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return float (B, channels, H, W) of the maps of all stages, the stem's first."""
        raise TypeError(f"{type(self).__name__} does not say how it decodes")


class DeepLabV3Plus(Decoder):
    """DeepLabv3+ (Chen et al. 2018, arXiv:1802.02611): a pyramid of dilations on the last map, refined by an early one."""

    def __init__(self, stages: Sequence[Stage], settings: DecoderConfig) -> None:
        from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder

        super().__init__()
        known = f"a stage from 0 (the stem) to {len(stages) - 2}, before the last"
        require(0 <= settings.refine < len(stages) - 1, "decoder.refine", settings.refine, known)
        self.refine, self.channels = settings.refine, settings.width
        made = DeepLabV3PlusDecoder(
            encoder_channels=[0, 0, stages[settings.refine].channels, stages[-1].channels],
            encoder_depth=5,
            out_channels=settings.width,
            atrous_rates=settings.rates_at(stages[-1].stride),
            output_stride=16,
            aspp_separable=settings.separable,
            aspp_dropout=settings.dropout,
        )
        self.aspp, self.block1, self.block2 = made.aspp, made.block1, made.block2

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return (B, channels, H, W) of the size of the map that refines."""
        early_BCHW = self.block1(maps[self.refine])
        late_BCHW = resize(self.aspp(maps[-1]), early_BCHW.shape[-2:])
        return self.block2(torch.cat([late_BCHW, early_BCHW], dim=1))


def resize(x_BCHW: Tensor, size: Sequence[int]) -> Tensor:
    """Resize bilinearly, corners on corners, as the paper and the library do: 33 px become 129 at a factor of exactly 4."""
    return functional.interpolate(x_BCHW, size=tuple(size), mode="bilinear", align_corners=True)
