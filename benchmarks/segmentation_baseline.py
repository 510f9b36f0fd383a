"""What a segmentation network must beat without looking: the class that a pixel has most often in the training maps.

`python -m benchmarks.segmentation_baseline [--data.name SET] [--data.root DIR]`. The position prior is the most frequent class at
every pixel of the training maps, brought to one size (nearest pixel); the majority class is the most frequent of all pixels.
Neither has anything to choose, so that validation images are not looked at, and test images once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch

from benchmarks.baseline_data import run_baseline
from common.data.annotated.sets import IGNORE, AnnotatedImages, AnnotatedSet
from common.errors import InputError
from common.metrics.miou import ConfusionMatrix
from Segmentation.task import pixel_classes

LONGEST = 512
"""Pixels: the longer side of the prior at most."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 0, or 2 for bad input."""
    return run_baseline("segmentation_baseline", __doc__ or "", argv, measure)


def measure(dataset: AnnotatedSet) -> dict[str, float]:
    """Return both baselines' metrics on the test images.

    Raises:
        InputError: the images have no label maps, or no labelled pixel.
    """
    classes = len(pixel_classes(dataset))
    prior_HW, majority = position_prior(dataset.train, classes)
    guesses = {"prior": prior_HW, "majority": np.full((1, 1), majority)}
    found: dict[str, float] = {}
    for name, guess_HW in guesses.items():
        matrix = ConfusionMatrix(classes)
        read = _label_maps(test := dataset.split("test"))
        for index in range(len(test)):
            labels_HW = read(index)
            matrix.update(torch.from_numpy(nearest(guess_HW, labels_HW.shape)), torch.from_numpy(labels_HW.astype(np.int64)))
        found |= {f"test/{name}_{metric}": value for metric, value in matrix.metrics().items()}
    return found


def position_prior(images: AnnotatedImages, num_classes: int) -> tuple[np.ndarray, int]:
    """Learn the most frequent class of every pixel.

    Args:
        images: with label maps; all are brought to the first one's proportions.
        num_classes: K.

    Returns:
        int64 (H, W), the class of every pixel: of equally frequent ones, and where no pixel is labelled, the more frequent of
        all; and the most frequent of all.

    Raises:
        InputError: no label maps, a class out of range, or no labelled pixel.
    """
    read = _label_maps(images)
    first = images.sizes[0]
    height, width = (max(1, round(int(side) * min(1.0, LONGEST / int(first.max())))) for side in first)
    counts_KHW = np.zeros((num_classes, height, width), dtype=np.int32)
    rows, columns = np.indices((height, width), sparse=True)
    for index in range(len(images)):
        labels_HW = nearest(read(index), (height, width)).astype(np.int64)
        judged = labels_HW != IGNORE
        if labels_HW[judged].max(initial=0) >= num_classes:
            wrong = f"{images.names[index]}: its label map holds {labels_HW[judged].max()}"
            raise InputError(f"{wrong}, expected 0 to {num_classes - 1}, or {IGNORE} to ignore a pixel")
        counts_KHW[np.where(judged, labels_HW, 0), rows, columns] += judged
    of_class_K = counts_KHW.sum(axis=(1, 2), dtype=np.int64)
    if not of_class_K.any():
        raise InputError(f"no pixel of the {len(images)} training label maps has a class, expected labels to learn from")
    frequent_first = np.argsort(-of_class_K, kind="stable")
    return frequent_first[counts_KHW[frequent_first].argmax(axis=0)], int(frequent_first[0])


def nearest(map_HW: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return a map brought to another size, (height, width), by the nearest pixel's centre."""
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(np.int64) for new, old in zip(size, map_HW.shape, strict=True))
    return np.ascontiguousarray(map_HW[rows[:, None], columns])


def _label_maps(images: AnnotatedImages) -> Callable[[int], np.ndarray]:
    if images.read_labels is None or not len(images):
        raise InputError(f"{len(images)} images without label maps, expected the class of every pixel")
    return images.read_labels


if __name__ == "__main__":
    sys.exit(main())
