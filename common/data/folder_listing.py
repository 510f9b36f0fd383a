"""What lies in a folder of images: files by class, their labels, and a fingerprint; no image is opened."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from common.data.entries import Request
from common.errors import InputError

_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_THREADS = 8
_PORTION = 256


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


def list_named(request: Request, classes: Sequence[str], parts: Mapping[str, Sequence[tuple[str, int]]]) -> Listing:
    """List files that are named already.

    Args:
        request: whose root holds them.
        classes: names of the classes.
        parts: for each part the paths of its files, below the root and with /, and their labels, in [0, K).

    Raises:
        InputError: a part is empty, a file is not there or is named twice, a label is no class's, or a class has no image in the
            first part.
    """
    folder = request.folder()
    samples = [sample for part in parts.values() for sample in part]
    _check_samples(request, classes, parts)
    sizes = _sizes_of(folder, [path for path, _ in samples])
    missing = [path for (path, _), size in zip(samples, sizes, strict=True) if size is None]
    if missing:
        raise request.not_as_expected(f"{len(missing):,} of {len(samples):,} images are not there, the first {missing[0]}")
    ranges = dict(zip(parts, torch.arange(len(samples)).split([len(part) for part in parts.values()]), strict=True))
    names = np.array([os.fsencode(path) for path, _ in samples], dtype=bytes)
    labels = torch.tensor([label for _, label in samples], dtype=torch.int64)
    return Listing(folder, tuple(classes), names, np.array(sizes, dtype=np.int64), labels, ranges)


def _check_samples(request: Request, classes: Sequence[str], parts: Mapping[str, Sequence[tuple[str, int]]]) -> None:
    seen: dict[str, str] = {}
    for part, samples in parts.items():
        if not samples:
            raise request.not_as_expected(f"its {part} list names no image")
        for path, label in samples:
            if not 0 <= label < len(classes):
                raise request.not_as_expected(
                    f"{path} has the label {label}, and the {len(classes)} classes are 0-{len(classes) - 1}"
                )
            if path in seen:
                raise request.not_as_expected(f"{path} is listed twice, in {seen[path]} and in {part}")
            seen[path] = part
    first, there = next(iter(parts.items()))
    absent = sorted(set(range(len(classes))) - {label for _, label in there})
    if absent:
        raise request.not_as_expected(f"class {absent[0]} ({classes[absent[0]]}) has no image in {first}")


def _sizes_of(folder: Path, paths: Sequence[str]) -> list[int | None]:
    """Return the bytes of files; None where there is none."""
    portions = [paths[start : start + _PORTION] for start in range(0, len(paths), _PORTION)]
    with ThreadPoolExecutor(_THREADS) as pool:  # a file's size is a round trip on a network's file system
        found = pool.map(lambda portion: [_size_of(f"{folder}/{path}") for path in portion], portions)
        return [size for sizes in found for size in sizes]


def _size_of(file: str) -> int | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


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
    files = sorted((entry.name, _bytes_of(entry)) for entry in _entries(path) if entry.name.lower().endswith(_EXTENSIONS))
    if not files:
        raise InputError(f"{path} holds no image; expected files that end in {', '.join(sorted(_EXTENSIONS))}")
    return [(os.fsencode(f"{part}/{name}/{file}"), size) for file, size in files]


def _bytes_of(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError as error:
        gone = isinstance(error, FileNotFoundError) and entry.is_symlink()
        why = "a link to a file that is not there" if gone else error.strerror
        raise InputError(f"cannot read the image {entry.path}: {why}; bring it back, or delete it") from error


def _entries(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"cannot read the folder {path}: {error.strerror}") from error
