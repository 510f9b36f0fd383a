"""Heads, and the network that a backbone and a head make."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from common.randomness import seeded


class Network(nn.Module):
    """A backbone and a head; state names begin with "backbone." and "head."."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the head's output for float images (N, C, H, W)."""
        return self.head(self.backbone(x_NCHW))


def linear_head(num_features: int, num_classes: int, *, seed: int) -> nn.Linear:
    """Return a linear classifier with torch's default initialisation, seeded."""
    with seeded(seed, "classifier"):
        return nn.Linear(num_features, num_classes)


def projection_head(num_features: int, widths: Sequence[int], *, seed: int) -> nn.Sequential:
    """Return SimCLR's projection: linear layers with ReLU between them (Chen et al. 2020, section 2.1).

    Args:
        num_features: width of the backbone's features.
        widths: output width of every layer, the last one being the projection's; at least one.
        seed: seed of the initialisation, >= 0.
    """
    with seeded(seed, "projection"):
        layers: list[nn.Module] = []
        for before, after in pairwise([num_features, *widths]):
            layers += [nn.Linear(before, after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])
