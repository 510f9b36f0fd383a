"""What lies in a folder of images: files by class, their labels, and a fingerprint; no image is opened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from common.errors import InputError

_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_THREADS = 8


@dataclass(frozen=True)
class Listing:
    """Image files in order of (folder, class, name).

    Attributes:
        folder: what the names are relative to.
        classes: names of the classes, sorted.
        names: (N,) bytes of one length.
        sizes: int64 (N,), in bytes.
        labels: int64 (N,), in 0 .. K-1.
        parts: for each listed folder, int64 indices of its files.
    """

    folder: Path
    classes: tuple[str, ...]
    names: np.ndarray
    sizes: np.ndarray
    labels: torch.Tensor
    parts: dict[str, torch.Tensor]

    def fingerprint(self, indices: torch.Tensor) -> str:
        """Return `<count>-<16 hex digits>` over the relative names and the sizes of the files at sorted `indices`."""
        digest = hashlib.sha256()
        for index in indices.tolist():
            digest.update(
                os.fsdecode(bytes(self.names[index])).encode("utf-8", "surrogateescape") + f"\0{self.sizes[index]}\n".encode()
            )
        return f"{len(indices)}-{digest.hexdigest()[:16]}"


def list_images(folder: Path, parts: Sequence[str]) -> Listing:
    """List FOLDER/PART/CLASS/* of some parts; the first part says which classes there are.

    Raises:
        InputError: a folder cannot be read or has no class, a class has no image, or a part has a class that the first has not.
    """
    classes = _class_folders(folder / parts[0])
    number = {name: label for label, name in enumerate(classes)}
    there = [(part, name) for part in parts for name in _known(folder, part, parts[0], number)]
    with ThreadPoolExecutor(_THREADS) as pool:  # a file's size is a round trip on a network's file system
        found = list(pool.map(lambda one: _image_files(folder, *one), there))
    counts = [len(files) for files in found]
    names = np.array([name for files in found for name, _ in files], dtype=bytes)
    sizes = np.array([size for files in found for _, size in files], dtype=np.int64)
    labels = torch.tensor([number[name] for _, name in there]).repeat_interleave(torch.tensor(counts))
    lengths = [sum(count for count, (other, _) in zip(counts, there, strict=True) if other == part) for part in parts]
    ranges = dict(zip(parts, torch.arange(len(names)).split(lengths), strict=True))
    return Listing(folder, tuple(classes), names, sizes, labels, ranges)


def _known(folder: Path, part: str, first: str, number: dict[str, int]) -> list[str]:
    names = _class_folders(folder / part)
    for name in names:
        if name not in number:
            raise InputError(f"{folder / part} has the class {name!r}, which {folder / first} does not have")
    return names


def _class_folders(path: Path) -> list[str]:
    names = sorted(entry.name for entry in _entries(path) if entry.is_dir())
    if not names:
        raise InputError(f"{path} has no folder of a class; expected {path.name}/CLASS/*.jpg")
    return names


def _image_files(folder: Path, part: str, name: str) -> list[tuple[bytes, int]]:
    """Return (relative name, bytes) of the images of a class, sorted."""
    path = folder / part / name
    files = sorted((entry.name, entry.stat().st_size) for entry in _entries(path) if entry.name.lower().endswith(_EXTENSIONS))
    if not files:
        raise InputError(f"{path} holds no image; expected files that end in {', '.join(sorted(_EXTENSIONS))}")
    return [(os.fsencode(f"{part}/{name}/{file}"), size) for file, size in files]


def _entries(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"cannot read the folder {path}: {error.strerror}") from error
