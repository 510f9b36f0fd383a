"""A frozen backbone over the images of a split: batches in fixed order, features."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from common.data.datasets import Images
from common.data.file_images import FileImages
from common.data.inputs import InputSpec
from common.data.loaders import Loader, loader_of
from common.models.features import extract_features

BATCH = 256


def normalised_batches(
    images: Images | FileImages | Loader, input: InputSpec, device: torch.device, *, equal: bool = False
) -> Iterator[Tensor]:
    """Yield a split's images in fixed order as normalised float batches (B, C, S, S) on the device.

    Args:
        images: the split; a loader reads for the device that it was made for.
        input: what the network expects.
        device: where the batches come to lie.
        equal: leave a partial last batch out, unless it is the only one, so that every image counts alike in norm statistics.
    """
    loader = loader_of(images, device)
    whole = len(loader) // BATCH or 1
    for number, (pixels, _) in enumerate(loader.evaluation_batches(BATCH)):
        if not equal or number < whole:
            yield input.normalise(pixels)


def features_of(backbone: nn.Module, images: Images | FileImages | Loader, input: InputSpec, device: torch.device) -> Tensor:
    """Return a backbone's features of a split in eval mode, float32 (N, D) on the device."""
    return extract_features(backbone, normalised_batches(images, input, device))
