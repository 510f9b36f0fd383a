"""The head of a segmentation network, and the network: logits of every pixel, at the size of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from common.models.heads import Network
from common.randomness import seeded
from Segmentation.config import DecoderConfig
from Segmentation.decoders import resize
from Segmentation.norms import take_single_values_
from Segmentation.pyramid_decoders import build_decoder
from Segmentation.stages import Stage, stage_maps


class SegmentationHead(nn.Module):
    """A decoder and a classifier of pixels; their weights are under "decoder." and "classifier.".

    Args:
        stages: of the backbone.
        num_classes: K, >= 1.
        settings: which decoder.
        seed: of the initialisation, >= 0.

    Raises:
        InputError: the decoder does not fit the backbone.
    """

    def __init__(self, stages: Sequence[Stage], num_classes: int, settings: DecoderConfig, *, seed: int) -> None:
        from segmentation_models_pytorch.base.initialization import initialize_head

        super().__init__()
        settings = replace(settings, rates=settings.rates_at(stages[-1].stride))
        with seeded(seed, "decoder"):
            self.decoder = build_decoder(stages, settings)
            self.classifier = nn.Conv2d(self.decoder.channels, num_classes, 1)
            initialize_head(self.classifier)
        take_single_values_(self.decoder)

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return logits, float (B, K, H, W).

        Args:
            maps: of all stages, float (B, C_s, H_s, W_s), the stem's first.
            size: H and W, of the images, pixels.
        """
        return resize(self.classifier(self.decoder(maps)), size)


class SegmentationNetwork(Network):
    """A backbone and a `SegmentationHead`; state names begin with "backbone." and "head."."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return logits, float (N, K, H, W), of normalised images (N, C, H, W)."""
        return self.head(stage_maps(self.backbone, x_NCHW), tuple(x_NCHW.shape[-2:]))
