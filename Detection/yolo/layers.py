"""The convolution that neck and heads are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Literal

from torch import nn

GROUPS = 8


@dataclass(frozen=True)
class LayerStyle:
    """What every convolution of neck and heads is followed by, and how it starts; see `YoloConfig`."""

    norm: Literal["batch", "group"] = "batch"
    leak: float = 0.1
    initialisation: Literal["he", "normal"] = "he"

    def initialise_(self, conv: nn.Conv2d) -> None:
        """Draw a convolution's weights from torch's global generator."""
        if self.initialisation == "he":
            nn.init.kaiming_normal_(conv.weight, a=self.leak, mode="fan_in", nonlinearity="leaky_relu")
        else:
            nn.init.normal_(conv.weight, std=0.01)

    def norm_layer(self, channels: int) -> nn.Module:
        """Return a norm over so many channels; groups are 8 where that divides them."""
        return nn.BatchNorm2d(channels) if self.norm == "batch" else nn.GroupNorm(gcd(GROUPS, channels), channels)


def conv(in_chans: int, out_chans: int, kernel: int, style: LayerStyle, stride: int = 1) -> nn.Sequential:
    """Return convolution, norm and LeakyReLU; a side becomes ceil(side / stride)."""
    layer = nn.Conv2d(in_chans, out_chans, kernel, stride, kernel // 2, bias=False)
    style.initialise_(layer)
    return nn.Sequential(layer, style.norm_layer(out_chans), nn.LeakyReLU(style.leak, inplace=True))


def alternating(in_chans: int, channels: int, kernels: Sequence[int], style: LayerStyle) -> nn.Sequential:
    """Return convolutions in a row: those of kernel 1 have `channels` outputs, those of kernel 3 twice as many (YOLOv3, v4)."""
    layers: list[nn.Module] = []
    for kernel in kernels:
        width = channels if kernel == 1 else 2 * channels
        layers.append(conv(in_chans, width, kernel, style))
        in_chans = width
    return nn.Sequential(*layers)
