"""Images that stay in their files: names and labels of a split, and what reading one file gives.

Every image becomes RGB as PIL converts it; an orientation in EXIF is not applied, as torchvision's ImageFolder does not.
S is the side of what is read, in pixels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from common.data.reading import MARGIN, Framing, Reading
from common.errors import InputError

if TYPE_CHECKING:
    from common.data.decoded_cache import SplitCache

_JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True)
class FileImages:
    """Images of one split, in their files.

    Attributes:
        folder: what the names are relative to.
        names: (N,) bytes of one length, as `os.fsencode` gives them. An array, because a million Python strings would be copied
            into every reading process, by their reference counts alone.
        labels: int64 (N,), in 0 .. K-1, in the order of the data set's `classes`.
        size: S.
        reading: how training reads them.
        framing: how they are cut and resized; the crop is chosen, not auto.
        cache: where the decoded images of the split lie, or will; None: images are decoded whenever they are evaluated.
        rows: int64 (N,), which of the split's images these are; the cache has them all.
    """

    folder: Path
    names: np.ndarray
    labels: torch.Tensor
    size: int
    reading: Reading
    framing: Framing = MARGIN
    cache: SplitCache | None = None
    rows: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if len(self.names) != len(self.labels):
            raise InputError(f"{len(self.names)} files and {len(self.labels)} labels, expected as many")

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: torch.Tensor | slice) -> FileImages:
        """Return the images at `indices`, int64 (M,), in that order."""
        at = indices if isinstance(indices, slice) else indices.cpu()
        rows = None if self.rows is None else self.rows[at]
        return replace(self, names=self.names[at if isinstance(at, slice) else at.numpy()], labels=self.labels[at], rows=rows)

    def path(self, index: int) -> Path:
        """Return the file of one image."""
        return self.folder / self.name(index)

    def name(self, index: int) -> str:
        """Return the name of one image, relative to the folder."""
        return os.fsdecode(bytes(self.names[index]))


def read_bytes(file: Path) -> torch.Tensor:
    """Return a file's content, uint8 (B,).

    Raises:
        InputError: it cannot be read, or is empty.
    """
    try:
        content = np.fromfile(file, dtype=np.uint8)
    except OSError as error:
        raise unreadable(file, error.strerror or type(error).__name__) from error
    if not len(content):
        raise unreadable(file, "the file is empty")
    return torch.from_numpy(content)


def is_jpeg(content: torch.Tensor) -> bool:
    """Say whether a file's content begins as a JPEG does, whatever its name ends in."""
    return bytes(content[: len(_JPEG)].numpy()) == _JPEG


def decode(content: torch.Tensor, file: Path) -> torch.Tensor:
    """Decode an image to RGB, uint8 (3, H, W).

    Args:
        content: the file's bytes, uint8 (B,).
        file: its name, for the message.

    Raises:
        InputError: it is no image, is damaged or cut off.
    """
    if not is_jpeg(content):
        return _decode_with_pil(content, file)
    from torchvision.io import ImageReadMode, decode_jpeg

    try:
        return decode_jpeg(content, mode=ImageReadMode.RGB)
    except RuntimeError as error:
        raise unreadable(file, str(error).splitlines()[0].rpartition(", ")[2]) from error


def _decode_with_pil(content: torch.Tensor, file: Path) -> torch.Tensor:
    import io

    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content.numpy().tobytes())) as opened:
            if opened.mode[:1] in "IF":  # PIL would clip all above 255 to white
                raise unreadable(file, f"it has more than 8 bits a channel (mode {opened.mode}); bring it in 8 bits")
            pixels_HW3 = np.array(opened.convert("RGB"))
    except UnidentifiedImageError as error:  # its own text names a place in memory
        raise unreadable(file, "it is no image of a known kind") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise unreadable(file, next(iter(str(error).splitlines()), type(error).__name__)) from error
    return torch.from_numpy(pixels_HW3).permute(2, 0, 1)


def unreadable(file: Path, why: str) -> InputError:
    """Return the one-line error of an image that cannot be read."""
    return InputError(f"cannot read the image {file}: {why}")
