"""What the tasks that take optimizer steps share: labels that choose an epoch, and what a sweep carries from rate to rate."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from common.models.heads import Network
from common.tickets.rewind import capture, restore_
from common.training.task import NetworkTask
from Downstream.config import DownstreamConfig


class SelectingTask(NetworkTask):
    """A task whose network may be that of the best epoch (implements part of `common.training.task.Task`).

    Args:
        config: which epoch is selected.
        network: what is trained, on the device.

    Attributes:
        carried: what `Downstream.sweep` keeps of the rates that are done; part of every checkpoint.
    """

    steps_per_epoch: int
    main_metric: str

    def __init__(self, config: DownstreamConfig, network: Network) -> None:
        super().__init__(network)
        self.config = config
        self.carried: dict[str, Any] = {}
        self._best: dict[str, Any] = {}

    @abstractmethod
    def validate(self) -> dict[str, float] | None:
        """Return {metric: value} of the network as it is on the labels that choose; None where there are none."""

    def at_step(self, done: int) -> None:
        """At the end of an epoch, remember the network if it is better on the labels that choose than every one before."""
        if self.config.select != "best" or done % self.steps_per_epoch:
            return
        metrics = self.validate()
        if metrics is not None and metrics[self.main_metric] > self._best.get("value", -1.0):
            self._best = {"value": metrics[self.main_metric], "step": done, "network": capture(self.network)}

    def take_best(self) -> dict[str, float]:
        """Bring back the best network, if the recipe selects it; return what was chosen."""
        if self._best:
            restore_(self.network, self._best["network"])
        return self.details()

    @contextmanager
    def best(self) -> Iterator[None]:
        """Put the best network, if the recipe selects it, in the place of the last one inside the block.

        A search measures the best epoch of a round and ranks the weights of the last one, as that of Chen et al. 2021.
        """
        last = capture(self.network) if self._best else {}
        self.take_best()
        yield
        if last:
            restore_(self.network, last)

    def rewound(self) -> None:
        """A round of a search begins: no epoch of it is the best yet."""
        self._best = {}

    def details(self) -> dict[str, float]:
        """Return the epoch that was chosen, if the recipe selects one."""
        if not self._best:
            return {}
        return {"selected_epoch": self._best["step"] / self.steps_per_epoch, "selected_value": self._best["value"]}

    def start_again_(self, network: Mapping[str, Any]) -> None:
        """Put the network back to a state of `capture`, and forget the best epoch."""
        restore_(self.network, network)
        self._best = {}

    def state_dict(self) -> Mapping[str, Any]:
        """The best network so far, and what a sweep carries."""
        return {"best": self._best, "carried": self.carried}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self._best, self.carried = dict(state["best"]), dict(state["carried"])
