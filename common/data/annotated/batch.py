"""A batch of annotated images as a network sees them.

B images, T objects of all of them together, P keypoints of an object.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Targets:
    """The objects of a batch that train, image by image.

    Attributes:
        boxes: float32 (T, 4): x1, y1, x2, y2 in pixels of the network's input.
        labels: int64 (T,), in 0 .. K-1.
        images: int64 (T,): the row of the batch that each is in, ascending.
        weights: float32 (T,): 1, or the share of its image in a mixup.
        masks: uint8 (T, H, W), 1 inside; None: not asked for.
        keypoints: float32 (T, P, 3): x, y, and 0 unlabelled or out of sight, 1 hidden, 2 visible; None: not asked for.
    """

    boxes: Tensor
    labels: Tensor
    images: Tensor
    weights: Tensor
    masks: Tensor | None = None
    keypoints: Tensor | None = None

    def to(self, device: torch.device) -> Targets:
        """Return the same on a device."""
        parts = (self.boxes, self.labels, self.images, self.weights, self.masks, self.keypoints)
        return Targets(*(part if part is None else part.to(device, non_blocking=True) for part in parts))  # type: ignore[arg-type]


@dataclass(frozen=True)
class AnnotatedBatch:
    """A batch.

    Attributes:
        images: normalised float32 (B, 3, H, W).
        indices: int64 (B,): which images of the split these are, on the CPU.
        targets: the objects; None where the set has none.
        maps: int64 (B, H, W): the class of every pixel, or IGNORE; None where the set has none.
        places: float32 (B, 3), on the CPU: scale, left, top: point p of an image at its own size lies at p * scale + (left, top).
    """

    images: Tensor
    indices: Tensor
    targets: Targets | None = None
    maps: Tensor | None = None
    places: Tensor | None = None

    def to(self, device: torch.device) -> AnnotatedBatch:
        """Return the same, what a network computes with on a device."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            targets=None if self.targets is None else self.targets.to(device),
            maps=None if self.maps is None else self.maps.to(device, non_blocking=True),
        )
