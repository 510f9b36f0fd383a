"""The sets of annotated images that can be named. Adding one takes an entry in `ANNOTATED` and what loads it.

This module imports no torch: listing what there is costs nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from common.data.annotated.config import AnnotatedDataConfig
from common.data.annotated.entries import AnnotatedEntry
from common.data.annotated.segmentation_entries import SEGMENTATION_SETS
from common.data.annotated.sets import AnnotatedSet
from common.data.inputs import NORMALISATIONS, InputSpec, rgb
from common.data.splits import MANY_CLASSES, canonical_name, parse_name
from common.errors import InputError

_IMAGENET = rgb(None, *NORMALISATIONS["imagenet"])
_TENTH = "a fixed tenth of the training images validates"
_BOXES = ("boxes",)
_ALL = ("boxes", "masks", "keypoints")


def _digit_scenes(config: AnnotatedDataConfig) -> AnnotatedSet:
    from common.data.annotated.digit_scenes import load_digit_scenes

    return load_digit_scenes(config)


def _voc(config: AnnotatedDataConfig) -> AnnotatedSet:
    from common.data.annotated.voc_xml import load_voc

    return load_voc(config, _IMAGENET)


def _voc0712(config: AnnotatedDataConfig) -> AnnotatedSet:
    from common.data.annotated.voc_xml import load_voc0712

    return load_voc0712(config, _IMAGENET)


def _coco(config: AnnotatedDataConfig) -> AnnotatedSet:
    from common.data.annotated.coco_json import load_coco

    return load_coco(config, _IMAGENET, "instances")


def _coco_keypoints(config: AnnotatedDataConfig) -> AnnotatedSet:
    from common.data.annotated.coco_json import load_coco

    return load_coco(config, _IMAGENET, "person_keypoints")


def _coco_json(config: AnnotatedDataConfig) -> AnnotatedSet:
    from common.data.annotated.coco_json import load_coco_json

    return load_coco_json(config, _IMAGENET)


_COCO_PAGE = "https://cocodataset.org/#download"
_COCO_SPLITS = "val2017 tests; a fixed twentieth of train2017 validates"

ANNOTATED: dict[str, AnnotatedEntry] = {
    "digit_scenes": AnnotatedEntry(
        "scenes of 1 to 4 handwritten digits of 10 to 28 px among fragments of others, 64 px, 1,000 images",
        "embedded (composed from scikit-learn's digits)",
        tuple("0123456789"),
        rgb(64, *NORMALISATIONS["unit"]),
        (64, 64),
        _digit_scenes,
        (*_ALL, "label maps"),
        "600, 150 and 250 scenes train, validate and test, each of digits of its own",
        takes_subset=True,
    ),
    "voc0712": AnnotatedEntry(
        "PASCAL VOC 2007 and 2012, detection, 16,551 + 4,952 images",
        "http://host.robots.ox.ac.uk/pascal/VOC/; torchvision fetches it: --data.root DIR --data.download true",
        None,
        _IMAGENET,
        (416, 416),
        _voc0712,
        _BOXES,
        "2007's and 2012's trainval train, of which a fixed tenth validates; 2007's test images test",
        "VOCdevkit/VOC2007 (trainval and test) and VOCdevkit/VOC2012 (trainval)",
        can_be_fetched=True,
    ),
    "voc": AnnotatedEntry(
        "a folder of your own in the layout of PASCAL VOC",
        "your own",
        None,
        _IMAGENET,
        (416, 416),
        _voc,
        _BOXES,
        f"as its lists say; without test.txt the images of val.txt test, and without one of both {_TENTH}",
        "VOCdevkit/VOC*/ with JPEGImages, Annotations and ImageSets/Main/{train,val,test}.txt",
        own_images=True,
    ),
    "coco": AnnotatedEntry(
        "COCO 2017, detection and instance masks, 118,287 + 5,000 images",
        _COCO_PAGE,
        None,
        _IMAGENET,
        (512, 512),
        _coco,
        ("boxes", "masks"),
        _COCO_SPLITS,
        "train2017/, val2017/ and annotations/instances_{train,val}2017.json",
    ),
    "coco_keypoints": AnnotatedEntry(
        "COCO 2017, persons with 17 keypoints",
        _COCO_PAGE,
        ("person",),
        _IMAGENET,
        (512, 512),
        _coco_keypoints,
        _ALL,
        _COCO_SPLITS,
        "train2017/, val2017/ and annotations/person_keypoints_{train,val}2017.json",
    ),
    "coco_json": AnnotatedEntry(
        "a set of your own in COCO's format",
        "your own",
        None,
        _IMAGENET,
        (512, 512),
        _coco_json,
        ("boxes", "masks and keypoints where it has them"),
        f"as its files say; without test.json the images of val.json test, and without one of both {_TENTH}",
        "annotations/{train,val,test}.json or instances_{train,val,test}.json, and the images in a folder of the split's name, "
        "images/, JPEGImages/, VOCdevkit/VOC*/JPEGImages/ or beside them",
        own_images=True,
    ),
    **SEGMENTATION_SETS,
}


def annotated_entry(name: str) -> AnnotatedEntry:
    """Return the entry of a name, its class subset aside.

    Raises:
        InputError: there is no such set; the known ones are listed.
    """
    base = name.partition(":")[0]
    if base not in ANNOTATED:
        raise InputError(f"unknown set of annotated images {base!r}; known: {', '.join(ANNOTATED)}")
    return ANNOTATED[base]


def open_annotated(config: AnnotatedDataConfig) -> AnnotatedSet:
    """Load a set of annotated images by its name, with the input that the configuration asks for.

    Raises:
        InputError: an unknown name or class, a root that is not given, is not there or does not hold the set, annotations that
            contradict themselves, or an option that does not apply.
    """
    entry = annotated_entry(config.name)
    entry.check(config)
    dataset = entry.load(config)
    if config.skip_unreadable:
        dataset = _without_unreadable(dataset)
    height, width = size_of(config)
    spec = replace(dataset.input, size=height if height == width else None, interpolation="bilinear")
    if config.input != "own":
        mean, std = NORMALISATIONS[config.input]
        spec = replace(spec, mean=mean, std=std)
    return replace(dataset, input=spec)


def size_of(config: AnnotatedDataConfig) -> tuple[int, int]:
    """Return the height and width in pixels that a network sees; errors as `annotated_entry`."""
    if not config.size:
        return annotated_entry(config.name).size
    return config.size[0], config.size[-1]


def input_of(config: AnnotatedDataConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation that pixels are normalised by; errors as `annotated_entry`."""
    if config.input == "own":
        own: InputSpec = annotated_entry(config.name).input
        return own.mean, own.std
    return NORMALISATIONS[config.input]


