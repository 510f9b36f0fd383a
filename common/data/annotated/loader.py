"""Annotated images of one split as batches for a device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch

from common.data.annotated.batch import AnnotatedBatch, Targets
from common.data.annotated.config import JointAugmentConfig
from common.data.annotated.making import SampleDraws, Samples
from common.data.annotated.pixels import PixelsInMemory, in_memory
from common.data.annotated.readers import AnnotatedReaders, Piece
from common.data.annotated.samples import Kinds
from common.data.annotated.sets import AnnotatedImages
from common.data.inputs import InputSpec
from common.data.reading import Reading
from common.data.transfer import to_device
from common.errors import InputError
from common.randomness import generator


class AnnotatedLoader:
    """One split, read for a device.

    Args:
        images: the split.
        input: what the network expects of its pixels.
        size: height and width in pixels that it sees.
        device: where batches come to lie.
        workers: processes that read and vary images; 0: none beside this one; None: none for images in memory, else the cores
            divided by the training processes of this machine, at most 16.
        augment: how training images are varied; None: not at all.
        with_maps: whether batches carry label maps.
        with_masks: whether targets carry the objects' masks.
        with_keypoints: whether targets carry the objects' keypoints.
        keypoint_swaps: pairs of keypoints that a mirrored image exchanges.
        memory: decode every image once, and every label map that is asked for, here, and keep it.

    Attributes:
        dropped: objects of the training batches so far that were lost, because augmentation left too little of them in sight.
        kept: those that were not.

    Raises:
        InputError: something is asked for that these images do not have, or that cannot be varied so; or an image that is to be
            kept in memory cannot be read.
    """

    def __init__(
        self,
        images: AnnotatedImages,
        input: InputSpec,
        size: tuple[int, int],
        device: torch.device | str,
        *,
        workers: int | None = None,
        augment: JointAugmentConfig | None = None,
        with_maps: bool = False,
        with_masks: bool = False,
        with_keypoints: bool = False,
        keypoint_swaps: tuple[tuple[int, int], ...] = (),
        memory: bool = False,
    ) -> None:
        self._augment, kinds = augment or JointAugmentConfig(), Kinds(with_maps, with_masks, with_keypoints)
        _check(images, kinds, self._augment)
        if memory:
            images = _kept(images, with_maps)
        self.images, self.input, self.size, self.device = images, input, size, torch.device(device)
        self._samples = Samples(images, kinds, keypoint_swaps)
        small = workers is None and isinstance(images.read, PixelsInMemory) and not memory
        self._workers = 0 if small else Reading(workers).processes()
        self.dropped = self.kept = 0
        self._readers: AnnotatedReaders | None = None

    def __len__(self) -> int:
        return len(self.images)

    def order(self, seed: int, stream: str, round: int, epoch: int) -> torch.Tensor:
        """Return an epoch's permutation, int64 (N,), on the CPU: another for every round and epoch."""
        return torch.randperm(len(self), generator=generator(seed, stream, round, epoch))

    def train_batches(
        self,
        indices: Iterable[torch.Tensor],
        *,
        seed: int,
        stream: str,
        round: int,
        epoch: int,
        first: int = 0,
        part: slice = slice(None),
    ) -> Iterator[AnnotatedBatch]:
        """Yield batches as they train, on the device.

        How an image is varied depends on (seed, stream, round, epoch) and its index alone, the size of a batch (multi-scale) on
        its number: a resumed epoch goes on as it would have, and neither the processes that read nor `part` change an image.

        Args:
            indices: of the images of each batch, int64.
            seed: the run's seed.
            stream: name of the stream of draws.
            round: pruning round.
            epoch: within the round.
            first: number of the first of these batches within the epoch.
            part: this rank's share of every batch; it must not be empty.

        Raises:
            InputError: an image cannot be read, or a batch has no image for this rank.
            RunError: a process that reads was lost.
        """
        draws = SampleDraws(self._augment, seed, stream, (round, epoch))
        asked = [(batch[part].tolist(), self._size_of_batch(draws, number)) for number, batch in enumerate(indices, start=first)]
        if not all(own for own, _ in asked):
            raise InputError("train.batch_size: a batch has no image for one of the processes; expected one for each at least")
        if self._readers is None:
            self._readers = AnnotatedReaders(self._samples, self._workers, keep=True)
        return (self._batch(pieces, trains=True) for pieces in self._readers.batches(asked, draws))

    def evaluation_batches(self, batch_size: int, part: slice = slice(None)) -> Iterator[AnnotatedBatch]:
        """Yield images as they are evaluated, in fixed order: letter-boxed, with all their objects.

        Args:
            batch_size: images of a batch, the last one possibly smaller; >= 1.
            part: which of the images.

        Raises:
            InputError: a batch size below 1, or an image that cannot be read.
            RunError: a process that reads was lost.
        """
        if batch_size < 1:
            raise InputError(f"batch size: got {batch_size}, expected an integer >= 1")
        chosen = range(len(self))[part]
        asked = [(chosen[start : start + batch_size], self.size) for start in range(0, len(chosen), batch_size)]
        readers = AnnotatedReaders(self._samples, self._workers, keep=False)
        return (self._batch(pieces, trains=False) for pieces in readers.batches(asked, None))

    def _size_of_batch(self, draws: SampleDraws, number: int) -> tuple[int, int]:
        """Return the size that a batch is made at; of several sides, one is drawn, and the shape stays."""
        sides = self._augment.sizes
        if not sides:
            return self.size
        random = generator(draws.seed, f"{draws.stream}/size", *draws.indices, number)
        side = sides[int(torch.randint(len(sides), (), generator=random))]
        return side, max(1, round(side * self.size[1] / self.size[0]))

    def _batch(self, pieces: Sequence[Piece], *, trains: bool) -> AnnotatedBatch:
        """Put the pieces of one batch together, on the device."""
        indices = torch.tensor([index for piece in pieces for index in piece.indices])
        pixels_B3HW = _joined([piece.pixels for piece in pieces])
        targets = None
        if self.images.objects is not None:
            counts_B = torch.cat([piece.counts for piece in pieces])
            of_T = torch.arange(len(counts_B)).repeat_interleave(counts_B)
            boxes, labels, weights = (
                torch.cat(parts) for parts in zip(*((piece.boxes, piece.labels, piece.weights) for piece in pieces), strict=True)
            )
            masks, keypoints = (_optional([getattr(piece, name) for piece in pieces]) for name in ("masks", "keypoints"))
            parts = (boxes, labels, of_T, weights, masks, keypoints)
            targets = Targets(*(None if part is None else to_device(part, self.device) for part in parts))  # type: ignore[arg-type]
        if trains:
            self.dropped += sum(piece.dropped for piece in pieces)
            self.kept += sum(len(piece.labels) for piece in pieces)
        maps = _optional([piece.maps for piece in pieces])
        return AnnotatedBatch(
            images=self.input.normalise(to_device(pixels_B3HW, self.device)),
            indices=indices,
            targets=targets,
            maps=None if maps is None else to_device(maps, self.device).long(),
            places=None if trains else torch.cat([piece.places for piece in pieces]),
        )


