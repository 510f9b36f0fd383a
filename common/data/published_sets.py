"""The image sets of the sparse-transfer study, read from the layouts in which they are published.

torchvision reads and fetches them where it can: Aircraft, Cars, DTD, Flowers and Food-101. It also fetches Caltech-101 and -256,
Pets and SUN397, whose lists are read here: of these it knows no split, makes folders while it looks, or opens every image.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.data.datasets import Dataset
from common.data.entries import Request
from common.data.file_dataset import held_out_splits, listed_fingerprint, make_dataset
from common.data.folder_listing import Listing, list_images, list_named
from common.data.splits import base_name
from common.errors import InputError

_UNREADABLE = (RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError)
_SUN_LISTS = "https://vision.princeton.edu/projects/2010/SUN/download/Partitions.zip"
_FIRST = {"caltech101": 30, "caltech256": 60}

_Parts = dict[str, list[tuple[str, int]]]
_Found = tuple[tuple[str, ...], _Parts]
"""Names of the classes, and for each part the paths below the root with their labels."""


@dataclass(frozen=True)
class _Set:
    """How a set is read.

    Attributes:
        kind: torchvision's class, which fetches it; None: nothing does.
        read: finds its files below the root; None: folders of classes in `train` and `test`.
        parts: for sets that torchvision reads, the arguments of each part.
    """

    kind: str | None
    read: Callable[[Path, _Set], _Found] | None
    parts: Mapping[str, Mapping[str, Any]]


def load_published(request: Request) -> Dataset:
    """Read a set of the table.

    Args:
        request: `root` holds the files in the layout of the catalogue, or receives them with `download`.

    Raises:
        InputError: no root, the root does not hold the set whole, the download failed, or an unknown class.
    """
    listing = _listing(request, download=request.download)
    splits = held_out_splits(
        listing, "train", "validation" if "validation" in listing.parts else None, "test", request.validation
    )
    return make_dataset(request, listing, splits)


def published_fingerprint(request: Request) -> str:
    """Return the fingerprint that `load_published` gives; no image is opened."""
    return listed_fingerprint(request, _listing(request, download=False))


def _listing(request: Request, *, download: bool) -> Listing:
    from common.data.catalogue import entry_of

    published, expected = _SETS[base_name(request.name)], entry_of(request.name).num_classes
    if download and request.root is not None:
        _fetch(request, published)
    folder = request.folder()
    if published.read is None:
        for part in ("train", "test"):
            if not (folder / part).is_dir():
                raise request.not_as_expected(f"there is no folder {part}")
        listing = list_images(folder, ["train", "test"])
        _check_count(request, len(listing.classes), expected)
        return listing
    try:
        classes, parts = published.read(folder, published)
    except InputError as error:
        raise request.not_as_expected(str(error)) from error
    except (OSError, *_UNREADABLE) as error:
        raise request.not_as_expected(_reason(error)) from error
    _check_count(request, len(classes), expected)
    return list_named(request, classes, parts)


def _check_count(request: Request, found: int, expected: int | None) -> None:
    if found != expected:
        raise request.not_as_expected(f"{found} of its {expected} classes are there")


def _reason(error: Exception) -> str:
    """Return what went wrong in one line."""
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"there is no {Path(error.filename).name}"
    if isinstance(error, KeyError):
        return f"its label lists and its list of classes disagree about {error.args[0]!r}"
    text = next(iter(str(error).splitlines()), "") or type(error).__name__
    return "it is not there or not whole" if text.startswith("Dataset not found") else text


def _fetch(request: Request, published: _Set) -> None:
    from torchvision import datasets
    from torchvision.datasets.utils import download_and_extract_archive

    assert published.kind is not None, "the catalogue says what can be fetched"
    folder = Path(request.root or "").expanduser()
    words: Mapping[str, Any] = next(iter(published.parts.values()), {})
    try:
        getattr(datasets, published.kind)(folder, download=True, **words)
        if published.kind == "SUN397" and not (folder / "SUN397" / "Training_01.txt").is_file():
            download_and_extract_archive(_SUN_LISTS, str(folder / "SUN397"))
    except (OSError, *_UNREADABLE) as error:
        raise InputError(f"{request.name} cannot be fetched into data.root {request.root}: {_reason(error)}") from error


def _as_path(path: Any) -> Path:
    return Path(path)


def _through_torchvision(root: Path, published: _Set) -> _Found:
    """Take paths and labels from torchvision's class, whose loader opens nothing."""
    from torchvision import datasets

    found: _Parts = {}
    classes: tuple[str, ...] = ()
    for part, words in published.parts.items():
        data = getattr(datasets, published.kind or "")(root, loader=_as_path, **words)
        if found and tuple(data.classes) != classes:
            raise InputError(f"its {part} list names other classes than its train list")
        classes = tuple(map(str, data.classes))
        samples = (data[index] for index in range(len(data)))
        found[part] = [(path.relative_to(root).as_posix(), int(label)) for path, label in samples]
    return classes, found


