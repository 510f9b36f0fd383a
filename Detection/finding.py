"""From a detector's output to boxes in the pixels of the images, and how good they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from torch import Tensor

from common.data.annotated.batch import AnnotatedBatch
from common.data.annotated.sets import AnnotatedImages
from common.errors import RunError
from common.metrics.coco import coco_box_metrics
from common.metrics.found_boxes import FoundBoxes
from common.metrics.voc import voc_box_metrics
from Detection.detector import Detections


def in_pixels_of_images(found: Sequence[Detections], batch: AnnotatedBatch, images: AnnotatedImages) -> dict[int, FoundBoxes]:
    """Return what was found in a batch, by the image's index in the split, in pixels of the image at its own size.

    Args:
        found: one of every image of the batch.
        batch: letter-boxed, as `AnnotatedLoader.evaluation_batches` gives it.
        images: the split.
    """
    if batch.places is None:
        raise RunError("a batch does not say where its images lie; this is a bug, please report it")
    scales, corners = batch.places[:, 0].tolist(), batch.places[:, 1:].numpy()
    return {
        index: _of_image(one, scale, corner, images.sizes[index])
        for one, scale, corner, index in zip(found, scales, corners, batch.indices.tolist(), strict=True)
    }


def _of_image(found: Detections, scale: float, corner_2: np.ndarray, size_2: np.ndarray) -> FoundBoxes:
    height, width = size_2.tolist()
    boxes_D4 = (_numbers(found.boxes) - np.tile(corner_2, 2)) / scale
    boxes_D4 = np.clip(boxes_D4, 0, np.array([width, height, width, height]))
    return FoundBoxes(boxes_D4, _numbers(found.scores), found.labels.cpu().numpy())


def _numbers(values: Tensor) -> np.ndarray:
    return values.float().cpu().numpy().astype(np.float64)


def measure(
    found: Sequence[FoundBoxes], images: AnnotatedImages, num_classes: int, *, by: Literal["coco", "voc", "both"]
) -> dict[str, float]:
    """Return average precisions, as COCO and as VOC define them; what each is called, see `common.metrics`."""
    coco = coco_box_metrics(found, images, num_classes) if by != "voc" else {}
    return {**coco, **(voc_box_metrics(found, images, num_classes) if by != "coco" else {})}
