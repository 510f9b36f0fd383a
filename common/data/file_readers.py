"""Processes that read image files: each decodes an image once and cuts from it all views of it, or what is evaluated.

Where the run computes on the CPU they also flip, colour, blur and normalise, or the training process, one thread of Python, would
be what everything waits for; a GPU does that itself. They are torch DataLoader workers. Pixels come back in shared memory that is
allocated once and used again and again, in pieces of a few images, so that little of it is needed and every process works on the
batch that is wanted next.

V views of n images; S is their side in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from common.data.augment import apply
from common.data.augment_draw import draw_boxes, draw_uniform, parameters
from common.data.file_images import FileImages, decode, read_bytes
from common.data.framing import framed, resize
from common.data.loaders import ViewDraws
from common.errors import InputError, RunError
from common.training.device import threads

PIECE = 16
"""Images of one request to a process."""

# Pieces under way to and from each process; views as floats are four times as large.
_AHEAD = {torch.uint8: 4, torch.float32: 2}
_DECODED_AT_ONCE = 8

_T = TypeVar("_T")


@dataclass(frozen=True)
class Cut:
    """What was cut from n images.

    Attributes:
        pixels: (V, n, 3, S, S), uint8 crops, or whole views, float32; good until the next piece is asked for.
        uniform: float64 (V, n, U), the numbers that the views are drawn from (`draw_uniform`); U is 0 for centres.
        boxes: int64 (V, n, 4), top, left, height and width of the crops in pixels of their images; empty for centres.
    """

    pixels: torch.Tensor
    uniform: torch.Tensor
    boxes: torch.Tensor


@dataclass(frozen=True)
class Encoded:
    """Files of n images as they are.

    Attributes:
        contents: uint8 (B,) each.
        uniform: float64 (V, n, U), the numbers that the views are drawn from.
        indices: which images, (n,).
    """

    contents: list[torch.Tensor]
    uniform: torch.Tensor
    indices: tuple[int, ...]


@dataclass(frozen=True)
class _Request:
    """Images to read into a slot: V views of each by `draws`, or the centre where there are none; or their bytes."""

    slot: int
    indices: tuple[int, ...]
    draws: ViewDraws | None
    encoded: bool = False


@dataclass(frozen=True)
class _Reply:
    """Numbers and bytes travel as arrays, by value; an error as text, since torch would wrap it into its traceback."""

    request: _Request
    uniform: np.ndarray = field(default_factory=lambda: np.empty(0))
    boxes: np.ndarray = field(default_factory=lambda: np.empty(0))
    contents: list[np.ndarray] = field(default_factory=list)
    error: str | None = None


class _Files(Dataset[_Reply]):
    """What a process runs: read the images of a request, cut, and write into the request's slot."""

    def __init__(self, files: FileImages, slots: torch.Tensor) -> None:
        self._files, self._slots = files, slots
        self._finish = slots.dtype == torch.float32
        self._crops = torch.empty(slots.shape[1:] if self._finish else 0, dtype=torch.uint8)

    def __getitem__(self, request: _Request) -> _Reply:
        # One thread, as in a process of its own: sums are then divided alike, and whoever reads makes the same views.
        with threads(1):
            try:
                return self._read(request, self._slots[request.slot])
            except InputError as error:
                return _Reply(request, error=str(error))

    def _read(self, request: _Request, out_VN3SS: torch.Tensor) -> _Reply:
        if request.draws is None:
            return self._centres(request, out_VN3SS[0])
        uniform_NVU = torch.stack([draw_uniform(request.draws.views, request.draws.generator(i)) for i in request.indices])
        if request.encoded:
            contents = [read_bytes(self._files.path(index)).numpy() for index in request.indices]
            return _Reply(request, uniform_NVU.transpose(0, 1).numpy(), contents=contents)
        return self._views(request, request.draws, uniform_NVU, out_VN3SS)

    def _centres(self, request: _Request, out_N3SS: torch.Tensor) -> _Reply:
        for place, index in enumerate(request.indices):
            out_N3SS[place] = framed(self._decoded(index), self._files.size, self._files.framing)
        return _Reply(request)

    def _views(self, request: _Request, draws: ViewDraws, uniform_NVU: torch.Tensor, out_VN3SS: torch.Tensor) -> _Reply:
        count, size = len(request.indices), self._files.size
        boxes_NV4 = torch.empty(count, draws.views, 4, dtype=torch.int64)
        crops_VN3SS = self._crops[:, :count] if self._finish else out_VN3SS
        for start in range(0, count, _DECODED_AT_ONCE):
            part = slice(start, start + _DECODED_AT_ONCE)
            images = [self._decoded(index) for index in request.indices[part]]
            boxes_NV4[part] = crops(draws, uniform_NVU[part], images, size)
            for place, (image, boxes_V4) in enumerate(zip(images, boxes_NV4[part].tolist(), strict=True), start=start):
                for view, (top, left, height, width) in enumerate(boxes_V4):
                    box = image[:, top : top + height, left : left + width]
                    crops_VN3SS[view, place] = resize(box, size, size, self._files.framing.interpolation)
        if self._finish:
            for view, crops_N3SS in enumerate(crops_VN3SS):
                made = parameters(draws.augment, uniform_NVU[:, view], boxes_NV4[:, view], size)
                draws.input.normalise_(apply(crops_N3SS, made, cropped=True, out=out_VN3SS[view, :count]))
        return _Reply(request, uniform_NVU.transpose(0, 1).numpy(), boxes_NV4.transpose(0, 1).numpy())

    def _decoded(self, index: int) -> torch.Tensor:
        path = self._files.path(index)
        return decode(read_bytes(path), path)


