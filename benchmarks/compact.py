"""What compaction makes of a network at 98% sparsity: `python -m benchmarks.compact`.

The dense network, and the networks of tickets of density .02 compacted by `common.exchange`, in turn: forward passes in eval
mode. ResNet-18 with a 3x3 stem at 32 px, batch 16; on a GPU, where there is one, ResNet-50 at 224 px, batch 256. Convolutions are
fresh; norms have weights and biases of all sizes, as training leaves them, and the statistics that random images give under the
mask. Three tickets:

- global: largest magnitudes over the whole scope;
- layerwise: largest magnitudes of every layer (of fresh weights, these two empty almost no channel);
- channels: 15% of the channels of every residual stream and inside every block, those of the largest weights, and of what that
  leaves the largest magnitudes of every layer.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks.measure import arguments, interleaved, report
from common.exchange.compaction.compact import check_same, compact
from common.exchange.cost import cost
from common.models.backbones import build_backbone
from common.models.features import reestimate_norm_statistics_
from common.models.heads import Network, linear_head
from common.randomness import generator
from common.tickets.allocation import keep_global, keep_layerwise
from common.tickets.mask import Mask
from common.tickets.scope import find_scope
from common.tickets.scores import magnitude

DENSITY, CLASSES = 0.02, 10
CHANNELS = 0.15
"""Fraction of channels that the structured ticket leaves."""


@dataclass(frozen=True)
class Setting:
    """What runs: network, images, device."""

    name: str
    backbone: str
    stem: str
    batch: int
    size: int
    device: torch.device


CPU = Setting("cpu", "resnet18", "3x3", 16, 32, torch.device("cpu"))
GPU = Setting("gpu", "resnet50", "7x7", 256, 224, torch.device("cuda"))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 0."""
    options = arguments("compact", __doc__ or "", argv, repeats=15)
    ratios: dict[str, float] = {}
    other: dict[str, float] = {}
    for setting in [CPU, GPU] if torch.cuda.is_available() else [CPU]:
        cases, facts = _cases(setting)
        seconds = interleaved(cases, options.repeats)
        median = {name: statistics.median(values) for name, values in seconds.items()}
        for name in _masks(_backbone(setting)):
            ratios[f"compact_{setting.name}_{name}"] = median["dense"] / median[name]
        other |= {f"{setting.name}_{name}_ms": 1e3 * value for name, value in median.items()} | facts
    report(ratios, other, options.json)
    return 0


def _cases(setting: Setting) -> tuple[dict[str, Callable[[], None]], dict[str, float]]:
    """Return what is timed, and what else there is to say: shares of MACs and parameters, idle channels, differences."""
    draws = generator(0, "benchmark")
    images_NCHW = torch.randn(setting.batch, 3, setting.size, setting.size, generator=draws).to(setting.device)
    cases = {"dense": _forward(setting, _network(setting, None), images_NCHW)}
    facts: dict[str, float] = {}
    for name, mask in _masks(_backbone(setting)).items():
        masked = _network(setting, mask)
        done = compact(masked, images_NCHW[:2].cpu())
        what = f"{setting.name}_{name}"
        facts[f"{what}_difference"] = check_same(masked, done.network, images_NCHW, 1e-3)
        costs = [cost(network.to("cpu"), None, setting.size) for network in (masked, done.network)]
        facts[f"{what}_macs"] = costs[1].macs / costs[0].macs
        facts[f"{what}_parameters"] = costs[1].parameters / costs[0].parameters
        facts[f"{what}_idle_channels"] = sum(done.counts[key] for key in ("constant", "tied", "only")) / sum(done.counts.values())
        cases[name] = _forward(setting, done.network.to(setting.device), images_NCHW)
    return cases, facts


def _backbone(setting: Setting) -> nn.Module:
    backbone = build_backbone(setting.backbone, stem=setting.stem, seed=0)
    draws = generator(0, "norms")
    for module in backbone.modules():
        if isinstance(module, _BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=draws)
            nn.init.normal_(module.bias, 0.0, 0.2, generator=draws)
    return backbone


def _network(setting: Setting, mask: Mask | None) -> nn.Module:
    backbone: nn.Module = _backbone(setting)
    with torch.no_grad():
        for name, kept in (mask or {}).items():
            backbone.get_parameter(name).mul_(kept)
    network = Network(backbone, linear_head(int(backbone.num_features), CLASSES, seed=0)).to(setting.device)  # type: ignore[arg-type]
    draws = generator(0, "statistics")
    batch = torch.randn(min(setting.batch, 64), 3, setting.size, setting.size, generator=draws).to(setting.device)
    reestimate_norm_statistics_(network, [batch])
    return network.eval()


def _masks(backbone: nn.Module) -> dict[str, Mask]:
    """Return the three masks of density .02."""
    scores = magnitude(find_scope(backbone).parameters(backbone))
    dense = Mask.dense({name: tensor.shape for name, tensor in scores.items()})
    counts = {name: round(DENSITY * tensor.numel()) for name, tensor in scores.items()}
    return {
        "global": keep_global(scores, dense, round(DENSITY * dense.size)),
        "layerwise": keep_layerwise(scores, dense, counts),
        "channels": keep_layerwise(scores, _of_channels(scores), counts),
    }


def _of_channels(scores: Mapping[str, Tensor]) -> Mask:
    """Keep the same share of channels everywhere, the same ones wherever a residual sum ties them."""
    totals: dict[str, Tensor] = {}
    for name, score in scores.items():
        sums = score.flatten(1).sum(1)
        key = _written(name, scores)
        totals[key] = totals[key] + sums if key in totals else sums
    chosen = {key: _largest(sums) for key, sums in totals.items()}
    masks = {}
    for name, score in scores.items():
        outer, read = chosen[_written(name, scores)], _read(name, scores)
        inner = chosen[read] if read in chosen else _largest(score.sum((0, 2, 3)))
        masks[name] = (outer[:, None] & inner[None, :])[:, :, None, None].expand_as(score).clone()
    return Mask(masks)


def _largest(sums: Tensor) -> Tensor:
    kept = torch.zeros_like(sums, dtype=torch.bool)
    kept[sums.topk(round(CHANNELS * len(sums))).indices] = True
    return kept


def _written(name: str, scores: Mapping[str, Tensor]) -> str:
    """Name what a convolution of a ResNet writes: the stream of its stage, or the inside of its block."""
    stage, block, rest = name.split(".", 2)
    last = "conv3" if f"{stage}.{block}.conv3.weight" in scores else "conv2"
    return stage if rest.startswith((last, "downsample")) else f"{stage}.{block}.{rest}"


def _read(name: str, scores: Mapping[str, Tensor]) -> str:
    """Name what a convolution of a ResNet reads, in the words of `_written`; the stem's stream is that of its first stage."""
    stage, block, rest = name.split(".", 2)
    if rest.startswith(("conv1", "downsample")):
        before = f"layer{int(stage.removeprefix('layer')) - (block == '0')}"
        return "layer1" if before == "layer0" and f"{stage}.0.downsample.0.weight" not in scores else before
    return f"{stage}.{block}.conv{int(rest[4]) - 1}.weight"


def _forward(setting: Setting, network: nn.Module, images_NCHW: Tensor) -> Callable[[], None]:
    def run() -> None:
        with torch.no_grad():
            network(images_NCHW)
        if setting.device.type == "cuda":
            torch.cuda.synchronize()

    return run


if __name__ == "__main__":
    sys.exit(main())
