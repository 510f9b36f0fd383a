"""Any folder of images, `SPLIT/CLASS/FILE`, decoded once into memory at one size."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from common.data.catalogue import Request
from common.data.datasets import Dataset, Images, renumbered
from common.data.splits import canonical_name, parse_name, split_hash, stratified_split
from common.errors import InputError

_EXTENSIONS = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
_SPLIT_SEED = 20210612
_HELD_OUT = 0.1


@dataclass(frozen=True)
class _Listing:
    """Image files in order of (split, class, name), with labels in 0 .. K-1 and each split's indices into them."""

    classes: tuple[str, ...]
    files: list[Path]
    labels: torch.Tensor
    splits: dict[str, torch.Tensor]


def load_folder(request: Request) -> Dataset:
    """Read `root/train/CLASS/*`, `root/val` (or `validation`) and `root/test`.

    Without `test`, `val` is the test; where no folder is left to validate on, a fixed tenth of every class of `train` does.
    Images become RGB; the shorter side is resized to `size` (bilinear) and the centre is cropped.

    Raises:
        InputError: no root or size, a missing, empty or unreadable folder, a file that is no image, or an unknown class.
    """
    folder = request.folder()
    if request.size is None:
        raise InputError(f"{request.name} needs a size to resize its images to; give one with --data.size PIXELS")
    listing = _list_images(folder)
    name, classes = parse_name(request.name, len(listing.classes))
    chosen_N = torch.isin(listing.labels, torch.tensor(classes))
    indices = {split: index[chosen_N[index]] for split, index in listing.splits.items()}
    for split, index in indices.items():
        if not len(index):
            raise InputError(f"{folder}: the {split} split of {request.name} has no image; every split needs some")
    splits = {
        split: Images(
            _decode([listing.files[i] for i in index.tolist()], request.size), renumbered(listing.labels[index], classes)
        )
        for split, index in indices.items()
    }
    return Dataset(
        name=canonical_name(name, classes, len(listing.classes)),
        classes=tuple(listing.classes[label] for label in classes),
        input=replace(request.input, size=request.size),
        splits=splits,
        split_hash=split_hash(indices),
        fingerprint=_fingerprint(folder, [listing.files[i] for i in torch.cat(list(indices.values())).sort().values.tolist()]),
    )


def _list_images(folder: Path) -> _Listing:
    """List the three splits of a folder; `load_folder` says how they are chosen."""
    train = folder / "train"
    val = next((folder / name for name in ("val", "validation") if (folder / name).is_dir()), None)
    test = folder / "test" if (folder / "test").is_dir() else val
    if not train.is_dir() or test is None:
        raise InputError(f"data.root {folder}: expected the folders train, and test or val, each with one folder per class")
    classes = _class_folders(train)
    folders = {"train": train, "validation": None if val == test else val, "test": test}
    files: list[Path] = []
    labels: list[int] = []
    splits: dict[str, torch.Tensor] = {}
    for split, path in folders.items():
        if path is None:
            continue
        start = len(files)
        for name in _class_folders(path):
            if name not in classes:
                raise InputError(f"{path} has the class {name!r}, which {train} does not have")
            found = _image_files(path / name)
            files += found
            labels += [classes.index(name)] * len(found)
        splits[split] = torch.arange(start, len(files))
    labels_N = torch.tensor(labels, dtype=torch.int64)
    if "validation" not in splits:
        parts = stratified_split(labels_N[splits["train"]], {"train": 1 - _HELD_OUT, "validation": _HELD_OUT}, _SPLIT_SEED)
        splits = {"train": parts["train"], "validation": parts["validation"], "test": splits["test"]}
    return _Listing(tuple(classes), files, labels_N, splits)


def _class_folders(path: Path) -> list[str]:
    names = sorted(name for name in _names(path) if (path / name).is_dir())
    if not names:
        raise InputError(f"{path} has no folder of a class; expected {path.name}/CLASS/*.jpg")
    return names


def _image_files(path: Path) -> list[Path]:
    files = [path / name for name in sorted(_names(path)) if Path(name).suffix.lower() in _EXTENSIONS]
    if not files:
        raise InputError(f"{path} holds no image; expected files that end in {', '.join(sorted(_EXTENSIONS))}")
    return files


def _names(path: Path) -> list[str]:
    try:
        return [name for name in os.listdir(path) if not name.startswith(".")]
    except OSError as error:
        raise InputError(f"cannot read the folder {path}: {error.strerror}") from error


def _decode(files: list[Path], size: int) -> torch.Tensor:
    """Return the images as uint8 (N, 3, size, size)."""
    images_NHWC = np.empty((len(files), size, size, 3), dtype=np.uint8)

    def fill(index: int) -> None:
        images_NHWC[index] = _decode_one(files[index], size)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(fill, range(len(files))):
            pass
    return torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).contiguous()


def _decode_one(file: Path, size: int) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(
            f"cannot read the image {file}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
    width, height = image.size
    shorter = min(width, height)
    # The integer division is torchvision's Resize, so that published input pipelines give the same pixels.
    resized = image.resize((size * width // shorter, size * height // shorter), Image.Resampling.BILINEAR)
    left, top = round((resized.width - size) / 2), round((resized.height - size) / 2)
    return np.asarray(resized.crop((left, top, left + size, top + size)))


def _fingerprint(folder: Path, files: list[Path]) -> str:
    """Return `<count>-<16 hex digits>` over the relative names and the sizes in bytes."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\n".encode())
    return f"{len(files)}-{digest.hexdigest()[:16]}"
