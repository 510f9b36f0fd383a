"""Task: all that the loop and the search know of what is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from common.models.heads import Network


class Task(Protocol):
    """An objective on data with a network; a paradigm's folder implements it.

    Attributes:
        network: backbone and head.
        main_metric: the name, among what `evaluate` returns, that a result is known by.
        steps_per_epoch: optimizer steps in one epoch.
    """

    network: Network
    main_metric: str
    steps_per_epoch: int

    @property
    def backbone(self) -> nn.Module:
        """The prunable trunk of the network."""
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return groups for a torch optimizer."""
        ...

    def train_batches(self, round: int, epoch: int, first: int) -> Iterator[Any]:
        """Yield the batches of an epoch from the `first` on, the same for the same arguments whatever ran before."""
        ...

    def loss(self, batch: Any) -> dict[str, Tensor]:
        """Return {"total": scalar to minimise, further parts}."""
        ...

    def after_step(self) -> None:
        """Update what follows the weights, such as a momentum encoder."""
        ...

    def rewound(self) -> None:
        """Bring what follows the weights in line with rewound, masked weights."""
        ...

    def evaluate(self, split: str) -> dict[str, float]:
        """Return {metric: value} on a split, the network as it is; no gradient, no change."""
        ...

    def state_dict(self) -> Mapping[str, Any]:
        """Return what a checkpoint needs beside network and optimizer."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        ...


class NetworkTask:
    """What tasks share that train one network and nothing beside it; a task overrides what is different for it.

    Args:
        network: backbone and head, on the device.
    """

    def __init__(self, network: Network) -> None:
        self.network = network

    @property
    def backbone(self) -> nn.Module:
        """The prunable trunk."""
        return self.network.backbone

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Every parameter of the network, in one group."""
        return [{"params": list(self.network.parameters())}]

    def after_step(self) -> None:
        """Nothing follows the weights."""

    def rewound(self) -> None:
        """Nothing follows the weights."""

    def state_dict(self) -> Mapping[str, Any]:
        """Nothing beside network and optimizer."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing beside network and optimizer."""
        del state
