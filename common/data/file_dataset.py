"""From a listing of image files to a data set: class subset, where its images live, what is left out, what is cached.

Where images live (`data.storage`): `memory` decodes each once, framed at `data.size`, and training crops from that; `files` keeps
names alone, and training crops from the whole image each time it is read. `auto` is `files` for ImageNet and the published
targets; for folders and lists of one's own it is `memory` where their images at that size take at most 2 GiB, else `files`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

from common.data.datasets import Dataset, Images, renumbered
from common.data.decoded_cache import MOST_SIDE, SplitCache
from common.data.decoding import decode_split
from common.data.entries import Request
from common.data.file_images import FileImages
from common.data.folder_listing import Listing
from common.data.reading import Framing, Validation
from common.data.splits import canonical_name, parse_name, stratified_split
from common.errors import InputError
from common.files import sha256_bytes

MOST_IN_MEMORY = 2 * 1024**3
"""Bytes of decoded images up to which `auto` keeps a folder in memory."""

_Part = TypeVar("_Part", torch.Tensor, Images | FileImages)

SPLIT_SEED = 20210612
_HELD_OUT = 0.1


def held_out_splits(
    listing: Listing, train: str, validation: str | None, test: str, rule: Validation = "own"
) -> dict[str, torch.Tensor]:
    """Divide a listing's parts.

    Args:
        listing: of the parts named.
        train: the part that trains.
        validation: the part that validates; None: a fixed tenth of every class of those that train does.
        test: the part that tests, whole.
        rule: `tenth`: a fixed tenth of every class of the first two parts together validates.

    Returns:
        For train, validation and test int64 indices into the listing.
    """
    parts = listing.parts
    if validation is not None and rule == "own":
        return {"train": parts[train], "validation": parts[validation], "test": parts[test]}
    own = parts[train] if validation is None else torch.cat([parts[train], parts[validation]])
    divided = stratified_split(listing.labels[own], {"train": 1 - _HELD_OUT, "validation": _HELD_OUT}, SPLIT_SEED)
    return {**{name: own[index] for name, index in divided.items()}, "test": parts[test]}


def make_dataset(request: Request, listing: Listing, splits: Mapping[str, torch.Tensor], name: str | None = None) -> Dataset:
    """Make the data set of a request's classes.

    Args:
        request: what is asked for.
        listing: all files.
        splits: int64 indices into the listing, all classes.
        name: what the data set is called, without its classes; None: as it was asked for.

    Raises:
        InputError: no size, an unknown class, a split without an image, an image that cannot be read, or a cache that cannot be
            used.
    """
    size = side_of(request)
    base, classes = parse_name(request.name, len(listing.classes))
    chosen_N = _is_chosen(listing, classes)
    everything = chosen_N.nonzero().flatten()
    in_files = request.storage == "files" or (request.storage == "auto" and len(everything) * 3 * size**2 > MOST_IN_MEMORY)
    called = canonical_name(name or base, classes, len(listing.classes))
    framing = _framing(request, in_files)
    found: dict[str, Images | FileImages] = {}
    skipped: list[str] = []
    for split, index in splits.items():
        chosen = _some(request, listing, split, index[chosen_N[index]])
        labels_M = renumbered(listing.labels[chosen], classes)
        files = FileImages(listing.folder, listing.names[chosen.numpy()], labels_M, size, request.reading, framing)
        if request.cache is not None:
            files = _with_cache(files, request, request.cache, called, split, listing.fingerprint(chosen))
        part, left_out = _readable(files, request.skip_unreadable, in_files)
        skipped += left_out
        found[split] = _some(request, listing, split, part)
    _tell(called, skipped)
    return Dataset(
        name=called,
        classes=tuple(listing.classes[label] for label in classes),
        input=replace(request.input, size=size, interpolation=framing.interpolation),
        splits=found,
        split_hash=_split_hash(listing, splits),
        fingerprint=listing.fingerprint(everything),
        skipped=tuple(skipped),
    )


def _tell(name: str, skipped: Sequence[str]) -> None:
    if skipped:
        told = f"{len(skipped)} images cannot be read and are left out, the first {skipped[0]} (data.skip_unreadable)"
        print(f"{name}: {told}", file=sys.stderr)


def listed_fingerprint(request: Request, listing: Listing) -> str:
    """Return the fingerprint that `make_dataset` gives; no image is opened.

    Raises:
        InputError: an unknown class.
    """
    classes = parse_name(request.name, len(listing.classes))[1]
    return listing.fingerprint(_is_chosen(listing, classes).nonzero().flatten())


def side_of(request: Request) -> int:
    """Return the side to read images at.

    Raises:
        InputError: none was given.
    """
    if request.size is None:
        raise InputError(f"{request.name} needs a size to read its images at; give one with --data.size PIXELS")
    return request.size


def _is_chosen(listing: Listing, classes: Sequence[int]) -> torch.Tensor:
    """Return bool (N,): the files of some classes."""
    return torch.isin(listing.labels, torch.tensor(classes))


def _some(request: Request, listing: Listing, split: str, part: _Part) -> _Part:
    """Return a part of a split, unless it is empty."""
    if not len(part):
        raise InputError(f"{listing.folder}: the {split} split of {request.name} has no image; every split needs some")
    return part


def _framing(request: Request, in_files: bool) -> Framing:
    crop = request.framing.crop
    return replace(request.framing, crop=("margin" if in_files else "fit") if crop == "auto" else crop)


def _with_cache(files: FileImages, request: Request, cache: str, data: str, split: str, fingerprint: str) -> FileImages:
    if files.size > MOST_SIDE:
        raise InputError(f"data.cache: got images of {files.size} px, expected at most {MOST_SIDE}; leave it out")
    folder = Path(cache).expanduser()
    kept = SplitCache(folder, data, split, fingerprint, request.validation, files, request.skip_unreadable)
    return replace(files, cache=kept, rows=torch.arange(len(files)))


def _readable(files: FileImages, skip: bool, in_files: bool) -> tuple[Images | FileImages, list[str]]:
    """Return a split where it lives, and the names of what is left out of it because it cannot be read."""
    pixels_N3SS = None
    if files.cache is not None and not in_files:
        pixels_N3SS = files.cache.pixels()
    elif not in_files:
        pixels_N3SS = torch.empty(len(files), 3, files.size, files.size, dtype=torch.uint8)
    if files.cache is not None:
        unreadable = files.cache.unreadable() if skip else []
    else:
        unreadable = decode_split(files, pixels_N3SS, skip_unreadable=skip) if skip or not in_files else []
    kept = torch.ones(len(files), dtype=torch.bool)
    kept[unreadable] = False
    names = [files.name(index) for index in unreadable]
    if pixels_N3SS is None:
        return (files.subset(kept.nonzero().flatten()) if unreadable else files), names
    images = Images(pixels_N3SS, files.labels)
    return (images.subset(kept.nonzero().flatten()) if unreadable else images), names


def _split_hash(listing: Listing, splits: Mapping[str, torch.Tensor]) -> str:
    """Return 16 hex digits over the names and sizes of each split's files, whichever classes are chosen: it names the folder."""
    parts = (f"{name}\0{listing.fingerprint(index_M)}\n" for name, index_M in sorted(splits.items()))
    return sha256_bytes("".join(parts).encode())[:16]
