"""Segmentation's configuration schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from common.annotated_config import AnnotatedEvaluationConfig, AnnotatedTaskConfig
from common.canonical import Rules
from common.config import ModelConfig
from common.option import option, require

DECODERS = (*("deeplabv3plus", "deeplabv3", "unet", "unetplusplus", "manet", "linknet", "fpn", "pspnet", "upernet", "segformer"),)
_DEEPLAB = ("deeplabv3plus", "deeplabv3")
_WITH_DROPOUT = (*_DEEPLAB, "fpn", "pspnet")


@dataclass(frozen=True)
class SegmentationModelConfig(ModelConfig):
    """Which backbone, and how it is dilated."""

    output_stride: int | None = option(
        None, "side of an image over that of the last map (DeepLab: 16 or 8): later stages of a ResNet are dilated; null: its own"
    )
    norm_momentum: float | None = option(
        None, "how fast the backbone's running statistics follow, in (0, 1] (the predecessor: 0.01); null: torch's 0.1"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        stride, momentum = self.output_stride, self.norm_momentum
        require(stride is None or stride >= 1, "model.output_stride", stride, "a stride >= 1, or null")
        require(momentum is None or 0 < momentum <= 1, "model.norm_momentum", momentum, "a number in (0, 1], or null")


@dataclass(frozen=True)
class DecoderConfig:
    """The decoder: one of segmentation-models-pytorch. It is dense: a ticket's mask is on the backbone alone."""

    name: Literal[
        "deeplabv3plus", "deeplabv3", "unet", "unetplusplus", "manet", "linknet", "fpn", "pspnet", "upernet", "segformer"
    ] = option("deeplabv3plus", "decoder, by that library's name")
    width: int = option(256, "channels, >= 8; of U-Net's kind those of the first block, which halve from block to block")
    rates: tuple[int, ...] = option(
        (), "DeepLab: three dilations; none: 6, 12, 18 at an output stride of 16, twice that at 8 (Chen et al. 2018)"
    )
    separable: bool = option(True, "DeepLab: depth-wise separable convolutions in the pyramid of dilations")
    dropout: float = option(0.1, "DeepLab, FPN, PSPNet: dropout behind the pyramid, in [0, 1)")
    refine: int = option(1, "DeepLabv3+: stage whose map refines the pyramid's: 0 the stem (timm's ResNets), 1 layer1 ...")

    def __post_init__(self) -> None:
        require(self.width >= 8, "decoder.width", self.width, "channels, >= 8")
        are_rates = len(self.rates) in (0, 3) and all(rate >= 1 for rate in self.rates)
        require(are_rates, "decoder.rates", list(self.rates), "none, or three dilations >= 1")
        require(0 <= self.dropout < 1, "decoder.dropout", self.dropout, "a probability in [0, 1)")
        require(self.refine >= 0, "decoder.refine", self.refine, "a stage >= 0")

    def rates_at(self, output_stride: int) -> tuple[int, ...]:
        """Return the dilations at an output stride."""
        return self.rates or tuple(max(1, rate * 16 // output_stride) for rate in (6, 12, 18))


@dataclass(frozen=True)
class LossConfig:
    """The loss: a weighted sum. Pixels that are ignored add nothing."""

    cross_entropy: float = option(1.0, "weight of the mean cross-entropy, >= 0")
    focal: float = option(0.0, "weight of the focal loss (Lin et al. 2017), >= 0")
    gamma: float = option(2.0, "focal: exponent, >= 0")
    dice: float = option(0.0, "weight of the Dice loss, over a batch and its classes, >= 0")

    def __post_init__(self) -> None:
        weights = {"loss.cross_entropy": self.cross_entropy, "loss.focal": self.focal, "loss.dice": self.dice}
        for name, weight in {**weights, "loss.gamma": self.gamma}.items():
            require(weight >= 0, name, weight, "a number >= 0")
        require(any(weights.values()), "loss", list(weights.values()), "a weight > 0 among cross_entropy, focal and dice")


@dataclass(frozen=True)
class SegmentationEvaluationConfig(AnnotatedEvaluationConfig):
    """What the result is measured on, and how images are shown."""

    view: Literal["fit", "whole", "slide", "centre"] | None = option(
        None,
        "fit: letter-boxed to data.size; whole: as they are; slide: windows of data.size; centre: what the predecessor judged, "
        "the centre of the covering image alone; null: whole with augment.window, which trains on images as they are, else fit",
    )
    scales: tuple[float, ...] = option((1.0,), "scales that probabilities are averaged over, > 0")
    flip: bool = option(False, "average over the mirrored image too")
    overlap: float = option(1 / 3, "slide: share of a window that the next one covers again, in [0, 1)")

    def __post_init__(self) -> None:
        super().__post_init__()
        scales = list(self.scales)
        are_scales = bool(scales) and len(set(scales)) == len(scales) and min(scales) > 0
        require(are_scales, "evaluation.scales", scales, "one or more different numbers > 0")
        require(0 <= self.overlap < 1, "evaluation.overlap", self.overlap, "a share in [0, 1)")


def view_of(config: SegmentationConfig) -> Literal["fit", "whole", "slide", "centre"]:
    """Return how images are shown: what evaluation.view says or, where it is null, stands for."""
    return config.evaluation.view or ("whole" if config.augment.window else "fit")


def _is_not(*names: str) -> Any:
    return lambda config: config.decoder.name not in names


@dataclass(frozen=True)
class SegmentationConfig(AnnotatedTaskConfig):
    """Segmentation: from a ticket or a control or, with prune.rounds, a search for tickets on the task itself."""

    RULES: ClassVar[Rules] = Rules(
        forms={
            **AnnotatedTaskConfig.RULES.forms,
            "evaluation.view": view_of,
            "evaluation.scales": lambda c: sorted(c.evaluation.scales),
        },
        unused=(
            *AnnotatedTaskConfig.RULES.unused,
            *((f"decoder.{name}", _is_not(*_DEEPLAB)) for name in ("rates", "separable")),
            ("decoder.dropout", _is_not(*_WITH_DROPOUT)),
            ("decoder.refine", _is_not("deeplabv3plus")),
            ("loss.gamma", lambda c: c.loss.focal == 0),
            ("evaluation.overlap", lambda c: c.evaluation.view != "slide"),
        ),
    )

    model: SegmentationModelConfig = option(SegmentationModelConfig, "which backbone, and how it is dilated")
    decoder: DecoderConfig = option(DecoderConfig, "the decoder")
    loss: LossConfig = option(LossConfig, "the loss")
    evaluation: SegmentationEvaluationConfig = option(SegmentationEvaluationConfig, "what the result is measured on, and how")
