"""The data sets that can be named. Adding one takes an entry here and a function that loads it.

This module imports no torch, torchvision or scikit-learn: listing what there is costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common.data.augment_config import AugmentConfig
from common.data.inputs import InputSpec
from common.data.view_tables import CIFAR_VIEWS, DIGITS_VIEWS, IMAGENET_VIEWS
from common.errors import InputError

if TYPE_CHECKING:
    from common.data.datasets import Dataset


@dataclass(frozen=True)
class Request:
    """What a loading function is asked for: the name as written, the entry's facts, and where to look."""

    name: str
    classes: tuple[str, ...] | None
    input: InputSpec
    root: str | None
    download: bool
    size: int | None

    def folder(self) -> Path:
        """Return the root as a folder that exists.

        Raises:
            InputError: it is not given, or there is no such folder.
        """
        if self.root is None:
            raise InputError(f"{self.name} is read from a folder; name it with --data.root DIR")
        path = Path(self.root).expanduser()
        if not path.is_dir():
            raise InputError(
                f"data.root {self.root}: there is no such folder; name the one that holds {self.name} with --data.root DIR"
            )
        return path


@dataclass(frozen=True)
class Entry:
    """One data set: what `--list` says of it, its classes (None: named once it is read), its input, SimCLR views and loader.

    `count` is the number of classes where they are not named here; None: known once it is read.
    """

    description: str
    classes: tuple[str, ...] | None
    needs_root: bool
    input: InputSpec
    views: AugmentConfig
    load: Callable[[Request], Dataset]
    count: int | None = None

    @property
    def num_classes(self) -> int | None:
        """Number of classes; None where it is known once the set is read."""
        return self.count if self.classes is None else len(self.classes)


def _digits(request: Request) -> Dataset:
    from common.data.digits import load_digit_images

    return load_digit_images(request, cluttered=True)


def _digits_clean(request: Request) -> Dataset:
    from common.data.digits import load_digit_images

    return load_digit_images(request, cluttered=False)


def _cifar10(request: Request) -> Dataset:
    from common.data.cifar import load_cifar

    return load_cifar(request, "CIFAR10")


def _cifar100(request: Request) -> Dataset:
    from common.data.cifar import load_cifar

    return load_cifar(request, "CIFAR100")


def _folder(request: Request) -> Dataset:
    from common.data.folder import load_folder

    return load_folder(request)


def _rgb(size: int | None, mean: tuple[float, ...], std: tuple[float, ...], interpolation: str | None = None) -> InputSpec:
    return InputSpec(size, 3, (0.0, 1.0), mean, std, interpolation)


_ZERO, _ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
_CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_DIGITS = tuple("0123456789")

CATALOGUE: dict[str, Entry] = {
    "digits": Entry(
        "handwritten digits among fragments of others, 16 px, 1,797 images, no download",
        _DIGITS,
        False,
        _rgb(16, _ZERO, _ONE),
        DIGITS_VIEWS,
        _digits,
    ),
    "digits_clean": Entry(
        "handwritten digits as they are, 8 px, 1,797 images, no download",
        _DIGITS,
        False,
        _rgb(8, _ZERO, _ONE),
        DIGITS_VIEWS,
        _digits_clean,
    ),
    "cifar10": Entry(
        "CIFAR-10, 32 px, 45,000 + 5,000 + 10,000 images",
        _CIFAR10_CLASSES,
        True,
        _rgb(32, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        CIFAR_VIEWS,
        _cifar10,
    ),
    "cifar100": Entry(
        "CIFAR-100, 32 px, 45,000 + 5,000 + 10,000 images",
        None,
        True,
        _rgb(32, (0.5071, 0.4866, 0.4409), (0.2009, 0.1984, 0.2023)),
        CIFAR_VIEWS,
        _cifar100,
        count=100,
    ),
    "folder": Entry(
        "any folder of images: train/CLASS/*, val/CLASS/*, test/CLASS/*, resized to data.size",
        None,
        True,
        _rgb(None, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear"),
        IMAGENET_VIEWS,
        _folder,
    ),
}


def entry_of(name: str) -> Entry:
    """Return the entry of a name, its class subset aside.

    Raises:
        InputError: there is no such data set; the known ones are listed.
    """
    base = name.partition(":")[0]
    if base not in CATALOGUE:
        raise InputError(f"unknown data set {base!r}; known: {', '.join(CATALOGUE)}")
    return CATALOGUE[base]


def describe_catalogue() -> list[tuple[str, str, bool]]:
    """Return (name, description, whether data.root is needed) of every data set."""
    return [(name, entry.description, entry.needs_root) for name, entry in CATALOGUE.items()]
