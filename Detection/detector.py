"""What every detector is to its task: a head on the feature maps of a backbone, which gives losses or detections.

The YOLO-style head implements it, and a head of the R-CNN family can: neck, heads, loss and decoding are its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from common.data.annotated.batch import Targets


@dataclass(frozen=True)
class Detections:
    """What is found in one image, the surest first.

    Attributes:
        boxes: float32 (D, 4): x1, y1, x2, y2 in pixels of the network's input.
        scores: float32 (D,), in [0, 1], descending.
        labels: int64 (D,), in 0 .. K-1.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class DetectorHead(nn.Module):
    """Neck and heads; parameters of the neck are under "neck.", so that a rewind can tell them from the heads'.

    Attributes:
        levels: which of the backbone's feature maps it takes, as strides of the input in pixels, ascending.
    """

    levels: tuple[int, ...]

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int], targets: Targets | None = None) -> Any:
        """Return {"total": scalar, further parts} where there are targets, else a list of `Detections`, one of every image.

        Args:
            maps: feature maps (B, C_l, H_l, W_l), one of every level.
            size: height and width of the images, pixels.
            targets: what is there; given in training.
        """
        raise TypeError(f"{type(self).__name__} says neither how it is trained nor what it finds")
