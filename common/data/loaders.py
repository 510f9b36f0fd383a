"""A split as a network sees it: labels on the device, the order of an epoch, batches of pixels and of views.

`DeviceImages` are small images that live on the device; images in files have a loader of their own (`common.data.file_loader`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from common.data.augment import apply, draw
from common.data.augment_config import AugmentConfig
from common.data.augment_draw import Parameters
from common.data.datasets import Images
from common.data.framing import framed, resize
from common.data.inputs import InputSpec
from common.data.transfer import to_device
from common.errors import InputError
from common.randomness import generator

if TYPE_CHECKING:
    from common.data.file_images import FileImages

Views = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class ViewDraws:
    """How views are made, and what they are drawn from.

    Attributes:
        augment: how a view is made.
        input: what the network expects of its pixels.
        views: how many of every image, >= 1.
        seed: such as the run's.
        stream: name of the stream of draws.
        indices: what tells these draws from others of the stream, such as (round, epoch).
    """

    augment: AugmentConfig
    input: InputSpec
    views: int
    seed: int
    stream: str
    indices: tuple[int, ...] = ()

    def generator(self, number: int) -> torch.Generator:
        """Return the generator of one batch, or of one image."""
        return generator(self.seed, self.stream, *self.indices, number)


def whole_batches(images: int, batch_size: int) -> int:
    """Return the number of whole batches in an epoch.

    Raises:
        InputError: there is none.
    """
    if images < batch_size:
        raise InputError(
            f"train.batch_size {batch_size} is more than the {images} training images; set --train.batch_size to fewer"
        )
    return images // batch_size


class Loader(ABC):
    """One split, read for a device.

    Attributes:
        labels: int64 (N,), on the device.
        device: where batches come to lie.
        size: side of the images that it gives, S, pixels.
    """

    labels: torch.Tensor
    device: torch.device
    size: int

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def evaluation_batches(self, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield (uint8 (B, C, S, S), int64 (B,)) on the device, in fixed order, the last batch possibly smaller.

        Raises:
            InputError: a batch size below 1, or an image that cannot be read.
        """

    @abstractmethod
    def view_batches(
        self, batches: Iterable[torch.Tensor], draws: ViewDraws, *, first: int = 0, part: slice = slice(None), keep: bool = False
    ) -> Iterator[tuple[Views, torch.Tensor]]:
        """Yield ((view, ...), labels) of batches: network input (n, C, S, S), float32, and int64 (n,), on the device.

        Args:
            batches: int64 indices into the split, (B,) each, such as those of `batches`.
            draws: what the views are drawn from.
            first: number of the first batch, when an epoch is resumed.
            part: which rows of every batch to make; the draws are the same whatever part is made.
            keep: keep the processes that read files, because another pass follows.

        Raises:
            InputError: as `draw` and `apply`, or an image that cannot be read.
        """

    @abstractmethod
    def subset(self, indices: torch.Tensor | slice) -> Loader:
        """Return the images at `indices`, int64 on any device; a slice shares the memory."""

    def steps_per_epoch(self, batch_size: int, *, drop_last: bool) -> int:
        """Return the number of batches in an epoch.

        Raises:
            InputError: no whole batch fits and partial ones are dropped.
        """
        if batch_size < 1:
            raise InputError(f"train.batch_size: got {batch_size}, expected an integer >= 1")
        return whole_batches(len(self), batch_size) if drop_last else -(-len(self) // batch_size)

    def order(self, seed: int, stream: str, round: int, epoch: int) -> torch.Tensor:
        """Return an epoch's permutation, int64 (N,), on the CPU: another for every round and epoch, the same for every device."""
        return torch.randperm(len(self), generator=generator(seed, stream, round, epoch))

    def batches(
        self, seed: int, stream: str, round: int, epoch: int, *, batch_size: int, drop_last: bool, first_batch: int = 0
    ) -> Iterator[torch.Tensor]:
        """Yield an epoch's batches as int64 indices, in the order of `order`.

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
        order_N = self._placed(self.order(seed, stream, round, epoch))
        return (order_N[step * batch_size : (step + 1) * batch_size] for step in range(first_batch, count))

    def fixed_batches(self, batch_size: int) -> Iterator[torch.Tensor]:
        """Yield int64 indices in fixed order, the last batch possibly smaller.

        Raises:
            InputError: a batch size below 1.
        """
        count = self.steps_per_epoch(batch_size, drop_last=False)
        order_N = self._placed(torch.arange(len(self)))
        return (order_N[step * batch_size : (step + 1) * batch_size] for step in range(count))

    def _placed(self, order_N: torch.Tensor) -> torch.Tensor:
        """Put an order where its batches are used."""
        return order_N


class DeviceImages(Loader):
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
        self.size, self.framing = images.size, images.framing

    def evaluation_batches(self, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the images as they are, or framed where a network sees them at another size."""
        for indices in self.fixed_batches(batch_size):
            pixels, labels = self.take(indices)
            yield pixels if pixels.shape[-1] == self.size else framed(pixels, self.size, self.framing), labels

    def view_batches(
        self, batches: Iterable[torch.Tensor], draws: ViewDraws, *, first: int = 0, part: slice = slice(None), keep: bool = False
    ) -> Iterator[tuple[Views, torch.Tensor]]:
        """Crop and augment on the device; the draws are per batch."""
        del keep
        height, width = self.images.shape[-2:]
        for number, indices in enumerate(batches, start=first):
            total, own = len(indices), range(len(indices))[part]
            drawn = draw(draws.augment, draws.views * total, height, width, self.size, draws.generator(number))
            pixels, labels = self.take(indices[part])
            starts = range(0, draws.views * total, total)
            parts = (drawn.part(start + own.start, start + own.stop) for start in starts)
            yield tuple(draws.input.normalise_(self._view(pixels, part)) for part in parts), labels

    def _view(self, pixels_NCHW: torch.Tensor, drawn: Parameters) -> torch.Tensor:
        """Make one view of every image; crops are resized bilinearly with them all in one product, else one by one."""
        if self.framing.interpolation == "bilinear":
            return apply(pixels_NCHW, drawn)
        size, how = self.size, self.framing.interpolation
        boxes = zip(pixels_NCHW, drawn.box.tolist(), strict=True)
        crops = [resize(image[:, y : y + h, x : x + w], size, size, how) for image, (y, x, h, w) in boxes]
        return apply(torch.stack(crops), drawn, cropped=True)

    def subset(self, indices: torch.Tensor | slice) -> DeviceImages:
        """Return the images at `indices`, int64 on any device; a slice shares the memory."""
        at = indices if isinstance(indices, slice) else indices.to(self.device)
        return DeviceImages(Images(self.images[at], self.labels[at], self.size, self.framing), self.device)

    def take(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the images and the labels at `indices`, (B,) int64 on the device."""
        return self.images[indices], self.labels[indices]

    def _placed(self, order_N: torch.Tensor) -> torch.Tensor:
        return to_device(order_N, self.device)


def loader_of(images: Images | FileImages | Loader, device: torch.device | str) -> Loader:
    """Return what reads a split for a device; a loader is returned as it is."""
    if isinstance(images, Loader):
        return images
    if isinstance(images, Images):
        return DeviceImages(images, device)
    from common.data.file_loader import FileLoader

    return FileLoader(images, device)
