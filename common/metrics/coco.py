"""Average precision and recall of boxes as COCO defines them, computed by faster-coco-eval: pycocotools' numbers, sooner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.data.annotated.sets import AnnotatedImages, Objects
from common.metrics.found_boxes import BoxScores, FoundBoxes, checked_objects

SIZES = ("small", "medium", "large")
BEYOND_ALL_SIZES = 1e11
"""An area in square pixels beyond every size range of COCO: such an object is ignored in each of them, with its own IoU."""


def coco_box_metrics(found: Sequence[FoundBoxes], images: AnnotatedImages, num_classes: int) -> dict[str, float]:
    """Return the metrics of `coco_box_scores` alone; arguments and errors are the same."""
    return coco_box_scores(found, images, num_classes).metrics


def coco_box_scores(found: Sequence[FoundBoxes], images: AnnotatedImages, num_classes: int) -> BoxScores:
    """Score detections as COCO does (Lin et al. 2014, arXiv:1405.0312, and cocodataset.org/#detection-eval).

    AP is the mean over classes, IoU .50:.05:.95 and 101 recall levels; at most 100 boxes of a class are taken from an image,
    the surest. Of crowds, what lies in them does not count; difficult objects (VOC) are ignored: finding one by its IoU, or
    missing it, does not count.

    Args:
        found: one of every image, in the order of the images; none found at all scores 0.
        images: with objects.
        num_classes: K.

    Returns:
        AP, AP50, AP75, AP_small, AP_medium, AP_large, AR1, AR10, AR100, AR_small, AR_medium, AR_large, all in [0, 1], and AP50
        of every class. Where no object is in a size range (area below 32^2, up to 96^2, above), COCO has no value and says
        -1: its two keys are left out.

    Raises:
        InputError: see `checked_objects`.
    """
    objects = checked_objects(found, images, num_classes)
    precision, recall = _tables(truth_as_coco(objects, num_classes), found_as_coco(found), len(images), num_classes)
    values = {
        "AP": _mean(precision[..., 0, 2]),
        "AP50": _mean(precision[0, ..., 0, 2]),
        "AP75": _mean(precision[5, ..., 0, 2]),
        **{f"AP_{size}": _mean(precision[..., 1 + i, 2]) for i, size in enumerate(SIZES)},
        **{f"AR{most}": _mean(recall[..., 0, i]) for i, most in enumerate((1, 10, 100))},
        **{f"AR_{size}": _mean(recall[..., 1 + i, 2]) for i, size in enumerate(SIZES)},
    }
    of_classes = tuple(_mean(precision[0, :, label, 0, 2]) for label in range(num_classes))
    return BoxScores({name: value for name, value in values.items() if value is not None}, of_classes)


def _mean(values: np.ndarray) -> float | None:
    """Return the mean of what is defined, None where nothing is."""
    defined = values[values > -1]
    return float(defined.mean()) if len(defined) else None


def truth_as_coco(objects: Sequence[Objects], num_classes: int) -> dict[str, Any]:
    """Return the objects as a COCO data set; image i has id i, and ids of objects start at 1, since 0 is "no match"."""
    annotations: list[dict[str, Any]] = []
    for image, there in enumerate(objects):
        areas = np.where(there.difficult, BEYOND_ALL_SIZES, there.areas.astype(np.float64)).tolist()
        for box, label, crowd, area in zip(_corner_and_size(there.boxes), there.labels.tolist(), there.crowd.tolist(), areas):
            annotation = {"image_id": image, "category_id": label, "bbox": box, "area": area, "iscrowd": int(crowd)}
            annotations.append({"id": len(annotations) + 1, **annotation})
    return {
        "images": [{"id": image} for image in range(len(objects))],
        "categories": [{"id": label} for label in range(num_classes)],
        "annotations": annotations,
    }


def found_as_coco(found: Sequence[FoundBoxes]) -> list[dict[str, Any]]:
    """Return what was found as COCO's list of results, with the fields that its loader adds."""
    results: list[dict[str, Any]] = []
    for image, here in enumerate(found):
        scores = here.scores.astype(np.float64).tolist()
        for box, label, score in zip(_corner_and_size(here.boxes), here.labels.tolist(), scores):
            result = {"image_id": image, "category_id": label, "bbox": box, "score": score}
            results.append({"id": len(results) + 1, "area": box[2] * box[3], "iscrowd": 0, **result})
    return results


def _corner_and_size(boxes: np.ndarray) -> list[list[float]]:
    """Return x, y, width, height of boxes x1, y1, x2, y2, in double precision."""
    boxes = boxes.astype(np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()


def _tables(truth: dict[str, Any], results: list[dict[str, Any]], images: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return COCO's precision (10 IoU, 101 recall levels, K, 4 sizes, 3 maxima) and recall (10, K, 4, 3); -1: not defined."""
    from faster_coco_eval import COCO, COCOeval_faster

    there, found = COCO(truth), COCO({**truth, "annotations": results})
    evaluation = COCOeval_faster(there, found, iouType="bbox", print_function=_silent)
    evaluation.params.imgIds = list(range(images))
    evaluation.params.catIds = list(range(num_classes))
    evaluation.evaluate()
    evaluation.accumulate()
    shape = (10, 101, num_classes, 4, 3)
    precision = np.asarray(evaluation.eval["precision"]).reshape(shape)
    return precision, np.asarray(evaluation.eval["recall"]).reshape(shape[:1] + shape[2:])


def _silent(*_: object) -> None:
    """Print nothing."""
