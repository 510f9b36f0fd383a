"""The data sets that can be named. Adding one takes an entry here and a function that loads it.

This module imports no torch, torchvision or scikit-learn: listing what there is costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from common.data.augment_config import AugmentConfig
from common.data.inputs import NORMALISATIONS, InputSpec
from common.data.reading import Metric, Reading, Storage
from common.data.view_tables import CIFAR_VIEWS, DIGITS_VIEWS, IMAGENET_VIEWS, SVHN_VIEWS
from common.errors import InputError

if TYPE_CHECKING:
    from common.data.datasets import Dataset


@dataclass(frozen=True)
class Request:
    """What a loading function is asked for.

    Attributes:
        name: as written, with its class subset.
        classes: the entry's.
        input: the entry's.
        root: folder that holds the set, or receives it.
        download: fetch it.
        size: side in pixels that images are read at, where the entry fixes none.
        storage: whether decoded images stay in memory, or are read from their files again and again.
        reading: how files are read in training.
    """

    name: str
    classes: tuple[str, ...] | None
    input: InputSpec
    root: str | None
    download: bool
    size: int | None
    storage: Storage = "auto"
    reading: Reading = field(default_factory=Reading)

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
    """One data set.

    Attributes:
        description: what `--list` says of it.
        source: where it comes from, as `--list` says it.
        classes: their names; None where they are known once it is read.
        needs_root: whether data.root must be given.
        input: what a network expects of its pixels.
        views: SimCLR's views of it, for the retrieval accuracy of every paradigm.
        load: what reads it.
        count: number of classes where they are not named here; None: known once it is read.
        size: side in pixels that files are read at where none is asked for; None: one must be asked for.
        storage: where the images of files are kept where that is not asked for; auto: their size on disk decides.
        fingerprint: finds the images' fingerprint without opening one, where a folder says which images there are.
        metric: what a classifier of it is judged and chosen by.
    """

    description: str
    source: str
    classes: tuple[str, ...] | None
    needs_root: bool
    input: InputSpec
    views: AugmentConfig
    load: Callable[[Request], Dataset]
    count: int | None = None
    size: int | None = None
    storage: Storage = "auto"
    fingerprint: Callable[[Request], str] | None = None
    metric: Metric = "top1"

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


def _small(request: Request) -> Dataset:
    from common.data.small import load_small

    return load_small(request)


def _imagenet(request: Request) -> Dataset:
    from common.data.folder import load_imagenet

    return load_imagenet(request)


def _imagenet_listed(request: Request) -> str:
    from common.data.folder import imagenet_fingerprint

    return imagenet_fingerprint(request)


def _folder(request: Request) -> Dataset:
    from common.data.folder import load_folder

    return load_folder(request)


def _folder_listed(request: Request) -> str:
    from common.data.folder import folder_fingerprint

    return folder_fingerprint(request)


def _rgb(size: int | None, mean: tuple[float, ...], std: tuple[float, ...], interpolation: str | None = None) -> InputSpec:
    return InputSpec(size, 3, (0.0, 1.0), mean, std, interpolation)


_EMBEDDED = "embedded (scikit-learn)"
_FETCHED = "torchvision fetches it: --data.root DIR --data.download true"
_DIGITS = tuple("0123456789")
_CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_STL10_CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
_FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
)  # fmt: skip

_AS_IT_IS = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
_IMAGENET = NORMALISATIONS["imagenet"]
# The deviations of CIFAR and SVHN are those of the field's recipes, means of each image's own; over all pixels CIFAR-10's are
# .2470 .2435 .2616 and SVHN's .1980 .2010 .1970.
_CIFAR10 = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
_CIFAR100 = (0.5071, 0.4866, 0.4409), (0.2009, 0.1984, 0.2023)
_SVHN = (0.4377, 0.4438, 0.4728), (0.1201, 0.1231, 0.1052)
# Over the training pixels. Chen et al. 2021 used .1436 and .1609, which are no statistics of these images: their weights expect
# another input, and are refused unless data.accept_input_mismatch says otherwise.
_FASHION = (0.2860,) * 3, (0.3530,) * 3
_STL10 = (0.4467, 0.4398, 0.4066), (0.2603, 0.2566, 0.2713)  # over the pixels of the labelled training images

CATALOGUE: dict[str, Entry] = {
    "digits": Entry(
        "handwritten digits among fragments of others, 16 px, 1,797 images",
        _EMBEDDED,
        _DIGITS,
        False,
        _rgb(16, *_AS_IT_IS),
        DIGITS_VIEWS,
        _digits,
    ),
    "digits_clean": Entry(
        "handwritten digits as they are, 8 px, 1,797 images",
        _EMBEDDED,
        _DIGITS,
        False,
        _rgb(8, *_AS_IT_IS),
        DIGITS_VIEWS,
        _digits_clean,
    ),
    "cifar10": Entry(
        "CIFAR-10, 32 px, 45,000 + 5,000 + 10,000 images",
        _FETCHED,
        _CIFAR10_CLASSES,
        True,
        _rgb(32, *_CIFAR10),
        CIFAR_VIEWS,
        _small,
    ),
    "cifar100": Entry(
        "CIFAR-100, 32 px, 45,000 + 5,000 + 10,000 images",
        _FETCHED,
        None,
        True,
        _rgb(32, *_CIFAR100),
        CIFAR_VIEWS,
        _small,
        count=100,
    ),
    "svhn": Entry(
        "SVHN, 32 px, 68,257 + 5,000 + 26,032 images",
        _FETCHED,
        _DIGITS,
        True,
        _rgb(32, *_SVHN),
        SVHN_VIEWS,
        _small,
    ),
    "svhn_extra": Entry(
        "SVHN with its 531,131 extra training images, 599,388 + 5,000 + 26,032 (2 GB in memory)",
        _FETCHED,
        _DIGITS,
        True,
        _rgb(32, *_SVHN),
        SVHN_VIEWS,
        _small,
    ),
    "fashion_mnist": Entry(
        "Fashion-MNIST with three equal channels, 28 px, 55,000 + 5,000 + 10,000 images",
        _FETCHED,
        _FASHION_CLASSES,
        True,
        _rgb(28, *_FASHION),
        CIFAR_VIEWS,
        _small,
    ),
    "stl10": Entry(
        "STL-10, the labelled images, 96 px, 4,500 + 500 + 8,000",
        _FETCHED,
        _STL10_CLASSES,
        True,
        _rgb(96, *_STL10),
        IMAGENET_VIEWS,
        _small,
    ),
    "stl10_unlabelled": Entry(
        "STL-10, training on its 100,000 unlabelled images (2.8 GB in memory); stl10's 4,500 for probes, its 500 + 8,000",
        _FETCHED,
        _STL10_CLASSES,
        True,
        _rgb(96, *_STL10),
        IMAGENET_VIEWS,
        _small,
    ),
    "imagenet": Entry(
        "ImageNet (ILSVRC 2012), 224 px or data.size, 1,231,167 + 50,000 (50 of each class) + its 50,000 validation images",
        "image-net.org, after registration; --data.root DIR with train/CLASS/*, val/CLASS/*",
        None,
        True,
        _rgb(None, *_IMAGENET, "bilinear"),
        IMAGENET_VIEWS,
        _imagenet,
        count=1000,
        size=224,
        storage="files",
        fingerprint=_imagenet_listed,
    ),
    "folder": Entry(
        "any folder of images, at data.size",
        "your own; --data.root DIR with train/CLASS/*, val/CLASS/*, test/CLASS/*",
        None,
        True,
        _rgb(None, *_IMAGENET, "bilinear"),
        IMAGENET_VIEWS,
        _folder,
        fingerprint=_folder_listed,
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


def describe_catalogue() -> list[tuple[str, str, str]]:
    """Return (name, description, where it comes from) of every data set."""
    return [(name, entry.description, entry.source) for name, entry in CATALOGUE.items()]
