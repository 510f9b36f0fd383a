"""The training batches of a task: views of images, drawn anew for every round, epoch and batch."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from common.config import TrainConfig
from common.data.augment_config import AugmentConfig
from common.data.inputs import InputSpec
from common.data.loaders import Loader, ViewDraws
from common.training.distributed import share
from common.training.task import steps_per_epoch

Batch = tuple[tuple[Tensor, ...], Tensor]


class TrainViews:
    """Batches of views of a split, in memory or in files; the same for the same round, epoch and step, whatever ran before.

    Args:
        images: what reads the split.
        input: what the network expects of its pixels.
        augment: how a view is made.
        train: batch size and accumulation.
        seed: the seed of the run.
        views: how many of every image, >= 1.
        order: the stream that orders the images.
        stream: the stream that the views are drawn from.

    Attributes:
        steps_per_epoch: optimizer steps in one epoch.

    Raises:
        InputError: an epoch has no whole step, or the processes cannot have equal parts of a batch.
    """

    def __init__(
        self,
        images: Loader,
        input: InputSpec,
        augment: AugmentConfig,
        train: TrainConfig,
        *,
        seed: int,
        views: int,
        order: str = "order",
        stream: str = "views",
    ) -> None:
        self.images, self.input, self.augment, self.train = images, input, augment, train
        self.seed, self.views, self._order, self._stream = seed, views, order, stream
        self.steps_per_epoch = steps_per_epoch(images, train)

    def batches(self, round: int, epoch: int, first_step: int) -> Iterator[Batch]:
        """Yield an epoch's batches from optimizer step `first_step` on.

        Returns:
            ((view, ...), labels): normalised float (n, C, S, S) for each view, row i of all showing one image; int64 (n,) in
            class order. n is this process's share of the batch.
        """
        total, own = self.train.batch_size, share(self.train.batch_size)
        start = first_step * self.train.accumulate
        order = self.images.batches(self.seed, self._order, round, epoch, batch_size=total, drop_last=True, first_batch=start)
        draws = ViewDraws(self.augment, self.input, self.views, self.seed, self._stream, (round, epoch))
        return self.images.view_batches(order, draws, first=start, part=slice(own.start, own.stop), keep=True)
