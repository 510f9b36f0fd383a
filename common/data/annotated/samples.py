"""One image with what is annotated in it, on its way to a batch.

H and W are the image's sides in pixels; M objects, P keypoints of an object.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from common.data.annotated.letterbox import letterboxed, letterboxed_map, place_in
from common.data.annotated.sets import AnnotatedImages


@dataclass(frozen=True)
class Kinds:
    """What is carried along beside boxes.

    Attributes:
        maps: label maps.
        masks: the objects' masks.
        keypoints: the objects' keypoints.
    """

    maps: bool = False
    masks: bool = False
    keypoints: bool = False


@dataclass(frozen=True)
class Sample:
    """An image with what is annotated in it.

    Attributes:
        pixels: uint8 (H, W, 3).
        boxes: float32 (M, 4): x1, y1, x2, y2 in pixels.
        labels: int64 (M,).
        weights: float32 (M,): 1, or the share of its image in a mixup.
        labels_map: uint8 (H, W); None: there is none.
        masks: uint8 (M, H, W), 1 inside; None: they are not carried.
        keypoints: float32 (M, P, 3); None: they are not carried.
        place: scale, left and top at which an image lies that was letter-boxed and nothing else.
        dropped: objects that were lost on the way, because too little of them was left in sight.
    """

    pixels: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    labels_map: np.ndarray | None = None
    masks: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    place: tuple[float, float, float] = (1.0, 0.0, 0.0)
    dropped: int = 0

    def some(self, kept: np.ndarray) -> Sample:
        """Return the sample with the objects at `kept`, int64; the others are not counted as dropped."""
        return replace(
            self,
            boxes=self.boxes[kept],
            labels=self.labels[kept],
            weights=self.weights[kept],
            masks=None if self.masks is None else self.masks[kept],
            keypoints=None if self.keypoints is None else self.keypoints[kept],
        )


def read_sample(images: AnnotatedImages, index: int, kinds: Kinds, *, trains: bool) -> Sample:
    """Return an image as it is.

    Args:
        images: a split.
        index: which image.
        kinds: what is carried along; the split has it.
        trains: leave out difficult and crowd objects.

    Raises:
        InputError: it cannot be read, or its label map is of another size.
    """
    pixels_HW3 = images.read(index)
    boxes_M4, labels_M = np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.int64)
    masks_MHW = keypoints_MP3 = None
    if images.objects is not None:
        objects = images.objects[index]
        chosen = np.flatnonzero(objects.trains) if trains else np.arange(len(objects))
        boxes_M4, labels_M = objects.boxes[chosen], objects.labels[chosen]
        if kinds.masks and objects.masks is not None:
            masks_MHW = _decoded([objects.masks[place] for place in chosen.tolist()], pixels_HW3.shape[:2])
        if kinds.keypoints and objects.keypoints is not None:
            keypoints_MP3 = objects.keypoints[chosen]
    labels_map = images.read_labels(index) if kinds.maps and images.read_labels is not None else None
    return Sample(pixels_HW3, boxes_M4, labels_M, np.ones(len(labels_M), dtype=np.float32), labels_map, masks_MHW, keypoints_MP3)


def letterboxed_sample(sample: Sample, size: tuple[int, int]) -> Sample:
    """Return a sample in the middle of a canvas of `size`, height and width in pixels, as large as it fits."""
    place = place_in((sample.pixels.shape[0], sample.pixels.shape[1]), size)
    return replace(
        sample,
        pixels=letterboxed(sample.pixels, place, size),
        boxes=place.onto(sample.boxes),
        labels_map=None if sample.labels_map is None else letterboxed_map(sample.labels_map, place, size),
        masks=None if sample.masks is None else letterboxed_map(sample.masks, place, size, fill=0),
        keypoints=None if sample.keypoints is None else place.points_onto(sample.keypoints),
        place=(place.scale, place.left, place.top),
    )


def out_of_sight(keypoints_MP3: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return keypoints with those outside an image of `size` unlabelled, all zero; as COCO writes them."""
    x_MP, y_MP, flag_MP = np.moveaxis(keypoints_MP3, 2, 0)
    inside_MP = (x_MP >= 0) & (x_MP <= size[1]) & (y_MP >= 0) & (y_MP <= size[0]) & (flag_MP > 0)
    return (keypoints_MP3 * inside_MP[..., None]).astype(np.float32)


def _decoded(masks: list, shape: tuple[int, ...]) -> np.ndarray:
    from pycocotools import mask as run_lengths

    if not masks:
        return np.zeros((0, *shape), dtype=np.uint8)
    return np.ascontiguousarray(np.moveaxis(run_lengths.decode(masks), 2, 0))
