"""The cost of holding a mask in a training step: `python -m benchmarks.hold`.

ResNet-18 with a 3x3 stem and no max-pool, batch 64 at 32 px, on the CPU: a dense step, a step under `Hold`, and a step under
torch.nn.utils.prune, in turn.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from benchmarks.measure import arguments, interleaved, median_ratio, report
from common.models.backbones import build_backbone
from common.models.heads import Network, linear_head
from common.randomness import generator
from common.tickets.allocation import keep_global
from common.tickets.hold import Hold
from common.tickets.mask import Mask
from common.tickets.scope import find_scope
from common.tickets.scores import magnitude

DENSITY, BATCH, SIZE, CLASSES = 0.2, 64, 32, 10


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 0."""
    options = arguments("hold", __doc__ or "", argv, repeats=15)
    images = torch.randn(BATCH, 3, SIZE, SIZE, generator=generator(0, "benchmark"))
    labels = torch.arange(BATCH) % CLASSES
    held, mask = _network()
    engine = Hold(held.backbone.named_parameters(), mask)
    pruned, _ = _network()
    for name, kept in mask.items():
        prune.custom_from_mask(pruned.backbone.get_submodule(name.removesuffix(".weight")), "weight", kept.float())
    cases = {
        "dense": _step(_network()[0], images, labels, lambda: None),
        "ours": _step(held, images, labels, engine.grads_),
        "torch_prune": _step(pruned, images, labels, lambda: None),
        "hold_alone": engine.grads_,
    }
    seconds = interleaved(cases, options.repeats)
    ratios = {
        "hold_cpu": median_ratio(seconds["ours"], seconds["dense"]),
        "hold_cpu_share": median_ratio(seconds["hold_alone"], seconds["ours"]),
    }
    report(ratios, {"torch_prune_cpu": median_ratio(seconds["torch_prune"], seconds["dense"])}, options.json)
    return 0


def _network() -> tuple[Network, Mask]:
    backbone = build_backbone("resnet18", stem="3x3", seed=0)
    parameters = find_scope(backbone).parameters(backbone)
    dense = Mask.dense({name: parameter.shape for name, parameter in parameters.items()})
    mask = keep_global(magnitude(parameters), dense, round(DENSITY * dense.size))
    return Network(backbone, linear_head(512, CLASSES, seed=0)), mask


def _step(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, between: Callable[[], None]) -> Callable[[], None]:
    """Return one whole training step, `between` running after the backward pass."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(network(images), labels).backward()
        between()
        optimizer.step()

    return step


if __name__ == "__main__":
    sys.exit(main())
