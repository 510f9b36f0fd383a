"""One image as it trains or is evaluated: what a reading process makes of it.

H and W are the network's; M objects, P keypoints of an object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from common.data.annotated.config import JointAugmentConfig
from common.data.annotated.letterbox import letterboxed, letterboxed_map, place_in
from common.data.annotated.sets import AnnotatedImages
from common.randomness import generator


@dataclass(frozen=True)
class Sample:
    """An image with what is annotated in it.

    Attributes:
        pixels: uint8 (H, W, 3).
        boxes: float32 (M, 4): x1, y1, x2, y2 in pixels.
        labels: int64 (M,).
        weights: float32 (M,): 1, or the share of its image in a mixup.
        labels_map: uint8 (H, W); None: there is none.
        place: scale, left and top at which the image lies, for one that is evaluated.
    """

    pixels: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    labels_map: np.ndarray | None = None
    place: tuple[float, float, float] = (1.0, 0.0, 0.0)


@dataclass(frozen=True)
class SampleDraws:
    """What the samples of an epoch are drawn from: each from a generator of its own.

    Attributes:
        augment: how they are varied.
        seed: the run's seed.
        stream: name of the stream of draws.
        indices: what tells these draws from others of the stream: round and epoch.
    """

    augment: JointAugmentConfig
    seed: int
    stream: str
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Samples:
    """What makes samples of the images of one split.

    Attributes:
        images: the split.
        with_maps: whether label maps are made too.
    """

    images: AnnotatedImages
    with_maps: bool = False

    def evaluated(self, index: int, size: tuple[int, int]) -> Sample:
        """Return an image letter-boxed and otherwise as it is, with all its objects."""
        return self._letterboxed(index, size, trains=False)

    def varied(self, index: int, size: tuple[int, int], draws: SampleDraws) -> Sample:
        """Return an image as it trains: its numbers come from (draws, index) alone; difficult and crowd objects are left out."""
        import torch

        random = generator(draws.seed, draws.stream, *draws.indices, index)
        sample = self._letterboxed(index, size, trains=True)
        return _mirrored(sample) if float(torch.rand((), generator=random)) < draws.augment.flip else sample

    def _letterboxed(self, index: int, size: tuple[int, int], *, trains: bool) -> Sample:
        image_HW3 = self.images.read(index)
        place = place_in((image_HW3.shape[0], image_HW3.shape[1]), size)
        boxes_M4, labels_M = np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.int64)
        if self.images.objects is not None:
            objects = self.images.objects[index]
            chosen_M = objects.trains if trains else np.ones(len(objects), dtype=bool)
            boxes_M4, labels_M = place.onto(objects.boxes[chosen_M]), objects.labels[chosen_M]
        labels_map = None
        if self.with_maps:
            labels_map = letterboxed_map(self._read_labels()(index), place, size)
        weights_M = np.ones(len(labels_M), dtype=np.float32)
        pixels_HW3 = letterboxed(image_HW3, place, size)
        return Sample(pixels_HW3, boxes_M4, labels_M, weights_M, labels_map, (place.scale, place.left, place.top))

    def _read_labels(self) -> Callable[[int], np.ndarray]:
        assert self.images.read_labels is not None, "the loader sees to it"
        return self.images.read_labels


def _mirrored(sample: Sample) -> Sample:
    width = sample.pixels.shape[1]
    boxes_M4 = sample.boxes.copy()
    boxes_M4[:, [0, 2]] = width - boxes_M4[:, [2, 0]]
    labels_map = None if sample.labels_map is None else sample.labels_map[:, ::-1]
    return Sample(sample.pixels[:, ::-1], boxes_M4, sample.labels, sample.weights, labels_map)
