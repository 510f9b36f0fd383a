"""Training images per second of the detector: `python -m benchmarks.detection`.

Whole steps (forward, loss, backward, SGD) of our detector and of torchvision's RetinaNet, in turn: same backbone, images, boxes,
precision and optimizer. The two heads differ in size, so the ratio is per multiply-accumulate of a forward pass: our images per
second times our MACs, over theirs. On the CPU: ResNet-18, batch 16 at 256 px. On a GPU, where there is one: ResNet-50, batch 16
at 512 px, bf16. Both are channels last. Data are on the device already; the evaluation has `benchmarks.detection_evaluation`.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import arguments, interleaved, median_ratio, report
from benchmarks.training_step import training_step
from common.data.annotated.batch import Targets
from common.exchange.cost import cost
from common.models.backbones import build_backbone
from common.models.dense_network import DenseNetwork
from common.models.pyramid import pyramid_of
from common.randomness import generator, seeded
from common.training.precision import Precision
from Detection.yolo.anchors import anchors_of
from Detection.yolo.build import build_yolo
from Detection.yolo.config import VOC_ANCHORS, YoloConfig

CLASSES, BOXES, STRIDES = 20, 6, (8, 16, 32)


@dataclass(frozen=True)
class Setting:
    """What is trained: backbone, images, device, precision."""

    name: str
    backbone: str
    batch: int
    size: int
    device: torch.device
    precision: Precision

    def laid_out(self, network: nn.Module) -> nn.Module:
        """Return a network on the device, channels last."""
        return network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


CPU = Setting("cpu", "resnet18", 16, 256, torch.device("cpu"), "fp32")
GPU = Setting("gpu", "resnet50", 16, 512, torch.device("cuda"), "bf16")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 0."""
    options = arguments("detection", __doc__ or "", argv, repeats=7)
    ratios: dict[str, float] = {}
    other: dict[str, float] = {}
    for setting in [CPU, GPU] if torch.cuda.is_available() else [CPU]:
        ratio, figures = training(setting, options.repeats)
        suffix = "" if setting is CPU else f"_{setting.name}"
        ratios[f"detection_train_per_mac{suffix}"] = ratio
        other |= figures
    report(ratios, other, options.json)
    return 0


def training(setting: Setting, repeats: int) -> tuple[float, dict[str, float]]:
    """Time steps of both detectors; return the ratio per MAC, and images per second and billions of MACs of each."""
    images, targets = _scenes(setting)
    networks = {"ours": our_detector(setting.backbone), "retinanet": retinanet(setting.backbone, setting.size)}
    image = torch.zeros(3, setting.size, setting.size)
    inputs: dict[str, Any] = {"ours": image[None], "retinanet": [image]}
    macs = {name: cost(network, None, None, inputs=[inputs[name]]).macs for name, network in networks.items()}
    losses = {"ours": _our_loss(images, targets), "retinanet": _their_loss(images, targets)}
    steps = {name: _step(setting, network.train(), losses[name]) for name, network in networks.items()}
    seconds = interleaved(steps, repeats)
    figures: dict[str, float] = {}
    for name, times in seconds.items():
        figures[f"{name}_images_per_second_{setting.name}"] = setting.batch / statistics.median(times)
        figures[f"{name}_gmacs_{setting.name}"] = macs[name] / 1e9
    return median_ratio(seconds["retinanet"], seconds["ours"]) * macs["ours"] / macs["retinanet"], figures


def our_detector(name: str) -> DenseNetwork:
    """Return our detector as its defaults make it, with the predecessor's anchors."""
    config = YoloConfig(anchors=VOC_ANCHORS, anchor_unit="stride")
    backbone = build_backbone(name, seed=0)
    pyramid = pyramid_of(backbone)
    anchors = anchors_of(config, STRIDES, torch.zeros(0, 2), seed=0)
    head = build_yolo(config, STRIDES, pyramid.channels_at(STRIDES), CLASSES, 0, anchors)
    return DenseNetwork(backbone, head, STRIDES, pyramid)


def retinanet(name: str, size: int) -> nn.Module:
    """Return torchvision's RetinaNet on a backbone that trains whole, with batch norms, and that changes no image."""
    from torchvision.models.detection import RetinaNet
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    with seeded(0, "benchmark"):
        backbone = resnet_fpn_backbone(
            backbone_name=name,
            weights=None,
            norm_layer=nn.BatchNorm2d,
            trainable_layers=5,
            returned_layers=[2, 3, 4],
            extra_blocks=LastLevelP6P7(256, 256),
        )
        plain = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}
        return RetinaNet(backbone, CLASSES, min_size=size, max_size=size, **plain)


def _scenes(setting: Setting) -> tuple[Tensor, Targets]:
    """Return random pixels, and boxes of a tenth to a half of the image's side."""
    draws = generator(0, "benchmark")
    images = torch.randn(setting.batch, 3, setting.size, setting.size, generator=draws)
    images = images.to(setting.device, memory_format=torch.channels_last)
    count = setting.batch * BOXES
    sides = (0.1 + 0.4 * torch.rand(count, 2, generator=draws)) * setting.size
    corners = torch.rand(count, 2, generator=draws) * (setting.size - sides)
    labels = torch.randint(CLASSES, (count,), generator=draws)
    rows = torch.arange(count) // BOXES
    return images, Targets(torch.cat([corners, corners + sides], 1), labels, rows, torch.ones(count)).to(setting.device)


def _our_loss(images: Tensor, targets: Targets) -> Callable[[nn.Module], Tensor]:
    return lambda network: network(images, targets)["total"]


def _their_loss(images: Tensor, targets: Targets) -> Callable[[nn.Module], Tensor]:
    listed = [
        {"boxes": targets.boxes[targets.images == row], "labels": targets.labels[targets.images == row]}
        for row in range(len(images))
    ]
    return lambda network: torch.stack(list(network(list(images), [dict(target) for target in listed]).values())).sum()


def _step(setting: Setting, network: nn.Module, loss: Callable[[nn.Module], Tensor]) -> Callable[[], None]:
    """Return one whole training step."""
    network = setting.laid_out(network)
    return training_step(network, loss, setting.device, setting.precision)


if __name__ == "__main__":
    sys.exit(main())
