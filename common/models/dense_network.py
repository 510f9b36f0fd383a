"""The network of a task that is dense in space: a head on several feature maps of a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from common.models.heads import Network
from common.models.pyramid import PyramidInfo, feature_maps, pyramid_of


class DenseNetwork(Network):
    """A backbone and a head on its feature maps; state names begin with "backbone." and "head.".

    Args:
        backbone: as `common.models.pyramid.pyramid_of`; it keeps its names of weights, so that a ticket's mask fits.
        head: called with the maps, (height, width) of the images in pixels and, where there are any, the targets.
        strides: which maps the head takes, ascending, in pixels.
        pyramid: what `pyramid_of` found of this backbone; None: it is found here.

    Raises:
        InputError: the backbone has no such strides.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, strides: Sequence[int], pyramid: PyramidInfo | None = None) -> None:
        super().__init__(backbone, head)
        self.strides = tuple(strides)
        self.pyramid = pyramid_of(backbone) if pyramid is None else pyramid
        self.pyramid.indices_at(self.strides)

    def forward(self, x_NCHW: Tensor, targets: Any = None) -> Any:
        """Return what the head makes of float images (N, C, H, W): losses where targets are given, else what it finds."""
        maps = feature_maps(self.backbone, x_NCHW, self.strides, self.pyramid)
        size = (int(x_NCHW.shape[-2]), int(x_NCHW.shape[-1]))
        return self.head(maps, size) if targets is None else self.head(maps, size, targets)
