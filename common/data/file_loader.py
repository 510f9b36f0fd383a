"""Images in files, read for a device: decoded and cropped by processes; on a GPU, the rest of a view is made there in batch.

V views of n images; S is their side in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from common.data.augment import apply
from common.data.augment_draw import parameters
from common.data.file_images import FileImages
from common.data.file_readers import Cut, FileReaders
from common.data.loaders import Loader, ViewDraws, Views
from common.data.transfer import to_device
from common.errors import InputError


class FileLoader(Loader):
    """One split whose images stay in their files.

    Args:
        images: the files.
        device: where batches come to lie.

    Raises:
        InputError: JPEGs are to be decoded on a GPU, and the device is none.
    """

    def __init__(self, images: FileImages, device: torch.device | str) -> None:
        self.files, self.device, self.size = images, torch.device(device), images.size
        self.labels = images.labels.to(self.device)
        self._readers: tuple[int, FileReaders] | None = None
        if images.reading.decode == "cuda" and self.device.type != "cuda":
            raise InputError(f"data.decode cuda needs a GPU, and this run computes on {self.device}; set data.decode cpu")

    def subset(self, indices: torch.Tensor | slice) -> FileLoader:
        """Return the images at `indices`, int64 on any device."""
        return FileLoader(self.files.subset(indices), self.device)

    def evaluation_batches(self, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the images as they are framed, decoded on the CPU whatever trains; from the cache where there is one."""
        batches = list(self.fixed_batches(batch_size))
        if self.files.cache is not None and self.files.rows is not None:
            pixels_N3SS = self.files.cache.pixels()
            for indices in batches:
                kept_n3SS = pixels_N3SS[self.files.rows[indices]]
                yield to_device(kept_n3SS, self.device), to_device(self.files.labels[indices], self.device)
            return
        pieces = FileReaders(self.files, views=1, finish=False, keep=False).centres([batch.tolist() for batch in batches])
        for indices in batches:
            pixels_1N3SS, _ = self._gather(pieces, len(indices), 1)
            yield pixels_1N3SS[0], to_device(self.files.labels[indices], self.device)

    def view_batches(
        self, batches: Iterable[torch.Tensor], draws: ViewDraws, *, first: int = 0, part: slice = slice(None), keep: bool = False
    ) -> Iterator[tuple[Views, torch.Tensor]]:
        """Yield views cropped from whole images; the draws are per image, so `first` does not enter them.

        Raises:
            InputError: as `Loader.view_batches`, or the views are cut without resizing (`augment.pad`), which needs images of one
                size.
        """
        if draws.augment.pad is not None:
            raise InputError(
                f"augment.pad: got {draws.augment.pad}, expected null for images in files, which have sizes of their own; "
                f"or set data.storage memory"
            )
        own = [indices[part] for indices in batches]
        pieces = self._cuts(self._reading(draws.views, keep=keep), [indices.tolist() for indices in own], draws)
        for indices in own:
            pixels_VN3SS, cuts = self._gather(pieces, len(indices), draws.views)
            if pixels_VN3SS.dtype == torch.uint8:
                views = self._finished(pixels_VN3SS, cuts, draws)
            else:
                views = tuple(pixels_VN3SS)
            yield views, to_device(self.files.labels[indices], self.device)

    def _cuts(self, readers: FileReaders, batches: list[list[int]], draws: ViewDraws) -> Iterator[Cut]:
        """Yield crops of the views, pixels in memory, or on the device where that is what decodes."""
        if self.files.reading.decode != "cuda":
            return readers.views(batches, draws)
        from common.data.device_decode import cut_on

        pieces = readers.encoded(batches, draws)
        return (cut_on(self.device, one, draws, self.files) for one in pieces)

    def _finished(self, crops_VN3SS: torch.Tensor, cuts: list[Cut], draws: ViewDraws) -> Views:
        """Make the views of their crops, on the device."""
        uniform_VNU, boxes_VN4 = (
            torch.cat(parts, dim=1) for parts in zip(*((cut.uniform, cut.boxes) for cut in cuts), strict=True)
        )
        made = (parameters(draws.augment, *drawn, self.size) for drawn in zip(uniform_VNU, boxes_VN4, strict=True))
        return tuple(
            draws.input.normalise_(apply(crops, one, cropped=True)) for crops, one in zip(crops_VN3SS, made, strict=True)
        )

    def _gather(self, pieces: Iterator[Cut], count: int, views: int) -> tuple[torch.Tensor, list[Cut]]:
        """Put the pieces of one batch together on the device, (V, n, 3, S, S)."""
        shape, done = (views, count, 3, self.size, self.size), 0
        pixels = torch.empty(0)
        cuts: list[Cut] = []
        while done < count:
            cut = next(pieces)
            if not cuts:
                pinned = self.device.type == "cuda" and cut.pixels.device.type == "cpu"
                pixels = torch.empty(shape, dtype=cut.pixels.dtype, device=cut.pixels.device, pin_memory=pinned)
            size = cut.pixels.shape[1]
            pixels[:, done : done + size] = cut.pixels
            cuts.append(cut)
            done += size
        return to_device(pixels, self.device), cuts

    def _reading(self, views: int, *, keep: bool) -> FileReaders:
        """Return processes that read; those of training are kept as long as this loader, for one number of views."""
        finish = self.device.type == "cpu"
        if not keep:
            return FileReaders(self.files, views=views, finish=finish, keep=False)
        if self._readers is None or self._readers[0] != views:
            self._readers = (views, FileReaders(self.files, views=views, finish=finish, keep=True))
        return self._readers[1]
