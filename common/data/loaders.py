"""Small images that live on the device as uint8, and the order in which an epoch visits them."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from common.data.datasets import Images
from common.data.transfer import to_device
from common.errors import InputError
from common.randomness import generator


class DeviceImages:
    """One split, resident on a device.

    Attributes:
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        device: where both are.
    """

    def __init__(self, images: Images, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.images = images.images.to(self.device)
        self.labels = images.labels.to(self.device)

    def __len__(self) -> int:
        return len(self.labels)

    def steps_per_epoch(self, batch_size: int, *, drop_last: bool) -> int:
        """Return the number of batches in an epoch.

        Raises:
            InputError: no whole batch fits and partial ones are dropped.
        """
        if batch_size < 1:
            raise InputError(f"train.batch_size: got {batch_size}, expected an integer >= 1")
        if not drop_last:
            return -(-len(self) // batch_size)
        if len(self) < batch_size:
            raise InputError(
                f"train.batch_size {batch_size} is more than the {len(self)} training images; set --train.batch_size to fewer"
            )
        return len(self) // batch_size

    def order(self, seed: int, stream: str, round: int, epoch: int) -> torch.Tensor:
        """Return an epoch's permutation, int64 (N,), on the CPU: another for every round and epoch, the same for every device."""
        return torch.randperm(len(self), generator=generator(seed, stream, round, epoch))

    def batches(
        self, seed: int, stream: str, round: int, epoch: int, *, batch_size: int, drop_last: bool, first_batch: int = 0
    ) -> Iterator[torch.Tensor]:
        """Yield an epoch's batches as int64 indices on the device, in the order of `order`.

        Args:
            seed: the run's seed.
            stream: name of the stream of draws, such as "order".
            round: pruning round.
            epoch: epoch within the round.
            batch_size: images per batch, >= 1.
            drop_last: leave a partial last batch out.
            first_batch: batches already done, when an epoch is resumed; the rest are what they would have been.

        Raises:
            InputError: as `steps_per_epoch`.
        """
        count = self.steps_per_epoch(batch_size, drop_last=drop_last)
        order_N = to_device(self.order(seed, stream, round, epoch), self.device)
        return (order_N[step * batch_size : (step + 1) * batch_size] for step in range(first_batch, count))

    def evaluation_batches(self, batch_size: int) -> Iterator[torch.Tensor]:
        """Yield int64 indices on the device in fixed order, the last batch possibly smaller.

        Raises:
            InputError: a batch size below 1.
        """
        count = self.steps_per_epoch(batch_size, drop_last=False)
        order_N = torch.arange(len(self), device=self.device)
        return (order_N[step * batch_size : (step + 1) * batch_size] for step in range(count))

    def subset(self, indices: torch.Tensor | slice) -> DeviceImages:
        """Return the images at `indices`, int64 on any device; a slice shares the memory."""
        at = indices if isinstance(indices, slice) else indices.to(self.device)
        return DeviceImages(Images(self.images[at], self.labels[at]), self.device)

    def take(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the images and the labels at `indices`, (B,) int64 on the device."""
        return self.images[indices], self.labels[indices]