def _caltech(root: Path, published: _Set) -> _Found:
    """Take the first images of every class to train, by name, as the study does; the others test."""
    name = (published.kind or "").lower()
    place = f"{name}/{name.removeprefix('caltech')}_ObjectCategories"
    folder = root / place
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name != "BACKGROUND_Google")
    train: list[tuple[str, int]] = []
    test: list[tuple[str, int]] = []
    for label, one in enumerate(classes):
        files = sorted(name for name in os.listdir(folder / one) if name.endswith(".jpg"))
        if len(files) <= _FIRST[name]:
            raise InputError(f"class {one} has {len(files)} images, and more than the {_FIRST[name]} that train are needed")
        samples = [(f"{place}/{one}/{file}", label) for file in files]
        train += samples[: _FIRST[name]]
        test += samples[_FIRST[name] :]
    return tuple(classes), {"train": train, "test": test}


def _pets(root: Path, published: _Set) -> _Found:
    """Read lines `NAME_NUMBER CLASS SPECIES BREED`, classes from 1; a class is named as its images, spelt as by torchvision."""
    folder, names = root / "oxford-iiit-pet", dict[int, str]()
    found: _Parts = {}
    for part, file in (("train", "trainval.txt"), ("test", "test.txt")):
        found[part] = []
        for line in (folder / "annotations" / file).read_text(encoding="utf-8").splitlines():
            image, label, *_ = line.split()
            breed = image.rpartition("_")[0].replace("_", " ").title()
            if names.setdefault(int(label) - 1, breed) != breed:
                raise InputError(f"its lists name the class {label} {names[int(label) - 1]} and {breed}")
            found[part].append((f"oxford-iiit-pet/images/{image}.jpg", int(label) - 1))
    if sorted(names) != list(range(len(names))):
        raise InputError(f"{len(names)} classes are numbered up to {max(names) + 1}")
    return tuple(names[label] for label in range(len(names))), found


def _sun(root: Path, published: _Set) -> _Found:
    """Read the first partition; names of classes and files begin with a slash, classes with a letter's folder too."""
    folder = root / "SUN397"
    scenes = [line.strip() for line in (folder / "ClassName.txt").read_text(encoding="utf-8").splitlines() if line.strip()]
    number = {scene: label for label, scene in enumerate(scenes)}
    found: _Parts = {}
    for part, file in (("train", "Training_01.txt"), ("test", "Testing_01.txt")):
        lines = (folder / file).read_text(encoding="utf-8").splitlines()
        images = [line.strip() for line in lines if line.strip()]
        found[part] = [(f"SUN397{image}", number[image.rpartition("/")[0]]) for image in images]
    return tuple(scene[3:] for scene in scenes), found


_NAMED = {"train": {"split": "train"}, "test": {"split": "test"}}
_WITH_VALIDATION = {"train": {"split": "train"}, "validation": {"split": "val"}, "test": {"split": "test"}}

_SETS = {
    "aircraft": _Set("FGVCAircraft", _through_torchvision, _WITH_VALIDATION),
    "birdsnap": _Set(None, None, {}),
    "caltech101": _Set("Caltech101", _caltech, {}),
    "caltech256": _Set("Caltech256", _caltech, {}),
    "cars": _Set("StanfordCars", _through_torchvision, _NAMED),
    "dtd": _Set("DTD", _through_torchvision, _WITH_VALIDATION),
    "flowers": _Set("Flowers102", _through_torchvision, _WITH_VALIDATION),
    "food101": _Set("Food101", _through_torchvision, _NAMED),
    "pets": _Set("OxfordIIITPet", _pets, {}),
    "sun397": _Set("SUN397", _sun, {}),
}
