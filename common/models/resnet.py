"""Small ResNets for small images, under torchvision's names: the CIFAR family and the one that fits digits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional


class PaddedShortcut(nn.Module):
    """Option A (He et al. 2016, section 3.3): subsample by the stride and pad new channels with zeros; no weights."""

    def __init__(self, in_chans: int, out_chans: int, stride: int) -> None:
        super().__init__()
        self.in_chans, self.stride = in_chans, stride
        self.before = (out_chans - in_chans) // 2
        self.after = out_chans - in_chans - self.before

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return (N, out_chans, ceil(H / stride), ceil(W / stride))."""
        return functional.pad(x_NCHW[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, figure 2)."""

    def __init__(self, in_chans: int, out_chans: int, stride: int, option: Literal["A", "B"]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_chans, out_chans, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_chans)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out_chans, out_chans, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_chans)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_chans != out_chans:
            self.downsample = _shortcut(in_chans, out_chans, stride, option)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return (N, out_chans, H / stride, W / stride)."""
        shortcut = x_NCHW if self.downsample is None else self.downsample(x_NCHW)
        x_NCHW = self.relu(self.bn1(self.conv1(x_NCHW)))
        return self.relu(self.bn2(self.conv2(x_NCHW)) + shortcut)


def _shortcut(in_chans: int, out_chans: int, stride: int, option: Literal["A", "B"]) -> nn.Module:
    if option == "A":
        return PaddedShortcut(in_chans, out_chans, stride)
    return nn.Sequential(nn.Conv2d(in_chans, out_chans, 1, stride, bias=False), nn.BatchNorm2d(out_chans))


class SmallResNet(nn.Module):
    """A ResNet of basic blocks with a 3x3 stem of stride 1; stages layer1, layer2 ... halve the side from the second on.

    Args:
        widths: channels of each stage; the stem has the first.
        blocks: basic blocks in every stage.
        in_chans: image channels.
        option: shortcut where the shape changes, "A" (padding) or "B" (1x1 convolution).
    """

    def __init__(self, widths: Sequence[int], blocks: int, in_chans: int, option: Literal["A", "B"]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_chans, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.stages = [f"layer{i}" for i in range(1, len(widths) + 1)]
        before = widths[0]
        for number, (name, width) in enumerate(zip(self.stages, widths, strict=True)):
            first = BasicBlock(before, width, 1 if number == 0 else 2, option)
            self.add_module(name, nn.Sequential(first, *(BasicBlock(width, width, 1, option) for _ in range(blocks - 1))))
            before = width
        self.num_features = before
        self._initialise()

    def _initialise(self) -> None:
        """He initialisation with fan out, as the ResNets of the field."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return pooled features (N, num_features) of float images (N, in_chans, H, W)."""
        return self.stage_maps(x_NCHW)[-1].mean((2, 3))

    def stage_maps(self, x_NCHW: Tensor) -> list[Tensor]:
        """Return every stage's output, the finest first: (N, widths[i], H / 2^i, W / 2^i), rounded up."""
        x_NCHW = self.relu(self.bn1(self.conv1(x_NCHW)))
        maps: list[Tensor] = []
        for name in self.stages:
            x_NCHW = getattr(self, name)(x_NCHW)
            maps.append(x_NCHW)
        return maps
