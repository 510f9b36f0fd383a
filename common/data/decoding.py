"""Decoding a whole split at once, in threads: into memory or a cache, or only to learn which images cannot be read."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import torch

from common.data.file_images import FileImages, decode, read_bytes
from common.data.framing import framed
from common.errors import InputError
from common.training.device import threads


def decode_split(files: FileImages, out_N3SS: torch.Tensor | None, *, skip_unreadable: bool = False) -> list[int]:
    """Decode every image of a split.

    Args:
        files: the split.
        out_N3SS: uint8, receives every image as it is framed; None: nothing is kept.
        skip_unreadable: go on behind an image that cannot be read; its row of `out_N3SS` is black.

    Returns:
        Which images cannot be read, sorted; none unless they are to be skipped.

    Raises:
        InputError: an image cannot be read.
    """

    def read(index: int) -> bool:
        path = files.path(index)
        try:
            pixels_3HW = decode(read_bytes(path), path)
        except InputError:
            if not skip_unreadable:
                raise
            if out_N3SS is not None:
                out_N3SS[index] = 0
            return False
        if out_N3SS is not None:
            out_N3SS[index] = framed(pixels_3HW, files.size, files.framing)
        return True

    # Each thread of the pool would else divide its own small resize among as many threads again.
    with threads(1), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return [index for index, readable in enumerate(pool.map(read, range(len(files)))) if not readable]
