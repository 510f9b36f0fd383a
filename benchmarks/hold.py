"""The cost of holding a mask in a training step: `python -m benchmarks.hold`.

A dense step, a step under `Hold`, and a step under torch.nn.utils.prune, in turn. On the CPU: ResNet-18 with a 3x3 stem and no
max-pool, batch 64 at 32 px. On a GPU, where there is one: ResNet-50, batch 256 at 224 px, bf16, channels last.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from benchmarks.measure import arguments, interleaved, median_ratio, report
from common.config import OptimConfig
from common.models.backbones import build_backbone
from common.models.heads import Network, linear_head
from common.randomness import generator
from common.tickets.allocation import keep_global
from common.tickets.hold import Hold
from common.tickets.mask import Mask
from common.tickets.scope import find_scope
from common.tickets.scores import magnitude
from common.training.optim import build_optimizer
from common.training.precision import Precision, autocast

DENSITY, CLASSES = 0.2, 10


@dataclass(frozen=True)
class Setting:
    """What is trained: network, images, device, precision."""

    name: str
    backbone: str
    stem: str
    batch: int
    size: int
    device: torch.device
    precision: Precision


CPU = Setting("cpu", "resnet18", "3x3", 64, 32, torch.device("cpu"), "fp32")
GPU = Setting("gpu", "resnet50", "7x7", 256, 224, torch.device("cuda"), "bf16")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 0."""
    options = arguments("hold", __doc__ or "", argv, repeats=15)
    ratios: dict[str, float] = {}
    other: dict[str, float] = {}
    for setting in [CPU, GPU] if torch.cuda.is_available() else [CPU]:
        seconds = interleaved(_cases(setting), options.repeats)
        ratios[f"hold_{setting.name}"] = median_ratio(seconds["ours"], seconds["dense"])
        ratios[f"hold_{setting.name}_share"] = median_ratio(seconds["hold_alone"], seconds["ours"])
        other[f"torch_prune_{setting.name}"] = median_ratio(seconds["torch_prune"], seconds["dense"])
    report(ratios, other, options.json)
    return 0


def _cases(setting: Setting) -> dict[str, Callable[[], None]]:
    draws = generator(0, "benchmark")
    images = torch.randn(setting.batch, 3, setting.size, setting.size, generator=draws).to(setting.device)
    if setting.device.type == "cuda":
        images = images.contiguous(memory_format=torch.channels_last)
    labels = (torch.arange(setting.batch) % CLASSES).to(setting.device)
    held, mask = _network(setting)
    engine = Hold(held.backbone.named_parameters(), mask)
    engine.weights_()
    pruned, _ = _network(setting)
    for name, kept in mask.items():
        module = pruned.backbone.get_submodule(name.removesuffix(".weight"))
        prune.custom_from_mask(module, "weight", kept.float().to(setting.device))
    return {
        "dense": _step(setting, _network(setting)[0], images, labels, lambda: None),
        "ours": _step(setting, held, images, labels, engine.grads_),
        "torch_prune": _step(setting, pruned, images, labels, lambda: None),
        "hold_alone": _synchronised(setting, engine.grads_),
    }


def _network(setting: Setting) -> tuple[Network, Mask]:
    backbone = build_backbone(setting.backbone, stem=setting.stem, seed=0)
    parameters = find_scope(backbone).parameters(backbone)
    dense = Mask.dense({name: parameter.shape for name, parameter in parameters.items()})
    mask = keep_global(magnitude(parameters), dense, round(DENSITY * dense.size))
    network = Network(backbone, linear_head(int(backbone.num_features), CLASSES, seed=0)).to(setting.device)
    return network.to(memory_format=torch.channels_last) if setting.device.type == "cuda" else network, mask


def _step(
    setting: Setting, network: nn.Module, images: torch.Tensor, labels: torch.Tensor, between: Callable[[], None]
) -> Callable[[], None]:
    """Return one whole training step, `between` running after the backward pass."""
    optimizer = build_optimizer([{"params": list(network.parameters())}], OptimConfig(lr=0.01))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(setting.device, setting.precision):
            loss = functional.cross_entropy(network(images), labels)
        loss.backward()
        between()
        optimizer.step()

    return _synchronised(setting, step)


def _synchronised(setting: Setting, action: Callable[[], None]) -> Callable[[], None]:
    """Wait for the GPU after an action, so that its time is its own."""

    def run() -> None:
        action()
        if setting.device.type == "cuda":
            torch.cuda.synchronize()

    return run


if __name__ == "__main__":
    sys.exit(main())
