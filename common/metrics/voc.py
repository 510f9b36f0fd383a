"""Average precision of boxes as PASCAL VOC defines it: 11 points (2007) and all points (2010 on)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.data.annotated.sets import AnnotatedImages, Objects
from common.metrics.found_boxes import BoxScores, FoundBoxes, checked_objects

HUNDREDTHS = tuple(range(50, 100, 5))
"""The IoU thresholds, in hundredths: .50:.05:.95."""


@dataclass(frozen=True)
class _ClassMatches:
    """Detections of one class over all images, the surest first; at equal scores in the order of images and boxes.

    Attributes:
        overlaps: float64 (D,): IoU with the object of the class in the image that each covers best; 0 where there is none.
        best: int64 (D,): that object's number, -1 where there is none.
        counts: bool (G,): which objects of the class count.
    """

    overlaps: np.ndarray
    best: np.ndarray
    counts: np.ndarray


def voc_box_metrics(found: Sequence[FoundBoxes], images: AnnotatedImages, num_classes: int) -> dict[str, float]:
    """Return the metrics of `voc_box_scores` alone; arguments and errors are the same."""
    return voc_box_scores(found, images, num_classes).metrics


def voc_box_scores(found: Sequence[FoundBoxes], images: AnnotatedImages, num_classes: int) -> BoxScores:
    """Score detections as PASCAL VOC does (Everingham et al. 2010, section 4.2, and its development kit).

    A detection belongs to the object of its class that it covers best; at an IoU of the threshold or more it is right if it
    is the surest that found this object, else wrong; a difficult object neither counts as found nor as missed. Crowds, which
    VOC does not have, are taken as difficult. Boxes are continuous: VOC's pixel corners give the kit's IoU if a reader moves x1
    and y1 by -1. Thresholds other than .50 and their mean are not VOC's own; papers that report AP, AP50 and AP75 on VOC mean
    these.

    Args:
        found: one of every image, in the order of the images; none found at all scores 0.
        images: with objects.
        num_classes: K.

    Returns:
        VOC07_AP, VOC07_AP50, VOC07_AP75 (mean of the highest precision at recall 0, .1, ... 1 or more) and VOC_AP, VOC_AP50,
        VOC_AP75 (area under the precision made monotone), in [0, 1]: means over the classes that have an object which counts,
        AP also over IoU .50:.05:.95; and all-point AP50 of every class.

    Raises:
        InputError: see `checked_objects`.
    """
    objects = checked_objects(found, images, num_classes)
    eleven = np.full((num_classes, len(HUNDREDTHS)), np.nan)
    all_points = eleven.copy()
    for label in range(num_classes):
        matches = _match(found, objects, label)
        total = int(matches.counts.sum())
        if total:
            for i, hundredths in enumerate(HUNDREDTHS):
                right, wrong = _right_and_wrong(matches, hundredths / 100)
                eleven[label, i] = eleven_point_ap(right, wrong, total)
                all_points[label, i] = all_point_ap(right, wrong, total)
    metrics: dict[str, float] = {}
    for name, table in {"VOC07": eleven, "VOC": all_points}.items():
        there = table[~np.isnan(table[:, 0])]
        metrics |= {f"{name}_AP": float(there.mean())}
        metrics |= {f"{name}_AP{at}": float(there[:, HUNDREDTHS.index(at)].mean()) for at in (50, 75)}
    return BoxScores(metrics, tuple(None if np.isnan(ap) else float(ap) for ap in all_points[:, 0]))


def eleven_point_ap(right: np.ndarray, wrong: np.ndarray, total: int) -> float:
    """Return the mean, over recall 0, .1, ... 1, of the highest precision at that recall or more (VOC 2007).

    Args:
        right: bool (D,), the surest detection first.
        wrong: bool (D,); what is neither is ignored.
        total: objects that count, >= 1.
    """
    found, precision = _curve(right, wrong)
    # In whole numbers: 3 of 10 objects is recall .3, which 3 * .1 in floating point is not.
    levels = [precision[10 * found >= level * total] for level in range(11)]
    return sum(float(reached.max()) for reached in levels if len(reached)) / 11


def all_point_ap(right: np.ndarray, wrong: np.ndarray, total: int) -> float:
    """Return the area under the precision made monotone, over recall (VOC 2010 on); arguments as `eleven_point_ap`."""
    found, precision = _curve(right, wrong)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float((highest * np.diff(found, prepend=0)).sum() / total)


def _curve(right: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many objects are found and the precision, after each detection that is not ignored."""
    judged = right | wrong
    found = np.cumsum(right[judged])
    return found, found / np.arange(1, len(found) + 1)


def _right_and_wrong(matches: _ClassMatches, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which detections are right and which are wrong at an IoU threshold, bool (D,) each."""
    reaches = matches.overlaps >= threshold
    candidates = np.flatnonzero(reaches)
    first = candidates[np.unique(matches.best[candidates], return_index=True)[1]]
    right = np.zeros(len(reaches), dtype=bool)
    right[first] = matches.counts[matches.best[first]]
    ignored = reaches.copy()
    ignored[candidates] = ~matches.counts[matches.best[candidates]]
    return right, ~(right | ignored)


def _match(found: Sequence[FoundBoxes], objects: Sequence[Objects], label: int) -> _ClassMatches:
    """Match all detections of a class with its objects, whatever the threshold."""
    scores, overlaps, best, counts = [np.zeros(0)], [np.zeros(0)], [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=bool)]
    objects_before = 0
    for here, there in zip(found, objects, strict=True):
        mine, of_class = here.labels == label, there.labels == label
        if mine.any():
            nearest, overlap = _best_object(here.boxes[mine], there.boxes[of_class])
            best.append(np.where(nearest >= 0, nearest + objects_before, -1))
            overlaps.append(overlap)
            scores.append(here.scores[mine])
        counts.append(there.trains[of_class])
        objects_before += int(of_class.sum())
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return _ClassMatches(np.concatenate(overlaps)[order], np.concatenate(best)[order], np.concatenate(counts))


def _best_object(boxes_D4: np.ndarray, objects_M4: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, of every box, the object with the highest IoU (the first of equals, -1 if there is none) and that IoU."""
    if not len(objects_M4):
        return np.full(len(boxes_D4), -1), np.zeros(len(boxes_D4))
    iou_DM = _iou(boxes_D4.astype(np.float64), objects_M4.astype(np.float64))
    return iou_DM.argmax(axis=1), iou_DM.max(axis=1)


def _iou(boxes_D4: np.ndarray, objects_M4: np.ndarray) -> np.ndarray:
    """Return the intersection over union of every box with every object, (D, M), in [0, 1]."""
    low = np.maximum(boxes_D4[:, None, :2], objects_M4[None, :, :2])
    high = np.minimum(boxes_D4[:, None, 2:], objects_M4[None, :, 2:])
    inside_DM = (high - low).clip(min=0).prod(axis=2)
    area_D = (boxes_D4[:, 2:] - boxes_D4[:, :2]).prod(axis=1)
    area_M = (objects_M4[:, 2:] - objects_M4[:, :2]).prod(axis=1)
    return inside_DM / (area_D[:, None] + area_M[None] - inside_DM)
