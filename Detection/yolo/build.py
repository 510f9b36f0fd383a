"""A YOLO-style head with seeded weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from common.randomness import seeded
from Detection.yolo.config import YoloConfig
from Detection.yolo.yolo_head import YoloHead


def build_yolo(
    config: YoloConfig, strides: Sequence[int], channels: Sequence[int], num_classes: int, seed: int, anchors: Tensor
) -> YoloHead:
    """Build a head with fresh random weights; torch's global generator is left as it was.

    Args:
        config: widths, thresholds, weights of the loss.
        strides: of the three feature maps, pixels, each twice the one before: 8, 16, 32 behind an ImageNet stem.
        channels: of these maps.
        num_classes: >= 1.
        seed: of the initialisation, >= 0.
        anchors: of `Detection.yolo.anchors.anchors_of`, float32 (9, 2), pixels.

    Raises:
        InputError: strides, channels, classes or anchors that such a head cannot have.
    """
    with seeded(seed, "detector"):
        return YoloHead(config, strides, channels, num_classes, anchors)
