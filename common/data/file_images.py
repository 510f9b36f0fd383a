"""Images that stay in their files: names and labels of a split, and what reading one file gives.

Every image becomes RGB as PIL converts it; an orientation in EXIF is not applied, as torchvision's ImageFolder does not.
S is the side of what is read, in pixels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from common.data.reading import Reading
from common.errors import InputError

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
    """

    folder: Path
    names: np.ndarray
    labels: torch.Tensor
    size: int
    reading: Reading

    def __post_init__(self) -> None:
        if len(self.names) != len(self.labels):
            raise InputError(f"{len(self.names)} files and {len(self.labels)} labels, expected as many")

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: torch.Tensor | slice) -> FileImages:
        """Return the images at `indices`, int64 (M,), in that order."""
        at = indices if isinstance(indices, slice) else indices.cpu()
        return replace(self, names=self.names[at if isinstance(at, slice) else at.numpy()], labels=self.labels[at])

    def path(self, index: int) -> Path:
        """Return the file of one image."""
        return self.folder / os.fsdecode(bytes(self.names[index]))


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

    from PIL import Image

    try:
        with Image.open(io.BytesIO(content.numpy().tobytes())) as opened:
            pixels_HW3 = np.array(opened.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise unreadable(file, next(iter(str(error).splitlines()), type(error).__name__)) from error
    return torch.from_numpy(pixels_HW3).permute(2, 0, 1)


def unreadable(file: Path, why: str) -> InputError:
    """Return the one-line error of an image that cannot be read."""
    return InputError(f"cannot read the image {file}: {why}")


def resize(pixels_3HW: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return uint8 (3, height, width): bilinear with antialiasing, as torchvision resizes uint8 tensors."""
    batch_13HW = pixels_3HW.unsqueeze(0)
    return functional.interpolate(batch_13HW, size=(height, width), mode="bilinear", antialias=True)[0]


def central(pixels_3HW: torch.Tensor, size: int, shorter: int) -> torch.Tensor:
    """Resize the shorter side and cut the centre out, as torchvision's Resize(shorter) and CenterCrop(size).

    Args:
        pixels_3HW: uint8.
        size: S.
        shorter: length of the shorter side after resizing, >= S.

    Returns:
        uint8 (3, S, S).
    """
    height, width = pixels_3HW.shape[1:]
    least = min(height, width)
    resized = resize(pixels_3HW, shorter * height // least, shorter * width // least)
    top, left = (round((side - size) / 2) for side in resized.shape[1:])
    return resized[:, top : top + size, left : left + size]


def evaluation_side(size: int) -> int:
    """Return the shorter side to which an image is resized before its centre is cut out: 256 for 224, and in proportion."""
    return round(size * 256 / 224)
