"""Processes that read annotated images and vary them: torch DataLoader workers, which are sent pieces of batches.

A piece never spans two batches. What comes back lies in shared memory as tensors; n images of a piece, T objects of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from common.data.annotated.making import SampleDraws, Samples
from common.data.annotated.samples import Sample
from common.data.file_readers import next_reply
from common.errors import InputError
from common.training.device import threads

PIECE = 8
"""Images of one request to a process."""
_AHEAD = 3


@dataclass(frozen=True)
class Request:
    """Images to make.

    Attributes:
        indices: which.
        size: height and width in pixels.
        draws: how they are varied; None: they are evaluated.
        last: whether a batch ends here.
    """

    indices: tuple[int, ...]
    size: tuple[int, int]
    draws: SampleDraws | None
    last: bool


@dataclass(frozen=True)
class Piece:
    """Samples that were made.

    Attributes:
        indices: which images.
        pixels: uint8 (n, 3, H, W).
        boxes: float32 (T, 4).
        labels: int64 (T,).
        weights: float32 (T,).
        counts: int64 (n,): objects of each image.
        places: float32 (n, 3).
        dropped: objects that were lost by augmentation.
        maps: uint8 (n, H, W), or None.
        masks: uint8 (T, H, W), or None.
        keypoints: float32 (T, P, 3), or None.
    """

    indices: tuple[int, ...]
    pixels: torch.Tensor
    boxes: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    counts: torch.Tensor
    places: torch.Tensor
    dropped: int
    maps: torch.Tensor | None
    masks: torch.Tensor | None
    keypoints: torch.Tensor | None


@dataclass(frozen=True)
class _Reply:
    """What was made of a request, or why nothing was: as text, since torch would wrap an error into its traceback."""

    request: Request
    piece: Piece | None
    error: str = ""


class _Pieces(Dataset[_Reply]):
    """What a process runs."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __getitem__(self, request: Request) -> _Reply:
        # One thread, as in a process of its own: whoever reads makes the same images.
        with threads(1):
            try:
                return _Reply(request, self._piece(request))
            except InputError as error:
                return _Reply(request, None, str(error))

    def _piece(self, request: Request) -> Piece:
        size, draws = request.size, request.draws
        made = [
            self._samples.evaluated(index, size) if draws is None else self._samples.varied(index, size, draws)
            for index in request.indices
        ]
        pixels = torch.empty(len(made), 3, *size, dtype=torch.uint8)
        for place, sample in enumerate(made):
            pixels[place] = torch.from_numpy(np.ascontiguousarray(sample.pixels)).permute(2, 0, 1)
        kinds = self._samples.kinds
        return Piece(
            indices=request.indices,
            pixels=pixels,
            boxes=_joined(made, "boxes"),
            labels=_joined(made, "labels"),
            weights=_joined(made, "weights"),
            counts=torch.tensor([len(sample.labels) for sample in made]),
            places=torch.tensor([sample.place for sample in made], dtype=torch.float32),
            dropped=sum(sample.dropped for sample in made),
            maps=torch.stack([torch.from_numpy(np.ascontiguousarray(s.labels_map)) for s in made]) if kinds.maps else None,
            masks=_joined(made, "masks") if kinds.masks else None,
            keypoints=_joined(made, "keypoints") if kinds.keypoints else None,
        )


def _joined(made: Sequence[Sample], name: str) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([getattr(sample, name) for sample in made]))


class AnnotatedReaders:
    """Reading processes for one split.

    Args:
        samples: what makes samples.
        workers: processes; 0: none beside this one.
        keep: keep the processes from one pass to the next.
    """

    def __init__(self, samples: Samples, workers: int, *, keep: bool) -> None:
        self._requests: list[Request] = []
        self._passes = 0
        self._loader: DataLoader[Any] = DataLoader(
            _Pieces(samples),
            sampler=self._requests,  # type: ignore[arg-type]
            batch_size=None,
            collate_fn=_unchanged,  # type: ignore[arg-type]
            num_workers=workers,
            prefetch_factor=_AHEAD if workers else None,
            persistent_workers=keep and workers > 0,
            worker_init_fn=_one_thread_of_opencv,
            generator=torch.Generator(),  # else every pass would draw from torch's global one
        )

    def batches(
        self, batches: Sequence[tuple[Sequence[int], tuple[int, int]]], draws: SampleDraws | None
    ) -> Iterator[list[Piece]]:
        """Yield the pieces of each batch.

        Args:
            batches: indices of each, at least one, and the size that its images are made at.
            draws: how they are varied; None: they are evaluated.

        Raises:
            InputError: an image cannot be read.
            RunError: a process was lost.
            RuntimeError: another pass has begun since.
        """
        self._requests[:] = [
            Request(tuple(indices[start : start + PIECE]), size, draws, start + PIECE >= len(indices))
            for indices, size in batches
            for start in range(0, len(indices), PIECE)
        ]
        self._passes += 1
        mine, pieces = self._passes, iter(self._loader)
        gathered: list[Piece] = []
        while (reply := next_reply(pieces)) is not None:
            if reply.piece is None:
                raise InputError(reply.error)
            gathered.append(reply.piece)
            if not reply.request.last:
                continue
            yield gathered
            gathered = []
            if mine != self._passes:
                raise RuntimeError("the rest of a pass over annotated images was asked for after another pass had begun")


def _one_thread_of_opencv(worker: int) -> None:
    """Keep OpenCV, which albumentations computes with, from starting as many threads in every process as there are cores."""
    import cv2

    cv2.setNumThreads(0)


def _unchanged(reply: _Reply) -> _Reply:
    return reply
