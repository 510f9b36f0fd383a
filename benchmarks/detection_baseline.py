"""What a detector must beat without looking: boxes where objects of the training images are.

`python -m benchmarks.detection_baseline [--data.name SET] [--data.root DIR]`. Every image gets the same boxes: of each class, the
centres of k-means over the centres of its training boxes, each with the class's mean width and height, and the number of its
training boxes as its score; all as fractions of the image's size. How many centres is chosen by AP50 on the validation images;
the test images are looked at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from benchmarks.baseline_data import run_baseline
from common.data.annotated.sets import AnnotatedImages, AnnotatedSet
from common.errors import InputError
from common.metrics.coco import coco_box_metrics
from common.metrics.found_boxes import FoundBoxes
from common.metrics.voc import voc_box_metrics
from common.randomness import derive_seed

POSITIONS = (1, 2, 5, 10, 20, 50, 100)
"""How many centres of a class are tried; COCO takes no more than 100 boxes of a class in an image."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 0, or 2 for bad input."""
    return run_baseline("detection_baseline", __doc__ or "", argv, measure)


def measure(dataset: AnnotatedSet) -> dict[str, float]:
    """Return the baseline's metrics on the test images, and how it was chosen.

    Raises:
        InputError: a split has no objects that count.
    """
    classes = len(dataset.classes)
    tried = {count: usual_boxes(dataset.train, classes, count) for count in POSITIONS}
    chosen_by = {count: _metrics(boxes, dataset.split("validation"), classes)["AP50"] for count, boxes in tried.items()}
    chosen = max(POSITIONS, key=chosen_by.__getitem__)  # of equals the fewest
    test = _metrics(tried[chosen], dataset.split("test"), classes)
    return {
        "positions": chosen,
        "validation/AP50": chosen_by[chosen],
        **{f"test/{name}": test[name] for name in ("AP50", "AP", "AP75", "AR100", "VOC_AP50", "VOC07_AP50")},
    }


def usual_boxes(images: AnnotatedImages, num_classes: int, positions: int) -> FoundBoxes:
    """Return the boxes that every image gets, as fractions of its width and height.

    Args:
        images: with objects; difficult ones and crowds are left aside.
        num_classes: K.
        positions: centres of each class, >= 1; fewer where the class has fewer boxes.

    Raises:
        InputError: there are no objects.
    """
    boxes_N4, labels_N = _training_boxes(images)
    if not len(labels_N):
        raise InputError(f"none of the {len(images)} training images has an object, expected boxes to learn positions from")
    parts = [_boxes_of_class(boxes_N4[labels_N == label], positions, label) for label in range(num_classes) if label in labels_N]
    boxes, counts, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    return FoundBoxes(boxes, counts / counts.max(), labels)


def _training_boxes(images: AnnotatedImages) -> tuple[np.ndarray, np.ndarray]:
    """Return all boxes that train, as fractions of their images' sizes, float64 (N, 4), and their labels."""
    objects = images.objects or ()
    boxes = [there.boxes[there.trains] / np.tile(size[::-1], 2) for there, size in zip(objects, images.sizes)]
    return np.concatenate([*boxes, np.zeros((0, 4))]), np.concatenate([there.labels[there.trains] for there in objects] or [[]])


def _boxes_of_class(boxes_N4: np.ndarray, positions: int, label: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes (P, 4) of the class's mean size, how many training boxes are nearest to each, and its label."""
    from sklearn.cluster import KMeans

    centres_N2 = (boxes_N4[:, :2] + boxes_N4[:, 2:]) / 2
    distinct = len(np.unique(centres_N2, axis=0))
    seed = derive_seed(0, "usual_boxes", label) % 2**32
    found = KMeans(min(positions, distinct), n_init=3, random_state=seed).fit(centres_N2)
    counts_P = np.bincount(found.labels_, minlength=len(found.cluster_centers_)).astype(np.float64)
    half = (boxes_N4[:, 2:] - boxes_N4[:, :2]).mean(axis=0) / 2
    boxes_P4 = np.concatenate([found.cluster_centers_ - half, found.cluster_centers_ + half], axis=1)
    return boxes_P4.clip(0, 1), counts_P, np.full(len(boxes_P4), label)


def _metrics(usual: FoundBoxes, images: AnnotatedImages, num_classes: int) -> dict[str, float]:
    found = [FoundBoxes(usual.boxes * np.tile(size[::-1], 2), usual.scores, usual.labels) for size in images.sizes]
    return {**coco_box_metrics(found, images, num_classes), **voc_box_metrics(found, images, num_classes)}


if __name__ == "__main__":
    sys.exit(main())
