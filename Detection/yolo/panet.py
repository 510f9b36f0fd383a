"""Path aggregation over three levels: coarse to fine, then fine to coarse (Liu et al. 2018, arXiv:1803.01534, as in YOLOv4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from Detection.yolo.layers import LayerStyle, alternating, conv


class PathAggregation(nn.Module):
    """Three maps in, three maps out; every fusion puts two maps one beside the other, `convs` convolutions behind it.

    Args:
        in_chans: channels of the three maps, the finest first.
        channels: of the finest level; the next have twice and four times as many.
        convs: 1, 3 or 5: kernels 1, 3, 1, 3, 1 in turn.
        style: norm, activation, initialisation.

    Attributes:
        out_chans: channels of the three maps that come out.
    """

    def __init__(self, in_chans: Sequence[int], channels: int, convs: int, style: LayerStyle) -> None:
        super().__init__()
        kernels = (1, 3, 1, 3, 1)[:convs]
        fine, middle, coarse = self.out_chans = (channels, 2 * channels, 4 * channels)
        self.lateral = nn.ModuleList([conv(in_chans[0], fine, 1, style), conv(in_chans[1], middle, 1, style)])
        self.coarse = alternating(in_chans[2], coarse, kernels[:3], style)
        self.reduce = nn.ModuleList([conv(middle, fine, 1, style), conv(coarse, middle, 1, style)])
        self.fuse_down = nn.ModuleList([alternating(2 * width, width, kernels, style) for width in (fine, middle)])
        self.halve = nn.ModuleList([conv(fine, middle, 3, style, stride=2), conv(middle, coarse, 3, style, stride=2)])
        self.fuse_up = nn.ModuleList([alternating(2 * width, width, kernels, style) for width in (middle, coarse)])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return maps (N, out_chans[l], H_l, W_l) of maps (N, in_chans[l], H_l, W_l), the finest first."""
        top = self.coarse(maps[2])
        middle = self.fuse_down[1](_beside(self.lateral[1](maps[1]), self.reduce[1](top)))
        fine = self.fuse_down[0](_beside(self.lateral[0](maps[0]), self.reduce[0](middle)))
        middle = self.fuse_up[0](torch.cat([self.halve[0](fine), middle], 1))
        top = self.fuse_up[1](torch.cat([self.halve[1](middle), top], 1))
        return [fine, middle, top]


def _beside(fine_NCHW: Tensor, coarse_NCHW: Tensor) -> Tensor:
    """Put a coarse map, enlarged to the size of a finer one, beside it."""
    return torch.cat([fine_NCHW, functional.interpolate(coarse_NCHW, size=fine_NCHW.shape[-2:], mode="nearest")], 1)