def canonical_annotated_name(config: AnnotatedDataConfig) -> str:
    """Return the one name of a set: a class subset as ranges; images of one's own are named by their folder too.

    Raises:
        InputError: an unknown set or class.
    """
    entry = annotated_entry(config.name)
    count = len(entry.classes) if entry.classes and entry.takes_subset else MANY_CLASSES
    base, classes = parse_name(config.name, count)
    name = canonical_name(base, classes, count)
    return f"{name}@{Path(config.root).expanduser().resolve()}" if entry.own_images and config.root is not None else name


def describe_annotated() -> list[tuple[str, list[str]]]:
    """Return of every set its name, and a line each: what it is, what a network sees, its splits, its source, its layout."""
    return [(name, _lines(entry)) for name, entry in ANNOTATED.items()]


def _lines(entry: AnnotatedEntry) -> list[str]:
    classes = f"{len(entry.classes)} classes" if entry.classes else "its own classes"
    mean, std = (" ".join(f"{x:.4g}" for x in values) for values in (entry.input.mean, entry.input.std))
    told = f"{classes}, {', '.join(entry.annotated)}, {entry.size[0]} x {entry.size[1]} px, mean {mean}, std {std}"
    layout = [f"data.root DIR holds {entry.layout}"] if entry.layout else []
    return [entry.description, told, f"split: {entry.splits}", f"from: {entry.source}", *layout]


def _without_unreadable(dataset: AnnotatedSet) -> AnnotatedSet:
    from common.data.annotated.pixels import without_unreadable

    splits, skipped = {}, list(dataset.skipped)
    for name, images in dataset.splits.items():
        splits[name], left_out = without_unreadable(images)
        skipped += left_out
        if not len(splits[name]):
            raise InputError(
                f"data.skip_unreadable: none of the {len(left_out)} images of the {name} split of {dataset.name} can be read, "
                f"the first is {left_out[0]}; every split needs some"
            )
    return replace(dataset, splits=splits, skipped=tuple(skipped))