def crops(draws: ViewDraws, uniform_NVU: torch.Tensor, images: Sequence[torch.Tensor], size: int) -> torch.Tensor:
    """Return the boxes of V views of n images (3, H, W) of any size each, int64 (n, V, 4)."""
    sides_N2 = torch.tensor([image.shape[1:] for image in images]).repeat_interleave(draws.views, dim=0)
    boxes = draw_boxes(draws.augment, uniform_NVU.flatten(0, 1), sides_N2[:, 0], sides_N2[:, 1], size)
    return boxes.view(len(images), draws.views, 4)


class FileReaders:
    """Reading processes for one split.

    Args:
        files: what is read.
        views: V; 1 for centres.
        finish: make whole views, float32, of the crops; not for centres.
        keep: keep the processes from one pass to the next.

    Raises:
        RunError: there is too little shared memory.
    """

    def __init__(self, files: FileImages, *, views: int, finish: bool, keep: bool) -> None:
        workers = files.reading.processes()
        dtype = torch.float32 if finish else torch.uint8
        # A piece is still looked at when the request that follows the last one under way is sent out.
        count = workers * _AHEAD[dtype] + 1
        self._slots = _slots((count, views, PIECE, 3, files.size, files.size), dtype, shared=workers > 0)
        self._requests: list[_Request] = []
        self._passes = 0
        self._loader: DataLoader[Any] = DataLoader(
            _Files(replace(files, cache=None, rows=None), self._slots),
            sampler=self._requests,  # type: ignore[arg-type]
            batch_size=None,
            collate_fn=_unchanged,  # type: ignore[arg-type]
            num_workers=workers,
            prefetch_factor=_AHEAD[dtype] if workers else None,
            persistent_workers=keep and workers > 0,
            generator=torch.Generator(),  # else every pass would draw from torch's global one
        )

    def views(self, batches: Sequence[Sequence[int]], draws: ViewDraws) -> Iterator[Cut]:
        """Yield the views of each image, in pieces of at most `PIECE` images, which never span two batches.

        An image's crops depend on `draws` and its index alone.

        Raises:
            InputError: an image cannot be read.
            RunError: a process was lost.
        """
        return (self._cut(reply) for reply in self._pass(batches, draws))

    def encoded(self, batches: Sequence[Sequence[int]], draws: ViewDraws) -> Iterator[Encoded]:
        """Yield the files as they are, with the numbers that their views are drawn from, in pieces as `views`."""
        for reply in self._pass(batches, draws, encoded=True):
            yield Encoded(list(map(torch.from_numpy, reply.contents)), torch.from_numpy(reply.uniform), reply.request.indices)

    def centres(self, batches: Sequence[Sequence[int]]) -> Iterator[Cut]:
        """Yield what is evaluated of each image (`framed`), in pieces as `views`; errors as there."""
        return (self._cut(reply) for reply in self._pass(batches, None))

    def _cut(self, reply: _Reply) -> Cut:
        pixels = self._slots[reply.request.slot, :, : len(reply.request.indices)]
        return Cut(pixels, torch.from_numpy(reply.uniform), torch.from_numpy(reply.boxes))

    def _pass(self, batches: Sequence[Sequence[int]], draws: ViewDraws | None, *, encoded: bool = False) -> Iterator[_Reply]:
        pieces = (batch[start : start + PIECE] for batch in batches for start in range(0, len(batch), PIECE))
        self._requests[:] = [
            _Request(number % len(self._slots), tuple(piece), draws, encoded) for number, piece in enumerate(pieces)
        ]
        self._passes += 1
        mine, replies = self._passes, iter(self._loader)
        while (reply := next_reply(replies)) is not None:
            if reply.error is not None:
                raise InputError(reply.error)
            yield reply
            if mine != self._passes:
                raise RuntimeError("the rest of a pass over image files was asked for after another pass had begun")


def _slots(shape: tuple[int, ...], dtype: torch.dtype, *, shared: bool) -> torch.Tensor:
    slots = torch.empty(shape, dtype=dtype)
    try:
        return slots.share_memory_() if shared else slots
    except RuntimeError as error:
        raise RunError(
            f"there are no {slots.nbytes / 1e6:.0f} MB of shared memory for the processes that read images; "
            f"set data.workers to fewer, or give the machine more (a container: --shm-size)"
        ) from error


def next_reply(replies: Iterator[_T]) -> _T | None:
    """Return what the processes of a DataLoader send next; None behind the last.

    Raises:
        RunError: a process was lost.
    """
    try:
        return next(replies, None)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        why = " ".join(str(error).split())
        raise RunError(
            f"a process that reads images was lost ({why[:200]}); where memory ran out, set data.workers to fewer; "
            f"run the same command again to continue"
        ) from error


def _unchanged(reply: _Reply) -> _Reply:
    return reply
