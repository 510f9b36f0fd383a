"""Mosaics of four images around a random centre (Bochkovskiy et al. 2020, "YOLOv4", section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from common.data.annotated.letterbox import FILL, Place, paste, paste_map, place_in
from common.data.annotated.samples import Sample, out_of_sight
from common.data.annotated.sets import IGNORE

VISIBLE = 0.2
"""Share of a box's area that must be left in sight; of others too little is seen to say what they are, and they are dropped."""

_CENTRE = (0.3, 0.7)
_SCALE = (0.5, 1.0)


def mosaic_of(samples: Sequence[Sample], size: tuple[int, int], random: torch.Generator) -> Sample:
    """Put four images together.

    Each has a corner at a centre drawn in the middle 40% of the canvas and is resized to between half and all of the size at
    which it would just fit the canvas; what lies outside is cut off, what nothing covers is gray, and ignored in label maps.

    Args:
        samples: four, of any sizes: upper left, upper right, lower left, lower right.
        size: height and width of the canvas, pixels.
        random: what the centre and the sizes are drawn from.

    Returns:
        One sample; boxes are clipped, those of which little is left are dropped and counted.
    """
    drawn = torch.rand(2 + len(samples), generator=random, dtype=torch.float64).tolist()
    cy, cx = (round(side * (_CENTRE[0] + (_CENTRE[1] - _CENTRE[0]) * at)) for side, at in zip(size, drawn[:2], strict=True))
    pixels_HW3 = np.full((*size, 3), FILL, dtype=np.uint8)
    labels_map = None if samples[0].labels_map is None else np.full(size, IGNORE, dtype=np.uint8)
    parts = []
    for quadrant, (sample, uniform) in enumerate(zip(samples, drawn[2:], strict=True)):
        place = _place(sample, size, _SCALE[0] + (_SCALE[1] - _SCALE[0]) * uniform, (cy, cx), quadrant)
        paste(pixels_HW3, sample.pixels, place)
        if labels_map is not None and sample.labels_map is not None:
            paste_map(labels_map, sample.labels_map, place)
        parts.append(_on_canvas(sample, place, size))
    return _together(pixels_HW3, labels_map, parts)


def _place(sample: Sample, size: tuple[int, int], share: float, centre: tuple[int, int], quadrant: int) -> Place:
    """Return where an image lies: left and top may be negative, and it may reach beyond the canvas."""
    height, width = sample.pixels.shape[:2]
    scale = place_in((height, width), size).scale * share
    high, wide = max(1, round(height * scale)), max(1, round(width * scale))
    top = centre[0] - high if quadrant < 2 else centre[0]
    left = centre[1] - wide if quadrant % 2 == 0 else centre[1]
    return Place(scale, left, top, high, wide)


def _on_canvas(sample: Sample, place: Place, size: tuple[int, int]) -> Sample:
    """Return the objects of one image as the canvas has them; its pixels are left as they are."""
    whole_M4 = place.onto(sample.boxes)
    boxes_M4 = whole_M4.clip(0, np.array([size[1], size[0]] * 2, dtype=np.float32))
    shares_M = _areas(boxes_M4) / np.maximum(_areas(whole_M4), 1e-9)
    kept = np.flatnonzero((shares_M >= VISIBLE) & (_areas(boxes_M4) > 0))
    masks_MHW = None
    if sample.masks is not None:
        masks_MHW = np.zeros((len(sample.masks), *size), dtype=np.uint8)
        paste_map(masks_MHW, sample.masks, place)
    keypoints = None if sample.keypoints is None else out_of_sight(place.points_onto(sample.keypoints), size)
    moved = Sample(sample.pixels, boxes_M4, sample.labels, sample.weights, None, masks_MHW, keypoints)
    chosen = moved.some(kept)
    return Sample(
        chosen.pixels, chosen.boxes, chosen.labels, chosen.weights, None, chosen.masks, chosen.keypoints,
        dropped=sample.dropped + len(sample.labels) - len(kept),
    )  # fmt: skip


def _together(pixels_HW3: np.ndarray, labels_map: np.ndarray | None, parts: Sequence[Sample]) -> Sample:
    """Return one sample with the objects of all."""
    masks = [part.masks for part in parts if part.masks is not None]
    keypoints = [part.keypoints for part in parts if part.keypoints is not None]
    return Sample(
        pixels_HW3,
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.weights for part in parts]),
        labels_map,
        np.concatenate(masks) if masks else None,
        np.concatenate(keypoints) if keypoints else None,
        dropped=sum(part.dropped for part in parts),
    )


def _areas(boxes_M4: np.ndarray) -> np.ndarray:
    return (boxes_M4[:, 2] - boxes_M4[:, 0]) * (boxes_M4[:, 3] - boxes_M4[:, 1])
