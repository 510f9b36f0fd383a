"""Decoders of segmentation-models-pytorch by name, on the maps of our backbones, for images of any size.

That library takes images whose sides its strides divide, from encoders whose strides double. Here DeepLabv3+ resizes to the size
of the map that it refines (513 px give 33 and 129), and decoders that double the side from map to map are given maps that are
padded below and at the right by their last row and column, which are cut off again.

B images, C channels of a map, H and W its sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.option import require
from Segmentation.stages import Stage

DECODERS = (
    "deeplabv3plus",
    "deeplabv3",
    "unet",
    "unetplusplus",
    "manet",
    "linknet",
    "fpn",
    "pspnet",
    "upernet",
    "segformer",
)


@dataclass(frozen=True)
class DecoderSettings:
    """What a decoder is built with.

    Attributes:
        name: one of `DECODERS`.
        width: channels; of U-Net's kind those of the first block, which halve from block to block.
        rates: three dilations of DeepLab's pyramid; none: 6, 12, 18 at an output stride of 16, more at a smaller one.
        separable: DeepLab's pyramid has depth-wise separable convolutions.
        dropout: of DeepLab's pyramid, FPN and PSPNet, in [0, 1).
        refine: stage whose map refines DeepLabv3+'s; 1 is layer1.
    """

    name: str = "deeplabv3plus"
    width: int = 256
    rates: tuple[int, ...] = ()
    separable: bool = True
    dropout: float = 0.1
    refine: int = 1

    def __post_init__(self) -> None:
        require(self.name in DECODERS, "decoder.name", self.name, f"one of {', '.join(DECODERS)}")
        require(self.width >= 8, "decoder.width", self.width, "channels, >= 8")
        require(len(self.rates) in (0, 3) and all(r >= 1 for r in self.rates), "decoder.rates", self.rates, "none, or 3, >= 1")
        require(0 <= self.dropout < 1, "decoder.dropout", self.dropout, "a probability in [0, 1)")

    def rates_at(self, output_stride: int) -> tuple[int, ...]:
        """Return the dilations at an output stride (Chen et al. 2018, arXiv:1802.02611: 6, 12, 18 at 16, twice that at 8)."""
        return self.rates or tuple(max(1, rate * 16 // output_stride) for rate in (6, 12, 18))


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

    def __init__(self, stages: Sequence[Stage], settings: DecoderSettings) -> None:
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
