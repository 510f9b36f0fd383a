"""Folders of images, `PART/CLASS/FILE`: any of your own, and ImageNet's.

Where images live (`data.storage`): `memory` decodes each once, its shorter side resized to `data.size` and the centre cut out,
and training crops from that; `files` keeps names alone, and training crops from the whole image each time it is read. `auto` is
`files` for ImageNet; for a folder of your own it is `memory` where its images at that size take at most 2 GiB, else `files`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch

from common.data.catalogue import Request
from common.data.datasets import Dataset, Images, renumbered
from common.data.file_images import FileImages, central, decode, read_bytes
from common.data.folder_listing import Listing, list_images
from common.data.splits import canonical_name, parse_name, stratified_split
from common.errors import InputError
from common.files import sha256_bytes
from common.randomness import derive_seed
from common.training.device import threads

MOST_IN_MEMORY = 2 * 1024**3
"""Bytes of decoded images up to which `auto` keeps a folder in memory."""

_SPLIT_SEED = 20210612
_HELD_OUT = 0.1
_HELD_OUT_IMAGENET = 50


def load_folder(request: Request) -> Dataset:
    """Read `root/train/CLASS/*`, `root/val` (or `validation`) and `root/test`.

    Without `test`, `val` is the test; where no folder is left to validate on, a fixed tenth of every class of `train` does.

    Raises:
        InputError: no root or size, a missing, empty or unreadable folder, a file that is no image, or an unknown class.
    """
    folder, size = request.folder(), _size(request)
    train, val, test = _parts_of(folder)
    if val is None:
        listing = list_images(folder, [train, test])
        own = listing.parts[train]
        parts = stratified_split(listing.labels[own], {"train": 1 - _HELD_OUT, "validation": _HELD_OUT}, _SPLIT_SEED)
        splits = {name: own[index] for name, index in parts.items()}
    else:
        listing = list_images(folder, [train, val, test])
        splits = {"train": listing.parts[train], "validation": listing.parts[val]}
    return _dataset(request, listing, {**splits, "test": listing.parts[test]}, size)


def _size(request: Request) -> int:
    if request.size is None:
        raise InputError(f"{request.name} needs a size to read its images at; give one with --data.size PIXELS")
    return request.size


def _parts_of(folder: Path) -> tuple[str, str | None, str]:
    """Return the folders that train, validate (None: a part of those that train does) and test."""
    val = next((name for name in ("val", "validation") if (folder / name).is_dir()), None)
    test = "test" if (folder / "test").is_dir() else val
    if not (folder / "train").is_dir() or test is None:
        raise InputError(f"data.root {folder}: expected the folders train, and test or val, each with one folder per class")
    return "train", None if val == test else val, test


def load_imagenet(request: Request) -> Dataset:
    """Read ImageNet's `root/train/CLASS/*` and `root/val/CLASS/*`, or that of some of its classes.

    Its public validation images are the test here. What validates is 50 training images of every class, ranked by a hash of their
    names: the same ones whichever classes a copy has.

    Raises:
        InputError: as `load_folder`, or a class has no more than 50 training images.
    """
    folder = request.folder()
    for part in ("train", "val"):
        if not (folder / part).is_dir():
            raise InputError(f"data.root {folder}: there is no {part}; expected ImageNet as train/CLASS/* and val/CLASS/*")
    listing = list_images(folder, ["train", "val"])
    splits = {**_hold_out(listing), "test": listing.parts["val"]}
    return _dataset(request, listing, splits, _size(request))


def _hold_out(listing: Listing) -> dict[str, torch.Tensor]:
    """Divide the training images: 50 of every class validate."""
    train: list[torch.Tensor] = []
    held_out: list[torch.Tensor] = []
    of_train = listing.labels[listing.parts["train"]]
    for label, name in enumerate(listing.classes):
        members = (of_train == label).nonzero().flatten().tolist()
        if len(members) <= _HELD_OUT_IMAGENET:
            raise InputError(
                f"{listing.folder / 'train' / name} has {len(members)} images, "
                f"expected more than the {_HELD_OUT_IMAGENET} that validate"
            )
        ranked = sorted(members, key=lambda index: derive_seed(_SPLIT_SEED, os.fsdecode(bytes(listing.names[index]))))
        held_out.append(torch.tensor(ranked[:_HELD_OUT_IMAGENET]))
        train.append(torch.tensor(ranked[_HELD_OUT_IMAGENET:]))
    return {"train": torch.cat(train).sort().values, "validation": torch.cat(held_out).sort().values}


def _dataset(request: Request, listing: Listing, splits: dict[str, torch.Tensor], size: int) -> Dataset:
    """Make the data set of a request's classes."""
    name, classes = parse_name(request.name, len(listing.classes))
    chosen_N = _is_chosen(listing, classes)
    indices = {split: index[chosen_N[index]] for split, index in splits.items()}
    for split, index in indices.items():
        if not len(index):
            raise InputError(f"{listing.folder}: the {split} split of {request.name} has no image; every split needs some")
    everything = chosen_N.nonzero().flatten()
    in_files = request.storage == "files" or (request.storage == "auto" and len(everything) * 3 * size**2 > MOST_IN_MEMORY)
    images = {
        split: FileImages(
            listing.folder, listing.names[index.numpy()], renumbered(listing.labels[index], classes), size, request.reading
        )
        for split, index in indices.items()
    }
    return Dataset(
        name=canonical_name(name, classes, len(listing.classes)),
        classes=tuple(listing.classes[label] for label in classes),
        input=replace(request.input, size=size),
        splits=images if in_files else {split: _in_memory(part) for split, part in images.items()},
        split_hash=_split_hash(listing, splits),
        fingerprint=listing.fingerprint(everything),
    )


def folder_fingerprint(request: Request) -> str:
    """Return the fingerprint that `load_folder` gives, from names and sizes alone; no image is opened.

    Raises:
        InputError: a missing, empty or unreadable folder, or an unknown class.
    """
    train, val, test = _parts_of(request.folder())
    return _listed_fingerprint(request, [train, test] if val is None else [train, val, test])


def imagenet_fingerprint(request: Request) -> str:
    """Return the fingerprint that `load_imagenet` gives, as `folder_fingerprint`."""
    return _listed_fingerprint(request, ["train", "val"])


def _listed_fingerprint(request: Request, parts: Sequence[str]) -> str:
    listing = list_images(request.folder(), parts)
    classes = parse_name(request.name, len(listing.classes))[1]
    return listing.fingerprint(_is_chosen(listing, classes).nonzero().flatten())


def _is_chosen(listing: Listing, classes: Sequence[int]) -> torch.Tensor:
    """Return bool (N,): the files of some classes."""
    return torch.isin(listing.labels, torch.tensor(classes))


def _split_hash(listing: Listing, splits: Mapping[str, torch.Tensor]) -> str:
    """Return 16 hex digits over the names and sizes of each split's files, whichever classes are chosen: it names the folder."""
    parts = (f"{name}\0{listing.fingerprint(index_M)}\n" for name, index_M in sorted(splits.items()))
    return sha256_bytes("".join(parts).encode())[:16]


def _in_memory(files: FileImages) -> Images:
    """Decode every image once: its shorter side resized to `size`, the centre cut out."""
    images_N3SS = torch.empty(len(files), 3, files.size, files.size, dtype=torch.uint8)

    def fill(index: int) -> None:
        path = files.path(index)
        images_N3SS[index] = central(decode(read_bytes(path), path), files.size, files.size)

    # Each thread of the pool would else divide its own small resize among as many threads again.
    with threads(1), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(fill, range(len(files))):
            pass
    return Images(images_N3SS, files.labels)
