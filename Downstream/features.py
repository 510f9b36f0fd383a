"""Features of a frozen backbone: each split is extracted once, whatever asks for it.

Shapes: N images, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.data.datasets import Dataset, Images
from common.data.file_images import FileImages
from common.models.features import extract_features
from common.training.frozen import normalised_batches
from Downstream.engines import frozen_module

Split = Images | FileImages


class Features:
    """Extracts features, and remembers them by split.

    Args:
        backbone: filled, masked, its norm statistics final; on the device.
        dataset: the target.
        device: where to compute.
        engine: what computes the backbone, see `Downstream.engines`.
        standardise: whether `standard` is that of the training images, or does nothing.

    Attributes:
        backbone: as it was given.
        dataset: the target.
        engine: what computes the backbone.
    """

    def __init__(
        self, backbone: nn.Module, dataset: Dataset, device: torch.device, *, engine: str = "torch", standardise: bool = True
    ) -> None:
        self.engine = engine
        self.dataset = dataset
        self.backbone, self._device, self._standardise = backbone, device, standardise
        self._module: nn.Module | None = None
        self._known: list[tuple[Split, Tensor]] = []

    def of(self, images: Split) -> Tensor:
        """Return the features of a split, float32 (N, D) on the device.

        Raises:
            InputError: the engine is not installed or cannot run here, or an image cannot be read.
        """
        for known, features_ND in self._known:
            if known is images:
                return features_ND
        batches = normalised_batches(images, self.dataset.input, self._device)
        features_ND = extract_features(self._frozen(), batches)
        self._known.append((images, features_ND))
        return features_ND

    def prepare(self) -> None:
        """Make the engine ready, so that what it lacks is known before anything is written; errors as `of`."""
        self._frozen()

    def standard(self) -> tuple[Tensor, Tensor]:
        """Return mean and deviation (D,), float64, of all training images' features; no label is looked at.

        Zeros and ones where features are not standardised.
        """
        features_ND = self.of(self.dataset.train) if self._standardise else torch.zeros(1, int(self.backbone.num_features))
        return standardisation(features_ND.to(self._device))

    def standardised(self, images: Split) -> Tensor:
        """Return the features of a split, standardised as `standard` says, float32 (N, D) on the device; errors as `of`."""
        mean_D, std_D = (part.float() for part in self.standard())
        return (self.of(images) - mean_D) / std_D if self._standardise else self.of(images)

    def _frozen(self) -> nn.Module:
        if self._module is None:
            example_NCHW = next(normalised_batches(self.dataset.train.subset(torch.arange(2)), self.dataset.input, self._device))
            self._module = frozen_module(self.engine, self.backbone, example_NCHW)
        return self._module


def standardisation(features_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (D,) of features, float64; a constant feature gets the deviation 1."""
    std_D, mean_D = torch.std_mean(features_ND.double(), dim=0, correction=0)
    return mean_D, torch.where(std_D > 1e-8, std_D, torch.ones_like(std_D))


def folded_head(weight_KD: Tensor, bias_K: Tensor, standard: tuple[Tensor, Tensor]) -> nn.Linear:
    """Return the head on features as they are that equals one on standardised features, on the CPU, float32."""
    mean_D, std_D = (part.cpu() for part in standard)
    weight_KD, bias_K = weight_KD.detach().cpu().double(), bias_K.detach().cpu().double()
    head = nn.utils.skip_init(nn.Linear, weight_KD.shape[1], weight_KD.shape[0])
    with torch.no_grad():
        head.weight.copy_(weight_KD / std_D)
        head.bias.copy_(bias_K - (weight_KD / std_D) @ mean_D)
    return head
