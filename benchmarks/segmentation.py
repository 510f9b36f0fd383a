"""Training images per second of segmentation: `python -m benchmarks.segmentation`.

Whole steps (forward, cross-entropy, backward, SGD) of our DeepLabv3+ as `voc12_resnet50` has it and of torchvision's DeepLabV3,
in turn: ResNet-50 at an output stride of 16 in both, same images, labels, precision and optimizer, 513 px. The two decoders
differ in size, so the ratio is per multiply-accumulate of a forward pass: our images per second times our MACs, over theirs. On
the CPU: batch 2. On a GPU, where there is one: batch 16, bf16, channels last. Data are on the device already.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from benchmarks.measure import arguments, interleaved, median_ratio, report
from benchmarks.training_step import training_step
from common.data.annotated.sets import IGNORE
from common.exchange.cost import cost
from common.models.backbones import build_backbone
from common.randomness import generator, seeded
from common.training.precision import Precision
from Segmentation.config import DecoderConfig
from Segmentation.dilation import dilate_
from Segmentation.head import SegmentationHead, SegmentationNetwork
from Segmentation.losses import cross_entropy

CLASSES, STRIDE = 21, 16


@dataclass(frozen=True)
class Setting:
    """What is trained: images, device, precision."""

    name: str
    batch: int
    size: int
    device: torch.device
    precision: Precision


CPU = Setting("cpu", 2, 513, torch.device("cpu"), "fp32")
GPU = Setting("gpu", 16, 513, torch.device("cuda"), "bf16")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 0."""
    counts = {"size": (CPU.size, "side of the images in pixels")}
    options = arguments("segmentation", __doc__ or "", argv, repeats=3, counts=counts)
    ratios: dict[str, float] = {}
    other: dict[str, float] = {}
    for setting in [CPU, GPU] if torch.cuda.is_available() else [CPU]:
        ratio, figures = training(replace(setting, size=options.size), options.repeats)
        suffix = "" if setting is CPU else f"_{setting.name}"
        ratios[f"segmentation_train_per_mac{suffix}"] = ratio
        other |= figures
    report(ratios, other, options.json)
    return 0


def training(setting: Setting, repeats: int) -> tuple[float, dict[str, float]]:
    """Time steps of both networks; return the ratio per MAC, and images per second and billions of MACs of each."""
    networks = {"ours": our_deeplab(), "torchvision": their_deeplab()}
    macs = {name: cost(network, None, setting.size).macs for name, network in networks.items()}
    images, labels = _scenes(setting)
    steps = {name: _step(setting, network.train(), images, labels) for name, network in networks.items()}
    seconds = interleaved(steps, repeats)
    figures: dict[str, float] = {}
    for name, times in seconds.items():
        figures[f"{name}_images_per_second_{setting.name}"] = setting.batch / statistics.median(times)
        figures[f"{name}_gmacs_{setting.name}"] = macs[name] / 1e9
    return median_ratio(seconds["torchvision"], seconds["ours"]) * macs["ours"] / macs["torchvision"], figures


def our_deeplab() -> SegmentationNetwork:
    """Return our DeepLabv3+ as the recipe `voc12_resnet50` makes it."""
    backbone = build_backbone("resnet50", stem="7x7", seed=0)
    return SegmentationNetwork(
        backbone, SegmentationHead(dilate_(backbone, STRIDE), CLASSES, DecoderConfig(separable=False), seed=0)
    )


class TheirLogits(nn.Module):
    """A network of torchvision's that returns logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return logits (N, K, H, W)."""
        return self.network(x_NCHW)["out"]


def their_deeplab() -> nn.Module:
    """Return torchvision's DeepLabV3 at our output stride, without an auxiliary head."""
    from torchvision.models import resnet50
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3

    with seeded(0, "benchmark"):
        backbone = resnet50(replace_stride_with_dilation=[False, False, True])
        maps = IntermediateLayerGetter(backbone, return_layers={"layer4": "out"})
        return TheirLogits(DeepLabV3(maps, DeepLabHead(2048, CLASSES, atrous_rates=(6, 12, 18))))


def _scenes(setting: Setting) -> tuple[Tensor, Tensor]:
    """Return random pixels and labels, of which a tenth is ignored."""
    draws = generator(0, "benchmark")
    shape = (setting.batch, setting.size, setting.size)
    images = torch.randn(setting.batch, 3, setting.size, setting.size, generator=draws).to(setting.device)
    if setting.device.type == "cuda":
        images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, shape, generator=draws)
    labels[torch.rand(shape, generator=draws) < 0.1] = IGNORE
    return images, labels.to(setting.device)


def _step(setting: Setting, network: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], None]:
    """Return one whole training step."""
    network = network.to(setting.device)
    if setting.device.type == "cuda":
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return training_step(network, lambda network: cross_entropy(network(images), labels), setting.device, setting.precision)


if __name__ == "__main__":
    sys.exit(main())
