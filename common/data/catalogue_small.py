"""The catalogue's small data sets: scikit-learn's digits, and those that torchvision reads whole. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.data.entries import Entry, Request
from common.data.inputs import rgb
from common.data.view_tables import CIFAR_VIEWS, DIGITS_VIEWS, IMAGENET_VIEWS, SVHN_VIEWS

if TYPE_CHECKING:
    from common.data.datasets import Dataset


def _digits(request: Request) -> Dataset:
    from common.data.digits import load_digit_images

    return load_digit_images(request, cluttered=True)


def _digits_clean(request: Request) -> Dataset:
    from common.data.digits import load_digit_images

    return load_digit_images(request, cluttered=False)


def _small(request: Request) -> Dataset:
    from common.data.small import load_small

    return load_small(request)


_EMBEDDED = "embedded (scikit-learn)"
_FETCHED = "; torchvision fetches it: --data.root DIR --data.download true"
_CIFAR = "https://www.cs.toronto.edu/~kriz/cifar.html"
_SVHN_PAGE = "http://ufldl.stanford.edu/housenumbers/"
_FASHION_PAGE = "https://github.com/zalandoresearch/fashion-mnist"
_STL10_PAGE = "https://cs.stanford.edu/~acoates/stl10/"
_TAIL = "the last 5,000 training images validate"
_TENTH = "a tenth of every class of the labelled training images validates"
_DIGITS = tuple("0123456789")
_CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_STL10_CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
_FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
)  # fmt: skip

_AS_IT_IS = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
# The deviations of CIFAR and SVHN are those of the field's recipes, means of each image's own; over all pixels CIFAR-10's are
# .2470 .2435 .2616 and SVHN's .1980 .2010 .1970.
_CIFAR10 = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
_CIFAR100 = (0.5071, 0.4866, 0.4409), (0.2009, 0.1984, 0.2023)
_SVHN = (0.4377, 0.4438, 0.4728), (0.1201, 0.1231, 0.1052)
# Over the training pixels. Chen et al. 2021 used .1436 and .1609, which are no statistics of these images: their weights expect
# another input, and are refused unless data.accept_input_mismatch says otherwise.
_FASHION = (0.2860,) * 3, (0.3530,) * 3
_STL10 = (0.4467, 0.4398, 0.4066), (0.2603, 0.2566, 0.2713)  # over the pixels of the labelled training images

SMALL_SETS: dict[str, Entry] = {
    "digits": Entry(
        "handwritten digits among fragments of others, 16 px, 1,797 images",
        _EMBEDDED,
        _DIGITS,
        False,
        rgb(16, *_AS_IT_IS),
        DIGITS_VIEWS,
        _digits,
        splits="60, 16 and 24% of every class train, validate and test",
    ),
    "digits_clean": Entry(
        "handwritten digits as they are, 8 px, 1,797 images",
        _EMBEDDED,
        _DIGITS,
        False,
        rgb(8, *_AS_IT_IS),
        DIGITS_VIEWS,
        _digits_clean,
        splits="60, 16 and 24% of every class train, validate and test",
    ),
    "cifar10": Entry(
        "CIFAR-10, 32 px, 45,000 + 5,000 + 10,000 images",
        _CIFAR + _FETCHED,
        _CIFAR10_CLASSES,
        True,
        rgb(32, *_CIFAR10),
        CIFAR_VIEWS,
        _small,
        layout="cifar-10-batches-py/{data_batch_1 .. 5, test_batch, batches.meta}",
        splits=_TAIL,
        can_be_fetched=True,
    ),
    "cifar100": Entry(
        "CIFAR-100, 32 px, 45,000 + 5,000 + 10,000 images",
        _CIFAR + _FETCHED,
        None,
        True,
        rgb(32, *_CIFAR100),
        CIFAR_VIEWS,
        _small,
        count=100,
        layout="cifar-100-python/{train, test, meta}",
        splits=_TAIL,
        can_be_fetched=True,
    ),
    "svhn": Entry(
        "SVHN, 32 px, 68,257 + 5,000 + 26,032 images",
        _SVHN_PAGE + _FETCHED,
        _DIGITS,
        True,
        rgb(32, *_SVHN),
        SVHN_VIEWS,
        _small,
        layout="train_32x32.mat, test_32x32.mat",
        splits=_TAIL,
        can_be_fetched=True,
    ),
    "svhn_extra": Entry(
        "SVHN with its 531,131 extra training images, 599,388 + 5,000 + 26,032 (2 GB in memory)",
        _SVHN_PAGE + _FETCHED,
        _DIGITS,
        True,
        rgb(32, *_SVHN),
        SVHN_VIEWS,
        _small,
        layout="train_32x32.mat, test_32x32.mat, extra_32x32.mat",
        splits=_TAIL,
        can_be_fetched=True,
    ),
    "fashion_mnist": Entry(
        "Fashion-MNIST with three equal channels, 28 px, 55,000 + 5,000 + 10,000 images",
        _FASHION_PAGE + _FETCHED,
        _FASHION_CLASSES,
        True,
        rgb(28, *_FASHION),
        CIFAR_VIEWS,
        _small,
        layout="FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte",
        splits=_TAIL,
        can_be_fetched=True,
    ),
    "stl10": Entry(
        "STL-10, the labelled images, 96 px, 4,500 + 500 + 8,000",
        _STL10_PAGE + _FETCHED,
        _STL10_CLASSES,
        True,
        rgb(96, *_STL10),
        IMAGENET_VIEWS,
        _small,
        layout="stl10_binary/{train,test}_{X,y}.bin, class_names.txt",
        splits=_TENTH,
        validates="tenth",
        can_be_fetched=True,
    ),
    "stl10_unlabelled": Entry(
        "STL-10, training on its 100,000 unlabelled images (2.8 GB in memory); stl10's 4,500 for probes, its 500 + 8,000",
        _STL10_PAGE + _FETCHED,
        _STL10_CLASSES,
        True,
        rgb(96, *_STL10),
        IMAGENET_VIEWS,
        _small,
        layout="stl10_binary/{train,test}_{X,y}.bin, unlabeled_X.bin, class_names.txt",
        splits=_TENTH,
        validates="tenth",
        can_be_fetched=True,
    ),
}
