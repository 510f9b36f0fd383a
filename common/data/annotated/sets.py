"""Annotated images of one split, and the data set that they make. M objects of an image, P keypoints of an object."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.data.inputs import InputSpec
from common.errors import InputError

IGNORE = 255
"""The label of a pixel that neither trains nor is judged."""


@dataclass(frozen=True)
class Objects:
    """What is annotated in one image.

    Attributes:
        boxes: float32 (M, 4): x1, y1, x2, y2 in pixels of the image as it is, continuous, 0 <= x1 < x2 <= W, 0 <= y1 < y2 <= H.
        labels: int64 (M,), in 0 .. K-1, in the order of the data set's `classes`.
        difficult: bool (M,): VOC's flag; such an object does not train, and finding or missing it does not count.
        crowd: bool (M,): COCO's flag; the box is of a group, which does not train; what lies in it does not count.
        areas: float32 (M,), in pixels: what COCO's size ranges go by; the box's where nothing else is known.
        masks: COCO's compressed run lengths ({"size": [H, W], "counts": bytes}), one of every object, perhaps made of polygons
            when they are asked for; None: there are none.
        keypoints: float32 (M, P, 3): x, y, and 0 unlabelled, 1 hidden, 2 visible; None: there are none.
    """

    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    masks: Sequence[Mapping[str, Any]] | None = None
    keypoints: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def trains(self) -> np.ndarray:
        """Bool (M,): what a detector learns from."""
        return ~(self.difficult | self.crowd)


@dataclass(frozen=True)
class AnnotatedImages:
    """The images of one split; pixels are read when they are asked for.

    Attributes:
        names: N names, of files relative to the root or of composed images; what errors and drawings say.
        ids: int64 (N,): the images' ids in the annotation file, 0 .. N-1 where it has none.
        sizes: int64 (N, 2): height and width in pixels.
        read: index -> uint8 (H, W, 3), RGB.
        objects: what is in each image; None: a set of label maps alone.
        read_labels: index -> uint8 (H, W), the class of every pixel or IGNORE; None: there are no label maps.
    """

    names: tuple[str, ...]
    ids: np.ndarray
    sizes: np.ndarray
    read: Callable[[int], np.ndarray]
    objects: tuple[Objects, ...] | None = None
    read_labels: Callable[[int], np.ndarray] | None = None

    def __post_init__(self) -> None:
        for what, there in {"ids": len(self.ids), "sizes": len(self.sizes)}.items():
            if there != len(self.names):
                raise InputError(f"{len(self.names)} annotated images and {there} {what}, expected as many")
        if self.objects is not None and len(self.objects) != len(self.names):
            raise InputError(f"{len(self.names)} annotated images and objects of {len(self.objects)}, expected as many")

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class AnnotatedSet:
    """A data set of annotated images, divided into splits.

    Attributes:
        name: canonical name, such as `digit_scenes:6-9`.
        classes: names of the classes, in the order of the labels.
        input: what a network trained on these images expects of its pixels.
        splits: `train`, `validation` and `test`.
        split_hash: 16 hex digits that say which images are in which split.
        fingerprint: `<number of images>-<16 hex digits>`.
        skipped: names of images that were left out.
        mended: what was changed in the annotations and how often, such as {"boxes_clipped": 3, "boxes_without_area": 2}.
        keypoint_swaps: pairs of keypoints that a mirrored image exchanges, left and right.
        category_ids: the id of each class in the annotation files; () where they have none.
    """

    name: str
    classes: tuple[str, ...]
    input: InputSpec
    splits: Mapping[str, AnnotatedImages]
    split_hash: str
    fingerprint: str
    skipped: tuple[str, ...] = ()
    mended: Mapping[str, int] = field(default_factory=dict)
    keypoint_swaps: tuple[tuple[int, int], ...] = ()
    category_ids: tuple[int, ...] = ()

    def split(self, name: str) -> AnnotatedImages:
        """Return one split.

        Raises:
            InputError: there is no such split.
        """
        if name not in self.splits:
            raise InputError(f"{self.name} has no split {name!r}; it has {', '.join(self.splits)}")
        return self.splits[name]

    @property
    def train(self) -> AnnotatedImages:
        """The images that weights learn from."""
        return self.split("train")
