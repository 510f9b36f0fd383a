"""Boxes that a detector found, of all images of a split, as box metrics take them. D boxes of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from common.data.annotated.sets import AnnotatedImages, Objects
from common.errors import InputError, RunError


@dataclass(frozen=True)
class FoundBoxes:
    """What was found in one image.

    Attributes:
        boxes: float (D, 4): x1, y1, x2, y2 in pixels of the image as it is, x1 <= x2, y1 <= y2.
        scores: float (D,), in [0, 1], in any order.
        labels: integer (D,), in 0 .. K-1.

    Raises:
        InputError: shapes or corners that are not as above.
        RunError: a value is not finite.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.scores)
        shapes = f"{self.boxes.shape}, {self.scores.shape} and {self.labels.shape}"
        if self.boxes.shape != (count, 4) or self.scores.shape != (count,) or self.labels.shape != (count,):
            raise InputError(f"found boxes, scores and labels of shapes {shapes}, expected (D, 4), (D,) and (D,)")
        if not np.issubdtype(self.labels.dtype, np.integer):
            raise InputError(f"labels of found boxes are {self.labels.dtype}, expected integers")
        if not (np.isfinite(self.boxes).all() and np.isfinite(self.scores).all()):
            raise RunError("found boxes or scores hold values that are not finite: the network has diverged")
        turned = np.flatnonzero((self.boxes[:, 2:] < self.boxes[:, :2]).any(axis=1))
        if len(turned):
            raise InputError(f"found box {self.boxes[turned[0]].tolist()}: expected x1 <= x2 and y1 <= y2, in pixels")

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class BoxScores:
    """A detector's scores.

    Attributes:
        metrics: name -> fraction in [0, 1].
        class_ap50: AP at IoU .50 of every class, in [0, 1]; None where the split has no object of the class that counts.
    """

    metrics: dict[str, float]
    class_ap50: tuple[float | None, ...]


def merge_found(parts: Sequence[Mapping[int, FoundBoxes]], count: int) -> list[FoundBoxes]:
    """Bring together what several processes found, by the image's index in the split.

    Args:
        parts: of every process, index -> what was found there.
        count: how many images the split has.

    Returns:
        What was found in image 0, 1, ... count - 1.

    Raises:
        InputError: an image is there twice, is missing, or is not of the split; names the index.
    """
    merged: dict[int, FoundBoxes] = {}
    for part in parts:
        for index, found in part.items():
            if index in merged:
                raise InputError(f"image {index} was evaluated twice, expected each image of the split once")
            if not 0 <= index < count:
                raise InputError(f"image {index} was evaluated, the split has images 0 to {count - 1}")
            merged[index] = found
    missing = [index for index in range(count) if index not in merged]
    if missing:
        raise InputError(f"{len(missing)} of {count} images were not evaluated, the first is {missing[0]}; expected all of them")
    return [merged[index] for index in range(count)]


def checked_objects(found: Sequence[FoundBoxes], images: AnnotatedImages, num_classes: int) -> tuple[Objects, ...]:
    """Return the objects of every image, after a check that they and what was found can be compared.

    Raises:
        InputError: other than one `FoundBoxes` of every image; images without annotated objects; a label that is not in
            0 .. num_classes - 1; no object that counts, so that no average precision is defined.
    """
    if images.objects is None:
        raise InputError("these images have label maps and no objects, expected boxes to compare detections with")
    if len(found) != len(images):
        raise InputError(f"detections of {len(found)} images, expected one list for each of the {len(images)} images")
    for name, theirs, there in zip(images.names, found, images.objects, strict=True):
        for what, labels in (("a found box", theirs.labels), ("an object", there.labels)):
            if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
                wrong = int(labels.max() if labels.min() >= 0 else labels.min())
                raise InputError(f"{name}: {what} has label {wrong}, expected 0 to {num_classes - 1}")
    if not any(there.trains.any() for there in images.objects):
        raise InputError(
            f"none of the {len(images)} images has an object that counts (all are difficult or crowds, or there are none), "
            f"so average precision is not defined; evaluate a split with objects"
        )
    return images.objects
