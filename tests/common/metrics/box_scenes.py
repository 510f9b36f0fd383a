"""Scenes with objects of every size, crowds and difficult ones, and detections near some of them."""

from __future__ import annotations

import numpy as np

from common.data.annotated.sets import AnnotatedImages, Objects
from common.metrics.found_boxes import FoundBoxes

Scene = tuple[AnnotatedImages, list[FoundBoxes]]


def images_of(objects: list[Objects], height: int = 400, width: int = 500) -> AnnotatedImages:
    """Return images of one size with these objects."""
    count = len(objects)
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    sizes = np.tile([height, width], (count, 1))
    return AnnotatedImages(
        tuple(f"{i}.png" for i in range(count)), np.arange(count), sizes, lambda index: pixels, objects=tuple(objects)
    )


def objects_of(
    boxes: np.ndarray, labels: np.ndarray, difficult: np.ndarray | None = None, crowd: np.ndarray | None = None
) -> Objects:
    """Return objects; their areas are 0.7 of their boxes', as of masks."""
    boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    none = np.zeros(len(boxes), dtype=bool)
    areas = 0.7 * (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    flags = [none if flag is None else np.asarray(flag, dtype=bool) for flag in (difficult, crowd)]
    return Objects(boxes, np.asarray(labels, dtype=np.int64).reshape(-1), flags[0], flags[1], areas)


def found_of(boxes: object, scores: object, labels: object) -> FoundBoxes:
    """Return what was found in one image."""
    return FoundBoxes(
        np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
        np.asarray(scores, dtype=np.float32).reshape(-1),
        np.asarray(labels, dtype=np.int64).reshape(-1),
    )


def random_scenes(seed: int, count: int, num_classes: int, *, most: int = 9, side: tuple[float, float] = (8, 200)) -> Scene:
    """Return images with objects of log-uniform sides, and detections: objects moved a little, and boxes at random."""
    rng = np.random.default_rng(seed)

    def boxes(number: int) -> np.ndarray:
        sides = np.exp(rng.uniform(*np.log(side), (number, 2)))
        corners = rng.uniform(0, [300, 200], (number, 2))
        return np.concatenate([corners, corners + sides], axis=1)

    objects, found = [], []
    for _ in range(count):
        number = int(rng.integers(0, most))
        there, labels = boxes(number), rng.integers(0, num_classes, number)
        objects.append(objects_of(there, labels, rng.random(number) < 0.15, rng.random(number) < 0.1))
        near = np.repeat(np.arange(number), 2)[rng.random(2 * number) < 0.7]
        sides = np.tile(there[near, 2:] - there[near, :2], 2)
        moved = there[near] + rng.normal(0, 0.07, (len(near), 4)) * sides
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        wild = boxes(int(rng.integers(0, 6)))
        every = np.concatenate([moved, wild])
        seen = np.concatenate([labels[near], rng.integers(0, num_classes, len(wild))])
        seen = np.where(rng.random(len(seen)) < 0.1, rng.integers(0, num_classes, len(seen)), seen)
        scores = rng.integers(1, 20, len(every)) / 20  # few values, so that many scores are equal
        found.append(found_of(every, scores, seen))
    return images_of(objects), found
