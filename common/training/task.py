"""Task: all that the loop and the search know of what is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from common.config import TrainConfig, require
from common.data.loaders import whole_batches
from common.models.heads import Network
from common.training.distributed import world_size

if TYPE_CHECKING:
    from common.training.logs import Log


class Task(Protocol):
    """An objective on data with a network; a paradigm's folder implements it.

    Attributes:
        network: backbone and head.
        main_metric: the name, among what `evaluate` returns, that a result is known by.
        judges_head: `evaluate` looks at the head too, not at the backbone alone.
        shares_evaluation: the processes that train together share the images that `evaluate` looks at, so all of them call it.
        steps_per_epoch: optimizer steps in one epoch.
    """

    network: Network
    main_metric: str
    judges_head: bool
    shares_evaluation: bool
    steps_per_epoch: int

    @property
    def backbone(self) -> nn.Module:
        """The prunable trunk of the network."""
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return groups for a torch optimizer."""
        ...

    def train_batches(self, round: int, epoch: int, first: int) -> Iterator[Any]:
        """Yield an epoch's batches from step `first` on, `train.accumulate` to a step; this process's part of each.

        The same for the same arguments, whatever ran before.
        """
        ...

    def loss(self, batch: Any) -> dict[str, Tensor]:
        """Return {"total": scalar to minimise, further parts}."""
        ...

    def prepare_(self, config: TrainConfig) -> None:
        """Lay out, distribute and compile the network, before an optimizer or a hold is made for it."""
        ...

    def no_sync(self) -> AbstractContextManager[Any]:
        """Return the context of a backward pass whose gradients are not yet exchanged between processes."""
        ...

    def after_step(self) -> None:
        """Update what follows the weights, such as a momentum encoder."""
        ...

    def at_step(self, done: int) -> None:
        """Look at the network after `done` steps of a round, before a checkpoint may be saved there."""
        ...

    def details(self) -> Mapping[str, Any]:
        """Return what the task chose in the round that was trained last, for its result."""
        ...

    def at_rewind_point(self) -> None:
        """Keep what follows the weights as it is now: this is where later rounds are rewound to."""
        ...

    def rewound(self) -> None:
        """Bring what follows the weights in line with rewound, masked weights."""
        ...

    def evaluate(self, split: str) -> dict[str, float]:
        """Return {metric: value} on a split, the network as it is; no gradient, no change."""
        ...

    def show(self, split: str, folder: Path, log: Log, position: tuple[int, int]) -> None:
        """Leave what is to be looked at of the judged network in a folder and in the log; one process calls it."""
        ...

    def alarms(self, metrics: Mapping[str, float], split: str) -> tuple[str, ...]:
        """Return what is wrong with a network that `evaluate` gave these metrics, such as "at_chance"."""
        ...

    def state_dict(self) -> Mapping[str, Any]:
        """Return what a checkpoint needs beside network and optimizer."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        ...


def steps_per_epoch(images: Sized, config: TrainConfig) -> int:
    """Return the optimizer steps of an epoch: whole batches, `accumulate` of them to a step.

    Raises:
        InputError: an epoch has no whole step, or the processes cannot have equal parts of a batch.
    """
    parts = world_size()
    require(config.batch_size % parts == 0, "train.batch_size", config.batch_size, f"a multiple of the {parts} processes")
    most = whole_batches(len(images), config.batch_size)
    found = most // config.accumulate
    require(found >= 1, "train.accumulate", config.accumulate, f"no more than the {most} batches of an epoch")
    return found


class NetworkTask:
    """What tasks share that train one network and nothing beside it; a task overrides what is different for it.

    Args:
        network: backbone and head, on the device.

    Attributes:
        sync_norms: batch norms take their statistics over all GPUs; on CPUs running ones follow the first process. An objective
            that needs them apart says False, and brings them together itself.
        leaves_weights_out: some weights of the network may take no part in its loss; processes must then look which.
    """

    judges_head = False
    shares_evaluation = False
    sync_norms = True
    leaves_weights_out = False

    def __init__(self, network: Network) -> None:
        self.network = network
        self._parallel: DistributedDataParallel | None = None
        self._call: Callable[[Tensor], Tensor] = network
        self._channels_last = False

    def prepare_(self, config: TrainConfig) -> None:
        """Lay out, distribute and compile the network as a recipe says; parameters stay the same objects under the same names.

        SyncBatchNorm is used between GPUs; gloo has none, so on CPUs every process norms its own part of a batch.
        """
        device = next(self.network.parameters()).device
        if config.channels_last:
            self.network.to(memory_format=torch.channels_last)
            self._channels_last = True
        if world_size() > 1:
            if device.type == "cuda" and self.sync_norms:
                torch.nn.SyncBatchNorm.convert_sync_batchnorm(self.network)
            ids = [device] if device.type == "cuda" else None
            self._parallel = DistributedDataParallel(
                self.network,
                device_ids=ids,
                broadcast_buffers=self.sync_norms,
                find_unused_parameters=self.leaves_weights_out,
            )
            self._call = self._parallel
        if config.compile:
            self._call = torch.compile(self._call)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the network's output in training, through what `prepare_` made of it."""
        return self._call(self.laid_out(x_NCHW))

    def laid_out(self, x_NCHW: Tensor) -> Tensor:
        """Return images in the memory format that `prepare_` gave the network."""
        return x_NCHW.contiguous(memory_format=torch.channels_last) if self._channels_last else x_NCHW

    def no_sync(self) -> AbstractContextManager[Any]:
        """Return DistributedDataParallel's context, or an empty one."""
        return self._parallel.no_sync() if self._parallel is not None else nullcontext()

    @property
    def backbone(self) -> nn.Module:
        """The prunable trunk."""
        return self.network.backbone

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Every parameter of the network, in one group."""
        return [{"params": list(self.network.parameters())}]

    def after_step(self) -> None:
        """Nothing follows the weights."""

    def at_step(self, done: int) -> None:
        """Nothing is looked at."""
        del done

    def details(self) -> Mapping[str, Any]:
        """Nothing is chosen."""
        return {}

    def at_rewind_point(self) -> None:
        """Nothing follows the weights."""

    def rewound(self) -> None:
        """Nothing follows the weights."""

    def show(self, split: str, folder: Path, log: Log, position: tuple[int, int]) -> None:
        """Nothing is to be looked at."""
        del split, folder, log, position

    def alarms(self, metrics: Mapping[str, float], split: str) -> tuple[str, ...]:
        """Nothing is known to be wrong."""
        del metrics, split
        return ()

    def state_dict(self) -> Mapping[str, Any]:
        """Nothing beside network and optimizer."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing beside network and optimizer."""
        del state
