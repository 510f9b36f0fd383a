"""Spatial pyramid pooling on the deepest map (He et al. 2015, arXiv:1406.4729, as in YOLOv4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from Detection.yolo.layers import LayerStyle, alternating


class SpatialPyramidPooling(nn.Module):
    """Convolutions of 1x1, 3x3 and 1x1, then the map beside its maxima over 5x5, 9x9 and 13x13 windows of stride 1.

    Args:
        in_chans: channels of the map.
        channels: after the convolutions.
        style: norm, activation, initialisation.

    Attributes:
        out_chans: four times `channels`.
    """

    def __init__(self, in_chans: int, channels: int, style: LayerStyle) -> None:
        super().__init__()
        self.convs = alternating(in_chans, channels, (1, 3, 1), style)
        self.out_chans = 4 * channels

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return (N, out_chans, H, W): windows of 13, 9, 5 and 1."""
        x_NCHW = self.convs(x_NCHW)
        pooled = [x_NCHW]
        for _ in range(3):  # a maximum over 5x5 of maxima over 5x5 is one over 9x9, and so on
            pooled.append(functional.max_pool2d(pooled[-1], 5, stride=1, padding=2))
        return torch.cat(pooled[::-1], 1)
