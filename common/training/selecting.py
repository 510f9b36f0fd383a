"""What the tasks that take optimizer steps share: labels that choose an epoch, averaged weights, what a sweep carries."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from common.config import TrainConfig
from common.models.heads import Network
from common.task_config import TaskConfig
from common.tickets.rewind import capture, restore_
from common.training.averaged import WeightAverage
from common.training.task import NetworkTask


class SelectingTask(NetworkTask):
    """A task whose network may be that of the best epoch (implements part of `common.training.task.Task`).

    Args:
        config: which epoch is selected.
        network: what is trained, on the device.
        decay: of the moving average of the weights that the network is judged by; None: as it is.

    Attributes:
        carried: what a sweep keeps of the rates that are done; part of every checkpoint.
    """

    steps_per_epoch: int
    main_metric: str

    def __init__(self, config: TaskConfig, network: Network, decay: float | None = None) -> None:
        super().__init__(network)
        self.config: Any = config
        self.carried: dict[str, Any] = {}
        self.average = WeightAverage(network, decay) if decay is not None else None
        self._best: dict[str, Any] = {}

    @abstractmethod
    def validate(self) -> dict[str, float] | None:
        """Return {metric: value} of the network as it is on the labels that choose; None where there are none."""

    def prepare_(self, config: TrainConfig) -> None:
        """Prepare the network, and begin the average with the weights that it has been filled with by now."""
        super().prepare_(config)
        if self.average is not None:
            self.average.begin_()

    def after_step(self) -> None:
        """Take the step into the average."""
        if self.average is not None:
            self.average.update_()

    def at_step(self, done: int) -> None:
        """At the end of an epoch, remember the network if it is better on the labels that choose than every one before."""
        if self.config.select != "best" or done % self.steps_per_epoch:
            return
        with self.average.in_place() if self.average is not None else nullcontext():
            metrics = self.validate()
            if metrics is not None and metrics[self.main_metric] > self._best.get("value", -1.0):
                self._best = {"value": metrics[self.main_metric], "step": done, "network": capture(self.network)}

    def take_best(self) -> dict[str, float]:
        """Bring the network that is judged, the best epoch's or the average, into place; return what was chosen."""
        if self._best:
            restore_(self.network, self._best["network"])
        elif self.average is not None:
            self.average.take_()
        return self.details()

    @contextmanager
    def best(self) -> Iterator[None]:
        """Put the network that is judged in the place of the last one inside the block.

        A search measures the best epoch of a round and ranks the weights of the last one, as that of Chen et al. 2021.
        """
        last = capture(self.network) if self._best or self.average is not None else {}
        self.take_best()
        yield
        if last:
            restore_(self.network, last)

    def rewound(self) -> None:
        """A round of a search begins: no epoch of it is the best yet, and the average begins anew."""
        self._best = {}
        if self.average is not None:
            self.average.begin_()

    def details(self) -> dict[str, float]:
        """Return the epoch that was chosen, if the recipe selects one."""
        if not self._best:
            return {}
        return {"selected_epoch": self._best["step"] / self.steps_per_epoch, "selected_value": self._best["value"]}

    def start_again_(self, network: Mapping[str, Any]) -> None:
        """Put the network back to a state of `capture`, and forget the best epoch."""
        restore_(self.network, network)
        self.rewound()

    def state_dict(self) -> Mapping[str, Any]:
        """The best network so far, the average, and what a sweep carries."""
        average = {"average": self.average.state_dict()} if self.average is not None else {}
        return {"best": self._best, "carried": self.carried, **average}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self._best, self.carried = dict(state["best"]), dict(state["carried"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
