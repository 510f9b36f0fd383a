"""The YOLO-style head: neck, three heads, loss and decoding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from common.data.annotated.batch import Targets
from common.errors import InputError
from Detection.detector import DetectorHead
from Detection.yolo.boxes import Grid, make_grid
from Detection.yolo.config import ANCHORS_PER_LEVEL, LEVELS, YoloConfig
from Detection.yolo.decode import decode
from Detection.yolo.layers import LayerStyle, conv
from Detection.yolo.loss import yolo_loss
from Detection.yolo.panet import PathAggregation
from Detection.yolo.spp import SpatialPyramidPooling


class YoloNeck(nn.Module):
    """Spatial pyramid pooling on the coarsest map, then path aggregation over all three."""

    def __init__(self, in_chans: Sequence[int], config: YoloConfig, style: LayerStyle) -> None:
        super().__init__()
        self.spp = SpatialPyramidPooling(in_chans[2], 4 * config.channels, style)
        self.panet = PathAggregation([*in_chans[:2], self.spp.out_chans], config.channels, config.neck_convs, style)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return three maps of the same sides, with `panet.out_chans` channels."""
        return self.panet([maps[0], maps[1], self.spp(maps[2])])


class YoloHead(DetectorHead):
    """See `Detection.yolo.build` for how one is made with seeded weights.

    Args:
        config: widths, thresholds, weights of the loss.
        levels: strides of the three maps that it takes, ascending.
        in_chans: their channels.
        num_classes: K, >= 1.
        anchors: float32 (9, 2): widths and heights in pixels, three of every level, the finest first.

    Attributes:
        anchors: buffer (3, 3, 2); saved with the weights, so that they decode the same elsewhere.
    """

    anchors: Tensor

    def __init__(
        self, config: YoloConfig, levels: Sequence[int], in_chans: Sequence[int], num_classes: int, anchors: Tensor
    ) -> None:
        super().__init__()
        _check(levels, in_chans, num_classes, anchors)
        self.config, self.levels, self.num_classes = config, tuple(levels), num_classes
        style = LayerStyle(config.norm, config.leak, config.initialisation)
        self.neck = YoloNeck(in_chans, config, style)
        self.heads = nn.ModuleList(self._head(width, style) for width in self.neck.panet.out_chans)
        self.register_buffer("anchors", anchors.detach().float().reshape(LEVELS, ANCHORS_PER_LEVEL, 2).clone())

    def _head(self, width: int, style: LayerStyle) -> nn.Sequential:
        last = nn.Conv2d(2 * width, ANCHORS_PER_LEVEL * (5 + self.num_classes), 1)
        nn.init.normal_(last.weight, std=0.01)
        assert last.bias is not None
        with torch.no_grad():
            last.bias.zero_()
            last.bias.view(ANCHORS_PER_LEVEL, -1)[:, 4] = -math.log((1 - self.config.prior) / self.config.prior)
        return nn.Sequential(conv(width, 2 * width, 3, style), last)

    def predict(self, maps: Sequence[Tensor], size: tuple[int, int]) -> tuple[Tensor, Grid]:
        """Return what the heads give, float32 (B, N, 5 + K), and where the N predictions are.

        Raises:
            InputError: a map does not have ceil(side / stride) rows and columns.
        """
        shapes = [(int(x_NCHW.shape[-2]), int(x_NCHW.shape[-1])) for x_NCHW in maps]
        expected = [(-(-size[0] // stride), -(-size[1] // stride)) for stride in self.levels]
        if shapes != expected:
            sides = f"{size[0]} x {size[1]} pixels at strides {list(self.levels)}"
            raise InputError(
                f"feature maps of {sides}: got {shapes}, expected {expected}; choose sides that {self.levels[-1]} divides"
            )
        raw = [
            head(x_NCHW).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 5 + self.num_classes))
            for head, x_NCHW in zip(self.heads, self.neck(maps), strict=True)
        ]
        return torch.cat(raw, 1).float(), make_grid(shapes, self.levels, self.anchors)

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int], targets: Targets | None = None) -> Any:
        """Return losses (see `yolo_loss`) where there are targets, else a list of `Detections`; see `DetectorHead`."""
        raw_BNC, grid = self.predict(maps, size)
        with torch.autocast(raw_BNC.device.type, enabled=False):
            if targets is not None:
                return yolo_loss(raw_BNC, grid, self.anchors, targets, size, self.config)
            return decode(raw_BNC, grid, size, self.config)


def _check(levels: Sequence[int], in_chans: Sequence[int], num_classes: int, anchors: Tensor) -> None:
    doubling = len(levels) == LEVELS and levels[0] >= 1 and [2 * stride for stride in levels[:-1]] == list(levels[1:])
    if not doubling:
        raise InputError(f"the detector's levels: got strides {list(levels)}, expected three, each twice the one before")
    if len(in_chans) != LEVELS:
        raise InputError(f"the detector's levels: got channels {list(in_chans)}, expected three numbers")
    if num_classes < 1:
        raise InputError(f"the detector's classes: got {num_classes}, expected at least one")
    if tuple(anchors.shape) != (LEVELS * ANCHORS_PER_LEVEL, 2) or not bool((anchors > 0).all()):
        expected = f"{LEVELS * ANCHORS_PER_LEVEL} widths and heights > 0 in pixels"
        raise InputError(f"the detector's anchors: got {anchors.tolist()}, expected {expected}")
