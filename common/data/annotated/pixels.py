"""Where pixels come from when they are asked for: arrays in memory, or files. Both can be sent to another process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.data.annotated.sets import AnnotatedImages
from common.errors import InputError

_THREADS = 8


@dataclass(frozen=True)
class PixelsInMemory:
    """Images, or label maps, in memory.

    Attributes:
        images: index -> uint8 (H, W, 3), or (H, W) of label maps; each of its own size, or an array of all of them.
    """

    images: Sequence[np.ndarray] | np.ndarray

    def __call__(self, index: int) -> np.ndarray:
        """Return one image, which must not be written to."""
        return self.images[index]


@dataclass(frozen=True)
class PixelsInFiles:
    """Images in their files.

    Attributes:
        folder: what the names are relative to.
        names: of all images, in order.
        sizes: int64 (N, 2), height and width that the annotations say; None: nothing is said.
    """

    folder: Path
    names: tuple[str, ...]
    sizes: np.ndarray | None = None

    def __call__(self, index: int) -> np.ndarray:
        """Return one image, uint8 (H, W, 3).

        Raises:
            InputError: it cannot be read, or has another size than its annotation says.
        """
        from common.data.file_images import decode, read_bytes

        path = self.folder / self.names[index]
        pixels_HW3 = decode(read_bytes(path), path).permute(1, 2, 0).contiguous().numpy()
        if self.sizes is not None and pixels_HW3.shape[:2] != tuple(self.sizes[index]):
            height, width = pixels_HW3.shape[:2]
            said_height, said_width = self.sizes[index].tolist()
            raise InputError(
                f"{path} is {width} x {height} px, and its annotation says {said_width} x {said_height}; "
                f"mend the annotation, or bring the image that it is of"
            )
        return pixels_HW3


def file_sizes(folder: Path, names: Sequence[str]) -> list[int]:
    """Return the bytes of image files.

    Raises:
        InputError: one is not there; the first is named.
    """

    def size_of(name: str) -> int | None:
        try:
            return os.stat(folder / name).st_size
        except OSError:
            return None

    with ThreadPoolExecutor(_THREADS) as pool:  # a file's size is a round trip on a network's file system
        sizes = list(pool.map(size_of, names))
    missing = [name for name, size in zip(names, sizes, strict=True) if size is None]
    if missing:
        raise InputError(
            f"{folder / missing[0]}: there is no such image, which an annotation names ({len(missing):,} of {len(names):,} are "
            f"missing); bring it, or take it out of the annotations"
        )
    return [size or 0 for size in sizes]


def in_memory(read: Callable[[int], np.ndarray], count: int) -> PixelsInMemory:
    """Decode every image once, in threads.

    Raises:
        InputError: one cannot be read.
    """
    from common.training.device import threads

    with threads(1), ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        return PixelsInMemory(list(pool.map(read, range(count))))


def without_unreadable(images: AnnotatedImages) -> tuple[AnnotatedImages, list[str]]:
    """Leave out images that cannot be read; every image is decoded to know that.

    Returns:
        The others, and the names of those left out.
    """

    def is_readable(index: int) -> bool:
        try:
            images.read(index)
        except InputError:
            return False
        return True

    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        kept = [index for index, readable in enumerate(pool.map(is_readable, range(len(images)))) if readable]
    if len(kept) == len(images):
        return images, []
    left_out = sorted(set(range(len(images))) - set(kept))
    return some_images(images, kept), [images.names[index] for index in left_out]


@dataclass(frozen=True)
class _Some:
    """What reads some of the images."""

    read: Callable[[int], np.ndarray]
    indices: tuple[int, ...]

    def __call__(self, index: int) -> np.ndarray:
        return self.read(self.indices[index])


def some_images(images: AnnotatedImages, indices: Sequence[int]) -> AnnotatedImages:
    """Return the images at `indices`, in that order."""
    chosen = tuple(indices)
    return replace(
        images,
        names=tuple(images.names[index] for index in chosen),
        ids=images.ids[list(chosen)],
        sizes=images.sizes[list(chosen)],
        read=_Some(images.read, chosen),
        objects=None if images.objects is None else tuple(images.objects[index] for index in chosen),
        read_labels=None if images.read_labels is None else _Some(images.read_labels, chosen),
    )
