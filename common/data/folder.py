"""Folders of images, `PART/CLASS/FILE`: any of your own, a pair of domains, and ImageNet's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from common.data.datasets import Dataset
from common.data.entries import Request
from common.data.file_dataset import SPLIT_SEED, held_out_splits, listed_fingerprint, make_dataset, side_of
from common.data.folder_listing import Listing, list_images
from common.errors import InputError
from common.randomness import derive_seed

_HELD_OUT_IMAGENET = 50
_PAIR_SIGNS = ">:"
"""What divides the name of a pair, `domains(source>target):classes`."""
_VALIDATION_FOLDERS = ("val", "validation")


@dataclass(frozen=True)
class _Parts:
    """Which folders train, validate (None: a part of those that train does) and test."""

    train: str
    validation: str | None
    test: str

    def listed(self) -> list[str]:
        return [part for part in (self.train, self.validation, self.test) if part is not None]


def load_folder(request: Request) -> Dataset:
    """Read `root/train/CLASS/*`, `root/val` (or `validation`) and `root/test`.

    Without `test`, `val` is the test; where no folder is left to validate on, a fixed tenth of every class of `train` does.

    Raises:
        InputError: no root or size, a missing, empty or unreadable folder, a file that is no image, or an unknown class.
    """
    folder = request.folder()
    side_of(request)
    parts = _parts_of(request, folder)
    listing = list_images(folder, parts.listed())
    splits = held_out_splits(listing, parts.train, parts.validation, parts.test, request.validation)
    return make_dataset(request, listing, splits)


def folder_fingerprint(request: Request) -> str:
    """Return the fingerprint that `load_folder` gives, from names and sizes alone; no image is opened.

    Raises:
        InputError: a missing, empty or unreadable folder, or an unknown class.
    """
    folder = request.folder()
    return listed_fingerprint(request, list_images(folder, _parts_of(request, folder).listed()))


def _parts_of(request: Request, folder: Path, prefix: str = "") -> _Parts:
    val = next((name for name in _VALIDATION_FOLDERS if (folder / prefix / name).is_dir()), None)
    test = "test" if (folder / prefix / "test").is_dir() else val
    if not (folder / prefix / "train").is_dir() or test is None:
        raise InputError(
            f"data.root {folder}: expected the folders {prefix}train, and {prefix}test or {prefix}val, "
            f"each with one folder per class"
        )
    return _Parts(f"{prefix}train", None if val == test else f"{prefix}{val}" if val else None, f"{prefix}{test}")


def load_domains(request: Request) -> Dataset:
    """Read a pair of domains: train and validation are those of the source, test is that of the target.

    A domain is divided as `load_folder` divides a folder. Where it holds folders of classes and no `train`, all of it trains and,
    as a target, tests; a tenth of every class of the source validates.

    Raises:
        InputError: as `load_folder`; no pair was named, a domain is not there, or the test images would be training images.
    """
    side_of(request)
    listing, parts = _listed_domains(request)
    splits = held_out_splits(listing, parts.train, parts.validation, parts.test, request.validation)
    return make_dataset(request, listing, splits, "domains({}>{})".format(*_pair(request)))


def domains_fingerprint(request: Request) -> str:
    """Return the fingerprint that `load_domains` gives, as `folder_fingerprint`."""
    return listed_fingerprint(request, _listed_domains(request)[0])


def _pair(request: Request) -> tuple[str, str]:
    if request.domains is None:
        raise InputError("data.name domains needs two folders below data.root; name them with --data.source and --data.target")
    return request.domains


def _listed_domains(request: Request) -> tuple[Listing, _Parts]:
    folder, (source, target) = request.folder(), _pair(request)
    for option, name in (("data.source", source), ("data.target", target)):
        if not name or name[0] == "." or Path(name).name != name or not (folder / name).is_dir():
            there = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != "."))
            raise InputError(f"{option}: {folder} has no domain {name!r}, expected one of its folders: {there or 'it has none'}")
        if set(name) & set(_PAIR_SIGNS):
            raise InputError(f"{option}: got the folder {name!r}, expected a name without {' '.join(_PAIR_SIGNS)}; rename it")
    of_source, of_target = (_parts_of_domain(request, folder, name) for name in (source, target))
    if of_source.train == of_target.test:
        raise InputError(f"data.target: {target} has no test images of its own beside those that train; name another domain")
    parts = _Parts(of_source.train, of_source.validation, of_target.test)
    return list_images(folder, parts.listed()), parts


def _parts_of_domain(request: Request, folder: Path, name: str) -> _Parts:
    if any((folder / name / part).is_dir() for part in ("train", "test", *_VALIDATION_FOLDERS)):
        return _parts_of(request, folder, f"{name}/")
    return _Parts(name, None, name)


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
    return make_dataset(request, listing, {**_hold_out(listing), "test": listing.parts["val"]})


def imagenet_fingerprint(request: Request) -> str:
    """Return the fingerprint that `load_imagenet` gives, as `folder_fingerprint`."""
    return listed_fingerprint(request, list_images(request.folder(), ["train", "val"]))


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
        ranked = sorted(members, key=lambda index: derive_seed(SPLIT_SEED, os.fsdecode(bytes(listing.names[index]))))
        held_out.append(torch.tensor(ranked[:_HELD_OUT_IMAGENET]))
        train.append(torch.tensor(ranked[_HELD_OUT_IMAGENET:]))
    return {"train": torch.cat(train).sort().values, "validation": torch.cat(held_out).sort().values}
