"""A frozen backbone over the images of a split: batches in fixed order, features."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from common.data.datasets import Images
from common.data.inputs import InputSpec
from common.data.loaders import DeviceImages
from common.models.features import extract_features

BATCH = 256


def normalised_batches(images: DeviceImages, input: InputSpec, *, equal: bool = False) -> Iterator[Tensor]:
    """Yield images in fixed order as normalised float batches (B, C, H, W).

    Args:
        images: on the device.
        input: what the network expects.
        equal: leave a partial last batch out, unless it is the only one, so that every image counts alike in norm statistics.
    """
    batches = list(images.evaluation_batches(BATCH))
    if equal:
        batches = [batch for batch in batches if len(batch) == BATCH] or batches
    return (input.normalise(images.take(batch)[0]) for batch in batches)


def features_of(backbone: nn.Module, images: Images | DeviceImages, input: InputSpec, device: torch.device) -> Tensor:
    """Return a backbone's features of a split in eval mode, float32 (N, D) on the device."""
    resident = images if isinstance(images, DeviceImages) else DeviceImages(images, device)
    return extract_features(backbone, normalised_batches(resident, input))