def _check(images: AnnotatedImages, kinds: Kinds, augment: JointAugmentConfig) -> None:
    """Refuse what these images do not have, and what cannot be varied so."""
    objects = images.objects
    there = {
        "label maps": (kinds.maps, images.read_labels is not None),
        "masks": (kinds.masks, objects is not None and all(one.masks is not None for one in objects)),
        "keypoints": (kinds.keypoints, objects is not None and all(one.keypoints is not None for one in objects)),
    }
    for name, (wanted, has) in there.items():
        if wanted and not has:
            raise InputError(
                f"data.name: these images have no {name}, which are needed here; choose a set that has them (--list)"
            )
    if kinds.maps and augment.mixup > 0:
        raise InputError(f"augment.mixup: got {augment.mixup}, expected 0 with label maps: a pixel has one class")


def _kept(images: AnnotatedImages, with_maps: bool) -> AnnotatedImages:
    """Return the images with their pixels, and perhaps label maps, in memory."""
    if not isinstance(images.read, PixelsInMemory):
        images = replace(images, read=in_memory(images.read, len(images)))
    if with_maps and images.read_labels is not None and not isinstance(images.read_labels, PixelsInMemory):
        images = replace(images, read_labels=in_memory(images.read_labels, len(images)))
    return images


def _joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _optional(parts: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    there = [part for part in parts if part is not None]
    return _joined(there) if there else None
