"""The catalogue's data sets in image files: ImageNet, folders and lists of one's own, published targets. Imports no torch.

Statistics and metrics of the sparse-transfer sets are those of "How Well Do Sparse ImageNet Models Transfer?" (CVPR 2022): mean
per class where it reports that (its figures of Caltech-256 fit both; its convention is that of Kornblith et al. 2019).
That study trained on all of train and validation and took the best epoch on the test images; here part of them chooses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from common.data.entries import Entry, Request
from common.data.inputs import NORMALISATIONS, rgb
from common.data.reading import Metric
from common.data.view_tables import IMAGENET_VIEWS

if TYPE_CHECKING:
    from common.data.datasets import Dataset


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


def _domains(request: Request) -> Dataset:
    from common.data.folder import load_domains

    return load_domains(request)


def _domains_listed(request: Request) -> str:
    from common.data.folder import domains_fingerprint

    return domains_fingerprint(request)


def _list(request: Request) -> Dataset:
    from common.data.image_lists import load_list

    return load_list(request)


def _list_listed(request: Request) -> str:
    from common.data.image_lists import list_fingerprint

    return list_fingerprint(request)


def _published(request: Request) -> Dataset:
    from common.data.published_sets import load_published

    return load_published(request)


def _published_listed(request: Request) -> str:
    from common.data.published_sets import published_fingerprint

    return published_fingerprint(request)


_FETCHED = "; torchvision fetches it: --data.root DIR --data.download true"
_IMAGENET = NORMALISATIONS["imagenet"]
_TENTH = "a tenth of every class of train validates"
_OWN = "its own train, validation and test; data.validation tenth: a tenth of every class of train and validation validates"
_FOLDERS = "train/CLASS/*, and test/CLASS/* or val/CLASS/* or both"
_VISDA_CLASSES = (
    "aeroplane", "bicycle", "bus", "car", "horse", "knife", "motorcycle", "person", "plant", "skateboard", "train", "truck"
)  # fmt: skip

_Triple = tuple[float, float, float]


def _target(
    description: str,
    source: str,
    classes: int,
    mean: _Triple,
    std: _Triple,
    *,
    layout: str,
    splits: str = f"train and test; {_TENTH}",
    metric: Metric = "top1",
    validates: Literal["own", "tenth"] = "tenth",
    can_be_fetched: bool = True,
) -> Entry:
    """Describe a set of the sparse-transfer study, at 224 px from its files."""
    return Entry(
        description,
        source + (_FETCHED if can_be_fetched else "; --data.root DIR"),
        None,
        True,
        rgb(None, mean, std, "bilinear"),
        IMAGENET_VIEWS,
        _published,
        count=classes,
        size=224,
        storage="files",
        fingerprint=_published_listed,
        metric=metric,
        layout=layout,
        crop="margin",
        splits=splits,
        validates=validates,
        can_be_fetched=can_be_fetched,
    )


FILE_SETS: dict[str, Entry] = {
    "imagenet": Entry(
        "ImageNet (ILSVRC 2012), 224 px or data.size, 1,231,167 + 50,000 (50 of each class) + its 50,000 validation images",
        "image-net.org, after registration; --data.root DIR with train/CLASS/*, val/CLASS/*",
        None,
        True,
        rgb(None, *_IMAGENET, "bilinear"),
        IMAGENET_VIEWS,
        _imagenet,
        count=1000,
        size=224,
        storage="files",
        fingerprint=_imagenet_listed,
        layout="train/CLASS/*, val/CLASS/*",
        splits="val tests; 50 training images of every class validate",
    ),
    "folder": Entry(
        "any folder of images, at data.size",
        f"your own; --data.root DIR with {_FOLDERS}",
        None,
        True,
        rgb(None, *_IMAGENET, "bilinear"),
        IMAGENET_VIEWS,
        _folder,
        fingerprint=_folder_listed,
        layout=_FOLDERS,
        splits=f"train, val and test; without test, val tests and {_TENTH}",
        validates="own",
    ),
    "list": Entry(
        "any lists of images, at data.size: a line of a list is a path below data.root, a blank, and a number from 0",
        "your own; --data.root DIR with train.txt, and test.txt or val.txt or both, perhaps classes.txt (a name a line)",
        None,
        True,
        rgb(None, *_IMAGENET, "bilinear"),
        IMAGENET_VIEWS,
        _list,
        fingerprint=_list_listed,
        layout="train.txt, and test.txt or val.txt or both, lines PATH LABEL; perhaps classes.txt, lines NAME",
        splits=f"train, val and test; without test, val tests and {_TENTH}",
        validates="own",
    ),
    "domains": Entry(
        "a pair of domains, at data.size: trained and chosen on the images of data.source, tested on those of data.target",
        "your own, such as PACS or Office-Home; --data.root DIR with one folder per domain",
        None,
        True,
        rgb(None, *_IMAGENET, "bilinear"),
        IMAGENET_VIEWS,
        _domains,
        fingerprint=_domains_listed,
        layout=f"DOMAIN/CLASS/*, or in every DOMAIN {_FOLDERS}",
        splits="train and validation of the source, test of the target, each as those of folder; a domain of classes tests whole",
        validates="own",
    ),
    "visda": Entry(
        "VisDA-2017 classification, synthetic to real, 152,397 + 55,388 images",
        "https://github.com/VisionLearningGroup/taskcv-2017-public; --data.root DIR",
        _VISDA_CLASSES,
        True,
        rgb(None, *_IMAGENET, "bilinear"),
        IMAGENET_VIEWS,
        _list,
        size=224,
        storage="files",
        fingerprint=_list_listed,
        layout="train/image_list.txt, validation/image_list.txt, lines PATH LABEL, paths below the list's own folder",
        crop="square",
        validates="tenth",
        splits="the real validation images test; a tenth of every class of the synthetic train images validates",
    ),
    "aircraft": _target(
        "FGVC Aircraft, 100 variants, 3,334 + 3,333 + 3,333 images",
        "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
        100,
        (0.4892, 0.5159, 0.5356),
        (0.2275, 0.2200, 0.2476),
        layout="fgvc-aircraft-2013b/data/{variants.txt, images_variant_{train,val,test}.txt, images/*.jpg}",
        splits=_OWN,
        metric="mean_per_class",
        validates="own",
    ),
    "birdsnap": _target(
        "Birdsnap, 500 species, 32,677 + 8,171 images in the study's copy",
        "thomasberg.org, whose image addresses are dead: bring a copy",
        500,
        (0.4856, 0.4948, 0.4486),
        (0.2233, 0.2213, 0.2586),
        layout="train/CLASS/*, test/CLASS/*",
        can_be_fetched=False,
    ),
    "caltech101": _target(
        "Caltech-101 without its background class, 3,030 + 5,647 images",
        "https://data.caltech.edu/records/mzrjq-6wc02",
        101,
        (0.5413, 0.5063, 0.4693),
        (0.3115, 0.3090, 0.3183),
        layout="caltech101/101_ObjectCategories/CLASS/image_NNNN.jpg, 102 classes with BACKGROUND_Google",
        splits="the first 30 images of every class, by name, train (a tenth of them validates), the others test",
        metric="mean_per_class",
    ),
    "caltech256": _target(
        "Caltech-256 with its clutter class, 15,420 + 15,187 images",
        "https://data.caltech.edu/records/nyy15-4j048",
        257,
        (0.5438, 0.5141, 0.4821),
        (0.3077, 0.3044, 0.3163),
        layout="caltech256/256_ObjectCategories/CLASS/NNN_NNNN.jpg, 257 classes",
        splits="the first 60 images of every class, by name, train (a tenth of them validates), the others test",
        metric="mean_per_class",
    ),
    "cars": _target(
        "Stanford Cars, 196 models, 8,144 + 8,041 images",
        "its address (ai.stanford.edu/~jkrause/cars) is dead, and torchvision fetches it no longer: bring a copy",
        196,
        (0.4513, 0.4354, 0.4358),
        (0.2900, 0.2880, 0.2951),
        layout="stanford_cars/{devkit/{cars_meta,cars_train_annos}.mat, cars_test_annos_withlabels.mat, cars_train/*.jpg, "
        "cars_test/*.jpg}",
        can_be_fetched=False,
    ),
    "dtd": _target(
        "Describable Textures, partition 1, 47 textures, 1,880 + 1,880 + 1,880 images",
        "https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        47,
        (0.5322, 0.4734, 0.4251),
        (0.2642, 0.2530, 0.2613),
        layout="dtd/dtd/{labels/{train,val,test}1.txt, images/CLASS/*.jpg}",
        splits=_OWN,
        validates="own",
    ),
    "flowers": _target(
        "Oxford Flowers 102, 1,020 + 1,020 + 6,149 images",
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
        102,
        (0.5133, 0.4148, 0.3383),
        (0.2959, 0.2502, 0.2900),
        layout="flowers-102/{imagelabels.mat, setid.mat, jpg/image_NNNNN.jpg}",
        splits=_OWN,
        metric="mean_per_class",
        validates="own",
    ),
    "food101": _target(
        "Food-101, 75,750 + 25,250 images",
        "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        101,
        (0.5566, 0.4378, 0.3193),
        (0.2589, 0.2622, 0.2630),
        layout="food-101/{meta/{train,test}.json, images/CLASS/*.jpg}",
    ),
    "pets": _target(
        "Oxford-IIIT Pets, 37 breeds, 3,680 + 3,669 images",
        "https://www.robots.ox.ac.uk/~vgg/data/pets/",
        37,
        (0.4807, 0.4432, 0.3949),
        (0.2598, 0.2537, 0.2597),
        layout="oxford-iiit-pet/{annotations/{trainval,test}.txt, images/*.jpg}",
        metric="mean_per_class",
    ),
    "sun397": _target(
        "SUN397, the first of its ten partitions, 19,850 + 19,850 images",
        "https://vision.princeton.edu/projects/2010/SUN/",
        397,
        (0.4772, 0.4566, 0.4168),
        (0.2556, 0.2520, 0.2720),
        layout="SUN397/{ClassName.txt, Training_01.txt, Testing_01.txt, LETTER/SCENE/*.jpg}",
        splits=f"the images of Training_01.txt and Testing_01.txt; {_TENTH}",
    ),
}
