"""Networks whose norms do something and whose channels are dead in many ways, and tickets of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from common.models.backbones import build_backbone
from common.models.heads import linear_head
from common.tickets.mask import Mask
from common.tickets.rewind import capture
from common.tickets.scope import find_scope
from common.tickets.ticket import Description, Ticket, save_ticket
from common.tickets.weights_file import NetworkState

ORIGIN = dict.fromkeys(
    ("folder", "objective", "data", "split", "recipe", "config", "seed", "round", "run", "importer"),
)


def settle_norms_(network: nn.Module, seed: int = 0) -> None:
    """Give batch norms weights, biases and statistics of all sizes and signs, so that constants come in all kinds."""
    draws = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            shape = module.running_var.shape
            module.running_mean.copy_(torch.randn(shape, generator=draws) * 0.3)
            module.running_var.copy_(torch.rand(shape, generator=draws) + 0.5)
            if module.affine:
                with torch.no_grad():
                    module.weight.copy_(torch.rand(shape, generator=draws) + 0.5)
                    module.bias.copy_(torch.randn(shape, generator=draws) * 0.5)


def channel_mask(network: nn.Module, filters: float, inputs: float, density: float, seed: int = 0) -> dict[str, torch.Tensor]:
    """Draw a mask that keeps filters, inputs and then single weights with three probabilities."""
    draws = torch.Generator().manual_seed(seed)
    mask = {}
    for name, weight in find_scope(network).parameters(network).items():
        outer = torch.rand(weight.shape[0], generator=draws) < filters
        inner = torch.rand(weight.shape[1], generator=draws) < inputs
        kept = torch.rand(weight.shape, generator=draws) < density
        kept &= outer.view(-1, *[1] * (weight.dim() - 1))
        mask[name] = kept & inner.view(1, -1, *[1] * (weight.dim() - 2)) if len(inner) > 1 else kept
    return mask


def prune_(network: nn.Module, mask: dict[str, torch.Tensor]) -> None:
    """Zero what a mask prunes."""
    own = dict(network.named_parameters())
    with torch.no_grad():
        for name, kept in mask.items():
            own[name].mul_(kept)


@pytest.fixture(scope="session")
def killed() -> Callable[..., nn.Module]:
    """Return a function that settles a network's norms and kills channels, in place, and returns it in eval mode."""

    def kill(network: nn.Module, filters: float = 0.6, inputs: float = 0.7, density: float = 0.6, seed: int = 0) -> nn.Module:
        settle_norms_(network, seed)
        prune_(network, channel_mask(network, filters, inputs, density, seed))
        return network.eval()

    return kill


@pytest.fixture
def make_ticket(tmp_path: Path) -> Callable[..., Ticket]:
    """Return a function that writes a ticket of a backbone with dead channels, weights embedded."""

    def make(name: str = "resnet_digits", classes: int | None = 5, size: int | None = 16, filters: float = 0.6) -> Ticket:
        backbone = build_backbone(name, seed=1, size=size)
        settle_norms_(backbone, 3)
        head = {} if classes is None else capture(linear_head(int(backbone.num_features), classes, seed=2))
        input_ = {"size": size, "channels": 3, "range": [0.0, 1.0], "mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": None}
        description = Description(
            arch=backbone.arch,  # type: ignore[arg-type]
            scope={"include": ["Conv2d:*"], "exclude": ["@stem"]},
            origin=ORIGIN,
            rewind={"to": "init", "at": None},
            input=input_,
        )
        mask = Mask(channel_mask(backbone, filters, 0.7, 0.6, 4))
        return save_ticket(tmp_path / f"{name}.safetensors", mask, description, weights=NetworkState(capture(backbone), head))

    return make
